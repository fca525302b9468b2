#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A vhost-user-blk back-end that means harm, for front-ends that shall come to none.

hostile_backend.py SOCKET LIE [ARGUMENT]: serve one connection after another, each with the lie
that the class of that name below describes.
Source: QEMU documentation, "Vhost-user Protocol"; VIRTIO 1.2, 2.7 "Split Virtqueues".
"""

import mmap
import os
import random
import socket
import struct
import sys
import threading
import time

GET_FEATURES = 1
SET_OWNER = 3
SET_MEM_TABLE = 5
SET_VRING_NUM = 8
SET_VRING_ADDR = 9
GET_VRING_BASE = 11
SET_VRING_KICK = 12
GET_PROTOCOL_FEATURES = 15
GET_QUEUE_NUM = 17
SET_VRING_ENABLE = 18
SET_BACKEND_REQ_FD = 21
GET_CONFIG = 24
GET_INFLIGHT_FD = 31

VERSION, REPLY, NEED_REPLY = 1, 4, 8
CONFIG_CHANGE = 2  # a message of the back-end's

VERSION_1 = 1 << 32
PROTOCOL_FEATURES = 1 << 30
INDIRECT = 1 << 28
BLK_MQ = 1 << 12
MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT = 1, 1 << 3, 1 << 5, 1 << 9, 1 << 12

CAPACITY = 2048
CONFIG_BYTES = 60
OK = 0


class Ring:
    """Addresses are the front-end's."""

    def __init__(self):
        self.size = self.desc = self.avail = self.used = 0
        self.taken = self.given = 0


