# SPDX-License-Identifier: GPL-2.0-or-later
"""What a soak has under it: a directory, places for images, and the daemon with its disks."""

import contextlib
import ctypes
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
PATIENCE = float(os.environ.get("E2E_PATIENCE", "1"))
MIB = 1 << 20


class Failed(Exception):
    """What a soak is there to find."""


def wait_until(seconds, what, condition):
    """Until `condition()` is true; its value.  Fails with `what` after so many seconds."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value or isinstance(value, dict):
            return value
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds * PATIENCE:g} s: {what}")
        time.sleep(0.01)


@dataclasses.dataclass
class Disk:
    """A disk of the daemon.  `load` is whoever is in front of it, one at a time."""
    name: str
    image: str
    size: int
    options: list
    grows: bool = True  # its file system lets files grow and be replaced
    load: object = None
    images: int = 1  # files it has had so far

    def socket(self, world):
        return f"{world.dir}/{self.name}.sock"


class Places:
    """Directories on file systems of several kinds; what the host does not let us mount is left
    out."""

    def __init__(self, directory):
        self.dir = directory
        self.mounted = []
        self.servers = []

    def mount_tmpfs(self, name, size):
        path = os.path.join(self.dir, name)
        os.mkdir(path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                              capture_output=True, check=False)
        if done.returncode:
            return None
        self.mounted.append(path)
        return path

    def mount_ext4(self, name, size):
        """In a file of a tmpfs, so that it waits for no device that others load as well."""
        below = self.mount_tmpfs(f"below-{name}", size * 2)
        if below is None:
            return None
        path = os.path.join(self.dir, name)
        os.mkdir(path)
        with open(f"{below}/image", "wb") as image:
            image.truncate(size)
        for words in (["mkfs.ext4", "-q", "-F", f"{below}/image"],
                      ["mount", "-o", "loop", f"{below}/image", path]):
            if subprocess.run(words, capture_output=True, check=False).returncode:
                return None
        self.mounted.append(path)
        return path

    def mount_scattered(self, name, size, delay_ms, seed):
        """A file whose requests end in any order.  Its path, None where there is no FUSE."""
        path = os.path.join(self.dir, name)
        os.mkdir(path)
        server = subprocess.Popen(
            [sys.executable, f"{TESTS}/e2e/scattered_fs.py", path, str(size), str(delay_ms),
             str(seed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if server.stdout.readline() != "ready\n":
            server.wait()
            return None
        self.servers.append(server)
        return os.path.join(path, "disk")

    def close(self):
        for server in self.servers:
            server.terminate()
            server.stdout.close()
            server.wait()
        for path in reversed(self.mounted):
            subprocess.run(["umount", "-l", path], check=False)


PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Heir:
    """A daemon that `vblkctl upgrade` has started, as subprocess.Popen shows one.  It is our child
    when vblkctl has ended."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout=None):
        deadline = time.monotonic() + timeout if timeout else None
        while self.poll() is None:
            if deadline and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("vblkd", timeout)
            time.sleep(0.01)
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self):
        os.kill(self.pid, signal.SIGTERM)


class World:
    """The daemon, in a directory of its own.  Everything that happens goes into `history`."""

    def __init__(self, options, directory):
        self.options = options
        self.dir = directory
        self.builddir = options.builddir
        self.disks = []
        self.daemon = None
        self.refusal = ""  # what vblkctl said last
        self.begin = time.monotonic()
        self.history = open(f"{directory}/history", "w", encoding="utf-8")
        self.log = open(f"{directory}/vblkd.log", "ab")
        os.mkdir(f"{directory}/state")
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def note(self, text):
        self.history.write(f"{time.monotonic() - self.begin:9.3f}  {text}\n")
        self.history.flush()

    # ---- the daemon ----

    def spawn(self):
        self.daemon = subprocess.Popen(
            [f"{self.builddir}/vblkd", "--control", f"{self.dir}/control", "--socket-dir",
             self.dir, "--state-dir", f"{self.dir}/state", *self.options.vblkd_option],
            stdout=self.log, stderr=self.log)

    def answers(self):
        return self.daemon.poll() is None and self.try_ctl("ping") is not None

    def start(self):
        """A predecessor that is dying may hold its locks for a while: it is tried again."""
        def comes():
            if self.daemon is None or self.daemon.poll() is not None:
                self.spawn()
            return self.answers()
        wait_until(30, "vblkd answers", comes)

    def kill(self):
        """Returns when the process, and with it its I/O by Linux AIO, has gone."""
        self.daemon.kill()
        self.daemon.wait()

    def upgrade(self):
        """False when it was refused, and the daemon goes on."""
        answer = self.try_ctl("upgrade")
        if answer is None:
            self.note(f"  {self.refusal}")
            return False
        status = self.daemon.wait(60 * PATIENCE)
        if status != 0:
            raise Failed(f"vblkd has ended with {status} when it had handed over")
        self.daemon = Heir(answer["to"])
        return True

    def end(self):
        self.daemon.terminate()
        try:
            status = self.daemon.wait(60 * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("vblkd does not end on SIGTERM") from None
        if status != 0:
            raise Failed(f"vblkd has ended with {status}")

    def check_alive(self):
        if self.daemon.poll() is not None:
            raise Failed(f"vblkd has ended by itself, with {self.daemon.returncode}")

    # ---- vblkctl ----

    def words(self, *words):
        return [f"{self.builddir}/vblkctl", "--control", f"{self.dir}/control", "--json", *words]

    def try_ctl(self, *words):
        """The answer, None where it was refused."""
        done = subprocess.run(self.words(*words), capture_output=True, text=True, check=False,
                              timeout=120 * PATIENCE)
        self.refusal = done.stderr.strip()
        return json.loads(done.stdout or "{}") if done.returncode == 0 else None

    def ctl(self, *words):
        """A thread that waits for its file system, on a busy machine, is waited for."""
        def is_told():
            answer = self.try_ctl(*words)
            self.check_alive()
            if answer is None and "does not answer" not in self.refusal:
                raise Failed(f"vblkctl {' '.join(words)}: {self.refusal}")
            return answer
        return wait_until(60, f"vblkctl {' '.join(words)}", is_told)

    def add(self, disk):
        with open(disk.image, "ab") as image:
            if os.path.getsize(disk.image) == 0:
                image.truncate(disk.size)
        self.ctl("add", disk.name, disk.image, *disk.options)
        self.disks.append(disk)

    def list(self):
        return {row["name"]: row for row in self.ctl("list")["disks"]}

    def requests(self, disk):
        """How many were answered since the daemon has come."""
        kinds = self.ctl("stats", disk.name)["requests"]
        return sum(kind["requests"] for kind in kinds.values())

    def close(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        self.history.close()
        self.log.close()


def show(world):
    """For a report: the end of each log, and what the daemon says of its disks."""
    with contextlib.suppress(Failed, OSError, subprocess.TimeoutExpired):
        for name in world.list():
            print(f"--- show {name}")
            subprocess.run([word for word in world.words("show", name) if word != "--json"],
                           check=False, timeout=20)
    for name in sorted(os.listdir(world.dir)):
        path = os.path.join(world.dir, name)
        if name.endswith((".log", ".console")) or name == "history":
            with open(path, "rb") as log:
                lines = log.read()[-20000:].decode(errors="replace").splitlines()[-40:]
            print(f"--- {name}, the last lines:", *lines, sep="\n")


def remove(directory):
    shutil.rmtree(directory, ignore_errors=True)
