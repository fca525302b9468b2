#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A client of vblkd's control protocol in another language: plain sockets, no library.

protocol_client.py SOCKET SCENARIO: carry out one scenario of the functions below whose name
begins with `try_`; the exit status is 0 when the daemon behaved, and its complaint is printed
otherwise.
"""

import json
import socket
import sys
import time

TIMEOUT_S = 60
LINE_MAX = 65536
CLIENTS_MAX = 64
CALLS_MAX = 64

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
REFUSED = -32000

PATH = ''


class Refused(Exception):
    """An answer with an error; the attributes are its members."""

    def __init__(self, error):
        super().__init__(error['message'])
        self.code = error['code']
        self.message = error['message']
        self.errno = error.get('data', {}).get('errno')


class Client:
    """One connection; requests one after the other, or bytes as they are."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(PATH)  # with a time-out it would fail when many connect at once
        self.sock.settimeout(TIMEOUT_S)
        self.received = b''
        self.last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_request(self, method, params=None, **more):
        request = {'jsonrpc': '2.0', 'method': method, **more}
        if params is not None:
            request['params'] = params
        self.send(json.dumps(request).encode() + b'\n')

    def read_line(self):
        """The next answer or notification, None at the end of the connection."""
        while b'\n' not in self.received:
            try:
                data = self.sock.recv(1 << 16)
            except ConnectionResetError:
                data = b''
            if not data:
                return None
            self.received += data
        line, self.received = self.received.split(b'\n', 1)
        message = json.loads(line)
        assert message['jsonrpc'] == '2.0', message
        return message

    def read(self):
        answer = self.read_line()
        assert answer is None or ('result' in answer) != ('error' in answer), answer
        return answer

    def call(self, method, params=None):
        self.last_id += 1
        self.send_request(method, params, id=self.last_id)
        answer = self.read()
        assert answer['id'] == self.last_id, answer
        if 'error' in answer:
            raise Refused(answer['error'])
        return answer['result']


def refused(client, method, params=None):
    """The error of a call that must not succeed."""
    try:
        result = client.call(method, params)
    except Refused as error:
        return error
    raise AssertionError(f'{method} {params} was carried out: {result}')


def answers(client):
    """Is the daemon, and this connection, still alive?"""
    assert client.call('daemon.ping')['pid'] > 0


def add_null(client, name, **more):
    return client.call('disk.add', {'name': name, 'image': {'type': 'null', 'size': 1 << 30},
                                    **more})


# ---- what works ----

def try_life_of_a_disk():
    with Client() as client:
        disk = add_null(client, 'vda', readonly=True, queues=4, serial='S1')
        assert disk['name'] == 'vda' and disk['state'] == 'running' and disk['size'] == 1 << 30
        assert disk['readonly'] and disk['queues'] == 4 and disk['serial'] == 'S1', disk
        assert disk['client'] is None and disk['image']['type'] == 'null', disk
        shown = client.call('disk.show', {'name': 'vda'})
        assert shown == disk, (shown, disk)
        listed = client.call('disk.list')['disks']
        assert [d['name'] for d in listed] == ['vda'] and listed[0].items() <= disk.items()
        stats = client.call('disk.stats', {'name': 'vda'})
        assert set(stats['requests']) == {'read', 'write', 'flush', 'discard', 'write_zeroes', 'other'}, stats
        assert client.call('disk.stats')['disks'][0]['name'] == 'vda'
        assert client.call('disk.stop', {'name': 'vda', 'timeout_ms': 20000})['changed'] is True
        assert client.call('disk.stop', {'name': 'vda'})['changed'] is False
        assert client.call('disk.start', {'name': 'vda'})['state'] == 'running'
        assert client.call('disk.remove', {'name': 'vda'}) == {'name': 'vda'}
        assert refused(client, 'disk.show', {'name': 'vda'}).errno == 'ENOENT'


def try_ids_come_back():
    with Client() as client:
        for number in (0, -1, 1 << 53, '', 'seven', 'ü', None):
            client.send_request('daemon.ping', id=number)
            answer = client.read()
            assert answer['id'] == number and 'result' in answer, answer


