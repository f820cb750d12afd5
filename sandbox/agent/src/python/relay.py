

# The way out: connections of the guest to two addresses of its own loopback become channels to the
# host. Each side of a channel sends only what the other has allowed it.
WINDOW_BYTES = 1 << 18
CHANNELS_MAX = 64
PROXY, NAMES = 0, 1


class Channel:
    def __init__(self, relays, number, sock, which, asker=None):
        self.relays, self.number, self.sock, self.which = relays, number, sock, which
        self.asker = asker
        self.credit = WINDOW_BYTES
        self.waiting = bytearray()
        self.guest_ended = self.host_ended = False
        send(OPEN, bytes([which]), number)

    def watch(self):
        # A channel that was closed on the way has no socket any more.
        if self.asker is not None or self.number not in self.relays.channels:
            return
        mask = select.POLLOUT if self.waiting else 0
        if self.credit and not self.guest_ended:
            mask |= select.POLLIN
        self.relays.loop.watch(self.sock.fileno(), mask, self.ready)

    def ready(self, events):
        try:
            if events & ~select.POLLOUT and self.credit and not self.guest_ended:
                data = self.sock.recv(min(PIECE_BYTES, self.credit))
                self.credit -= len(data)
                self.guest_ended = not data
                send(TO_HOST, data, self.number)
            elif events & (select.POLLERR | select.POLLHUP) and not self.waiting:
                return self.relays.close(self, True)
            self.flush()
        except BlockingIOError:
            pass
        except OSError:
            return self.relays.close(self, True)
        self.watch()

    def flush(self):
        while self.waiting:
            sent = self.sock.send(self.waiting)
            del self.waiting[:sent]
            send(TO_HOST_CREDIT, small(sent), self.number)
        if self.host_ended:
            self.sock.shutdown(1)
            if self.guest_ended:
                self.relays.close(self, False)

    def heard(self, data):
        if self.asker is not None:
            return self.answer(data)
        self.waiting += data
        self.host_ended = not data
        self.ready(select.POLLOUT)

    def answer(self, data):
        self.waiting += data
        if len(self.waiting) >= 2:
            length = int.from_bytes(self.waiting[:2], "big")
            if len(self.waiting) >= length + 2:
                self.sock.sendto(self.waiting[2 : length + 2], self.asker)
                data = b""
        if not data:
            self.relays.close(self, True)


class Relays:
    def __init__(self, loop):
        import socket

        self.loop, self.channels, self.next = loop, {}, 1
        for port, which in ((3128, PROXY), (53, NAMES)):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(CHANNELS_MAX)
            listener.setblocking(False)
            take = lambda events, at=listener, which=which: self.take(at, which)
            loop.watch(listener.fileno(), select.POLLIN, take)
        self.questions = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.questions.bind(("127.0.0.1", 53))
        self.questions.setblocking(False)
        loop.watch(self.questions.fileno(), select.POLLIN, lambda events: self.ask())

    def number(self):
        self.next += 1
        return self.next

    def take(self, listener, which):
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        if len(self.channels) >= CHANNELS_MAX:
            return sock.close()
        sock.setblocking(False)
        channel = Channel(self, self.number(), sock, which)
        self.channels[channel.number] = channel
        channel.watch()

    def ask(self):
        try:
            question, asker = self.questions.recvfrom(4096)
        except OSError:
            return
        if len(self.channels) >= CHANNELS_MAX:
            return
        channel = Channel(self, self.number(), self.questions, NAMES, asker)
        self.channels[channel.number] = channel
        send(TO_HOST, len(question).to_bytes(2, "big") + question, channel.number)

    def heard(self, kind, number, body):
        channel = self.channels.get(number)
        if channel is None:
            return
        if kind == TO_GUEST:
            channel.heard(body)
        elif kind == TO_GUEST_CREDIT:
            channel.credit += number_of(body)
            channel.watch()
        else:
            self.close(channel, False)

    def close(self, channel, tell):
        if self.channels.pop(channel.number, None) is None:
            return
        if channel.asker is None:
            self.loop.watch(channel.sock.fileno(), None, None)
            channel.sock.close()
        if tell:
            send(TO_HOST_CLOSE, b"", channel.number)

    def close_all(self):
        for channel in list(self.channels.values()):
            self.close(channel, True)
