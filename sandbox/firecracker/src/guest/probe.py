# What a probe's guest tells of its kernel.
import json
import os
import sys

with open("/proc/sys/kernel/random/boot_id") as boot, open("/proc/version") as version:
    told = {"boot": boot.read().strip(), "version": version.read().strip(), "user": os.getuid()}
told["canary"] = os.path.lexists(sys.argv[1])
print(json.dumps(told))
