# The keeper of a call.

def keep(call, streams):
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
    coming = sum(size for _, size in request["files"])
    mount_call(request["disk_bytes"])
    path = "."
    try:
        for path, size in request["files"]:
            put(path, size, read_file)
        path = "."
        if request["kind"] == "run":
            run_guest(call, request, streams)
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


def run_guest(call, request, streams):
    guest = os.fork()
    if guest == 0:
        be_guest(request, streams)
    for stream in streams:
        os.close(stream)
    ended, killed = watch(call, guest)
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
        if pid == guest:
            ended = status
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    left, files, sizes = request["collect_bytes"], [], []
    for index, path in enumerate(request["collect"]):
        found = take(path, left)
        if found is not None:
            left -= found[1]
            files.append(found)
            sizes.append([index, found[1]])
    cpu_us = int((used.ru_utime + used.ru_stime) * 1e6)
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
