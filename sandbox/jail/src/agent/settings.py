"""Runs inside a slot: imports once, then forks for every call, ahead of it.

Three kinds of process run this file. The zygote is process 1 of the slot and only takes calls. Each
call gets a keeper, process 1 of the call's own namespaces: it mounts, puts files in, watches, and
collects. The guest is the keeper's child: it gives up every right and runs the program. The next
call's keeper and guest are made while nothing runs, and wait for their only call.
"""
import array, atexit, ctypes, errno, gc, io, json, linecache, os, resource, select, signal, socket
import stat, struct, sys, threading, time, traceback, types

CONFIG = json.loads(sys.argv[1])
CALLS, OWNER = CONFIG["calls"], CONFIG["owner"]
HELD = ctypes.PyDLL(None, use_errno=True)
HELD.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
NOSUID, NODEV, NOEXEC, REMOUNT, BIND, DETACH = 2, 4, 8, 32, 4096, 2
NEWNS, NEWPID = 0x20000, 0x20000000
CONTROL, MESSAGE, PIECE = 3, struct.Struct("<BQq"), 1 << 18


def check(result, doing):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")
    return result


def system(name, *arguments):
    return check(HELD.syscall(CALLS[name], *arguments), name)


def mount(source, target, kind, flags, options=None):
    check(HELD.mount(source, target, kind, flags, options), f"mounting {target.decode()}")


def tmpfs(target, disk, mode):
    options = f"size={max(disk, 4096)},nr_inodes={CONFIG['inodes']},mode={mode}"
    mount(b"tmpfs", target, b"tmpfs", NOSUID | NODEV | NOEXEC, options.encode())


def hand_over(path, mode):
    os.mkdir(path)
    os.chmod(path, mode)
    if OWNER is not None:
        os.chown(path, OWNER, OWNER)


def mount_session():
    tmpfs(b"/work", CONFIG["disk_bytes"], "0700")
    if OWNER is not None:
        os.chown("/work", OWNER, OWNER)


def mount_call():
    """The call's folders, as large as the slot's limit."""
    if CONFIG["session"]:
        tmpfs(b"/tmp", CONFIG["disk_bytes"], "1777")
    else:
        # One file system for both, so that both together keep the limit.
        tmpfs(b"/tmp", CONFIG["disk_bytes"], "0755")
        hand_over("/tmp/work", 0o700)
        hand_over("/tmp/tmp", 0o1777)
        mount(b"/tmp/work", b"/work", None, BIND)
        mount(b"/tmp/tmp", b"/tmp", None, BIND)
    if CONFIG["proc"]:
        mount(b"proc", b"/proc", b"proc", NOSUID | NODEV | NOEXEC, b"subset=pid,hidepid=2")


def fit_call(disk):
    """Makes the call's folders as small as the call's own limit, and as what a session leaves."""
    if CONFIG["session"]:
        left = os.statvfs("/work")
        disk = min(disk, left.f_bavail * left.f_frsize)
    if disk < CONFIG["disk_bytes"]:
        flags = NOSUID | NODEV | NOEXEC | REMOUNT
        mount(b"tmpfs", b"/tmp", b"tmpfs", flags, f"size={max(disk, 4096)}".encode())


def hear(way, size, most):
    """What came over a socket, and at most that many descriptors that came along."""
    number = array.array("i").itemsize
    data, extra, _, _ = way.recvmsg(size, socket.CMSG_SPACE(most * number))
    handles = array.array("i")
    for _, _, part in extra:
        handles.frombytes(part[: len(part) - len(part) % number])
    return data, list(handles)


def hand(way, data, handles):
    rights = array.array("i", handles)
    way.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