def try_notifications_are_carried_out_without_an_answer():
    with Client() as client:
        client.send_request('disk.add', {'name': 'vda', 'image': {'type': 'null', 'size': 512}})
        client.send_request('no.such.method')
        client.send_request('disk.show', {'name': 'vda'}, id='after')
        answer = client.read()
        assert answer['id'] == 'after' and answer['result']['name'] == 'vda', answer


def try_requests_in_a_row():
    """More than may be under way at once; each is answered once."""
    with Client() as client:
        add_null(client, 'vda')
        count = 500
        text = ''.join(json.dumps({'jsonrpc': '2.0', 'id': i, 'method': 'disk.show',
                                   'params': {'name': 'vda'}}) + '\n' for i in range(count))
        client.send(text.encode())
        ids = [client.read()['id'] for _ in range(count)]
        assert sorted(ids) == list(range(count)), ids
        answers(client)


def try_line_in_pieces():
    with Client() as client:
        line = b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping"}\n'
        for i in range(len(line)):
            client.send(line[i:i + 1])
        assert 'result' in client.read()
        client.send(line + line + line[:10])
        assert client.read() and client.read()
        client.send(line[10:])
        assert client.read()['id'] == 1


def try_half_closed_connection_gets_its_answers():
    with Client() as client:
        add_null(client, 'vda')
        for i in range(3):
            client.send_request('disk.show', {'name': 'vda'}, id=i)
        client.sock.shutdown(socket.SHUT_WR)
        assert sorted(client.read()['id'] for _ in range(3)) == [0, 1, 2]
        assert client.read() is None


def try_half_closed_connection_is_told_how_the_daemon_ended():
    with Client() as client:
        add_null(client, 'vda')
        client.send_request('daemon.shutdown', id=1)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read()['id'] == 1
        ended = client.read_line()
        assert ended and ended['method'] == 'daemon.ended', ended
        assert ended['params'] == {'status': 0, 'reason': None, 'left': []}, ended
        assert client.read() is None


def try_methods_tell_their_parameters():
    with Client() as client:
        methods = {m['name']: m for m in client.call('daemon.methods')['methods']}
        assert {'disk.add', 'disk.remove', 'disk.list', 'disk.show', 'disk.stats', 'disk.start',
                'disk.stop', 'disk.set', 'disk.replace', 'disk.insert', 'disk.eject',
                'disk.resize',
                'daemon.version', 'daemon.ping', 'daemon.shutdown', 'daemon.hand_over',
                'daemon.methods'} == set(methods), set(methods)
        for method in methods.values():
            assert method['help'], method
            for param in method['params']:
                assert param['help'] and param['type'], param
        name = methods['disk.show']['params'][0]
        assert name['name'] == 'name' and name['required'], name


# ---- what is refused, by name ----

def try_bad_lines_are_told_and_the_connection_goes_on():
    lines = [
        (b'', PARSE_ERROR),
        (b'{', PARSE_ERROR),
        (b'hello', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping"} more', PARSE_ERROR),
        (b'\0\0\0\0', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping\0"}', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping\\u0000"}', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\xff\xfe"}', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "daemon.ping"}', PARSE_ERROR),
        (b'[' * 60000, PARSE_ERROR),
        (b'{"a":' * 12000, PARSE_ERROR),
        (b'5', INVALID_REQUEST),
        (b'"text"', INVALID_REQUEST),
        (b'null', INVALID_REQUEST),
        (b'[]', INVALID_REQUEST),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping"}]', INVALID_REQUEST),
        (b'{}', INVALID_REQUEST),
        (b'{"id": 1, "method": "daemon.ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "daemon.ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": 2.0, "id": 1, "method": "daemon.ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "daemon.ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "daemon.ping"}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping", "x": 1}', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping", "params": []}', INVALID_PARAMS),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping", "params": null}', INVALID_PARAMS),
    ]
    with Client() as client:
        for line, code in lines:
            client.send(line + b'\n')
            answer = client.read()
            assert answer and answer['error']['code'] == code, (line[:80], answer)
            assert answer['error']['message'], answer
        answers(client)


