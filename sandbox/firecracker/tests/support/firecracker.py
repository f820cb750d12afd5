#!/usr/bin/python3
"""A double of Firecracker: its API, as strict as the real one, and behind its vsock the real agent,
as the first process of namespaces of its own in the root that the drive holds.

Behind the magic number of the kernel that it is given stands JSON: `trees`, a folder for what drives
hold, and what it does wrong on purpose, for restored machines below `restored`: `deaf` (nothing
listens in the guest), `mute` (the vsock takes a connection and says no more), `babble` (what speaks is
no agent), `slow` (bytes come one by one), `stuck` (the load never answers), `refuse` (it fails).
"""
import json
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

VERSION = "1.16.1"
NUMBER, TEXT, BOOL = int, str, bool
BUCKET = {"size": NUMBER, "refill_time": NUMBER, "one_time_burst?": NUMBER}
LIMITER = {"bandwidth?": BUCKET, "ops?": BUCKET}
BODIES = {
    ("PUT", "machine-config"): {"vcpu_count": NUMBER, "mem_size_mib": NUMBER, "smt?": BOOL,
                                "track_dirty_pages?": BOOL, "huge_pages?": TEXT},
    ("PUT", "boot-source"): {"kernel_image_path": TEXT, "boot_args?": TEXT, "initrd_path?": TEXT},
    ("PUT", "drives"): {"drive_id": TEXT, "is_root_device": BOOL, "is_read_only?": BOOL,
                        "path_on_host?": TEXT, "partuuid?": TEXT, "cache_type?": TEXT,
                        "io_engine?": TEXT, "rate_limiter?": LIMITER, "socket?": TEXT},
    ("PUT", "vsock"): {"guest_cid": NUMBER, "uds_path": TEXT, "vsock_id?": TEXT},
    ("PUT", "entropy"): {"rate_limiter?": LIMITER},
    ("PUT", "actions"): {"action_type": TEXT},
    ("PATCH", "vm"): {"state": TEXT},
    ("PUT", "snapshot/create"): {"snapshot_path": TEXT, "mem_file_path": TEXT,
                                 "snapshot_type?": TEXT},
    ("PUT", "snapshot/load"): {"snapshot_path": TEXT, "resume_vm?": BOOL,
                               "track_dirty_pages?": BOOL,
                               "mem_backend": {"backend_type": TEXT, "backend_path": TEXT}},
}
BOOT = """set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t tmpfs -o mode=0755 dev "$1/dev"
mknod -m 666 "$1/dev/null" c 1 3
mknod -m 666 "$1/dev/zero" c 1 5
mknod -m 666 "$1/dev/random" c 1 8
mknod -m 666 "$1/dev/urandom" c 1 9
mount -o remount,bind,ro "$1"
exec setpriv --bounding-set -sys_time --inh-caps -sys_time chroot "$1" "$2" "$3"
"""


class Fault(Exception):
    pass


def check(body, form):
    if not isinstance(body, dict):
        raise Fault("invalid type: expected a map")
    names = {name.rstrip("?"): name for name in form}
    for name, value in body.items():
        if name not in names:
            wanted = ", ".join(f"`{name}`" for name in names)
            raise Fault(f"unknown field `{name}`, expected one of {wanted}")
        kind = form[names[name]]
        if isinstance(kind, dict):
            check(value, kind)
        elif type(value) is not kind:
            raise Fault(f"invalid type of `{name}`: expected {kind.__name__}")
    for name, form_name in names.items():
        if not form_name.endswith("?") and name not in body:
            raise Fault(f"missing field `{name}`")


def readable(path):
    """A file that the machine's user could open: the double runs as root."""
    try:
        if not os.stat(path).st_mode & 0o004:
            raise Fault(f"{path}: Permission denied (os error 13)")
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        raise Fault(f"{path}: {error.strerror} (os error {error.errno})") from error


def run(*words):
    return subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)


