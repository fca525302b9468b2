#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lock_file.py FILE: hold a lock on it, and say so."""

import fcntl
import signal
import sys

with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)
    print("locked", flush=True)
    signal.pause()