def try_names_are_told():
    with Client() as client:
        image = {'type': 'null', 'size': 512}
        error = refused(client, 'disk.explode', {})
        assert error.code == METHOD_NOT_FOUND and 'disk.explode' in error.message
        cases = [
            ('disk.show', {}, 'name: is missing'),
            ('disk.show', {'name': 7}, 'name: must be a string'),
            ('disk.show', {'name': 'a', 'nmae': 'b'}, '"nmae"'),
            ('disk.list', {'all': True}, '"all"'),
            ('disk.stop', {'name': 'a', 'timeout_ms': '5'}, 'timeout_ms: must be an integer'),
            ('disk.stop', {'name': 'a', 'timeout_ms': -1}, 'timeout_ms: -1 is out of range'),
            ('disk.stop', {'name': 'a', 'timeout_ms': 1 << 62}, 'timeout_ms:'),
            ('disk.remove', {'name': 'a', 'force': 1}, 'force: must be a boolean'),
            ('disk.add', {'name': 'a'}, 'image: is missing'),
            ('disk.add', {'name': 'a', 'image': 'null'}, 'image: must be an object'),
            ('disk.add', {'name': 'a', 'image': {'type': 'floppy'}}, 'image.type:'),
            ('disk.add', {'name': 'a', 'image': {**image, 'colour': 1}}, '"colour"'),
            ('disk.add', {'name': 'a', 'image': {**image, 'size': 1.5}}, 'image.size:'),
            ('disk.add', {'name': 'a', 'image': {**image, 'size': -512}}, 'image.size:'),
            ('disk.add', {'name': 'a', 'image': {**image, 'cache': 'fast'}}, 'image.cache:'),
            ('disk.add', {'name': 'a', 'image': image, 'queues': 0}, 'queues:'),
            ('disk.add', {'name': 'a', 'image': image, 'queues': 65}, 'queues:'),
            ('disk.add', {'name': 'a', 'image': image, 'queue_size': 100}, 'queue_size:'),
            ('disk.add', {'name': 'a', 'image': image, 'queue_size': 65536}, 'queue_size:'),
            ('disk.add', {'name': 'a', 'image': image, 'serial': 'x' * 21}, 'serial:'),
            ('disk.add', {'name': 'a', 'image': image, 'logical_block_size': 1000},
             'logical_block_size:'),
            ('disk.add', {'name': 'a/b', 'image': image}, 'name:'),
            ('disk.add', {'name': '', 'image': image}, 'name:'),
            ('disk.add', {'name': '.a', 'image': image}, 'name:'),
            ('disk.add', {'name': 'x' * 64, 'image': image}, 'name:'),
        ]
        for method, params, text in cases:
            error = refused(client, method, params)
            assert error.code == INVALID_PARAMS and text in error.message, \
                (method, params, error.code, error.message)
        assert client.call('disk.list') == {'disks': [], 'warnings': []}


VALUES = {'string': 'x', 'boolean': True, 'integer': 7, 'object': {}}


def flat(params, path=()):
    for param in params:
        yield path + (param['name'],), param
        yield from flat(param.get('members', []), path + (param['name'],))


def nested(base, path, value):
    """A copy of `base` with `value` at `path`."""
    copy = dict(base)
    copy[path[0]] = nested(copy.get(path[0], {}), path[1:], value) if path[1:] else value
    return copy


def bad_values(param):
    """(value, what is said of it) of all that the daemon's own table does not allow."""
    article = 'an' if param['type'][0] in 'aeiou' else 'a'
    said = f'must be {article} {param["type"]}, not '
    yield from ((value, said) for kind, value in VALUES.items() if kind != param['type'])
    yield from ((value, said) for value in (None, [], 1.5))
    if 'min' in param:
        for value in param['min'] - 1, param['max'] + 1:
            if value < 1 << 63:
                yield value, f'{value} is out of range, {param["min"]} to {param["max"]} are'
    if param['type'] == 'string':
        yield '', 'is empty'
    if 'values' in param:
        yield 'X', '"X" is not allowed, must be one of "' + '", "'.join(param['values']) + '"'
    if param['type'] == 'object':
        yield {'colour': 1}, 'unknown member "colour"'


