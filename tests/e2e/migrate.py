#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""migrate.py QMP SECONDS {begin URI BYTES | finish}: have a QEMU migrate its guest.

`begin` lets it send BYTES a second until it has sent all memory once, and hardly anything from then
on: what the guest's memory gets after that is to be sent again.  `finish` lets it send as fast as it
can, and returns when the guest has gone.  Exit status 1 when it has failed, or the deadline of
SECONDS passed."""

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


def has_sent_all_once(state):
    return state.get("status") == "active" and state["ram"]["dirty-sync-count"] > 1


def limit(monitor, bytes_a_second, downtime_ms):
    monitor.ask("migrate-set-parameters", **{"max-bandwidth": bytes_a_second,
                                             "downtime-limit": downtime_ms})


def main(path, seconds, verb, *arguments):
    monitor = Monitor(path, seconds)
    if verb == "begin":
        limit(monitor, int(arguments[1]), 1)
        monitor.ask("migrate", uri=arguments[0])
        monitor.wait_for(has_sent_all_once)
        limit(monitor, 1 << 16, 1)
    else:
        limit(monitor, 1 << 34, 20000)
        monitor.wait_for(lambda state: state.get("status") == "completed")


main(*sys.argv[1:])
