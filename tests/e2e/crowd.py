#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Fill a daemon's control socket with clients of three kinds, to see who is refused when.

crowd.py SOCKET CHANGER READER: numbers of users; run by root, whom the daemon belongs to.
"""

import json
import os
import socket
import sys

# vblkd-protocol(7), "Limits"
READERS, GUESTS, CLIENTS = 32, 48, 64


def connect(path, uid):
    """The kernel notes the user that is in effect at the time."""
    os.seteuid(uid)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(path)
    os.seteuid(0)
    return client


def is_served(client):
    try:
        client.sendall(b'{"jsonrpc":"2.0","id":1,"method":"daemon.ping"}\n')
    except BrokenPipeError:
        pass  # it was refused before that; the reason can be read all the same
    answer = json.loads(client.makefile().readline())
    if 'result' in answer:
        return True
    assert answer['error']['message'] == 'too many clients are connected', answer
    return False


def fill(path, uid, served, limit):
    while len(served) < limit:
        client = connect(path, uid)
        assert is_served(client), f'{len(served)} clients, and user {uid} is refused'
        served.append(client)
    with connect(path, uid) as late:
        assert not is_served(late), f'{len(served)} clients, and user {uid} is served'


def main():
    path, changer, reader = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    served = []
    fill(path, reader, served, READERS)
    fill(path, changer, served, GUESTS)
    fill(path, 0, served, CLIENTS)


main()