def refused_params(client, method, params, text):
    error = refused(client, method, params)
    assert error.code == INVALID_PARAMS and error.message.startswith(text), \
        (method, params, error.code, error.message, text)


def try_each_parameter_is_checked():
    """Whatever the tables have, at any depth; nothing is otherwise than before."""
    with Client() as client:
        before = add_null(client, 'vda')
        image = {'name': 'vda', 'path': '/none'}
        base = {'disk.add': {'name': 'vdb', 'image': {'type': 'null', 'size': 512}},
                'disk.replace': image, 'disk.insert': image, 'daemon.hand_over': {'version': 1}}
        count = 0
        for method in client.call('daemon.methods')['methods']:
            name = {'name': 'vda'} if ('name',) in dict(flat(method['params'])) else {}
            valid = base.get(method['name'], name)
            for path, param in flat(method['params']):
                for value, text in bad_values(param):
                    refused_params(client, method['name'], nested(valid, path, value),
                                   f'{".".join(path)}: {text}')
                    count += 1
            refused_params(client, method['name'], {**valid, 'colour': 1},
                           'unknown member "colour"')
        for name in 'serial', 'readonly', 'image':
            refused_params(client, 'disk.set', {'name': 'vda', name: 1},
                           f'{name}: is fixed when the disk is added')
        assert count > 200, count
        assert client.call('disk.show', {'name': 'vda'}) == before
        assert len(client.call('disk.list')['disks']) == 1


def try_members_of_other_types_and_twins_are_refused():
    with Client() as client:
        for image, text in [
                ({'type': 'null', 'size': 512, 'path': '/x'}, 'image.path: goes with type "file"'),
                ({'type': 'null', 'size': 512, 'create': True}, 'image.create: goes with type'),
                ({'type': 'null', 'size': 512, 'format': 'raw'}, 'image.format: goes with type'),
                ({'type': 'file', 'path': '/x', 'delay_ms': 1},
                 'image.delay_ms: goes with type "null" only')]:
            refused_params(client, 'disk.add', {'name': 'a', 'image': image}, text)
        for params in [
                b'{"name": "a", "name": "b", "image": {"type": "null", "size": 512}}',
                b'{"name": "a", "image": {"type": "null", "size": 512, "size": 1024}}',
                b'{"name": "a", "image": {"type": "null", "type": "file", "size": 512}}',
                b'{"name": "a", "image": {}, "image": {"type": "null", "size": 512}}']:
            client.send(b'{"jsonrpc": "2.0", "id": 1, "method": "disk.add", "params": ' + params +
                        b'}\n')
            answer = client.read()
            assert answer['error']['code'] == PARSE_ERROR, answer
            assert 'duplicate' in answer['error']['message'], answer
        assert client.call('disk.list')['disks'] == []


def try_refusals_name_the_errno():
    with Client() as client:
        add_null(client, 'vda')
        for method, params, errno in [
                ('disk.show', {'name': 'vdz'}, 'ENOENT'),
                ('disk.stop', {'name': 'vdz'}, 'ENOENT'),
                ('disk.remove', {'name': 'vdz'}, 'ENOENT'),
                ('disk.set', {'name': 'vdz', 'engine': 'auto'}, 'ENOENT'),
                ('disk.add', {'name': 'vda', 'image': {'type': 'null', 'size': 512}}, 'EEXIST'),
                ('disk.add', {'name': 'vdb', 'image': {'type': 'file', 'path': '/no/such'}},
                 'ENOENT')]:
            error = refused(client, method, params)
            assert error.code == REFUSED and error.errno == errno, (method, params, vars(error))


