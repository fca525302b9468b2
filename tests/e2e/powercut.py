#!/usr/bin/python3
"""powercut.py: what a power cut leaves of an image, by the log of what was done to it (io_log.h).

follow CONSOLE DIR         append to DIR/DISK.iolog what the guest says on its console, as a note:
                           "synced DISK FILE MD5", "renamed DISK FILE NUMBER"; until it is ended
notes LOG                  how many there are
closed LOG                 whether nothing was left that was not stable when the image was closed
check LOG IMAGE POINTS SEED [--lost]
                           IMAGE as it was before the log; of so many points of the log, look at the
                           image as a power cut at that moment might leave it

A cut leaves what was stable: writes that were so by themselves, and all that had ended before a
flush began that has ended by then.  Of other writes that had begun each is there, is not, or only
some of its sectors are, by chance.  On that e2fsck has to find nothing but a journal, which it
replays, and unlinked files that were open; then the file system has to be clean, and everything be
there that the guest had synced: files with their sums, and renamed ones, all of whose lines are their
number, with that number or a later one.  With --lost the opposite is expected, of one point at least.
"""

import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

RECORD = struct.Struct("<QIHHQQQqQQ")
MAGIC = 0x676F6C6B6C62766F
BEGIN, END, CLOSE, NOTE = 1, 2, 3, 6
WRITE, FLUSH, DISCARD, ZERO = 1, 2, 3, 4
FUA = 1
SECTOR = 512


class Op:
    def __init__(self, begin, kind, flags, offset, length, data):
        self.begin, self.kind, self.flags = begin, kind, flags
        self.offset, self.length, self.data = offset, length, data
        self.end = None
        self.done = 0

    def is_stable(self, point, flushed):
        return self.has_ended(point) and (bool(self.flags & FUA) or self.end < flushed)

    def has_ended(self, point):
        return self.end is not None and self.end <= point


class Log:
    def __init__(self, path):
        with open(path, "rb") as file:
            log = memoryview(file.read())
        self.writes, self.flushes, self.notes, self.closed = [], [], [], []
        self.count = 0
        opened = {}
        at = 0
        while at < len(log):
            magic, kind, op, flags, ident, offset, length, result, size, _ = RECORD.unpack_from(log, at)
            assert magic == MAGIC, f"{path}: no record at {at}"
            data = log[at + RECORD.size : at + RECORD.size + size]
            assert len(data) == size, f"{path} ends within a record"
            at += RECORD.size + size
            self.count += 1
            if kind == BEGIN:
                opened[ident] = Op(self.count, op, flags, offset, length, data)
                if op in (WRITE, ZERO):
                    self.writes.append(opened[ident])
            elif kind == END:
                self.end(opened.pop(ident), result)
            elif kind == CLOSE:
                self.closed.append(self.count)
            elif kind == NOTE:
                self.notes.append((self.count, bytes(data).decode().split()))

    def end(self, op, result):
        op.end = self.count
        op.done = max(result, 0)
        if op.kind == FLUSH and result >= 0:
            self.flushes.append(op)

    # Behind which record all that had ended is stable; `point` is a record, too.
    def flushed(self, point):
        return max((op.begin for op in self.flushes if op.end <= point), default=0)


# What of a write is there: a list of pieces, in bytes from its beginning.
def survivors(op, length, chance, keep):
    if chance.random() < 0.5:
        return [(0, length)] if chance.random() < keep else []
    sectors = range(0, length, SECTOR)
    return [(at, min(SECTOR, length - at)) for at in sectors if chance.random() < keep]


def apply(image, op, pieces):
    for at, length in pieces:
        data = op.data[at : at + length] if op.kind == WRITE else bytes(length)
        image[op.offset + at : op.offset + at + length] = data


class Replay:
    def __init__(self, log, image):
        self.log = log
        with open(image, "rb") as file:
            self.stable = bytearray(file.read())
        self.applied = 0
        self.volatile = 0

    # The points must not fall.  In order of their beginning, as the later of two of one block counts.
    def image_at(self, point, chance):
        writes = self.log.writes
        flushed = self.log.flushed(point)
        keep = chance.choice((0, 0.1, 0.5, 0.9, 1))
        while self.applied < len(writes) and writes[self.applied].is_stable(point, flushed):
            op = writes[self.applied]
            apply(self.stable, op, [(0, op.done)])
            self.applied += 1
        image = bytearray(self.stable)
        self.volatile = 0
        for op in writes[self.applied :]:
            if op.begin > point:
                break
            if op.is_stable(point, flushed):
                apply(image, op, [(0, op.done)])
            else:
                self.volatile += 1
                apply(image, op, survivors(op, op.length, chance, keep))
        return image


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode(errors="replace")


