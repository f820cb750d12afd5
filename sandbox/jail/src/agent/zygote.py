# The zygote: takes calls, and forks ahead of them.

# How long the host may say nothing before the next call's keeper is made: it may want to recycle.
IDLE_MS = 2
# The same where the last one died before its call came.
AGAIN_MS = 1000
# The end of a keeper that handed no program on.
UNBEGUN = -1


class Keeper:
    """The keeper of the next call, then of this call alone."""

    def __init__(self, control, handles=()):
        self.call, self.said = None, False
        self.way, theirs = socket.socketpair()
        # Without the interpreter's own steps around a fork: here is one thread, and the keeper,
        # which runs nobody's code, needs no fresh random numbers. The guest's fork takes them.
        self.pid = HELD.syscall(CALLS["clone"], NEWNS | NEWPID | signal.SIGCHLD, 0, 0, 0, 0)
        if self.pid == 0:
            try:
                control.close()
                self.way.close()
                # Those of a call that came before its keeper was made: it gets its own, and while
                # others are open nobody hears the end of what the guest writes.
                for handle in handles:
                    os.close(handle)
                keep(theirs)
            finally:
                os._exit(0)
        theirs.close()
        if self.pid < 0:
            self.way.close()
            check(self.pid, "clone")
        self.end = os.pidfd_open(self.pid)

    def begin(self, call, handles):
        """False where it died before its call came."""
        try:
            hand(self.way, b"c", handles)
        except OSError:
            return False
        self.call = call
        return True

    def began(self):
        """Of an ended one: whether it may have handed a program on."""
        try:
            return b"b" in self.way.recv(2, socket.MSG_DONTWAIT)
        except OSError:
            return False

    def bury(self):
        self.way.close()
        os.close(self.end)
        # The kernel tells this end only when every process of the call's namespace is gone.
        return os.waitpid(self.pid, 0)[1]


class Zygote:
    def __init__(self, control):
        self.control, self.keeper, self.asked = control, None, None
        # Until a keeper is made ahead of its call; none: not before the host asks for it.
        self.wait_ms = None

    def tell(self, kind, call, value=0):
        self.control.send(MESSAGE.pack(ord(kind), call, value))

    def make(self, handles=()):
        """The system's error where there is no keeper then."""
        try:
            self.keeper = self.keeper or Keeper(self.control, handles)
        except OSError as error:
            return error.errno
        return 0

    def begin(self, call, handles):
        failed = 0
        # The second one where the first one had died meanwhile.
        for _ in range(2):
            failed = self.make(handles)
            if failed or self.keeper.begin(call, handles):
                break
            self.keeper.bury()
            self.keeper, failed = None, errno.EAGAIN
        for handle in handles:
            os.close(handle)
        if failed:
            self.tell("f", call, failed)

    def spare(self, call):
        """Answers when the next call's keeper waits, or cannot be had."""
        failed = self.make()
        if failed or self.keeper.said:
            self.tell("s", call, failed)
        else:
            self.asked = call

    def clean(self, call):
        left = 1
        if not self.keeper or self.keeper.call is None:
            # It has heard nothing, but what comes then is made of what was proved.
            if self.keeper:
                os.kill(self.keeper.pid, signal.SIGKILL)
                self.keeper.bury()
            self.keeper = self.asked = self.wait_ms = None
            left = recycle()
        self.tell("z", call, left)

    def ended(self):
        call, began = self.keeper.call, self.keeper.began()
        status = self.keeper.bury()
        self.keeper, self.wait_ms = None, AGAIN_MS if call is None else IDLE_MS
        if call is not None:
            self.tell("d", call, status if began else UNBEGUN)
        self.heard(errno.ESRCH)

    def heard(self, failed):
        if self.asked is not None:
            self.tell("s", self.asked, failed)
            self.asked = None

    def take(self):
        data, handles = hear(self.control, MESSAGE.size, 4)
        if not data:
            os._exit(0)
        kind, call, _ = MESSAGE.unpack(data)
        if kind == ord("c"):
            self.begin(call, handles)
        elif kind == ord("k") and self.keeper and self.keeper.call == call:
            os.kill(self.keeper.pid, signal.SIGKILL)
        elif kind == ord("s"):
            self.spare(call)
        elif kind == ord("z"):
            self.clean(call)

    def step(self):
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        keeper = self.keeper
        if keeper:
            poll.register(keeper.end, select.POLLIN)
            if not keeper.said:
                poll.register(keeper.way, select.POLLIN)
        events = dict(poll.poll(None if keeper else self.wait_ms))
        if not events and self.make():
            self.wait_ms = AGAIN_MS
        if keeper and keeper.way.fileno() in events:
            keeper.said = True
            if keeper.way.recv(1):
                self.heard(0)
        if keeper and keeper.end in events:
            self.ended()
        if self.control.fileno() in events:
            self.take()


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
    zygote = Zygote(control)
    zygote.tell("r", 0, os.getpid())
    while True:
        zygote.step()
