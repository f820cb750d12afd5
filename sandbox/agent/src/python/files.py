

# Files of the guest are opened with the guest's own rights and part by part, so that no link that
# it planted leads anywhere.
WORK = "/work"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    pass


class AsGuest:
    def __enter__(self):
        os.setegid(GUEST)
        os.seteuid(GUEST)

    def __exit__(self, *error):
        os.seteuid(0)
        os.setegid(0)


def open_parent(path, make):
    *folders, name = path.split("/")
    at = os.open(WORK, FOLDER)
    for folder in folders:
        try:
            if make:
                try:
                    os.mkdir(folder, 0o755, dir_fd=at)
                except FileExistsError:
                    pass
            # This kernel may follow a link in spite of the flags.
            if not stat.S_ISDIR(os.stat(folder, dir_fd=at, follow_symlinks=False).st_mode):
                raise Refused("lies below what is no folder")
            inner = os.open(folder, FOLDER, dir_fd=at)
        finally:
            os.close(at)
        at = inner
    return at, name


def open_file(path, flags, make):
    at, name = open_parent(path, make)
    try:
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, 0o644, dir_fd=at)
    finally:
        os.close(at)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused("is no regular file")
    return fd


def put(told, blob):
    first = told["offset"] == 0
    with AsGuest():
        flags = os.O_WRONLY | (os.O_CREAT | os.O_TRUNC if first else 0)
        fd = open_file(told["path"], flags, first)
        try:
            os.lseek(fd, told["offset"], os.SEEK_SET)
            write_all(fd, blob)
        finally:
            os.close(fd)


def get(path, bytes_max):
    with AsGuest():
        fd = open_file(path, os.O_RDONLY, False)
    try:
        size = os.fstat(fd).st_size
        if size > bytes_max:
            raise Refused(f"has {size} bytes, {bytes_max} are allowed")
        left = size
        while left:
            piece = os.read(fd, min(left, CHUNK_BYTES))
            if not piece:
                break
            left -= len(piece)
            send_told(FILE, {"path": path, "more": True}, piece)
    finally:
        os.close(fd)
    send_told(FILE, {"path": path, "more": False})
    return size - left


def told_path(below, name):
    path = below + name
    try:
        path.encode()
    except UnicodeEncodeError:
        return None
    return path


def entries_of(at, below, entries_max, found):
    for name in sorted(os.listdir(at)):
        if len(found) >= entries_max:
            return
        path = told_path(below, name)
        seen = os.stat(name, dir_fd=at, follow_symlinks=False)
        folder = stat.S_ISDIR(seen.st_mode)
        if path is None or not (folder or stat.S_ISREG(seen.st_mode)):
            continue
        found.append([path, 0 if folder else seen.st_size, folder])
        if folder and below.count("/") < 64:
            inner = os.open(name, FOLDER, dir_fd=at)
            try:
                entries_of(inner, path + "/", entries_max, found)
            finally:
                os.close(inner)


def list_work(entries_max):
    found = []
    with AsGuest():
        at = os.open(WORK, FOLDER)
        try:
            entries_of(at, "", entries_max, found)
        finally:
            os.close(at)
    return found


def empty(at, until):
    # Folders inside of folders are moved up first: no depth of them fills a stack.
    moved = 0
    while names := os.listdir(at):
        for name in names:
            if time.monotonic() > until:
                # What cannot be cleaned in time is never used again.
                os._exit(3)
            try:
                os.unlink(name, dir_fd=at)
                continue
            except (IsADirectoryError, PermissionError):
                pass
            os.chmod(name, 0o700, dir_fd=at)
            inner = os.open(name, FOLDER, dir_fd=at)
            try:
                for inside in os.listdir(inner):
                    try:
                        os.unlink(inside, dir_fd=inner)
                    except (IsADirectoryError, PermissionError):
                        moved += 1
                        up = f".moved-{moved}-{time.monotonic_ns()}"
                        os.rename(inside, up, src_dir_fd=inner, dst_dir_fd=at)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=at)


def renew(folders):
    until = time.monotonic() + 5
    for folder in folders:
        at = os.open(folder, FOLDER)
        try:
            empty(at, until)
        finally:
            os.close(at)
