//! What a guest reaches by its way out, and what a killed service leaves to the next one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_sandbox::{
    Channel, Ended, Engine, EngineError, Execution, Limits, SlotSpec, Swept, Way, WayOut,
};
use headwater_sandbox_jail::{Jail, JailSettings};

#[path = "support/image.rs"]
mod image;

use image::image;

/// Where a process of this test is told its folder of state, to be killed in the middle.
const STATE: &str = "HEADWATER_JAIL_TEST_STATE";

const GUEST: &str = r#"
import os, socket, sys
with socket.create_connection(("127.0.0.1", 3128), 5) as stream:
    stream.sendall(b"hello" * 1000)
    stream.shutdown(socket.SHUT_WR)
    heard = b""
    while piece := stream.recv(4096):
        heard += piece
if heard != b"HELLO" * 1000:
    sys.exit(f"the proxy said {heard[:40]}")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
    names.settimeout(5)
    names.sendto(b"question", ("127.0.0.1", 53))
    if names.recv(512) != b"QUESTION":
        sys.exit("the name server said something else")

def refused(what, step):
    try:
        step()
    except OSError:
        return
    sys.exit(what + " is reached")

port = int(sys.argv[1])
for host in ("127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "8.8.8.8"):
    refused(f"{host}:{port}", lambda: socket.create_connection((host, port), 1))
refused("a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(
    b"x", ("8.8.8.8", 53)))
for family in (socket.AF_UNIX, socket.AF_INET6, socket.AF_NETLINK):
    refused(f"family {family}", lambda: socket.socket(family, socket.SOCK_DGRAM))
refused("a raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
print("held")
"#;

fn jail(state: &Path) -> Jail {
    let launcher = vec![env!("CARGO_BIN_EXE_headwater-jail").into()];
    Jail::new(JailSettings::new(launcher, state.to_path_buf())).unwrap()
}

fn spec(name: &str, way_out: Option<WayOut>) -> SlotSpec {
    let (limits, way) = (Limits::SMALL, Way::Single);
    SlotSpec { name: name.to_owned(), image: image(), limits, way, way_out }
}

/// False where this host has no namespaces for us, which is told.
async fn can_run(jail: &Jail) -> bool {
    match jail.probe(&image()).await {
        Err(EngineError::Unable { why, mend, .. }) if why.contains("namespaces") => {
            println!("skipped: {why}; {mend}");
            false
        }
        probe => probe.map(|_| true).unwrap(),
    }
}

/// Answers each connection with what it said, in capitals.
fn serve(listener: UnixListener, answer: fn(&mut UnixStream)) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            answer(&mut stream);
        }
    });
}

fn answer_all(stream: &mut UnixStream) {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    stream.write_all(&heard.to_ascii_uppercase()).unwrap();
}

fn answer_framed(stream: &mut UnixStream) {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut heard = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut heard).unwrap();
    stream.write_all(&[&length[..], &heard.to_ascii_uppercase()].concat()).unwrap();
}

#[tokio::test]
async fn a_guest_reaches_its_proxy_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let jail = jail(&folder.path().join("state"));
    if !can_run(&jail).await {
        return;
    }
    let (proxy, names) = (folder.path().join("proxy.sock"), folder.path().join("names.sock"));
    serve(UnixListener::bind(&proxy).unwrap(), answer_all);
    serve(UnixListener::bind(&names).unwrap(), answer_framed);
    let host = TcpListener::bind("127.0.0.1:0").unwrap();
    host.set_nonblocking(true).unwrap();
    let mut slot = jail.start(spec("out", Some(WayOut { proxy, names }))).await.unwrap();
    let call = Execution {
        arguments: vec![host.local_addr().unwrap().port().to_string()],
        ..Execution::new(GUEST, Limits::SMALL)
    };
    // The second call finds the way out as the first one did.
    for _ in 0..2 {
        let mut heard = Vec::new();
        let mut listener = |_: Channel, bytes: &[u8]| heard.extend_from_slice(bytes);
        let outcome = slot.run(&call, &mut listener).await.unwrap();
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert_eq!((outcome.ended, heard.as_str()), (Ended::Exit(0), "held\n"));
    }
    slot.close().await.unwrap();
    assert!(host.accept().is_err(), "the host's own port got a connection");
    assert_eq!(jail.sweep().await.unwrap(), Swept::default());
}

#[tokio::test]
async fn a_killed_services_rests_are_swept() {
    if let Some(state) = std::env::var_os(STATE) {
        let slot = jail(Path::new(&state)).start(spec("orphan", None)).await.unwrap();
        println!("\nstarted");
        tokio::time::sleep(Duration::from_secs(60)).await;
        return slot.close().await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let jail = jail(&state);
    if !can_run(&jail).await {
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["a_killed_services_rests_are_swept", "--exact", "--nocapture"]);
    let mut service = command.env(STATE, &state).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let is_started = lines.map_while(Result::ok).any(|line| line == "started");
    // While it lives nobody else takes what is its own.
    let early = jail.sweep().await.unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(is_started);
    assert_eq!(early, Swept::default());
    let swept = jail.sweep().await.unwrap();
    assert_eq!(swept.folders, 1, "{swept:?}");
    assert_eq!(swept.cgroups > 0, jail.abilities().pauses, "{swept:?}");
    assert_eq!(jail.sweep().await.unwrap(), Swept::default());
    let mut again = jail.start(spec("orphan", None)).await.unwrap();
    assert_eq!(again.usage().await.unwrap().processes, 3, "zygote, keeper and guest");
    again.close().await.unwrap();
}