def in_short(text):
    return " | ".join(line for line in text.splitlines() if line and not line.startswith("Pass "))[:400]


def check_file_system(path):
    status, text = run("e2fsck", "-p", path)
    if status & ~1:
        return f"e2fsck -p ends with {status}: {in_short(text)}"
    status, text = run("e2fsck", "-fn", path)
    return f"e2fsck -fn ends with {status}: {in_short(text)}" if status else None


def content(folder, name):
    try:
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()
    except OSError:
        return None


def check_renamed(name, data, number):
    lines = set(data.split()) if data else set()
    found = int(lines.pop()) if len(lines) == 1 else None
    if found is None or found < number:
        return f"{name} was renamed as number {number}, and is {found}"
    return None


# What is promised at `point`: of each name the last word.
def check_files(log, point, folder):
    promised = {}
    for at, words in log.notes:
        if at <= point:
            promised[words[2]] = words
    for name, (verb, _, _, value) in promised.items():
        data = content(folder, name)
        if verb == "renamed":
            fault = check_renamed(name, data, int(value))
        elif data is None or hashlib.md5(data).hexdigest() != value:
            fault = f"{name} was synced, and is {'not there' if data is None else 'not what it was'}"
        else:
            fault = None
        if fault:
            return len(promised), fault
    return len(promised), None


# Near what may go wrong as often as anywhere.
def choose_points(log, count, chance):
    first = log.notes[0][0]
    near = [op.end for op in log.flushes if op.end > first] + [at for at, _ in log.notes]
    points = []
    for _ in range(count):
        if chance.random() < 0.5:
            points.append(chance.choice(near) + chance.randint(-1, 1))
        else:
            points.append(chance.randint(first, log.count))
    return sorted(points)


def check_point(log, replay, point, chance, work):
    path = os.path.join(work, "cut.img")
    folder = os.path.join(work, "files")
    with open(path, "wb") as file:
        file.write(replay.image_at(point, chance))
    fault = check_file_system(path)
    if fault:
        return 0, fault
    os.mkdir(folder)
    run("debugfs", "-R", f"rdump / {folder}", path)
    result = check_files(log, point, folder)
    shutil.rmtree(folder)
    return result


def check(log_path, image, count, seed, lost=None):
    log = Log(log_path)
    chance = random.Random(int(seed))
    replay = Replay(log, image)
    tried, faults, files, volatile = 0, 0, 0, 0
    with tempfile.TemporaryDirectory(dir=os.path.dirname(log_path)) as work:
        for point in choose_points(log, int(count), chance):
            found, fault = check_point(log, replay, point, chance, work)
            tried += 1
            files += found
            volatile += replay.volatile
            if fault:
                faults += 1
                print(f"# record {point} of {log.count}, {replay.volatile} writes not stable: {fault}")
            if fault and lost:
                break
    print(f"# {log_path}: seed {seed}: {tried} points of {log.count} records, {len(log.writes)} writes,"
          f" {len(log.flushes)} flushes, {len(log.notes)} syncs; at the points {volatile} writes were"
          f" not stable, {files} files looked at; {faults} with losses")
    return 0 if bool(faults) == bool(lost) else 1


def check_closed(log_path):
    log = Log(log_path)
    last = log.closed[-1]
    flushed = log.flushed(last)
    left = [op for op in log.writes if not op.is_stable(last, flushed)]
    print(f"# {log_path}: {len(log.writes)} writes, {len(log.flushes)} flushes, {len(left)} not stable")
    return 1 if left or not log.writes else 0


def put_note(folder, line):
    words = line.split()
    if len(words) == 4 and words[0] in ("synced", "renamed"):
        data = line.encode()
        record = RECORD.pack(MAGIC, NOTE, 0, 0, 0, 0, 0, 0, len(data), time.monotonic_ns())
        path = os.path.join(folder, f"{words[1]}.iolog")
        with open(path, "ab", buffering=0) as log:
            log.write(record + data)


def follow(console, folder):
    with open(console, "r", errors="replace", encoding="utf-8") as file:
        rest = ""
        while True:
            text = file.read()
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                put_note(folder, line.strip())
            if not text:
                time.sleep(0.002)


def main(verb, *arguments):
    if verb == "follow":
        follow(*arguments)
    if verb == "closed":
        return check_closed(*arguments)
    if verb == "notes":
        print(len(Log(*arguments).notes))
        return 0
    return check(*arguments)


sys.exit(main(*sys.argv[1:]))
