#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""migrate.py QMP SECONDS {begin URI BYTES | finish | slow URI | all URI [stopped] | go | stop | cancel}:
have a QEMU migrate its guest.

`begin` lets it send BYTES a second until it has sent all memory once, and hardly anything from then
on: what the guest's memory gets after that is to be sent again.  `finish` lets it send as fast as it
can, and returns when the guest has gone; `all` does both, and with `stopped` the guest stands still
meanwhile.  `slow` begins one that does not come to an end.  `go` lets a guest that has come go on.  `stop` stops the guest's processors while a
migration is under way, and `cancel` ends that and lets the guest go on here.  Exit status 1 when it
has failed, or the deadline of SECONDS passed."""

import json
import socket
import sys
import time


class Monitor:
    def __init__(self, path, seconds):
        self.deadline = time.monotonic() + float(seconds)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(float(seconds))
        self.sock.connect(path)
        self.file = self.sock.makefile("rw")
        json.loads(self.file.readline())  # the greeting
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                sys.exit(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def wait_for(self, is_there):
        while True:
            state = self.ask("query-migrate")
            if is_there(state):
                return
            if state.get("status") in ("failed", "cancelled"):
                sys.exit(f"migration {state['status']}: {state.get('error-desc', 'no reason')}")
            if time.monotonic() > self.deadline:
                sys.exit(f"deadline passed, migration is {state.get('status')}")
            time.sleep(0.05)

    def wait_for_guest(self):
        while self.ask("query-status")["status"] == "inmigrate":
            if time.monotonic() > self.deadline:
                sys.exit("deadline passed, no guest has come")
            time.sleep(0.02)


def has_sent_all_once(state):
    return state.get("status") == "active" and state["ram"]["dirty-sync-count"] > 1


def limit(monitor, bytes_a_second, downtime_ms):
    monitor.ask("migrate-set-parameters", **{"max-bandwidth": bytes_a_second,
                                             "downtime-limit": downtime_ms})


def is_active(state):
    return state.get("status") == "active"


def is_over(state):
    return state.get("status") == "completed"


def is_cancelled(state):
    return state.get("status") == "cancelled"


def begin_slowly(monitor, uri):
    limit(monitor, 1 << 16, 1)
    monitor.ask("migrate", uri=uri)
    monitor.wait_for(is_active)


def main(path, seconds, verb, *arguments):
    monitor = Monitor(path, seconds)
    if verb == "begin":
        limit(monitor, int(arguments[1]), 1)
        monitor.ask("migrate", uri=arguments[0])
        monitor.wait_for(has_sent_all_once)
        limit(monitor, 1 << 16, 1)
    elif verb == "slow":
        begin_slowly(monitor, arguments[0])
    elif verb == "stop":
        monitor.ask("stop")
    elif verb == "go":
        monitor.wait_for_guest()
        monitor.ask("cont")
    elif verb == "cancel":
        monitor.ask("migrate_cancel")
        monitor.wait_for(is_cancelled)
        monitor.ask("cont")
    else:
        if verb == "all" and len(arguments) > 1:
            begin_slowly(monitor, arguments[0])
            monitor.ask("stop")
        limit(monitor, 1 << 34, 20000)
        if verb == "all" and len(arguments) == 1:
            monitor.ask("migrate", uri=arguments[0])
        monitor.wait_for(is_over)


main(*sys.argv[1:])
