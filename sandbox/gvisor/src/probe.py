# What a probe's guest tells of its kernel.
import json
import os
import sys


def log():
    try:
        import ctypes

        text = ctypes.create_string_buffer(4096)
        ctypes.CDLL(None).klogctl(3, text, 4096)
        return text.value.decode("utf-8", "replace")
    except (ImportError, OSError, AttributeError):
        return ""


with open("/proc/version") as version:
    told = {"version": version.read(), "log": log(), "user": os.getuid()}
told["canary"] = os.path.lexists(sys.argv[1])
print(json.dumps(told))
