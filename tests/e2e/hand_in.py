#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""hand_in.py SOCKET FILE MESSAGE: connect to a disk as a front-end, send one vhost-user message
with FILE, and print "taken", "refused", or "closed" when the connection was closed instead.
MESSAGE is memory, table, kick, call, err, channel or stray.
Source: QEMU documentation, "Vhost-user Protocol"."""

import array
import os
import socket
import struct
import sys

SET_FEATURES, SET_OWNER, SET_MEM_TABLE = 2, 3, 5
SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR = 12, 13, 14
SET_PROTOCOL_FEATURES, SET_BACKEND_REQ_FD, ADD_MEM_REG = 16, 21, 37
VERSION, NEED_REPLY = 1, 1 << 3
F_VERSION_1, F_PROTOCOL_FEATURES = 1 << 32, 1 << 30
P_REPLY_ACK, P_BACKEND_REQ, P_MEM_SLOTS = 1 << 3, 1 << 5, 1 << 15

REGION = struct.pack('<4Q', 0x100000, 1 << 20, 0x7f0000000000, 0)
MESSAGES = {
    'memory': (ADD_MEM_REG, bytes(8) + REGION),
    'table': (SET_MEM_TABLE, struct.pack('<2I', 1, 0) + REGION),
    'kick': (SET_VRING_KICK, bytes(8)),
    'call': (SET_VRING_CALL, bytes(8)),
    'err': (SET_VRING_ERR, bytes(8)),
    'channel': (SET_BACKEND_REQ_FD, b''),
    'stray': (SET_OWNER, b''),
}


def send(sock, request, payload=b'', flags=VERSION, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', fds))] if fds else []
    sock.sendmsg([struct.pack('<3I', request, flags, len(payload)) + payload], rights)


def main():
    request, payload = MESSAGES[sys.argv[3]]
    file = os.open(sys.argv[2], os.O_RDWR)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(sys.argv[1])
    send(sock, SET_FEATURES, struct.pack('<Q', F_VERSION_1 | F_PROTOCOL_FEATURES))
    send(sock, SET_PROTOCOL_FEATURES, struct.pack('<Q', P_REPLY_ACK | P_BACKEND_REQ | P_MEM_SLOTS))
    send(sock, request, payload, VERSION | NEED_REPLY, [file])
    sock.settimeout(60)
    answer = sock.recv(20, socket.MSG_WAITALL)
    if len(answer) < 20:
        print('closed')
    else:
        print('taken' if answer[12:] == bytes(8) else 'refused')


main()
