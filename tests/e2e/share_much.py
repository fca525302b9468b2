#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""share_much.py SOCKET TIB: a front-end that shares one region of TIB tebibytes, of a file that is
nothing but a hole.  Prints "refused", or "taken", and stays then until it is killed."""

import os
import signal
import struct
import sys

from block_err import SET_MEM_TABLE, FrontEnd


def main():
    front, size = FrontEnd(sys.argv[1]), int(sys.argv[2]) << 40
    memory = os.memfd_create('hole')
    os.ftruncate(memory, size)
    answer = front.ask(SET_MEM_TABLE, struct.pack('<2I4Q', 1, 0, 0, size, 0, 0), [memory])
    if answer != bytes(8):
        print('refused', flush=True)
        return
    print('taken', flush=True)
    signal.pause()


main()
