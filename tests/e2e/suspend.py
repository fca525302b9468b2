#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""suspend.py FROM TO FEATURES [N]: a front-end with a split ring of N writes, 4096 bytes each, one behind
the other and filled with their number + 1.  It gives them to the disk at socket FROM, has
the ring stopped with requests in flight at a SIGUSR1, and goes on with memory and the log of requests in
flight at socket TO at another one.  FEATURES is "message" (GET_VRING_BASE_SKIP_DRAIN), "first"
(the first version, in which the feature alone says it) or "none".  Prints "ready", then "before" with the
writes that FROM answered, and "after" with those of TO; each as number:status.
Source: QEMU documentation, "Vhost-user Protocol"; VIRTIO 1.2, 2.7 "Split Virtqueues"."""

import array
import mmap
import os
import select
import signal
import socket
import struct
import sys

VERSION, NEED_REPLY = 1, 1 << 3
SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 2, 3, 5
NUM, ADDR, SET_BASE, GET_BASE, KICK, CALL = 8, 9, 10, 11, 12, 13
SET_PROTOCOL, ENABLE, GET_INFLIGHT, SET_INFLIGHT, SKIP_DRAIN = 16, 18, 31, 32, 45
REPLY_ACK, INFLIGHT_SHMFD = 1 << 3, 1 << 12
AGREED = {'none': 0, 'first': 1 << 20, 'message': 1 << 20 | 1 << 23}

SIZE, BYTES, GUEST, USER = 128, 1 << 20, 0, 0x7f0000000000
DESC, AVAIL, USED, HEADERS, STATUS, DATA = 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x10000


class Disk:
    def __init__(self, path, features):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(path)
        self.tell(SET_OWNER)
        self.tell(SET_PROTOCOL, struct.pack('<Q', REPLY_ACK | INFLIGHT_SHMFD | AGREED[features]))
        self.tell(SET_FEATURES, struct.pack('<Q', 1 << 32 | 1 << 30), ack=True)

    def tell(self, request, payload=b'', fds=(), ack=False):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        flags = VERSION | (NEED_REPLY if ack else 0)
        self.sock.sendmsg([struct.pack('<3I', request, flags, len(payload)) + payload], rights)
        if ack and self.answer(request)[0] != bytes(8):
            sys.exit(f'message {request} was refused')

    def answer(self, request):
        header, fds, _, _ = socket.recv_fds(self.sock, 12, 1)
        if len(header) < 12 or struct.unpack('<3I', header)[0] != request:
            sys.exit(f'no answer to message {request}')
        return self.sock.recv(struct.unpack('<3I', header)[2], socket.MSG_WAITALL), fds

    def ask(self, request, payload):
        self.tell(request, payload)
        return self.answer(request)

    def start(self, guest, base):
        self.tell(SET_INFLIGHT, guest.region, [guest.region_fd], ack=True)
        self.tell(SET_MEM_TABLE, struct.pack('<2I4Q', 1, 0, GUEST, BYTES, USER, 0), [guest.fd], ack=True)
        self.tell(NUM, struct.pack('<2I', 0, SIZE), ack=True)
        self.tell(SET_BASE, struct.pack('<2I', 0, base), ack=True)
        self.tell(ADDR, struct.pack('<2I4Q', 0, 0, USER + DESC, USER + USED, USER + AVAIL, 0), ack=True)
        self.tell(CALL, bytes(8), [guest.call], ack=True)
        self.tell(KICK, bytes(8), [guest.kick], ack=True)
        self.tell(ENABLE, struct.pack('<2I', 0, 1), ack=True)

    def stop(self, features):
        self.tell(ENABLE, struct.pack('<2I', 0, 0), ack=True)
        request = SKIP_DRAIN if features == 'message' else GET_BASE
        return struct.unpack('<2I', self.ask(request, bytes(8))[0])[1]


class Guest:
    def __init__(self):
        self.fd = os.memfd_create('guest')
        os.ftruncate(self.fd, BYTES)
        self.mem = mmap.mmap(self.fd, BYTES)
        self.kick, self.call = os.eventfd(0), os.eventfd(0)
        self.seen = 0

    def put(self, count):
        for i in range(count):
            header, data, status = HEADERS + 16 * i, DATA + 4096 * i, STATUS + i
            self.mem[header:header + 16] = struct.pack('<2IQ', 1, 0, 8 * i)
            self.mem[data:data + 4096] = bytes([i + 1]) * 4096
            self.mem[status] = 0xff
            for j, (at, length, flags) in enumerate(((header, 16, 1), (data, 4096, 1), (status, 1, 2))):
                struct.pack_into('<QI2H', self.mem, DESC + 16 * (3 * i + j), at, length, flags, 3 * i + j + 1)
            struct.pack_into('<H', self.mem, AVAIL + 4 + 2 * i, 3 * i)
        struct.pack_into('<H', self.mem, AVAIL + 2, count)
        os.eventfd_write(self.kick, 1)

    def reap(self):
        shown = struct.unpack_from('<H', self.mem, USED + 2)[0]
        heads = [struct.unpack_from('<I', self.mem, USED + 4 + 8 * i)[0] // 3 for i in range(self.seen, shown)]
        self.seen = shown
        return [f'{head}:{self.mem[STATUS + head]}' for head in heads]


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    source, target, features = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 8
    guest = Guest()
    disk = Disk(source, features)
    region, fds = disk.ask(GET_INFLIGHT, struct.pack('<2Q2H4x', 0, 0, 1, SIZE))
    guest.region, guest.region_fd = region, fds[0]
    disk.start(guest, 0)
    guest.put(count)
    print('ready', flush=True)
    signal.sigwait({signal.SIGUSR1})
    base = disk.stop(features)
    before = bytes(guest.mem)
    while select.select([guest.call], [], [], 0)[0]:
        os.eventfd_read(guest.call)
    print('before', *guest.reap(), flush=True)
    signal.sigwait({signal.SIGUSR1})
    if guest.mem[:] != before or select.select([guest.call], [], [], 0)[0]:
        sys.exit('something was stored, or signalled, once it was suspended')
    other = Disk(target, features)  # which stays connected until all is done
    other.start(guest, base)
    after = []
    while guest.seen < count and select.select([guest.call], [], [], 60)[0]:
        os.eventfd_read(guest.call)
        after += guest.reap()
    print('after', *after, flush=True)


main()
