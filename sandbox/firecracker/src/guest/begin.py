

# How the agent begins in a virtual machine: as the kernel's first process. It warms itself, waits
# for its host, and is ready for a snapshot. What is restored of that is told who it is.
import ctypes
import fcntl
import random
import socket
import struct

HOST_CID, PORT = 2, 52
NOSUID, NODEV, NOEXEC = 2, 4, 8
LOOPBACK_UP = struct.pack("16sh14x", b"lo", 0x1 | 0x8)
SET_INTERFACE_FLAGS = 0x8914
ADD_ENTROPY, RESEED = 0x40085203, 0x5207
# The clock is set where it is wrong by more than this.
CLOCK_OFF_NS, CLOCK_OFF_NS_MAX = 20_000_000, 1_000_000_000
LIBRARY = ctypes.CDLL(None, use_errno=True)
GROUPS = "/run/cgroup"
GROUP = None


def mount(kind, target, flags, options=""):
    os.makedirs(target, exist_ok=True)
    words = [word.encode() for word in (kind, target, kind)]
    if LIBRARY.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mounting {kind} on {target}: {os.strerror(number)}")


def set_up():
    """What a kernel leaves to its first process."""
    if not os.path.exists("/dev/null"):
        mount("devtmpfs", "/dev", NOSUID)
    # Without a console the kernel starts it without open files.
    null = os.open("/dev/null", os.O_RDWR)
    while null < 3:
        null = os.dup(null)
    rows = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
    for fd, (name, mode) in enumerate(rows):
        errors = "surrogateescape" if fd < 2 else "backslashreplace"
        stream = open(fd, mode, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    mount("proc", "/proc", NOSUID | NODEV | NOEXEC)
    mount("tmpfs", "/run", NOSUID | NODEV | NOEXEC, "size=1m,mode=0755")
    socket.sethostname("guest")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_INTERFACE_FLAGS, LOOPBACK_UP)
    return null


def make_group():
    """A cgroup for calls, where the kernel has both controllers that hold them."""
    global GROUP
    try:
        mount("cgroup2", GROUPS, NOSUID | NODEV | NOEXEC)
        write_file(f"{GROUPS}/cgroup.subtree_control", "+memory +pids")
        os.mkdir(f"{GROUPS}/guest")
        GROUP = f"{GROUPS}/guest"
    except OSError as error:
        print(f"no cgroup holds calls: {error}", file=sys.stderr, flush=True)


def write_file(path, text):
    with open(path, "w") as file:
        file.write(text)


def enter_group():
    if GROUP:
        write_file(f"{GROUP}/cgroup.procs", "0")


def hold_group(limits):
    if GROUP:
        write_file(f"{GROUP}/memory.max", str(limits["memory_bytes"]))
        write_file(f"{GROUP}/memory.oom.group", "1")
        write_file(f"{GROUP}/pids.max", str(limits["processes"]))


def listen():
    """The socket for the host: of virtual machines, or one that a test has opened."""
    for word in sys.argv[1:]:
        if word.startswith("--socket="):
            return socket.socket(fileno=int(word.partition("=")[2]))
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, PORT))
    listener.listen(1)
    return listener


def set_clock(now_ns):
    off_ns = abs(time.time_ns() - now_ns)
    if off_ns < CLOCK_OFF_NS:
        return
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, now_ns)
    except PermissionError:
        if off_ns > CLOCK_OFF_NS_MAX:
            raise


def add_entropy(bytes_of_host):
    """Two machines of one snapshot have one state of the kernel's generator until then."""
    info = struct.pack("=ii", 8 * len(bytes_of_host), len(bytes_of_host)) + bytes_of_host
    device = os.open("/dev/urandom", os.O_RDWR)
    try:
        fcntl.ioctl(device, ADD_ENTROPY, info)
        fcntl.ioctl(device, RESEED)
    finally:
        os.close(device)
    random.seed()


def mount_files(disk_bytes):
    temporary, shared = disk_bytes // 4, disk_bytes // 16
    work = disk_bytes - temporary - shared
    for target, size in ((WORK, work), ("/tmp", temporary), ("/dev/shm", shared)):
        files = max(1024, size >> 12)
        options = f"mode=0755,uid={GUEST},gid={GUEST},size={size},nr_inodes={files}"
        mount("tmpfs", target, NOSUID | NODEV, options)


def renewed(body):
    told, bytes_of_host = split(body)
    try:
        set_clock(told["now_ns"])
        add_entropy(bytes_of_host)
        mount_files(told["disk_bytes"])
        agent = Agent(told)
    except Exception as error:
        send_told(REFUSED, {"why": f"{type(error).__name__}: {error}"})
        os._exit(6)
    send_told(DONE, {"group": GROUP is not None})
    agent.run()


def serve(preload):
    if os.getpid() != 1:
        sys.exit("this is the first process of a guest, and no other")
    null = set_up()
    warm(preload)
    listener = listen()
    if listener.family == socket.AF_VSOCK:
        make_group()
    while True:
        stream, peer = listener.accept()
        if listener.family == socket.AF_VSOCK and peer[0] != HOST_CID:
            stream.close()
            continue
        for fd in (0, 1):
            os.dup2(stream.fileno(), fd)
        stream.close()
        try:
            hello()
            kind, _, body = receive()
        except (EOFError, OSError):
            # The host of a template leaves after the greeting, before the snapshot.
            for fd in (0, 1):
                os.dup2(null, fd)
            continue
        if kind != RENEW:
            os._exit(6)
        listener.close()
        renewed(body)


