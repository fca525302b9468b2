#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""slow_fs.py DIR SIZE ORDERS: mount a file system on the empty directory DIR with one file in it,
"disk", of SIZE bytes, that can be told not to answer.  A request is held back while ORDERS has a
file of its name (open, create, fsync, getattr, setattr, flush, read, write, fallocate); the next one alone where the
name has "one-" before it, while there is the file of "kept-" then.  An fsync fails with EIO while
there is one called fail, or once if it is called fail-once; no file can become longer while there is
one called full, and none has a link count other than 0 while there is one called nolinks.  With one
called async when it is mounted, direct I/O is asynchronous, and with nolocks there are no locks.  Prints
"ready" when it is mounted, "held REQUEST" when one is held back, "deleted NAME", "fallocate OFFSET SIZE"; unmounts and ends on
SIGTERM.
Source: Linux, include/uapi/linux/fuse.h."""

import ctypes
import errno
import os
import select
import signal
import struct
import sys

LOOKUP, FORGET, GETATTR, SETATTR, UNLINK, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH, INIT, \
    GETLK, SETLK, SETLKW, ACCESS, CREATE, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE = \
    1, 2, 3, 4, 10, 14, 15, 16, 17, 18, 20, 25, 26, 31, 32, 33, 34, 35, 36, 38, 42, 43
NAMES = {OPEN: "open", CREATE: "create", GETATTR: "getattr", READ: "read", WRITE: "write", FSYNC: "fsync", FLUSH: "flush",
         FALLOCATE: "fallocate", SETATTR: "setattr"}
ROOT, DISK = 1, 2
HEADER = struct.Struct("<IIQQIIIHH")
FATTR_SIZE = 1 << 3
POSIX_LOCKS, ASYNC_DIO = 1 << 1, 1 << 15
MNT_DETACH = 2


class FileSystem:
    def __init__(self, directory, size, orders):
        self.directory, self.orders = directory, orders
        self.names = {b"disk": DISK}
        self.data = {DISK: bytearray(size)}
        self.held = []
        self.fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        self.libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        if self.libc.mount(b"slow_fs", directory.encode(), b"fuse", 0,
                           (options + ",allow_other").encode()) < 0:
            sys.exit(os.strerror(ctypes.get_errno()))

    def unmount(self):
        self.libc.umount2(self.directory.encode(), MNT_DETACH)

    def is_ordered(self, name):
        return os.path.exists(os.path.join(self.orders, name))

    def take_order(self, name):
        is_ordered = self.is_ordered(name)
        if is_ordered:
            os.unlink(os.path.join(self.orders, name))
        return is_ordered

    def order_of(self, name):
        """By which a request is held back; None: by none."""
        if self.is_ordered("one-" + name):
            os.rename(os.path.join(self.orders, "one-" + name),
                      os.path.join(self.orders, "kept-" + name))
            return "kept-" + name
        return name if self.is_ordered(name) else None

    def attr(self, node):
        is_file = node != ROOT
        size, mode = (len(self.data[node]), 0o100600) if is_file else (4096, 0o040755)
        links = 0 if self.is_ordered("nolinks") else int(not is_file or node in self.names.values())
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode,
                           links, os.getuid(), os.getgid(), 0, 4096, 0)

    def reply(self, unique, data=b"", error=0):
        try:
            os.write(self.fd, struct.pack("<IiQ", 16 + len(data), -error, unique) + data)
        except OSError as refused:
            if refused.errno != errno.ENOENT:  # it was interrupted
                raise

    def entry(self, node):
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + self.attr(node)

    def create(self, unique, name):
        node = max(self.data) + 1
        self.names[name] = node
        self.data[node] = bytearray()
        self.reply(unique, self.entry(node) + struct.pack("<QII", 1, 0, 0))

    def unlink(self, unique, name):
        del self.names[name]
        print("deleted", name.decode(), flush=True)
        self.reply(unique)

    def set_attr(self, unique, node, body):
        valid, _, _, size = struct.unpack_from("<IIQQ", body)
        if valid & FATTR_SIZE and size > len(self.data[node]) and self.is_ordered("full"):
            self.reply(unique, error=errno.ENOSPC)
            return
        if valid & FATTR_SIZE:
            self.data[node] = self.data[node][:size].ljust(size, b"\0")
        self.reply(unique, struct.pack("<QII", 0, 0, 0) + self.attr(node))

    def answer(self, opcode, unique, node, body):
        if opcode == INIT:
            flags = ASYNC_DIO * self.is_ordered("async") | POSIX_LOCKS * self.is_ordered("nolocks")
            self.reply(unique, struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 20, flags, 16, 12,
                                           1 << 20, 1, 32, 0, 0))
        elif opcode in (GETLK, SETLK, SETLKW):
            self.reply(unique, error=errno.ENOLCK)
        elif opcode == LOOKUP:
            if body.rstrip(b"\0") not in self.names:
                self.reply(unique, error=errno.ENOENT)
            else:
                self.reply(unique, self.entry(self.names[body.rstrip(b"\0")]))
        elif opcode == CREATE:
            self.create(unique, body[16:].rstrip(b"\0"))
        elif opcode == UNLINK:
            self.unlink(unique, body.rstrip(b"\0"))
        elif opcode == SETATTR:
            self.set_attr(unique, node, body)
        elif opcode == GETATTR:
            self.reply(unique, struct.pack("<QII", 0, 0, 0) + self.attr(node))
        elif opcode == OPEN:
            self.reply(unique, struct.pack("<QII", 1, 0, 0))
        elif opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.reply(unique, bytes(self.data[node][offset:offset + size]))
        elif opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.data[node][offset:offset + size] = body[40:40 + size]
            self.reply(unique, struct.pack("<II", size, 0))
        elif opcode == FALLOCATE:  # of a hole or zeroes
            _, offset, size = struct.unpack_from("<QQQ", body)
            end = min(offset + size, len(self.data[node]))
            self.data[node][offset:end] = bytes(max(end - offset, 0))
            print("fallocate", offset, size, flush=True)
            self.reply(unique)
        elif opcode == STATFS:
            self.reply(unique, struct.pack("<QQQQQIIII24x", 1 << 20, 1 << 19, 1 << 19, 10, 5, 4096,
                                           255, 4096, 0))
        elif opcode == FSYNC and (self.is_ordered("fail") or self.take_order("fail-once")):
            self.reply(unique, error=errno.EIO)
        elif opcode in (RELEASE, FSYNC, FLUSH, ACCESS, DESTROY):
            self.reply(unique)
        else:
            self.reply(unique, error=errno.ENOSYS)

    def take(self):
        """Returns False when it is unmounted."""
        try:
            message = os.read(self.fd, (1 << 20) + 4096)
        except OSError as refused:
            return refused.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN)
        _, opcode, unique, node = HEADER.unpack_from(message)[:4]
        request = (opcode, unique, node, message[HEADER.size:])
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            return True
        order = self.order_of(NAMES.get(opcode, "-"))
        if order:
            self.held.append((order, request))
            print("held", NAMES[opcode], flush=True)
        else:
            self.answer(*request)
        return True

    def let_go(self):
        for order, request in self.held[:]:
            if not self.is_ordered(order):
                self.held.remove((order, request))
                self.answer(*request)

    def serve(self):
        while not select.select([self.fd], [], [], 0.02)[0] or self.take():
            self.let_go()


def main():
    fs = FileSystem(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    signal.signal(signal.SIGTERM, lambda *_: (fs.unmount(), sys.exit(0)))
    print("ready", flush=True)
    fs.serve()


if __name__ == "__main__":
    main()
