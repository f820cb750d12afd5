"""Runs once in an interpreter whose memory every guest begins with; a guest then calls `run`."""

import atexit, builtins, gc, json, linecache, os, sys, traceback, types


def _read(count):
    parts = []
    while count > 0:
        part = os.read(0, min(count, 1 << 20))
        if not part:
            raise EOFError("the call is cut off")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _status_of(error):
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xff
    print(error.code, file=sys.stderr)
    return 1


def _execute(source):
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    try:
        code = compile(source, "main.py", "exec", dont_inherit=True)
        lines = source.splitlines(True)
        linecache.cache["main.py"] = (len(source), None, lines, "main.py")
        exec(code, main.__dict__)
    except SystemExit as error:
        return _status_of(error)
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != "main.py":
            trace = trace.tb_next
        error.__traceback__ = trace
        sys.excepthook(type(error), error, trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _run():
    call = json.loads(_read(int.from_bytes(_read(8), "little")))
    os.environ.update(call["environment"])
    sys.argv[:] = ["main.py", *call["arguments"]]
    sys.path.insert(0, "/work")
    # What was imported before has the seed of the one interpreter that all guests come from.
    for name in ("random", "numpy.random"):
        if name in sys.modules:
            sys.modules[name].seed()
    status = 1
    try:
        status = _execute(call["source"])
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
    except SystemExit as error:
        status = _status_of(error)
    except BaseException:
        status = status or 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        status = status or 120
    return status


def run():
    # Held here, since a program may put something else in its place. The interpreter's memory goes
    # with its guest: there is nothing for it to tidy up.
    leave, status = os._exit, 125
    try:
        status = _run()
    finally:
        leave(status)


for name in json.loads(os.read(0, 1 << 20)):
    __import__(name)
sys.modules["_headwater"] = sys.modules["__main__"]
os.chdir("/work")
# The guests' own collections leave these objects, and with them the pages, alone.
gc.collect()
gc.freeze()
