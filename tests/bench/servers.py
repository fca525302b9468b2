# SPDX-License-Identifier: GPL-2.0-or-later
"""Back-ends that can be measured: vblkd with several settings, qemu-storage-daemon, others."""

import contextlib
import dataclasses
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE = 20
QUEUES = 4


@dataclasses.dataclass
class Setting:
    name: str
    add: list  # options of `vblkctl add`
    images: tuple = ("direct", "buffered", "null")  # those where it makes a difference
    queues: int = 1  # makes no difference with fewer


VBLKD_SETTINGS = [
    Setting("vblkd", []),
    Setting("vblkd, no polling", ["--poll-us", "0"]),
    Setting("vblkd, io_uring", ["--engine", "io_uring"], images=("direct", "buffered")),
    Setting("vblkd, 2 threads", ["--threads", "2"], queues=2),
]

QSD = "qemu-storage-daemon"

# name, aio; the first that fits an image is what the others are compared with
QSD_ENGINES = [("qsd, native", "native"), ("qsd, threads", "threads"),
               ("qsd, io_uring", "io_uring"), ("qsd, null-co", None)]


class NoServer(Exception):
    """Why a server cannot serve this."""


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    path: str

    def version(self):
        """Its name, and the number in the first line of --version."""
        try:
            done = subprocess.run([self.path, "--version"], capture_output=True, text=True,
                                  check=False)
        except OSError as error:
            sys.exit(f"compare: {self.path} cannot be run: {error.strerror}")
        line = done.stdout.partition("\n")[0]
        number = re.match(rf"{self.name}\D*(\d+(\.\d+)+)", line)
        if not number:
            sys.exit(f"compare: {self.path} --version is not that of {self.name}: "
                     f"{line or done.stderr.strip() or f'it ended with status {done.returncode}'}")
        return f"{self.name} {number[1]}"


def socket_room():
    """A directory; a socket's path has at most 107 bytes."""
    where = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(prefix="vblk-bench.", dir=where if len(where) < 80 else "/tmp")


@contextlib.contextmanager
def process(words, cpus, **options):
    """Runs until the end of the block, whatever Ctrl-C does; ends in order, or else at once."""
    pin = ["taskset", "-c", cpus] if cpus else []
    server = subprocess.Popen(pin + words, stdin=subprocess.DEVNULL, start_new_session=True,
                              **options)
    try:
        yield server
    finally:
        # A signal that comes now waits until the server has ended.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        server.terminate()
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def listens(path):
    """Without a connection, as some back-ends end with their first."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        # Num: RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON of the kernel's net.h
        return any(line.split()[-1] == path and int(line.split()[3], 16) & 0x10000
                   for line in file if path in line)


def wait_for(path, server):
    deadline = time.monotonic() + PATIENCE
    while not listens(path):
        if server.poll() is not None:
            raise NoServer(f"it ended with status {server.returncode}")
        if time.monotonic() > deadline:
            raise NoServer(f"it does not listen on {path}")
        time.sleep(0.01)


class Vblkd:
    """One vblkd with one disk."""

    def __init__(self, setting, builddir, is_base=False):
        self.name, self.setting, self.is_base = setting.name, setting, is_base
        self.program = Program("vblkd", f"{builddir}/vblkd")
        self.vblkctl = f"{builddir}/vblkctl"

    def fits(self, image, workload):
        access = "null" if not image.path else "direct" if image.is_direct else "buffered"
        return access in self.setting.images and workload.queues >= self.setting.queues

    @contextlib.contextmanager
    def run(self, image, cpus):
        with socket_room() as room:
            control = room + "/control"
            with process([self.program.path, "--control", control, "--socket-dir", room,
                          "--state-dir", room + "/state", "--log-level", "warn"], cpus) as server:
                wait_for(control, server)
                what = [image.path or f"null:{image.size}"]
                if image.path and not image.is_direct:
                    what += ["--cache", "writeback"]
                done = subprocess.run([self.vblkctl, "--control", control, "add", "bench", *what,
                                       *self.setting.add], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise NoServer(done.stderr.strip())
                yield server.pid, room + "/bench.sock"


class Qsd:
    """qemu-storage-daemon, with an engine or (None) with null-co."""

    def __init__(self, name, aio, program, may_be_base):
        self.name, self.aio, self.program = name, aio, program
        self.is_base = may_be_base and aio != "io_uring"

    def fits(self, image, _workload):
        if not image.path or self.aio is None:
            return not image.path and self.aio is None
        # native takes O_DIRECT only; threads stand in for it where that cannot be.
        return self.aio == "io_uring" or image.is_direct == (self.aio == "native")

    def node(self, image):
        if self.aio is None:
            return f"driver=null-co,node-name=disk,size={image.size}"
        driver = "host_device" if image.is_device else "file"
        direct = "on" if image.is_direct else "off"
        return (f"driver={driver},node-name=disk,filename={image.path},aio={self.aio},"
                f"cache.direct={direct}")

    @contextlib.contextmanager
    def run(self, image, cpus):
        with socket_room() as room:
            path = room + "/qsd.sock"
            export = (f"vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={path},"
                      f"writable=on,num-queues={QUEUES}")
            with process([self.program.path, "--blockdev", self.node(image), "--export",
                          export], cpus) as server:
                wait_for(path, server)
                yield server.pid, path


class Other:
    """NAME=COMMAND, where {socket} and {image} stand for what they say."""

    is_base = False
    program = None

    def __init__(self, text):
        self.name, _, self.command = text.partition("=")
        if not self.name or "{socket}" not in self.command:
            sys.exit(f'compare: --server "{text}": NAME=COMMAND with {{socket}} and {{image}} in it')

    def fits(self, image, _workload):
        return bool(image.path) or "{image}" not in self.command

    @contextlib.contextmanager
    def run(self, image, cpus):
        with socket_room() as room:
            path = room + "/other.sock"
            words = [word.replace("{socket}", path).replace("{image}", image.path)
                     for word in shlex.split(self.command)]
            with process(words, cpus, stdout=subprocess.DEVNULL) as server:
                wait_for(path, server)
                yield server.pid, path


def known_options(builddir):
    text = subprocess.run([f"{builddir}/vblkctl", "add", "--help"], capture_output=True, text=True,
                          check=True).stdout
    return set(re.findall(r"^  (--[a-z-]+)", text, re.M))


def find(options, say):
    """All servers that are there; `say` is told of those that are not."""
    known = known_options(options.builddir)
    found = []
    for setting in VBLKD_SETTINGS + [Setting(f"vblkd, {text}", shlex.split(text))
                                     for text in options.setting]:
        missing = [word for word in setting.add if word.startswith("--") and word not in known]
        if missing:
            say(f"{setting.name}: vblkctl add has no {missing[0]}")
        else:
            found.append(Vblkd(setting, options.builddir))
    if options.base:
        # Twice: how far apart two runs of one build are is how much a difference means.
        found[1:1] = [Vblkd(Setting("base", []), options.base, is_base=True),
                      Vblkd(Setting("base again", []), options.base)]
    qsd = Program(QSD, options.qsd or shutil.which(QSD))
    if qsd.path:
        found += [Qsd(*engine, qsd, not options.base) for engine in QSD_ENGINES]
    else:
        say(f"{QSD} is not installed")
    return found + [Other(text) for text in options.server]
