# The agent is pid 1 of a guest. It talks with its host over its own standard input and output: a
# frame is a kind (1 byte), a channel (4), a length (4) and that many bytes.
import fcntl
import gc
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import time

PUT, CALL, KILL, GET, LIST, USAGE, TO_GUEST, TO_GUEST_CREDIT, TO_GUEST_CLOSE, RENEW = range(1, 11)
HELLO, OUT, ERR, END, FILE, DONE, REFUSED, OPEN, TO_HOST, TO_HOST_CREDIT, TO_HOST_CLOSE = range(
    65, 76
)
HEAD = struct.Struct(">BII")
SMALL = struct.Struct(">I")
PIECE_BYTES = 1 << 16
CHUNK_BYTES = 1 << 20
GUEST = 1000


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_all(fd, count):
    parts = []
    while count:
        part = os.read(fd, min(count, CHUNK_BYTES))
        if not part:
            raise EOFError("the host is gone")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def send(kind, body=b"", channel=0):
    head = HEAD.pack(kind, channel, len(body))
    write_all(1, head + body if len(body) < PIECE_BYTES else head)
    if len(body) >= PIECE_BYTES:
        write_all(1, body)


def send_told(kind, told, blob=b""):
    text = json.dumps(told).encode()
    send(kind, SMALL.pack(len(text)) + text + blob)


def receive():
    kind, channel, length = HEAD.unpack(read_all(0, HEAD.size))
    return kind, channel, read_all(0, length)


def split(body):
    (length,) = SMALL.unpack_from(body)
    return json.loads(body[4 : 4 + length]), body[4 + length :]


def descriptors():
    return [int(name) for name in os.listdir("/proc/self/fd")]
