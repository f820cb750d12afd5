#: fork_bomb ends=exit,wall,cpu,memory,signal
try:
    while True:
        os.fork()
except (OSError, AttributeError):
    pass
#: fork_bomb_that_stays ends=exit,wall,cpu,memory,signal
import time
try:
    while True:
        if os.fork() == 0:
            while True:
                time.sleep(1000)
except (OSError, AttributeError):
    sys.exit(0)
#: thread_bomb ends=exit,wall,cpu,memory,signal
import threading, time
threads = 0
try:
    while True:
        threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
        threads += 1
except RuntimeError:
    if threads > 1000:
        escaped("threads", threads)
    os._exit(0)
#: memory_bomb ends=memory,exit1
held = []
while True:
    held.append(bytearray(b"x" * (8 << 20)))
#: memory_bomb_in_children ends=exit,memory,wall,cpu,signal
try:
    for _ in range(8):
        if os.fork() == 0:
            held = []
            while True:
                held.append(bytearray(b"x" * (4 << 20)))
    while True:
        os.wait()
except (ChildProcessError, AttributeError):
    pass
#: endless_output ends=output
while True:
    sys.stdout.write("x" * 65536)
#: endless_output_of_a_child ends=output
try:
    os.fork()
except AttributeError:
    pass
while True:
    os.write(2, b"y" * 4096)
#: endless_loop ends=cpu,wall brief
while True:
    pass
#: endless_loops_of_many ends=cpu,wall brief
try:
    for _ in range(6):
        os.fork()
except (OSError, AttributeError):
    pass
while True:
    pass
#: endless_sleep ends=wall brief
import time
time.sleep(10000)
#: signals_are_ignored ends=wall,cpu brief
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
#: daemons_die_with_the_call ends=exit
import time
try:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for handle in (0, 1, 2):
                os.close(handle)
            time.sleep(1000)
        os._exit(0)
    os.wait()
except AttributeError:
    pass
#: zombies_are_buried ends=exit
try:
    for _ in range(200):
        if os.fork() == 0:
            if os.fork() == 0:
                os._exit(0)
            os._exit(0)
        os.wait()
except (OSError, AttributeError):
    pass
#: signals_to_others ends=exit,signal,wall
import signal
for target in (1, -1, 2, os.getppid(), 0):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            if target != 0:
                os.kill(target, number)
        except (OSError, AttributeError):
            pass
#: timers_flood ends=exit,signal,cpu,wall brief
import signal, time
if hasattr(signal, "setitimer"):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
#: deep_recursion ends=exit,signal,memory,cpu,wall
sys.setrecursionlimit(10 ** 9)
def down(number):
    return down(number + 1)
down(0)
#: exit_during_output ends=exit
import threading
def write():
    for _ in range(1000):
        os.write(1, b"x" * 100)
threading.Thread(target=write, daemon=True).start()
os._exit(7)
#: closed_streams ends=exit
for handle in range(64):
    try:
        os.close(handle)
    except OSError:
        pass
os._exit(0)
#: forged_answers ends=exit,signal,output
import struct
forged = b'{"status":0,"killed":false,"files":[[0,4]]}'
for handle in range(3, 256):
    for data in (struct.pack("<I", len(forged)) + forged + b"fake", b"d" + bytes(16)):
        try:
            os.write(handle, data)
            escaped("a descriptor", handle)
        except OSError:
            pass
#: priorities_cannot_rise held contained
refused("nice", lambda: os.nice(-10))
refused("real time", lambda: call("sched_setscheduler", 0, 1, b"\1\0\0\0"))
refused("real time of disks", lambda: call("ioprio_set", 1, 0, 1 << 13))
#: limits_cannot_rise held
import resource
for name in ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_CORE"):
    kind = getattr(resource, name)
    most = resource.getrlimit(kind)[1]
    refused(name, lambda: resource.setrlimit(kind, (most + 10, most + 10)))
#: memory_is_run held contained
refused("memfd", lambda: os.memfd_create("x"))
refused("memfd", lambda: call("memfd_create", b"x", 0))
refused("execveat", lambda: call("execveat", 1, b"", 0, 0, 0x1000))
#: files_that_were_written_do_not_run held contained
import shutil
for folder in ("/tmp", "/work"):
    shutil.copyfile(os.path.realpath(sys.executable), folder + "/run")
    os.chmod(folder + "/run", 0o755)
    refused("a program", lambda: os.execv(folder + "/run", ["run", "-c", "print('ESCAPED')"]))
#: filters_cannot_be_changed held contained
refused("seccomp", lambda: call("seccomp", 1, 0, bytes(16)))
refused("prctl", lambda: 1 if LIBRARY.prctl(22, 2, bytes(16)) == 0 else open("/none"))
refused("personality", lambda: call("personality", 0x40000))
#: namespaces_by_clone held contained
for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
    refused("clone", lambda: call("clone", flag | 17, 0, 0, 0, 0))
refused("clone3", lambda: call("clone3", bytes(88), 88))
#: random_numbers_differ_from_call_to_call ends=exit differ
import random, tempfile, uuid
print(random.random(), random.SystemRandom().random(), uuid.uuid4(), os.urandom(8).hex())
print(random.Random().random(), tempfile.mktemp())
try:
    import numpy.random
    print(numpy.random.random(), numpy.random.default_rng().random())
except ImportError:
    pass
