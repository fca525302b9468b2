#!/usr/bin/python3
"""vblkvm_terminal.py VBLKVM LOOP OFF [STATS HUNG...]: start guests on a terminal, and see that it is as
before.

LOOP is a kernel that never ends, OFF one that powers off at once.  HUNG are the arguments for a
guest whose disk does not answer, STATS the command that prints this disk's counters.
"""

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time

PATIENCE = 60 * int(os.environ.get("E2E_PATIENCE", "1"))


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"never true: {what}")
        time.sleep(0.02)


def is_raw(terminal):
    return not termios.tcgetattr(terminal)[3] & termios.ICANON


def check(arguments, name, end, status):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    vm = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
    if end:
        wait_for("a raw terminal", lambda: is_raw(slave))
        end(vm, master)
    found = vm.wait(PATIENCE)
    after = termios.tcgetattr(slave)
    os.close(master)
    os.close(slave)
    if found != status:
        sys.exit(f"{name}: status {found}, not {status}")
    if after != before:
        sys.exit(f"{name}: the terminal is not as before")


def is_in_flight(stats):
    return json.loads(subprocess.check_output(stats, shell=True))["inflight"] > 0


def end_hung(stats, vm, master):
    """The keys are the user's again while it waits for the disk, and the first signal does not end it."""
    wait_for("a request in flight", lambda: is_in_flight(stats))
    os.write(master, b"\x01x")
    wait_for("a terminal for the user", lambda: not is_raw(master))
    vm.send_signal(signal.SIGINT)
    time.sleep(0.5)
    if vm.poll() is not None:
        sys.exit("it ended although its disk does not answer")
    send_until_ended(vm, signal.SIGINT)


def send_until_ended(vm, number):
    """More than once: one may have been one with that before, and ThreadSanitizer holds a signal back
    that comes just before a system call."""
    end = time.monotonic() + PATIENCE
    while vm.poll() is None and time.monotonic() < end:
        vm.send_signal(number)
        try:
            vm.wait(2)
        except subprocess.TimeoutExpired:
            pass


def main(vblkvm, loop, off, stats=None, *hung):
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)  # a shell in the background has them ignored
    looping = [vblkvm, "--kernel", loop, "--memory", "16M"]
    check([vblkvm, "--kernel", off, "--memory", "16M"], "power off", None, 0)
    check(looping, "Ctrl-A X", lambda vm, master: os.write(master, b"\x01x"), 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        check(looping, number.name, lambda vm, _, n=number: vm.send_signal(n), 1)
    # A sanitizer takes SIGSEGV and SIGABRT for itself; these end by the signal everywhere.
    for number in (signal.SIGQUIT, signal.SIGFPE):
        check(looping, number.name, lambda vm, _, n=number: send_until_ended(vm, n), -number)
    if stats:
        check([vblkvm, *hung], "a disk that does not answer",
              lambda vm, master: end_hung(stats, vm, master), 1)


main(*sys.argv[1:])
