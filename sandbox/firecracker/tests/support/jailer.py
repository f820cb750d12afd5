#!/usr/bin/python3
"""A double of the jailer: as strict about its arguments, and it makes the folder, the cgroup, the
copy and the file of the process's id as the real one does. It changes neither root nor user."""
import os
import re
import shutil
import stat
import sys

VERSION = "1.16.1"


def fail(why):
    sys.exit(f"Jailer error: {why}")


def parse(words):
    single = {"id", "exec-file", "uid", "gid", "chroot-base-dir", "netns", "cgroup-version",
              "parent-cgroup"}
    many = {"cgroup", "resource-limit"}
    found = {name: [] for name in many}
    words = list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            break
        name = word.removeprefix("--")
        if not word.startswith("--") or name not in single | many:
            fail(f"Failed to parse arguments: Found argument '{word}' which wasn't expected")
        if not words or words[0].startswith("--"):
            fail(f"Failed to parse arguments: The argument '{name}' requires a value")
        value = words.pop(0)
        if name in many:
            found[name].append(value)
        elif name in found:
            fail(f"Failed to parse arguments: The argument '{name}' was provided more than once")
        else:
            found[name] = value
    for name in ("id", "exec-file", "uid", "gid"):
        if name not in found:
            fail(f"Failed to parse arguments: Argument '{name}' required, but not found")
    return found, words


def make_cgroup(found):
    version = found.get("cgroup-version", "1")
    parent = found.get("parent-cgroup", os.path.basename(found["exec-file"]))
    if parent.startswith("/") or ".." in parent.split("/"):
        fail("Parent cgroup path is invalid. Path should not be absolute or contain '..' or '.'")
    folders = set()
    for setting in found["cgroup"]:
        name, equals, value = setting.partition("=")
        if not equals or not value or "=" in value:
            fail(f"Invalid format for cgroups: {setting}")
        folder = os.path.join(hierarchy(version, name.split(".")[0]), parent, found["id"])
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write(value)
        folders.add(folder)
    for folder in folders:
        with open(os.path.join(folder, "tasks" if version == "1" else "cgroup.procs"), "w") as file:
            file.write("0")


def hierarchy(version, controller):
    for line in open("/proc/mounts"):
        _, folder, kind, options, *_ = line.split(" ")
        if version == "2" and kind == "cgroup2":
            return folder
        if version == "1" and kind == "cgroup" and controller in options.split(","):
            return folder
    fail(f"Controller {controller} is unavailable")


def main():
    if sys.argv[1:] == ["--version"]:
        return print(f"Jailer v{VERSION}\n")
    found, rest = parse(sys.argv[1:])
    if not re.fullmatch("[0-9A-Za-z-]{1,64}", found["id"]):
        fail(f"Invalid instance ID: {found['id']}")
    program = os.path.realpath(found["exec-file"])
    if not stat.S_ISREG(os.stat(program).st_mode):
        fail(f"{program} is not a file")
    uid, gid = int(found["uid"]), int(found["gid"])
    if uid == 0 or gid == 0:
        fail("this double wants a user of its own for each machine")
    for limit in found["resource-limit"]:
        if not re.fullmatch("(fsize|no-file)=[0-9]+", limit):
            fail(f"Invalid resource argument: {limit}")
    base = os.path.realpath(found.get("chroot-base-dir", "/srv/jailer"))
    if not os.path.isdir(base):
        fail(f"{base} is not a directory")
    name = os.path.basename(program)
    root = os.path.join(base, name, found["id"], "root")
    os.makedirs(root, exist_ok=True)
    copy = os.path.join(root, name)
    shutil.copyfile(program, copy)
    os.chmod(copy, 0o755)
    make_cgroup(found)
    os.chown(root, uid, gid)
    os.chmod(root, 0o700)
    os.chdir(root)
    with open(f"{name}.pid", "w") as file:
        file.write(str(os.getpid()))
    os.execve(copy, [copy, f"--id={found['id']}", "--start-time-us=1", "--start-time-cpu-us=1",
                     *rest], {})


main()
