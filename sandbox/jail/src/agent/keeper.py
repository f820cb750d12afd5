# The keeper of a call.

# How long a keeper stays when the host does not close an answered call.
HEARD_MS = 100


def keep(way):
    """Makes all that a call needs, then waits for the call; without one, for the slot's end."""
    guest = fault = None
    try:
        mount_call()
        guest = Guest()
        rehearse_serving()
    except Exception as error:
        fault = f"{type(error).__name__}: {error}"
    way.send(b"r")
    _, handles = hear(way, 1, 4)
    if not handles:
        return
    call, *streams = handles
    try:
        if fault:
            answer(call, {"fault": fault})
        else:
            serve(call, streams, guest, way)
    except BaseException as error:
        answer(call, {"fault": f"{type(error).__name__}: {error}"})
    # This end takes a while, on the processor that the host wants to hear the answer with.
    heard = select.poll()
    heard.register(call, select.POLLIN)
    heard.poll(HEARD_MS)


def rehearse_serving():
    """Answers a request once: the pages that this writes to are the keeper's own then."""
    ours, theirs = socket.socketpair()
    request = {"kind": "none", "program": 0, "files": [], "disk_bytes": CONFIG["disk_bytes"]}
    text = json.dumps(request).encode()
    ours.sendall(struct.pack("<I", len(text)) + text)
    serve(theirs.fileno(), [], None, None)
    ours.close()
    theirs.close()


def serve(call, streams, guest, way):
    def read(size):
        piece = os.read(call, size)
        if not piece:
            os._exit(3)
        return piece

    def read_all(size):
        pieces = []
        while size:
            pieces.append(read(size))
            size -= len(pieces[-1])
        return b"".join(pieces)

    def read_file(size):
        nonlocal coming
        piece = read(size)
        coming -= len(piece)
        return piece

    def refuse(path, why):
        # The host hears an answer only behind all that it has announced.
        while coming:
            read_file(min(coming, PIECE))
        answer(call, {"file": path, "why": why})

    request = json.loads(read_all(struct.unpack("<I", read_all(4))[0]))
    program = read_all(request["program"])
    coming = sum(size for _, size in request["files"])
    path = "."
    try:
        fit_call(request["disk_bytes"])
        for path, size in request["files"]:
            put(path, size, read_file)
        path = "."
        if request["kind"] == "run":
            # From here on this keeper's end may be the program's.
            way.send(b"b")
            run_guest(call, request, program, streams, guest)
        elif request["kind"] == "list":
            answer(call, {"entries": list_files(request["most"])})
        elif request["kind"] == "read":
            path = request["collect"][0]
            file = open_plain(path, os.O_RDONLY, False)
            size = os.fstat(file).st_size
            if size > request["most"]:
                raise Refused(f"it has {size} bytes, at most {request['most']} were asked for")
            answer(call, {"files": [[0, size]]}, [(file, size)])
        else:
            answer(call, {})
    except Refused as error:
        refuse(path, str(error))
    except OSError as error:
        links = (errno.ELOOP, errno.ENXIO, errno.ENOTDIR)
        why = "a folder or file of its path is no plain one" if error.errno in links else None
        refuse(path, why or os.strerror(error.errno or 0))


class Guest:
    """The guest, waiting for its program."""

    def __init__(self):
        self.way, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            be_guest(theirs)
        theirs.close()
        word = self.way.recv(4096)
        if word != b"r":
            raise RuntimeError(word.decode() or "the guest ended before its program came")

    def begin(self, program, streams):
        """Hands the program over. Whether it begins, and the seconds of processor time before."""
        before = 0
        try:
            before = time.clock_gettime(~self.pid << 3 | 2)
            hand(self.way, struct.pack("<I", len(program)), streams)
            self.way.sendall(program)
            return self.way.recv(1) == b"b", before
        except OSError:
            return False, before
        finally:
            self.way.close()


def begin_guest(guest, program, streams):
    begins, before = guest.begin(program, streams)
    if not begins:
        end = os.waitid(os.P_PID, guest.pid, os.WEXITED | os.WNOWAIT)
        if end.si_code == os.CLD_KILLED and end.si_status == signal.SIGKILL:
            # It was killed while it waited or took the program, of which nothing has run.
            os.waitpid(guest.pid, 0)
            guest, gone = Guest(), resource.getrusage(resource.RUSAGE_CHILDREN)
            before = guest.begin(program, streams)[1] + gone.ru_utime + gone.ru_stime
    return guest, before


def run_guest(call, request, program, streams, guest):
    guest, before = begin_guest(guest, program, streams)
    for stream in streams:
        os.close(stream)
    ended, killed = watch(call, guest.pid)
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == guest.pid:
            ended = status
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    left, files, sizes = request["collect_bytes"], [], []
    for index, path in enumerate(request["collect"]):
        found = take(path, left)
        if found is not None:
            left -= found[1]
            files.append(found)
            sizes.append([index, found[1]])
    cpu_us = max(int((used.ru_utime + used.ru_stime - before) * 1e6), 0)
    head = {"status": ended, "killed": killed, "cpu_us": cpu_us, "rss": used.ru_maxrss * 1024}
    answer(call, {**head, "files": sizes}, files)


def watch(call, guest):
    """Waits for the guest's end or the host's word, and buries orphans meanwhile."""
    handle = os.pidfd_open(guest)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(call, select.POLLIN)
    while True:
        events = dict(poll.poll(100))
        if call in events:
            if not os.read(call, 1):
                os._exit(3)
            return None, True
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == guest:
                return status, False
