#: host_canary held
refused("the host's file", lambda: open(CANARY).read())
refused("the host's file", lambda: open("/proc/self/root" + CANARY).read())
refused("the host's file", lambda: open("/proc/1/root" + CANARY).read())
refused("the host's file", lambda: open("/../../../.." + CANARY).read())
refused("writing it", lambda: open(CANARY, "w"))
#: passwd_is_the_sandboxs_own held
names = [line.split(":")[0] for line in open("/etc/passwd")]
if "sandbox" not in names or len(names) > 5:
    escaped("passwd", names)
refused("shadow", lambda: open("/etc/shadow").read())
#: own_interpreter_and_library_cannot_be_written held
import json
for path in (os.path.realpath(sys.executable), json.__file__, "/etc/passwd", "/usr/x", "/x",
             "/etc/ld.so.preload", "/dev/x"):
    refused("writing " + path, lambda: open(path, "ab"))
refused("removing", lambda: os.remove(json.__file__))
refused("a link over", lambda: os.symlink("/tmp", "/usr/lib/x"))
#: proc_tells_nothing held contained
for path in ("/proc/kcore", "/proc/sysrq-trigger", "/proc/sched_debug", "/proc/kallsyms",
             "/proc/keys", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc",
             "/proc/1/cwd/x", "/proc/kmsg", "/proc/timer_list", "/proc/interrupts", "/proc/modules",
             "/sys/kernel/notes", "/sys/firmware/acpi", "/sys/fs/cgroup/memory", "/dev/mem",
             "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/fuse", "/dev/net/tun", "/dev/kvm"):
    refused(path, lambda: os.open(path, os.O_RDONLY))
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/self/uid_map",
             "/sys/kernel/uevent_helper", "/proc/sys/vm/drop_caches"):
    refused("writing " + path, lambda: os.open(path, os.O_WRONLY))
#: other_processes_are_not_seen held contained
seen = [name for name in os.listdir("/proc") if name.isdigit()]
if len(seen) > 3:
    escaped("processes", seen)
refused("threads of 1", lambda: os.listdir("/proc/1/fd"))
#: devices_cannot_be_made held
import stat
for folder in ("/tmp", "/work", "/dev"):
    refused("a device", lambda: os.mknod(folder + "/d", stat.S_IFBLK | 0o600, os.makedev(8, 0)))
#: set_user_id_gives_nothing held
open("s", "w").write("x")
try:
    os.chmod("s", 0o6755)
except FAILURES:
    pass
refused("root", lambda: os.setuid(0))
refused("root", lambda: os.setresuid(0, 0, 0))
refused("groups", lambda: os.setgroups([0]))
refused("capabilities", lambda: call("capset", b"\x22\x05\x08\x20\0\0\0\0", b"\xff" * 24))
#: hard_links_to_what_is_not_ones_own held
for path in ("/etc/passwd", "/usr/bin/python3", "/proc/self/exe", "/proc/1/exe"):
    refused("a link to " + path, lambda: os.link(path, "link"))
#: disk_fills_and_is_held held
total = 0
for folder in ("/tmp", "/work"):
    try:
        for number in range(64):
            with open(f"{folder}/{number}", "wb") as file:
                for _ in range(8):
                    total += file.write(bytes(1 << 20))
    except OSError:
        pass
if total > 40 << 20:
    escaped("bytes", total)
#: many_small_files_are_held held
count = 0
try:
    for count in range(300000):
        os.close(os.open(f"/tmp/{count}", os.O_CREAT | os.O_WRONLY))
    escaped("files", count)
except OSError:
    pass
#: a_file_of_great_length_is_held held
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def grow():
    with open("huge", "wb") as file:
        file.truncate(1 << 40)
refused("a huge file", grow)
#: open_files_run_out held
handles = []
try:
    while len(handles) < 100000:
        handles.append(os.dup(1))
    escaped("open files", len(handles))
except OSError:
    pass
for handle in handles:
    os.close(handle)
#: deep_folders_and_loops_of_links ends=exit
os.symlink("b", "a")
os.symlink("a", "b")
os.chdir("/work")
for _ in range(2000):
    os.mkdir("d")
    os.chdir("d")
#: leftovers_are_gone_first held twice
for folder in ("/tmp", "/work"):
    if os.listdir(folder):
        escaped("left in " + folder, os.listdir(folder))
    open(folder + "/left", "w").write("secret")
if os.path.isdir("/dev/shm"):
    if [name for name in os.listdir("/dev/shm") if name != "left"]:
        escaped("shm", os.listdir("/dev/shm"))
refused("system v memory", lambda: call("shmget", 4711, 4096, 0))
refused("a message queue", lambda: call("mq_open", b"left", 0, 0, 0))
#: system_v_memory_and_queues held contained
refused("system v memory", lambda: call("shmget", 4711, 4096, 0o1666))
refused("a message queue", lambda: call("mq_open", b"left", 0o102, 0o666, 0))
#: core_dumps_stay_away ends=signal,exit
try:
    os.abort()
except AttributeError:
    sys.exit(0)