def try_settings_with_hostile_values():
    """Each is refused by name, and nothing is otherwise than before."""
    with Client() as client:
        before = add_null(client, 'vda')
        cases = [
            ({}, 'no setting'),
            ({'engine': 'aio'}, 'engine: "aio" goes with'),
            ({'Engine': 'auto'}, '"Engine"'),
            ({'engine ': 'auto'}, '"engine "'),
            ({'readonly': True}, 'readonly: is fixed'),
            ({'settings': {'engine': 'auto'}}, '"settings"'),
            ({'engine': 'x' * 60000}, 'must be one of "auto", "aio", "io_uring"'),
            ({'engine': 'auto\n'}, 'must be one of'),
            ({'engine': ''}, 'engine: is empty'),
        ]
        for name, low, high in ('poll_us', 0, 1000), ('poll_cpu', 1, 100), ('threads', 1, 16):
            cases += [({name: value}, f'{name}: {value} is out of range, {low} to {high} are')
                      for value in (low - 1, high + 1, 1 << 31, 1 << 32, (1 << 63) - 1, -1 << 63)]
            cases += [({name: value}, f'{name}: must be an integer')
                      for value in (None, '', '1', 1.0, 0.5, 1e300, True, [], [1], {})]
            cases.append(({name: high, 'engine': 'aio'}, 'engine: "aio" goes with'))
            cases.append(({name: high, 'more': 1}, '"more"'))
        cases += [({'engine': value}, 'engine: must be a string')
                  for value in (None, 0, -1, 1.5, True, [], ['auto'], {}, {'engine': 'auto'})]
        for params, text in cases:
            error = refused(client, 'disk.set', {'name': 'vda', **params})
            # What does not fit this disk may fit another.
            code = REFUSED if 'goes with' in text else INVALID_PARAMS
            assert error.code == code and text in error.message, \
                (str(params)[:80], error.code, error.message[:300])
        assert client.call('disk.set', {'name': 'vda', 'engine': 'auto'})['changed'] is False
        assert client.call('disk.show', {'name': 'vda'}) == before


def try_settings_on_their_way_do_not_undo_each_other():
    """Two clients change two settings of one disk, many times, without waiting."""
    with Client() as one, Client() as other:
        add_null(one, 'vda', poll_us=0, poll_cpu=100)
        for i in range(1, 41):
            one.send_request('disk.set', {'name': 'vda', 'poll_us': i}, id=i)
            other.send_request('disk.set', {'name': 'vda', 'poll_cpu': i}, id=i)
        for i in range(1, 41):
            assert one.read()['result']['poll_us'] == i
            assert other.read()['result']['poll_cpu'] == i
        disk = one.call('disk.show', {'name': 'vda'})
        assert (disk['poll_us'], disk['poll_cpu']) == (40, 40), disk


def try_settings_in_a_row():
    """Requests that change, and one that removes the disk between them; each has its answer."""
    with Client() as client:
        add_null(client, 'vda')
        for i in range(60):
            if i == 30:
                client.send_request('disk.remove', {'name': 'vda'}, id=i)
            else:
                client.send_request('disk.set', {'name': 'vda', 'poll_us': i}, id=i)
        answers_of = {}
        for _ in range(60):
            answer = client.read()
            answers_of[answer['id']] = answer
        assert sorted(answers_of) == list(range(60)), sorted(answers_of)
        assert all('result' in answers_of[i] for i in range(31)), answers_of
        assert all(answers_of[i]['result']['poll_us'] == i for i in range(30)), answers_of
        errnos = {answers_of[i]['error']['data']['errno'] for i in range(31, 60)}
        assert errnos <= {'ENOENT', 'EBUSY', 'ENODEV'}, errnos
        assert client.call('disk.list') == {'disks': [], 'warnings': []}


# ---- what must harm nobody ----

def padded_ping(length):
    """A request of `length` bytes."""
    line = b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.ping"}'
    return line + b' ' * (length - len(line))


