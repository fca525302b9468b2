#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""upgrade_peer.py MODE --take-over SOCKET: a program that asks a vblkd for its disks, and is none.

old      asks in a version that there is not
mute     receives nothing
dies     receives all, and ends
silent   receives all, and never says that it is ready
chatter  receives all, and says something else
leaves   says that it is ready, and has gone when it is told to go on
told     is a vblkd, $UPGRADE_NEXT, that is told to end (SIGTERM) as soon as it listens for that

The descriptors that come are closed with the process.
"""
import os
import signal
import socket
import sys
import time


def ask(path, version):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"daemon.hand_over",'
                 b'"params":{"version":%d,"timeout_ms":3000}}\n' % version)
    return sock


def receive(sock):
    line = b''
    while not line.endswith(b'\n'):
        line += sock.recv(1)
    if b'"error"' in line:
        sys.exit(line.decode())
    head = sock.recv(24, socket.MSG_WAITALL)
    size, fds = (int.from_bytes(head[at:at + 8], 'little') for at in (8, 16))
    got = []
    while len(got) < fds:
        got += socket.recv_fds(sock, 1, 253)[1]
    while size > 0:
        size -= len(sock.recv(size))
    return got


def listens(pid):
    with open(f'/proc/{pid}/status') as status:
        caught = [line for line in status if line.startswith('SigCgt')]
    return int(caught[0].split()[1], 16) & 1 << (signal.SIGTERM - 1)


def tell(path):
    pid = os.getpid()
    if os.fork():
        os.execv(os.environ['UPGRADE_NEXT'], ['vblkd', '--take-over', path])
    os.close(1)  # whoever started us waits for its end
    try:
        while not listens(pid):
            pass
        os.kill(pid, signal.SIGTERM)
    except (OSError, IndexError):
        pass  # it has ended
    os._exit(0)


def main():
    mode, path = sys.argv[1], sys.argv[-1]
    if mode == 'told':
        tell(path)
    sock = ask(path, 99 if mode == 'old' else 1)
    if mode == 'mute':
        time.sleep(600)
    receive(sock)
    if mode == 'silent':
        sock.recv(1)  # its end: nobody waits any more
    elif mode == 'chatter':
        sock.sendall(b'x')
        sock.recv(1)
    elif mode == 'leaves':
        sock.sendall(b'r')
        sock.recv(1)
        os._exit(1)


main()