class Machine:
    def __init__(self, name):
        self.name, self.state, self.parts, self.drives = name, "Not started", {}, {}
        self.ways, self.streams, self.agent, self.lock = {}, [], None, threading.Lock()
        self.tasks = queue.Queue()

    def call(self, method, path, body):
        kind, _, rest = path.strip("/").partition("/")
        if method == "GET" and kind == "":
            return {"id": self.name, "state": self.state, "vmm_version": VERSION,
                    "app_name": "Firecracker"}
        if method == "GET" and path == "/version":
            return {"firecracker_version": VERSION}
        key = (method, path.strip("/") if kind == "snapshot" else kind)
        if key not in BODIES:
            raise Fault(f"Invalid request method and/or path: {method} {path}.")
        if body is None:
            raise Fault(f"Empty {method} request.")
        try:
            told = json.loads(body)
            check(told, BODIES[key])
        except (ValueError, Fault) as error:
            raise Fault("An error occurred when deserializing the json body of a request: "
                        f"{error}.") from error
        with self.lock:
            return self.act(key, rest, told)

    def act(self, key, rest, told):
        started = self.state != "Not started"
        if key in (("PATCH", "vm"), ("PUT", "snapshot/create")):
            if not started:
                raise Fault("The requested operation is not supported before starting the microVM.")
            return self.turn(told) if key[0] == "PATCH" else self.save(told)
        if started:
            raise Fault("The requested operation is not supported after starting the microVM.")
        if key == ("PUT", "snapshot/load"):
            return self.load(told)
        if key == ("PUT", "actions"):
            return self.start(told)
        if key == ("PUT", "drives"):
            if rest != told["drive_id"]:
                raise Fault("The id from the path does not match the id from the body!")
            if not re.fullmatch("[0-9A-Za-z_]+", rest):
                raise Fault("API Resource IDs can only contain alphanumeric characters and "
                            "underscores.")
            readable(told["path_on_host"])
            self.drives[rest] = told
        else:
            self.parts[key[1]] = told
        if key[1] == "boot-source":
            readable(told["kernel_image_path"])
        if key[1] == "machine-config" and not 1 <= told["vcpu_count"] <= 32:
            raise Fault("Machine config error: The number of vCPUs must be greater than 0")
        if key[1] == "vsock" and told["guest_cid"] < 3:
            raise Fault("Vsock config error: Cannot create vsock device: Invalid CID")
        return None

    def start(self, told):
        if told["action_type"] != "InstanceStart":
            raise Fault("An error occurred when deserializing the json body of a request: "
                        "unknown variant.")
        if "boot-source" not in self.parts:
            raise Fault("Start microvm error: Cannot start microvm without kernel configuration.")
        kernel = readable(self.parts["boot-source"]["kernel_image_path"])
        if not kernel.startswith(b"\x7fELF"):
            raise Fault("Start microvm error: Cannot load kernel due to invalid memory "
                        "configuration or invalid kernel image")
        self.ways = json.loads(kernel[4:] or b"{}")
        roots = [drive for drive in self.drives.values() if drive["is_root_device"]]
        if len(roots) != 1 or not roots[0].get("is_read_only"):
            raise Fault("this double boots one root that is read only")
        words = self.parts["boot-source"]["boot_args"].split()
        init = next(word[5:] for word in words if word.startswith("init="))
        tree = self.tree(roots[0]["path_on_host"])
        self.snapshot = {"tree": tree, "init": init, "ways": self.ways,
                         "drive": roots[0]["path_on_host"],
                         "uds_path": self.parts["vsock"]["uds_path"],
                         "mem_size_mib": self.parts["machine-config"]["mem_size_mib"]}
        self.begin()
        self.state = "Running"

    def tree(self, drive):
        """What a drive holds, in a folder that machines of the same drive share."""
        seen = os.stat(drive)
        tree = os.path.join(self.ways["trees"], f"{seen.st_ino}-{seen.st_mtime_ns}")
        if not os.path.isdir(tree):
            making = f"{tree}-{os.getpid()}"
            os.mkdir(making)
            run("debugfs", "-R", f'rdump / "{making}"', drive)
            os.chmod(making, 0o755)
            try:
                os.rename(making, tree)
            except OSError:
                shutil.rmtree(making)
        return tree

    def begin(self):
        far = socket.socket(socket.AF_UNIX)
        far.bind("guest.sock")
        far.listen(1)
        if not self.ways.get("deaf"):
            words = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--mount", "--net", "--ipc", "--uts", "--fork",
                     "--kill-child", "sh", "-c", BOOT, "sh", self.snapshot["tree"],
                     self.snapshot["init"], f"--socket={far.fileno()}"]
            # It dies with the thread that starts it: only the first one lives as long as this.
            done = threading.Event()
            self.tasks.put((words, far.fileno(), done))
            done.wait()
            threading.Thread(target=self.watch, daemon=True).start()
        far.close()
        door = socket.socket(socket.AF_UNIX)
        door.bind(self.snapshot["uds_path"])
        door.listen(8)
        threading.Thread(target=self.serve_vsock, args=[door], daemon=True).start()

    def watch(self):
        self.agent.wait()
        # The kernel of a guest panics without its first process, and the machine ends.
        print("Kernel panic - not syncing: Attempted to kill init!", flush=True)
        self.leave(0)

    def leave(self, status):
        os._exit(status)

    def start_agents(self):
        while True:
            words, fd, done = self.tasks.get()
            self.agent = subprocess.Popen(words, pass_fds=[fd], stdin=subprocess.DEVNULL)
            done.set()

    def serve_vsock(self, door):
        while True:
            host, _ = door.accept()
            threading.Thread(target=self.connect, args=[host], daemon=True).start()

    def connect(self, host):
        line = b""
        while not line.endswith(b"\n") and len(line) < 32:
            line += host.recv(1) or b"\n"
        if self.ways.get("mute"):
            return time.sleep(3600)
        if self.ways.get("babble"):
            return self.babble(host)
        if line != b"CONNECT 52\n" or self.state != "Running":
            return host.close()
        guest = socket.socket(socket.AF_UNIX)
        try:
            guest.connect("guest.sock")
        except OSError:
            return host.close()
        host.sendall(b"OK 1073741824\n")
        self.streams += [host, guest]
        threading.Thread(target=self.carry, args=[host, guest], daemon=True).start()
        self.carry(guest, host)

    def babble(self, host):
        host.sendall(b"OK 1073741824\n")
        try:
            while True:
                host.sendall(b"\xff" * 65536)
        except OSError:
            host.close()

    def carry(self, source, target):
        try:
            while data := source.recv(1 << 16):
                if self.ways.get("slow") and len(data) < 4096:
                    for byte in data:
                        target.sendall(bytes([byte]))
                else:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for side in (source, target):
                side.close()

    def turn(self, told):
        if told["state"] not in ("Paused", "Resumed"):
            raise Fault("An error occurred when deserializing the json body of a request: unknown "
                        f"variant `{told['state']}`, expected `Paused` or `Resumed`.")
        self.state = "Paused" if told["state"] == "Paused" else "Running"

    def save(self, told):
        if self.state != "Paused":
            raise Fault("Create snapshot error: Cannot perform operation on the microVM while it "
                        "is running")
        for stream in self.streams:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with open(told["snapshot_path"], "w") as file:
            file.write("state")
        with open(told["mem_file_path"], "w") as file:
            file.write(json.dumps(self.snapshot))
            file.truncate(self.snapshot["mem_size_mib"] << 20)

    def load(self, told):
        if self.parts or self.drives:
            raise Fault("Load snapshot error: Loading a microVM snapshot not allowed after "
                        "configuring boot-specific resources.")
        if told["mem_backend"]["backend_type"] not in ("File", "Uffd"):
            raise Fault("An error occurred when deserializing the json body of a request: unknown "
                        "variant.")
        readable(told["snapshot_path"])
        self.snapshot = json.loads(readable(told["mem_backend"]["backend_path"]).rstrip(b"\0"))
        self.ways = self.snapshot["ways"].get("restored", {})
        if self.ways.get("stuck"):
            time.sleep(3600)
        try:
            if self.ways.get("refuse"):
                raise Fault("the CPU is another one")
            readable(self.snapshot["drive"])
        except Fault as error:
            # After this one the real process ends.
            threading.Timer(0.2, self.leave, [1]).start()
            raise Fault(f"Load snapshot error: Failed to restore from snapshot: {error}") from error
        self.begin()
        self.state = "Running" if told.get("resume_vm") else "Paused"


