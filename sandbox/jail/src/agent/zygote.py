# The zygote: takes calls, and forks.

def begin_call(control, handles):
    # Without the interpreter's own steps around a fork: here is one thread, and the keeper, which
    # runs nobody's code, needs no fresh random numbers. The guest's fork takes them.
    pid = HELD.syscall(CALLS["clone"], NEWNS | NEWPID | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        try:
            control.close()
            keep(handles[0], handles[1:])
        except BaseException as error:
            try:
                answer(handles[0], {"fault": f"{type(error).__name__}: {error}"})
            except OSError:
                pass
        os._exit(0)
    number = ctypes.get_errno()
    for handle in handles:
        os.close(handle)
    return pid, number


def attend(control, identity, handles):
    """One call, to the end of its last process."""
    pid, number = begin_call(control, handles)
    if pid < 0:
        return control.send(MESSAGE.pack(ord("f"), identity, number))
    keeper = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(keeper, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if control.fileno() in events:
            data = control.recv(MESSAGE.size)
            if not data:
                os._exit(0)
            kind, about, _ = MESSAGE.unpack(data)
            if kind == ord("k") and about == identity:
                os.kill(pid, signal.SIGKILL)
        if keeper in events:
            os.close(keeper)
            # The kernel tells this end only when every process of the call's namespace is gone.
            _, status = os.waitpid(pid, 0)
            return control.send(MESSAGE.pack(ord("d"), identity, status))


def recycle():
    """How much is left behind: children, files, open files."""
    try:
        os.waitpid(-1, os.WNOHANG)
        return 1
    except ChildProcessError:
        pass
    if CONFIG["session"]:
        check(HELD.umount2(b"/work", DETACH), "unmounting /work")
        mount_session()
    if os.listdir("/tmp") or os.listdir("/work"):
        return 2
    gc.collect()
    return 0


def main():
    HELD.prctl(1, signal.SIGKILL, 0, 0, 0)
    limit(LIMITS)
    if CONFIG["session"]:
        mount_session()
    for name in CONFIG["preload"]:
        __import__(name)
    control = socket.socket(fileno=CONTROL)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)
    gc.collect()
    gc.freeze()
    control.send(MESSAGE.pack(ord("r"), 0, os.getpid()))
    while True:
        space = socket.CMSG_SPACE(4 * array.array("i").itemsize)
        data, extra, _, _ = control.recvmsg(MESSAGE.size, space)
        if not data:
            os._exit(0)
        kind, identity, _ = MESSAGE.unpack(data)
        handles = array.array("i")
        for _, _, part in extra:
            handles.frombytes(part[: len(part) - len(part) % handles.itemsize])
        if kind == ord("c"):
            attend(control, identity, list(handles))
        elif kind == ord("z"):
            control.send(MESSAGE.pack(ord("z"), identity, recycle()))


