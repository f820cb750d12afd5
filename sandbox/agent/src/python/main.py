

# The loop: one thread, one call at a time.
class Loop:
    def __init__(self):
        self.poll, self.ready = select.poll(), {}

    def watch(self, fd, mask, ready):
        if mask is None:
            if self.ready.pop(fd, None) is not None:
                self.poll.unregister(fd)
            return
        self.ready[fd] = ready
        self.poll.register(fd, mask)

    def turn(self, wait_ms):
        for fd, events in self.poll.poll(wait_ms):
            ready = self.ready.get(fd)
            if ready is not None:
                ready(events)


class Call:
    def __init__(self, spare, told):
        self.spare, self.told = spare, told
        self.began, self.memory_kills = time.monotonic(), memory_kills()
        self.cpu_s, self.peak_kib = 0.0, 0
        self.status = self.killed = None


def warm(preload):
    for name in preload:
        __import__(name)
    # A collection in a child would write to what it shares with the agent: pages of its own.
    gc.freeze()


def hello():
    with open("/proc/version") as version:
        kernel = version.read().strip()
    send_told(HELLO, {"python": sys.version.split()[0], "kernel": kernel})


def hold_group(limits):
    """An engine whose guests have cgroups of their own puts its step here."""


class Agent:
    def __init__(self, settings):
        self.session = settings["session"]
        self.call = self.relays = None
        self.cpus = os.cpu_count() or 1
        self.loop = Loop()
        waker, wake = os.pipe()
        for fd in (waker, wake):
            os.set_blocking(fd, False)
        self.waker = waker
        signal.signal(signal.SIGCHLD, lambda *told: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        if settings["egress"]:
            self.relays = Relays(self.loop)
        self.loop.watch(0, select.POLLIN, self.command)
        self.loop.watch(waker, select.POLLIN, self.woken)
        self.spare = Spare()

    def run(self):
        try:
            while True:
                self.loop.turn(50 if self.call else None)
                if self.call:
                    self.watch_time()
        except EOFError:
            # The host is gone: the guest ends with its first process.
            os._exit(0)

    def woken(self, events):
        try:
            os.read(self.waker, 4096)
        except BlockingIOError:
            pass
        self.reap()

    def command(self, events):
        kind, channel, body = receive()
        if kind in (TO_GUEST, TO_GUEST_CREDIT, TO_GUEST_CLOSE):
            if self.relays:
                self.relays.heard(kind, channel, body)
        elif kind == KILL:
            if self.call and self.call.told["number"] == channel:
                self.call.killed = self.call.killed or "host"
                self.finish()
        else:
            self.serve(kind, body)

    def serve(self, kind, body):
        told, blob = split(body)
        try:
            if kind == PUT:
                put(told, blob)
            elif kind == GET:
                get(told["path"], told["bytes_max"])
            elif kind == LIST:
                return send_told(DONE, {"entries": list_work(told["entries_max"])})
            elif kind == USAGE:
                return send_told(DONE, self.usage())
            else:
                return self.begin(told, blob)
            send_told(DONE, {})
        except Refused as why:
            send_told(REFUSED, {"why": str(why)})
        except OSError as error:
            send_told(REFUSED, {"why": (error.strerror or str(error)).lower()})

    def begin(self, told, blob):
        self.call = Call(self.spare, told)
        hold_group(told["limits"])
        self.spare.begin(told, blob)
        for fd, kind in ((self.spare.out, OUT), (self.spare.err, ERR)):
            self.loop.watch(fd, select.POLLIN, lambda events, fd=fd, kind=kind: self.pump(fd, kind))

    def pump(self, fd, kind):
        try:
            data = os.read(fd, PIECE_BYTES)
        except BlockingIOError:
            return False
        if data:
            send(kind, data)
        else:
            self.loop.watch(fd, None, None)
        return bool(data)

    def reap(self):
        ended = False
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if self.call is None:
                if pid == self.spare.pid:
                    # Nobody may touch a child that waits.
                    os._exit(4)
                continue
            self.call.cpu_s += used.ru_utime + used.ru_stime
            self.call.peak_kib = max(self.call.peak_kib, used.ru_maxrss)
            if pid == self.call.spare.pid:
                self.call.status, ended = status, True
        if ended and self.call.killed is None:
            self.finish()

    def watch_time(self):
        limit_s = self.call.told["limits"]["cpu_ms"] / 1000
        if (time.monotonic() - self.call.began) * self.cpus < limit_s:
            return
        if self.call.cpu_s + living_cpu_s() >= limit_s:
            self.call.killed = "cpu"
            self.finish()

    def finish(self):
        call = self.call
        call.killed = call.killed or "end"
        self.kill_all()
        for fd, kind in ((call.spare.out, OUT), (call.spare.err, ERR)):
            while call.killed != "host" and self.pump(fd, kind):
                pass
            self.loop.watch(fd, None, None)
        if self.relays:
            self.relays.close_all()
        send_told(END, self.ending())
        left = call.told["collect_bytes_max"]
        for path in call.told["collect"]:
            try:
                left -= get(path, min(left, call.told["limits"]["file_bytes"]))
            except (OSError, Refused):
                pass
        for fd in (call.spare.out, call.spare.err):
            os.close(fd)
        self.call = None
        send_told(DONE, {})
        # After the answer: the next call finds this done.
        renew(["/tmp", "/dev/shm"] + ([] if self.session else [WORK]))
        self.spare = Spare()

    def kill_all(self):
        until = time.monotonic() + 2
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.reap()
            try:
                gone = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
            except ChildProcessError:
                return
            if time.monotonic() > until:
                # The sandbox ends with its first process, and all others with it.
                os._exit(5)
            if gone:
                time.sleep(0.0005)

    def ending(self):
        call = self.call
        told = {"cpu_us": int(call.cpu_s * 1e6), "peak_bytes": call.peak_kib * 1024}
        limit_s = call.told["limits"]["cpu_ms"] / 1000
        status = call.status if call.status is not None else 9
        signalled = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        short = signalled == signal.SIGKILL and memory_kills() > call.memory_kills
        memory = short or signalled == OUT_OF_MEMORY
        if call.killed == "cpu" or (os.WIFSIGNALED(status) and call.cpu_s >= limit_s):
            told["ended"] = "cpu"
        elif memory:
            told["ended"] = "memory"
        elif os.WIFSIGNALED(status):
            told["ended"], told["number"] = "signal", os.WTERMSIG(status)
        else:
            told["ended"], told["number"] = "exit", os.WEXITSTATUS(status)
        return told

    def usage(self):
        idle = (1, 0 if self.call else self.spare.pid)
        seen = list(processes())
        resident = sum(int(fields[21]) for _, fields in seen) * resource.getpagesize()
        return {"processes": sum(pid not in idle for pid, _ in seen), "resident": resident}


KERNEL_THREAD = 0x200000


def processes():
    """Processes, each with its fields from the third on, without the kernel's own threads."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as told:
                    fields = told.read().rpartition(")")[2].split()
            except OSError:
                continue
            if len(fields) > 21 and not int(fields[6]) & KERNEL_THREAD:
                yield int(name), fields


def living_cpu_s():
    ticks = sum(sum(map(int, fields[11:15])) for pid, fields in processes() if pid != 1)
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_kills():
    """How often this kernel has killed for want of memory; 0 where it does not count."""
    try:
        with open("/proc/vmstat") as told:
            counts = dict(line.split() for line in told)
        return int(counts.get("oom_kill", 0))
    except (OSError, ValueError):
        return 0