def answer(machine, stream):
    reader = stream.makefile("rb")
    while line := reader.readline():
        method, path, version = line.decode().split()
        headers = {}
        while (line := reader.readline().strip()):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0))) or None
        try:
            if version != "HTTP/1.1":
                raise Fault(f"Unsupported HTTP version: {version}")
            told, status = machine.call(method, path, body), "200 OK"
        except Fault as error:
            told, status = {"fault_message": str(error)}, "400 Bad Request"
        head = "Server: Firecracker API\r\nConnection: keep-alive\r\n"
        if told is None:
            stream.sendall(f"HTTP/1.1 204 \r\n{head}\r\n".encode())
        else:
            text = json.dumps(told)
            head += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
            stream.sendall(f"HTTP/1.1 {status[:3]} \r\n{head}\r\n{text}".encode())


def main():
    words = sys.argv[1:]
    if words == ["--version"]:
        return print(f"Firecracker v{VERSION}\n")
    known = {"--id", "--start-time-us", "--start-time-cpu-us", "--api-sock", "--level"}
    found, words = {}, [part for word in words for part in word.split("=", 1)]
    while words:
        name, value = words.pop(0), words.pop(0)
        if name not in known:
            sys.exit(f"Firecracker error: Found argument '{name}' which wasn't expected")
        found[name] = value
    machine = Machine(found["--id"])
    os.environ["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    door = socket.socket(socket.AF_UNIX)
    door.bind(found.get("--api-sock", "/run/firecracker.socket"))
    door.listen(4)
    threading.Thread(target=serve_api, args=[machine, door], daemon=True).start()
    machine.start_agents()


def serve_api(machine, door):
    while True:
        stream, _ = door.accept()
        threading.Thread(target=answer, args=[machine, stream], daemon=True).start()


main()
