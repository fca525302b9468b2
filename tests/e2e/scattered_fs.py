#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""scattered_fs.py DIR SIZE MS [SEED]: mount a file system on the empty directory DIR with one file in
it, "disk", of SIZE bytes, in which each read, write and fallocate takes up to MS milliseconds, each
its own time: whatever is under way ends in any order, and takes effect when it ends.  Overlapping
ones are in no order either.  Prints "ready" when it is mounted; unmounts and ends on SIGTERM.
Source: Linux, include/uapi/linux/fuse.h."""

import heapq
import random
import select
import signal
import struct
import sys
import time

import slow_fs

# As libfuse asks for: without ASYNC_DIO the kernel waits for each operation of Linux AIO in turn.
ASYNC_READ, BIG_WRITES, ASYNC_DIO = 1 << 0, 1 << 5, 1 << 15
AT_ONCE = 1024


class FileSystem(slow_fs.FileSystem):
    def __init__(self, directory, size, delay_ms, seed):
        super().__init__(directory, size, "/nonexistent")
        self.delay_s = delay_ms / 1000
        self.random = random.Random(seed)
        self.due = []
        self.count = 0

    def answer(self, opcode, unique, node, body):
        if opcode == slow_fs.INIT:
            self.reply(unique, struct.pack("<IIIIHHIIHHI28x", 7, 31, 1 << 20,
                                           ASYNC_READ | BIG_WRITES | ASYNC_DIO, AT_ONCE, AT_ONCE,
                                           1 << 20, 1, 32, 0, 0))
        elif opcode == slow_fs.OPEN:
            self.reply(unique, struct.pack("<QII", 1, 0, 0))
        elif opcode in (slow_fs.READ, slow_fs.WRITE, slow_fs.FALLOCATE):
            self.count += 1
            when = time.monotonic() + self.random.uniform(0, self.delay_s)
            heapq.heappush(self.due, (when, self.count, (opcode, unique, node, body)))
        else:
            super().answer(opcode, unique, node, body)

    def end_due(self):
        while self.due and self.due[0][0] <= time.monotonic():
            super().answer(*heapq.heappop(self.due)[2])

    def patience_s(self):
        return max(self.due[0][0] - time.monotonic(), 0) if self.due else 1

    def serve(self):
        while not select.select([self.fd], [], [], self.patience_s())[0] or self.take():
            self.end_due()


def main():
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    fs = FileSystem(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), seed)
    signal.signal(signal.SIGTERM, lambda *_: (fs.unmount(), sys.exit(0)))
    print("ready", flush=True)
    fs.serve()


main()
