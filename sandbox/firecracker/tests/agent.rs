//! What the agent does after a restore, with a clock and a device of the test.

use std::io::Write;
use std::process::{Command, Stdio};

use headwater_sandbox_agent::PROGRAM;

const BEGIN: &str = include_str!("../src/guest/begin.py");

/// Runs the agent's definitions and then a test of them, in an interpreter of the host.
fn python(test: &str) -> Option<String> {
    let mut child = match Command::new("/usr/bin/python3")
        .args(["-I", "-B", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            println!("skipped: /usr/bin/python3: {error}");
            return None;
        }
    };
    let program = format!("{PROGRAM}{BEGIN}{test}");
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let told = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.status.success(), "{errors}");
    Some(String::from_utf8(told.stdout).unwrap())
}

#[test]
fn the_clock_is_set_where_it_is_wrong() {
    let test = "
class Clock:
    CLOCK_REALTIME, allowed, set_to = 0, True, None
    def time_ns(self):
        return 10_000_000_000
    def clock_settime_ns(self, clock, now_ns):
        if not self.allowed:
            raise PermissionError
        self.set_to = now_ns
time = Clock()
set_clock(10_010_000_000); print(time.set_to)
set_clock(99_000_000_000); print(time.set_to)
time.allowed = False
set_clock(10_500_000_000)
try:
    set_clock(99_000_000_000)
except PermissionError:
    print('refused')
";
    let Some(told) = python(test) else { return };
    assert_eq!(told, "None\n99000000000\nrefused\n");
}

#[test]
fn random_bytes_are_added_with_their_weight_and_the_generator_begins_anew() {
    let test = "
calls = []
class Control:
    def ioctl(self, device, request, argument=None):
        calls.append((hex(request), argument))
fcntl = Control()
random.seed(1); first = random.random(); random.seed(1)
add_entropy(bytes(range(64)))
print([request for request, _ in calls], struct.unpack('=ii', calls[0][1][:8]))
print(calls[0][1][8:] == bytes(range(64)), calls[1][1], random.random() != first)
";
    let Some(told) = python(test) else { return };
    assert_eq!(told, "['0x40085203', '0x5207'] (512, 64)\nTrue None True\n");
}

#[test]
fn it_is_the_first_process_or_none() {
    let Some(told) = python(
        "
try:
    serve([])
except SystemExit as end:
    print(end.code)
",
    ) else {
        return;
    };
    assert_eq!(told, "this is the first process of a guest, and no other\n");
}
