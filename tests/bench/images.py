# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured on: an image of each kind, made for this run and taken away after it."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import tempfile

CHUNK = 1 << 20


class NoImage(Exception):
    """Why there is no image of this kind here."""


@dataclasses.dataclass
class Image:
    kind: str
    path: str  # "" for null
    size: int
    is_direct: bool  # to be opened with O_DIRECT
    is_device: bool
    text: str  # for the title of a table


def fill(path, size):
    """Write all of it with what cannot be compressed, so that nobody reads holes."""
    block = os.urandom(CHUNK)
    with open(path, "r+b" if os.path.exists(path) else "wb") as file:
        for at in range(0, size, CHUNK):
            file.write(block[:size - at])
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def file_image(size, directory):
    with tempfile.TemporaryDirectory(prefix="vblk-bench.", dir=directory) as room:
        path = os.path.join(room, "image")
        fill(path, size)
        yield Image("file", path, size, True, False, "a file, O_DIRECT")


@contextlib.contextmanager
def tmpfs_image(size, _directory):
    if subprocess.run(["stat", "-f", "-c", "%T", "/dev/shm"], capture_output=True, text=True,
                      check=False).stdout.strip() != "tmpfs":
        raise NoImage("/dev/shm is no tmpfs")
    room = os.statvfs("/dev/shm")
    if room.f_bavail * room.f_bsize < 2 * size:
        raise NoImage("/dev/shm has not enough room")
    with tempfile.TemporaryDirectory(prefix="vblk-bench.", dir="/dev/shm") as directory:
        path = os.path.join(directory, "image")
        fill(path, size)
        yield Image("tmpfs", path, size, False, False, "a file on tmpfs, buffered")


def need_root(what):
    if os.geteuid() != 0:
        raise NoImage(f"{what} takes root")


@contextlib.contextmanager
def zram_image(size, _directory):
    control = pathlib.Path("/sys/class/zram-control")
    need_root("a zram device")
    try:
        number = int((control / "hot_add").read_text())
    except OSError as error:
        raise NoImage(f"no zram device: {error}") from error
    system = pathlib.Path(f"/sys/block/zram{number}")
    try:
        (system / "disksize").write_text(str(size))
        fill(f"/dev/zram{number}", size)
        yield Image("zram", f"/dev/zram{number}", size, True, True, "a zram device, O_DIRECT")
    finally:
        (system / "reset").write_text("1")
        (control / "hot_remove").write_text(str(number))


@contextlib.contextmanager
def loop_image(size, directory):
    need_root("a loop device")
    with file_image(size, directory) as below:
        made = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", below.path],
                              capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise NoImage(f"no loop device: {made.stderr.strip()}")
        device = made.stdout.strip()
        try:
            yield Image("loop", device, size, True, True, "a loop device, O_DIRECT")
        finally:
            subprocess.run(["losetup", "--detach", device], check=False)


@contextlib.contextmanager
def null_image(size, _directory):
    yield Image("null", "", size, True, False, "no image: nothing is stored")


KINDS = {"file": file_image, "tmpfs": tmpfs_image, "zram": zram_image, "loop": loop_image,
         "null": null_image}