class Honest:
    """Answers each message as it should, and serves no request."""

    features = VERSION_1 | PROTOCOL_FEATURES | INDIRECT
    protocol_features = MQ | REPLY_ACK | CONFIG | BACKEND_REQ
    queues = 1

    def __init__(self, argument):
        self.argument = argument
        self.sock = self.channel = None
        self.memory = []  # (user address, mapping, fd)
        self.ring = Ring()
        self.config = bytearray(CONFIG_BYTES)
        struct.pack_into('<Q', self.config, 0, CAPACITY)

    # ---- messages

    def receive(self, length):
        data = b''
        while len(data) < length:
            more = self.sock.recv(length - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def serve(self, sock):
        self.sock = sock
        while True:
            data, fds, _, _ = socket.recv_fds(sock, 12, 8)
            if not data:
                return
            data += self.receive(12 - len(data))
            request, flags, size = struct.unpack('<III', data)
            self.message(request, flags, self.receive(size), fds)

    def message(self, request, flags, payload, fds):
        self.note(request, payload, fds)
        answer = self.answer(request, payload)
        if answer is None and flags & NEED_REPLY:
            answer = struct.pack('<Q', 0)
        if answer is not None:
            self.reply(request, answer)
        if request == SET_VRING_ENABLE:
            self.started()

    def answer(self, request, payload):
        if request == GET_CONFIG:
            return payload[:12] + bytes(self.config)
        if request == GET_VRING_BASE:
            return payload
        value = {GET_FEATURES: self.features, GET_PROTOCOL_FEATURES: self.protocol_features,
                 GET_QUEUE_NUM: self.queues}.get(request)
        return None if value is None else struct.pack('<Q', value)

    def reply(self, request, answer):
        self.sock.sendall(struct.pack('<III', request, VERSION | REPLY, len(answer)) + answer)

    def note(self, request, payload, fds):
        if request == SET_MEM_TABLE:
            for i, fd in enumerate(fds):
                _, size, user, _ = struct.unpack_from('<QQQQ', payload, 8 + 32 * i)
                self.memory.append((user, mmap.mmap(fd, size), fd))
        elif request == SET_VRING_NUM:
            self.ring.size = struct.unpack('<II', payload)[1]
        elif request == SET_VRING_ADDR:
            _, self.ring.desc, self.ring.used, self.ring.avail, _ = struct.unpack('<QQQQQ', payload)
        elif request == SET_BACKEND_REQ_FD:
            self.channel = socket.socket(fileno=fds[0])

    def started(self):
        """The front-end has said all; the ring runs."""

    # ---- the ring

    def has_left(self):
        try:
            return self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b''
        except BlockingIOError:
            return False

    def has_message(self):
        try:
            self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
            return True
        except BlockingIOError:
            return False

    def place(self, address):
        for user, mapping, _ in self.memory:
            if user <= address < user + len(mapping):
                return mapping, address - user
        raise ValueError(hex(address))

    def load(self, layout, address):
        mapping, at = self.place(address)
        return struct.unpack_from(layout, mapping, at)

    def store(self, layout, address, *values):
        mapping, at = self.place(address)
        struct.pack_into(layout, mapping, at, *values)

    def take(self):
        """Wait for the next request; its head."""
        while self.load('<H', self.ring.avail + 2)[0] == self.ring.taken & 0xffff:
            if self.has_message():
                return None
            time.sleep(0.001)
        head, = self.load('<H', self.ring.avail + 4 + 2 * (self.ring.taken % self.ring.size))
        self.ring.taken += 1
        return head

    def status_of(self, head):
        """Where the status of an indirect chain of three is: guest addresses begin at 1 GiB."""
        table = self.load('<Q', self.ring.desc + 16 * head)[0] - 0x40000000 + self.memory[0][0]
        return self.load('<Q', table + 2 * 16)[0] - 0x40000000 + self.memory[0][0]

    def give(self, head, length, step=1, show=True):
        at = self.ring.used + 4 + 8 * (self.ring.given % self.ring.size)
        self.store('<II', at, head & 0xffffffff, length & 0xffffffff)
        self.ring.given += step
        if show:
            self.store('<H', self.ring.used + 2, self.ring.given & 0xffff)

    def finish(self, status, length):
        """One request as it should be, but for these."""
        head = self.take()
        if head is not None:
            self.store('<B', self.status_of(head), status)
            self.give(head, length)
        return head


# ---- memory

class Scribble(Honest):
    """All that is shared is written over, again and again."""

    def started(self):
        while not self.has_left():
            for _, mapping, _ in self.memory:
                mapping[:] = bytes([random.randrange(256)]) * len(mapping)


class Noise(Honest):
    """The same, no two bytes alike."""

    def started(self):
        noise = os.urandom(len(self.memory[0][1]) + 4096)
        while not self.has_left():
            for _, mapping, _ in self.memory:
                at = random.randrange(4096)
                mapping[:] = noise[at:at + len(mapping)]


class Wipe(Honest):
    """
    DEPTH: as many requests as the front-end has at once are taken, all that is shared is set to
    zero, but for the two rings, and then all of them are given back.
    """

    def started(self):
        depth = int(self.argument)
        used, at = self.place(self.ring.used)
        begin = self.place(self.ring.avail)[1]
        while True:
            heads = [self.take() for _ in range(depth)]
            if None in heads:
                return
            used[:begin] = bytes(begin)
            end = at + 4 + 8 * self.ring.size
            used[end:] = bytes(len(used) - end)
            for head in heads[:-1]:
                self.give(head, 0, show=False)
            self.give(heads[-1], 0)


class Truncate(Honest):
    """The memory's file is cut off below the front-end."""

    def started(self):
        for _, _, fd in self.memory:
            try:
                os.ftruncate(fd, 0)
                print('truncated', flush=True)
            except PermissionError:
                print('it is sealed', flush=True)
        while self.finish(OK, 1) is not None:
            pass


# ---- the used ring

class Used(Honest):
    """Some requests go well, and what is given back then was never asked for."""

    def started(self):
        for _ in range(10):
            if self.finish(OK, 1) is None:
                return
        head = self.take()
        if head is None:
            return
        if self.argument == 'id':
            self.give(self.ring.size + 7, 1)
        elif self.argument == 'huge-id':
            self.give(0xffff0000 + head, 1)
        elif self.argument == 'twice':
            self.give(head, 1)
            self.give(head, 1)
        elif self.argument == 'jump':
            self.give(head, 1, 1000)
        elif self.argument == 'back':
            self.give(head, 1, -1)
        elif self.argument == 'length':
            self.give(head, 0xffffffff)


class Status(Honest):
    """Each request is given back with this status."""

    def started(self):
        while self.finish(int(self.argument), 1) is not None:
            pass


# ---- what is told at the begin

class Config(Honest):
    """OFFSET=VALUE: 8 bytes of the config space, all of which is to be believed."""

    features = Honest.features | 1 << 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 12

    def __init__(self, argument):
        super().__init__(argument)
        offset, value = (int(word, 0) for word in argument.split('='))
        struct.pack_into('<I', self.config, 20, 512)
        struct.pack_into('<I', self.config, 8, 1 << 20)
        struct.pack_into('<H', self.config, 34, 1)
        struct.pack_into('<Q', self.config, offset, value)


class Queues(Honest):
    """So many queues."""

    def __init__(self, argument):
        super().__init__(argument)
        self.queues = int(argument, 0)


class Features(Honest):
    """These features, and the protocol features of all."""

    def __init__(self, argument):
        super().__init__(argument)
        self.features = int(argument, 0)


class Flip(Honest):
    """The first connection is left once it runs; then all features are others."""

    connections = 0

    def __init__(self, argument):
        super().__init__(argument)
        Flip.connections += 1
        if Flip.connections > 1:
            self.features = VERSION_1 | PROTOCOL_FEATURES

    def started(self):
        raise ConnectionError


class Reply(Honest):
    """NUMBER:KIND: the answer to this request is of that kind."""

    def reply(self, request, answer):
        number, kind = self.argument.split(':')
        if request != int(number):
            super().reply(request, answer)
            return
        size, flags = len(answer), VERSION | REPLY
        if kind == 'other':
            request = request + 1
        elif kind == 'long':
            size = 0xffffffff
        elif kind == 'longer':
            answer, size = answer + bytes(1000), size + 1000
        elif kind == 'empty':
            answer, size = b'', 0
        elif kind == 'version':
            flags = REPLY | 2
        elif kind == 'request':
            flags = VERSION
        elif kind == 'refused':
            answer = struct.pack('<Q', 1)
        data = struct.pack('<III', request, flags, size) + answer
        if kind == 'half':
            self.sock.sendall(data[:len(data) // 2])
            raise ConnectionError
        if kind == 'slow':
            for i in range(len(data)):
                self.sock.sendall(data[i:i + 1])
                time.sleep(0.2)
        elif kind == 'twice':
            self.sock.sendall(data + data)
        elif kind == 'fds':
            socket.send_fds(self.sock, [data], [0, 1, 2, 0, 1, 2, 0, 1])
        elif kind == 'noise':
            self.sock.sendall(os.urandom(4096))
        elif kind != 'none':
            self.sock.sendall(data)


class Inflight(Reply):
    """
    The same of one that has in-flight regions, of a size that nobody has; 31:bare has no memory.
    """

    protocol_features = Reply.protocol_features | INFLIGHT

    def answer(self, request, payload):
        if request == GET_INFLIGHT_FD:
            return struct.pack('<QQHH', 1 << 63, 1 << 62, 0xffff, 0xffff)
        return super().answer(request, payload)

    def reply(self, request, answer):
        if request == GET_INFLIGHT_FD and not self.argument.startswith('31:'):
            header = struct.pack('<III', request, VERSION | REPLY, len(answer))
            socket.send_fds(self.sock, [header + answer], [0])
        else:
            super().reply(request, answer)

    def started(self):
        """Serves the ring, so that the end is the end of the run."""
        print('started', flush=True)
        while self.finish(OK, 1) is not None:
            pass


class Late(Honest):
    """Has 64 queues, and takes 0.4 s for each answer to the message NUMBER."""

    features = VERSION_1 | PROTOCOL_FEATURES | BLK_MQ
    queues = 64

    def __init__(self, argument):
        super().__init__(argument)
        struct.pack_into('<H', self.config, 34, self.queues)

    def reply(self, request, answer):
        if request == int(self.argument):
            time.sleep(0.4)
        super().reply(request, answer)


# ---- the channel

class Flood(Honest):
    """
    Messages without end on the back-end's own channel; NUMBER is the message from which on the
    front-end's own are not answered any more, 0: no request of the ring is.
    """

    data = struct.pack('<III', CONFIG_CHANGE, VERSION, 0) * 1000

    def note(self, request, payload, fds):
        super().note(request, payload, fds)
        if request == SET_BACKEND_REQ_FD:
            threading.Thread(target=self.flood, daemon=True).start()

    def flood(self):
        try:
            while True:
                self.channel.sendall(self.data)
        except OSError:
            pass

    def message(self, request, flags, payload, fds):
        if request == int(self.argument):
            self.note(request, payload, fds)
            while not self.has_left():
                time.sleep(0.01)
            raise ConnectionError
        super().message(request, flags, payload, fds)


class Calm(Flood):
    """Requests are served, and nothing floods; NUMBER is as above."""

    def flood(self):
        pass

    def started(self):
        while self.finish(OK, 1) is not None:
            pass


class Unknown(Flood):
    """The same, of messages that nobody knows, each of which wants an answer that is not read."""

    data = struct.pack('<III', 77, VERSION | NEED_REPLY, 8) + bytes(8)


class Drip(Flood):
    """The same, byte by byte."""

    def flood(self):
        try:
            while True:
                for byte in Flood.data[:12]:
                    self.channel.sendall(bytes([byte]))
        except OSError:
            pass


def main():
    path, lie = sys.argv[1:3]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(8)
    while True:
        sock, _ = listener.accept()
        try:
            globals()[lie.capitalize()](''.join(sys.argv[3:])).serve(sock)
        except (ConnectionError, ValueError) as error:
            print(repr(error), flush=True)
        sock.close()


main()
