#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""block_err.py SOCKET RINGS: a front-end that makes its disk's thread wait: the counters of its
error eventfds are full, and O_NONBLOCK is taken from them, which is one for both sides; then it
breaks its rings.  Prints "waits" when no message is answered any more, and leaves; with several
rings it prints "goes on" when the last message is answered."""

import array
import fcntl
import mmap
import os
import socket
import struct
import sys

SET_FEATURES, SET_MEM_TABLE, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE = 2, 5, 8, 9, 10
SET_VRING_KICK, SET_VRING_ERR, SET_PROTOCOL_FEATURES, SET_VRING_ENABLE = 12, 14, 16, 18
VERSION, NEED_REPLY = 1, 1 << 3
F_VERSION_1, F_PROTOCOL_FEATURES, P_REPLY_ACK = 1 << 32, 1 << 30, 1 << 3
RING, USER, DESC, AVAIL, USED = 1 << 16, 0x7f0000000000, 0x1000, 0x2000, 0x3000
FULL = (1 << 64) - 2


class FrontEnd:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.send(SET_FEATURES, struct.pack('<Q', F_VERSION_1 | F_PROTOCOL_FEATURES), VERSION)
        self.send(SET_PROTOCOL_FEATURES, struct.pack('<Q', P_REPLY_ACK), VERSION)

    def send(self, request, payload, flags, fds=()):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
        self.sock.sendmsg([struct.pack('<3I', request, flags, len(payload)) + payload], rights)

    def ask(self, request, payload, fds=()):
        self.send(request, payload, VERSION | NEED_REPLY, fds)
        return self.sock.recv(20, socket.MSG_WAITALL)[12:]


def start_ring(front, memory, index):
    at = USER + index * RING
    error, kick = os.eventfd(0), os.eventfd(1)
    front.ask(SET_VRING_NUM, struct.pack('<2I', index, 8))
    front.ask(SET_VRING_BASE, struct.pack('<2I', index, 0))
    front.ask(SET_VRING_ADDR,
              struct.pack('<2I4Q', index, 0, at + DESC, at + USED, at + AVAIL, 0))
    front.ask(SET_VRING_ERR, struct.pack('<Q', index), [error])
    front.ask(SET_VRING_KICK, struct.pack('<Q', index), [kick])
    os.eventfd_write(error, FULL)
    fcntl.fcntl(error, fcntl.F_SETFL, fcntl.fcntl(error, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    memory[index * RING + AVAIL + 2] = 1  # a chain without any buffer


def main():
    front, rings = FrontEnd(sys.argv[1]), int(sys.argv[2])
    guest = os.memfd_create('guest')
    os.ftruncate(guest, rings * RING)
    memory = mmap.mmap(guest, rings * RING)
    front.ask(SET_MEM_TABLE, struct.pack('<2I4Q', 1, 0, 0, rings * RING, USER, 0), [guest])
    for index in range(rings):
        start_ring(front, memory, index)
    for index in range(rings):
        front.send(SET_VRING_ENABLE, struct.pack('<2I', index, 1), VERSION)
    front.sock.settimeout(0.5)
    try:
        for _ in range(10000):  # the thread looks at the rings after its messages
            front.ask(SET_VRING_ENABLE, struct.pack('<2I', 0, 1))
    except TimeoutError:
        print('waits', flush=True)
    if rings > 1:
        front.sock.settimeout(None)
        front.sock.recv(20, socket.MSG_WAITALL)
        print('goes on', flush=True)


if __name__ == '__main__':
    main()
