#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""block_kick.py SOCKET: a front-end that makes its disk's thread wait: it kicks by a pipe, takes
O_NONBLOCK from it, which is one for both sides, and reads the kicks itself, so that sooner or
later it takes one that the thread has been told of.  Until it is killed."""

import fcntl
import os
import select
import signal
import struct
import sys
import threading

from block_err import (FrontEnd, SET_MEM_TABLE, SET_VRING_ADDR, SET_VRING_BASE, SET_VRING_ENABLE,
                       SET_VRING_KICK, SET_VRING_NUM, AVAIL, DESC, RING, USED, USER)


def steal(pipe):
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        poll.poll()
        os.read(pipe, 8)


def main():
    front = FrontEnd(sys.argv[1])
    guest = os.memfd_create('guest')
    os.ftruncate(guest, RING)
    kicks, kicker = os.pipe()
    front.ask(SET_MEM_TABLE, struct.pack('<2I4Q', 1, 0, 0, RING, USER, 0), [guest])
    front.ask(SET_VRING_NUM, struct.pack('<2I', 0, 8))
    front.ask(SET_VRING_BASE, struct.pack('<2I', 0, 0))
    front.ask(SET_VRING_ADDR,
              struct.pack('<2I4Q', 0, 0, USER + DESC, USER + USED, USER + AVAIL, 0))
    front.ask(SET_VRING_KICK, bytes(8), [kicks])
    fcntl.fcntl(kicks, fcntl.F_SETFL, fcntl.fcntl(kicks, fcntl.F_GETFL) & ~os.O_NONBLOCK)
    threading.Thread(target=steal, args=(kicks,), daemon=True).start()
    front.sock.settimeout(0.5)
    try:
        while True:
            os.write(kicker, bytes(8))
            front.ask(SET_VRING_ENABLE, struct.pack('<2I', 0, 1))
    except TimeoutError:
        signal.pause()  # the next kick would end the wait


main()
