# Files, by the keeper: every step refuses a symbolic link, and what is no plain file.

class Refused(Exception):
    pass


def folder_of(path, make):
    """An open folder and the last name of a path, from the working folder on."""
    *folders, name = path.split("/")
    here = os.open("/work", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    for folder in folders:
        if make:
            try:
                os.mkdir(folder, 0o755, dir_fd=here)
                if OWNER is not None:
                    os.chown(folder, OWNER, OWNER, dir_fd=here, follow_symlinks=False)
            except FileExistsError:
                pass
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            there = os.open(folder, flags, dir_fd=here)
        finally:
            os.close(here)
        here = there
    return here, name


def open_plain(path, flags, make):
    here, name = folder_of(path, make)
    try:
        # Not blocking: a pipe with a name would wait for its other end.
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        file = os.open(name, flags, 0o644, dir_fd=here)
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Refused("it is no plain file")
    return file


def put(path, size, read):
    file = open_plain(path, os.O_WRONLY | os.O_CREAT, True)
    try:
        os.ftruncate(file, 0)
        if OWNER is not None:
            os.fchown(file, OWNER, OWNER)
        while size:
            piece = read(min(size, PIECE))
            size -= len(piece)
            while piece:
                piece = piece[os.write(file, piece):]
    finally:
        os.close(file)


def take(path, most):
    """An open plain file and its size, or nothing where there is none that may be taken."""
    try:
        file = open_plain(path, os.O_RDONLY, False)
    except (OSError, Refused):
        return None
    size = os.fstat(file).st_size
    if size > most:
        os.close(file)
        return None
    return file, size


def send_all(call, data):
    view = memoryview(data)
    while view:
        view = view[os.write(call, view):]


def answer(call, head, files=()):
    text = json.dumps(head).encode()
    send_all(call, struct.pack("<I", len(text)) + text)
    for file, size in files:
        while size:
            piece = os.read(file, min(size, PIECE)) or bytes(min(size, PIECE))
            send_all(call, piece)
            size -= len(piece)


def list_files(most):
    found, folders = [], [""]
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    while folders:
        folder = folders.pop()
        here = os.open(os.path.join("/work", folder), flags)
        with os.scandir(here) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                try:
                    name = path.encode()
                except UnicodeEncodeError:
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder:
                    folders.append(path)
                if is_folder or entry.is_file(follow_symlinks=False):
                    size = 0 if is_folder else entry.stat(follow_symlinks=False).st_size
                    found.append((name, path, size, is_folder))
        os.close(here)
    return [entry[1:] for entry in sorted(found)[:most]]
