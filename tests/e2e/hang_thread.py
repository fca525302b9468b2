#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hang_thread.py TID: hold one thread of another process still, as a system call that does
not return would, until standard input ends.  Prints "held" when it is.  Exit status 77 when
the system does not let us.
Source: ptrace(2), PTRACE_SEIZE, PTRACE_INTERRUPT."""

import ctypes
import os
import sys

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_DETACH = 17
WALL = 0x40000000


def main():
    tid = int(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, tid, None, None) < 0 or \
            libc.ptrace(PTRACE_INTERRUPT, tid, None, None) < 0:
        print(os.strerror(ctypes.get_errno()), file=sys.stderr)
        sys.exit(77)
    os.waitpid(tid, WALL)
    print('held', flush=True)
    sys.stdin.read()
    libc.ptrace(PTRACE_DETACH, tid, None, None)


main()
