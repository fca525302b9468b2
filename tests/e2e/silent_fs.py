#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""silent_fs.py MOUNTPOINT: a FUSE file system with one file, `file`, of 1 MiB.  It answers the
processes that have opened the file, and nobody else, so that whoever is given the file waits for
ever.  Prints "mounted"; ends when it is unmounted, or killed.  Exit status 77 when the system
does not let us.
Source: Linux, include/uapi/linux/fuse.h, fuse(4)."""

import ctypes
import os
import stat
import struct
import sys

IN_HEADER = struct.Struct('<IIQQIIII')  # len, opcode, unique, nodeid, uid, gid, pid, padding
OUT_HEADER = struct.Struct('<IiQ')  # len, error, unique
ROOT, FILE = 1, 2
SIZE = 1 << 20

LOOKUP, FORGET, GETATTR, OPEN, RELEASE, FLUSH, INIT = 1, 2, 3, 14, 18, 25, 26
NO_ANSWER = (FORGET, 36, 42)  # interrupt and batch_forget as well


def attributes(node):
    mode = stat.S_IFREG | 0o666 if node == FILE else stat.S_IFDIR | 0o777
    return struct.pack('<6Q10I', node, SIZE, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class FileSystem:
    def __init__(self, device):
        self.device = device
        self.openers = set()

    def answer(self, unique, data=b'', error=0):
        os.write(self.device, OUT_HEADER.pack(OUT_HEADER.size + len(data), -error, unique) + data)

    def lookup(self, unique, name):
        if name == b'file':
            self.answer(unique, struct.pack('<4Q2I', FILE, 0, 0, 0, 0, 0) + attributes(FILE))
        else:
            self.answer(unique, error=2)

    def serve(self, request):
        _, opcode, unique, node, _, _, pid, _ = IN_HEADER.unpack_from(request)
        body = request[IN_HEADER.size:]
        if opcode == INIT:
            self.answer(unique, struct.pack('<4I2H2I2H', 7, 31, 65536, 0, 12, 10, 65536, 1, 0, 0)
                        + bytes(28))
        elif opcode == LOOKUP:
            self.lookup(unique, body.split(b'\0')[0])
        elif opcode == OPEN:
            self.openers.add(pid)
            self.answer(unique, struct.pack('<Q2I', 1, 0, 0))
        elif opcode in NO_ANSWER or (self.openers and pid not in self.openers):
            return
        elif opcode == GETATTR:
            self.answer(unique, struct.pack('<Q2I', 0, 0, 0) + attributes(node))
        else:
            self.answer(unique, error=0 if opcode in (FLUSH, RELEASE) else 38)


def mount(path):
    device = os.open('/dev/fuse', os.O_RDWR)
    options = f'fd={device},rootmode=40000,user_id=0,group_id=0'
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b'silent', os.fsencode(path), b'fuse', 0, options.encode()) < 0:
        raise OSError(ctypes.get_errno(), 'mount')
    return device


def main():
    try:
        device = mount(sys.argv[1])
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    print('mounted', flush=True)
    system = FileSystem(device)
    while True:
        try:
            request = os.read(device, 1 << 17)
        except OSError:
            return
        system.serve(request)


main()
