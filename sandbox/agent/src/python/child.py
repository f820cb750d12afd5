

# A child waits for its call before the call comes: the fork is not on the call's way.
OUT_OF_MEMORY = signal.SIGRTMAX


class Spare:
    def __init__(self):
        self.input = os.memfd_create("input")
        command_end, self.command = os.pipe()
        self.out, out_end = os.pipe()
        self.err, err_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                be_child(command_end, self.input, out_end, err_end)
            finally:
                os._exit(70)
        for fd in (command_end, out_end, err_end):
            os.close(fd)
        for fd in (self.out, self.err):
            os.set_blocking(fd, False)

    def begin(self, told, given):
        write_all(self.input, given)
        os.lseek(self.input, 0, os.SEEK_SET)
        os.close(self.input)
        text = to_json(told).encode()
        write_all(self.command, small(len(text)) + text)
        os.close(self.command)


def enter_group():
    """An engine whose guests have cgroups of their own puts its step here."""


def be_child(command, given, out, err):
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for fd, number in ((given, 0), (out, 1), (err, 2)):
        os.dup2(fd, number)
    for fd in descriptors():
        if fd > 2 and fd != command:
            try:
                os.close(fd)
            except OSError:
                pass
    enter_group()
    os.setgroups([])
    os.setresgid(GUEST, GUEST, GUEST)
    os.setresuid(GUEST, GUEST, GUEST)
    os.umask(0o022)
    os.chdir(WORK)
    told = from_json(read_all(command, number_of(read_all(command, 4))).decode())
    os.close(command)
    hold(told["limits"])
    if "numpy.random" in sys.modules:
        # Its numbers do not begin anew at a fork, as those of `random` do.
        sys.modules["numpy.random"].seed()
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.argv = ["main.py"] + told["arguments"]
    sys.stdout.reconfigure(line_buffering=True)
    os._exit(run_source(told["source"]) & 0xFF)


def hold(limits):
    rows = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits["cpu_ms"] // 1000 + 1),
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_MEMLOCK, 0),
    )
    for name, most in rows:
        resource.setrlimit(name, (most, most))


def run_source(source):
    module = type(sys)("__main__")
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    status = 0
    try:
        exec(compile(source, "main.py", "exec", dont_inherit=True), module.__dict__)
    except SystemExit as end:
        status = status_of(end.code)
    except MemoryError:
        tell(sys.exc_info())
        # Its end tells the agent why, without a descriptor that the guest could write to.
        os.kill(os.getpid(), OUT_OF_MEMORY)
    except BaseException:
        status = tell(sys.exc_info())
    return finish_interpreter(status)


def status_of(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def tell(error):
    kind, value, trace = error
    # The first frame is the agent's own.
    inner = trace.tb_next if trace is not None else None
    sys.excepthook(kind, value.with_traceback(inner), inner)
    return 130 if kind is KeyboardInterrupt else 1


def finish_interpreter(status):
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
    except BaseException:
        status = tell(sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            status = status or 120
    return status