def try_longest_line_is_taken_and_a_longer_one_ends_the_connection():
    with Client() as client, Client() as other:
        client.send(padded_ping(LINE_MAX) + b'\n')
        assert 'result' in client.read()
        client.send(padded_ping(LINE_MAX + 1))
        answer = client.read()
        assert answer['error']['code'] == INVALID_REQUEST and answer['id'] is None, answer
        assert client.read() is None
        answers(other)


def try_endless_line():
    """1 GiB, or as much of it as the daemon lets us send."""
    with Client() as client, Client() as other:
        chunk = b'x' * (1 << 20)
        sent = 0
        try:
            while sent < 1 << 30:
                client.send(chunk)
                sent += len(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 1 << 30, 'all of it was taken'
        answers(other)


def try_garbage_ends_nothing():
    """Bytes that no JSON begins with, in lines of all lengths."""
    state = 12345
    with Client() as client, Client() as other:
        for _ in range(300):
            line = bytearray()
            for _ in range(state % 97 + 1):
                state = (state * 1103515245 + 12345) & 0x7fffffff
                byte = state >> 16 & 0xff
                line.append(byte if byte != 10 else 11)
            client.send(bytes(line) + b'\n')
            assert client.read()['error']['code'] in (PARSE_ERROR, INVALID_REQUEST)
        answers(client)
        answers(other)


def try_clients_that_leave_early():
    with Client() as stays:
        add_null(stays, 'vda')
        for i in range(100):
            try:
                with Client() as leaves:
                    if i % 2:
                        leaves.send_request('disk.show', {'name': 'vda'}, id=i)
                        leaves.send_request('disk.list', id=i)
                    leaves.send(b'{"jsonrpc": "2.0", "id"')
            except BrokenPipeError:
                pass  # too many of them at once
        answers(stays)


def try_clients_that_list_as_often_as_they_may():
    """Nobody waits for long, and no disk is blamed for it."""
    disks = [f'd{i}' for i in range(30)]
    with Client() as other:
        for disk in disks:
            add_null(other, disk)
        line = b'{"jsonrpc": "2.0", "id": 1, "method": "disk.list"}\n'
        clients = [Client() for _ in range(CLIENTS_MAX // 2)]
        for client in clients:
            client.send(line * CALLS_MAX)
        answers(other)
        assert len(other.call('disk.stats')['disks']) == len(disks)
        for client in clients:
            for _ in range(CALLS_MAX):
                listed = client.read()['result']['disks']
                assert [disk['name'] for disk in listed] == disks, listed
                assert {disk['state'] for disk in listed} == {'running'}, listed
            client.sock.close()


def try_client_that_does_not_read_is_dropped():
    with Client() as deaf, Client() as other:
        line = b'{"jsonrpc": "2.0", "id": 1, "method": "daemon.methods"}\n' * 100
        deaf.sock.settimeout(0.2)
        was_dropped = False
        for _ in range(200):
            try:
                deaf.send(line)
            except (BrokenPipeError, ConnectionResetError):
                was_dropped = True
                break
            except TimeoutError:
                pass
            answers(other)
        assert was_dropped
        answers(other)


def try_too_many_clients():
    clients = [Client() for _ in range(CLIENTS_MAX)]
    for client in clients:
        answers(client)
    with Client() as late:
        answer = late.read()
        assert answer['error']['code'] == REFUSED, answer
        assert late.read() is None
    for client in clients:
        answers(client)
        client.sock.close()
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        with Client() as again:
            again.send_request('daemon.ping', id=1)
            if 'result' in again.read():
                return
        assert time.monotonic() < deadline, 'no place became free'


def main():
    global PATH

    if len(sys.argv) != 3 or f'try_{sys.argv[2]}' not in globals():
        names = sorted(name[4:] for name in globals() if name.startswith('try_'))
        sys.exit('protocol_client.py SOCKET SCENARIO, one of:\n  ' + '\n  '.join(names))
    PATH = sys.argv[1]
    globals()[f'try_{sys.argv[2]}']()


if __name__ == '__main__':
    main()
