import errno, os, platform, sys
try:
    import ctypes
    LIBRARY = ctypes.CDLL(None, use_errno=True)
except (ImportError, OSError, AttributeError, TypeError):
    LIBRARY = None
CANARY, PORT, ABSTRACT, SOCKET = "{canary}", int("{port}"), "{abstract}", "{socket}"
X86 = platform.machine() in ("x86_64", "AMD64")
FAILURES = (OSError, ValueError, AttributeError, ImportError, MemoryError, RuntimeError,
            NotImplementedError, OverflowError, EOFError, TypeError)
NUMBERS = {
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "setns": (308, 268), "unshare": (272, 97), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "fanotify_init": (300, 262), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "mount_setattr": (442, 442), "pidfd_getfd": (438, 438), "quotactl": (179, 60),
    "clone": (56, 220), "clone3": (435, 435), "seccomp": (317, 277), "memfd_create": (319, 279),
    "execveat": (322, 281), "shmget": (29, 194), "mq_open": (240, 180),
    "sched_setscheduler": (144, 119), "ioprio_set": (251, 30), "personality": (135, 92),
    "setuid": (105, 146), "capset": (126, 91),
}


def call(name, *arguments):
    if LIBRARY is None:
        raise NotImplementedError(name)
    result = LIBRARY.syscall(NUMBERS[name][0 if X86 else 1], *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def escaped(*what):
    print("ESCAPED", *what, flush=True)
    os._exit(66)


def refused(what, step, *arguments):
    try:
        result = step(*arguments)
    except FAILURES:
        return
    escaped(what, result)


