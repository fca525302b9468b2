#!/usr/bin/python3
"""vblkvm_terminal.py VBLKVM LOOP OFF: start guests on a terminal, and see that it is as before.

LOOP is a kernel that never ends, OFF one that powers off at once.
"""

import os
import pty
import signal
import subprocess
import sys
import termios
import time

PATIENCE = 20 * int(os.environ.get("E2E_PATIENCE", "1"))


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"never true: {what}")
        time.sleep(0.02)


def check(vblkvm, kernel, name, end, status):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    vm = subprocess.Popen([vblkvm, "--kernel", kernel, "--memory", "16M"], stdin=slave,
                          stdout=slave, stderr=subprocess.DEVNULL)
    if end:
        wait_for("a raw terminal", lambda: not termios.tcgetattr(slave)[3] & termios.ICANON)
        end(vm, master)
    found = vm.wait(PATIENCE)
    after = termios.tcgetattr(slave)
    os.close(master)
    os.close(slave)
    if found != status:
        sys.exit(f"{name}: status {found}, not {status}")
    if after != before:
        sys.exit(f"{name}: the terminal is not as before")


def main(vblkvm, loop, off):
    check(vblkvm, off, "power off", None, 0)
    check(vblkvm, loop, "Ctrl-A X", lambda vm, master: os.write(master, b"\x01x"), 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        check(vblkvm, loop, number.name, lambda vm, _, n=number: vm.send_signal(n), 1)
    # A sanitizer takes SIGSEGV and SIGABRT for itself; these end by the signal everywhere.
    for number in (signal.SIGQUIT, signal.SIGFPE):
        check(vblkvm, loop, number.name, lambda vm, _, n=number: vm.send_signal(n), -number)


main(*sys.argv[1:])
