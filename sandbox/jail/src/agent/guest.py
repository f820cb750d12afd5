# The guest: gives up every right, waits for its program, then runs it.

# The same for all guests: set once, by the zygote.
LIMITS = {
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_MEMLOCK: (1 << 16, 1 << 16),
    resource.RLIMIT_MSGQUEUE: (0, 0),
    resource.RLIMIT_SIGPENDING: (256, 256),
    resource.RLIMIT_RTPRIO: (0, 0),
    resource.RLIMIT_NICE: (0, 0),
}


def limit(limits):
    for kind, (soft, hard) in limits.items():
        most = resource.getrlimit(kind)[1]
        if most >= 0:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def limits_of(program):
    def same(value):
        return value, value

    limits = {
        resource.RLIMIT_FSIZE: same(program["file_bytes"]),
        resource.RLIMIT_CPU: (program["cpu_s"], program["cpu_s"] + 1),
        resource.RLIMIT_NPROC: same(program["processes"] + 2),
        resource.RLIMIT_NOFILE: same(program["open_files"]),
    }
    if program["address_bytes"]:
        limits[resource.RLIMIT_AS] = same(program["address_bytes"])
    return limits


READ, WRITE = 0x1 | 0x4 | 0x8, 0x7fff & ~(0x1 | 0x40 | 0x800)


def landlock():
    abi = CONFIG["landlock"]
    if not abi:
        return
    rights = 0x1fff | (0x2000 if abi >= 2 else 0) | (0x4000 if abi >= 3 else 0)
    rights |= 0x8000 if abi >= 5 else 0
    network = 0 if CONFIG["way_out"] else 3
    fields = [rights] + ([network] if abi >= 4 else []) + ([3] if abi >= 6 else [])
    data = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = system("landlock_create_ruleset", data, ctypes.c_size_t(len(data)), 0)
    for path, allowed in (("/", READ), ("/tmp", WRITE), ("/work", WRITE), ("/dev", 0x4 | 0x2)):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", allowed & rights, place)
        system("landlock_add_rule", ruleset, 1, rule, 0)
        os.close(place)
    system("landlock_restrict_self", ruleset, 0)
    os.close(ruleset)


class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


STEPS = ctypes.create_string_buffer(bytes.fromhex(CONFIG["filter"]))
FILTER = Program(len(CONFIG["filter"]) // 16, ctypes.addressof(STEPS))


def give_up_rights():
    if OWNER is not None:
        os.setgroups([])
        os.setresgid(OWNER, OWNER, OWNER)
        os.setresuid(OWNER, OWNER, OWNER)
    system("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))
    system("seccomp", 1, 0, ctypes.byref(FILTER))


def rehearse():
    """Goes a program's way once: the pages that this writes to are the guest's own then."""
    program = json.loads(json.dumps({"source": "print(end='')", "environment": [["A", "b"]]}))
    os.environ.clear()
    os.environ.update(program["environment"])
    source, main = program["source"], types.ModuleType("__main__")
    linecache.cache["main.py"] = (len(source), None, source.splitlines(True), "main.py")
    exec(compile(source, "main.py", "exec", dont_inherit=True), main.__dict__)
    sys.stdout.flush()


def get_ready(way):
    """All that needs no word of the program's, so that it runs as soon as it comes."""
    os.setsid()
    os.closerange(3, way.fileno())
    os.closerange(way.fileno() + 1, 1 << 20)
    if CONFIG["proc"]:
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, b"1000")
        os.close(score)
    os.chdir("/work")
    landlock()
    give_up_rights()
    open_streams()
    rehearse()


def take_program(way):
    data, streams = hear(way, 4, 3)
    text, size = bytearray(), struct.unpack("<I", data)[0]
    while len(text) < size:
        text += way.recv(min(size - len(text), PIECE))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    program = json.loads(text)
    # From here on this guest's end is its program's.
    way.send(b"b")
    way.close()
    os.closerange(3, 1 << 20)
    limit(limits_of(program))
    return program


def be_guest(way):
    # Held here, since a program may put something else in its place.
    leave, status = os._exit, 125
    try:
        try:
            get_ready(way)
        except BaseException as error:
            way.send(f"the guest could not begin: {error}".encode()[:4096])
            leave(status)
        way.send(b"r")
        try:
            program = take_program(way)
        except BaseException as error:
            os.write(2, f"the sandbox could not begin: {error}\n".encode())
        else:
            status = 1
            status = run_program(program)
    finally:
        # Whatever was raised, nothing goes back into the keeper's code.
        leave(status)


def open_streams():
    """Over pipes that lead nowhere, until the call's own pipes take their numbers."""
    ends = os.pipe()
    for number, end in enumerate((ends[0], ends[1], ends[1])):
        os.dup2(end, number)
    for end in ends:
        os.close(end)

    def text(number, mode, buffering, errors):
        return open(number, mode, buffering, encoding="utf-8", errors=errors, closefd=False)

    # Output goes out at each end of a line.
    sys.stdin = sys.__stdin__ = text(0, "r", -1, "surrogateescape")
    sys.stdout = sys.__stdout__ = text(1, "w", 1, "surrogateescape")
    sys.stderr = sys.__stderr__ = text(2, "w", 1, "backslashreplace")


def status_of(error):
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xff
    print(error.code, file=sys.stderr)
    return 1


def run_program(program):
    os.environ.clear()
    os.environ.update(program["environment"])
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    sys.argv = ["main.py", *program["arguments"]]
    sys.path.insert(0, "/work")
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    source, status = program["source"], 0
    try:
        try:
            lines = source.splitlines(True)
            linecache.cache["main.py"] = (len(source), None, lines, "main.py")
            exec(compile(source, "main.py", "exec", dont_inherit=True), main.__dict__)
        except SystemExit as error:
            status = status_of(error)
        except BaseException as error:
            status = 130 if isinstance(error, KeyboardInterrupt) else 1
            trace = error.__traceback__ and error.__traceback__.tb_next
            if isinstance(error, (SyntaxError, ValueError)) and trace is None:
                error.__traceback__ = None
            traceback.print_exception(type(error), error, trace)
        threading._shutdown()
        atexit._run_exitfuncs()
    except SystemExit as error:
        status = status_of(error)
    except BaseException:
        status = status or 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        status = status or 120
    return status
