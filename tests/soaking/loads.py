# SPDX-License-Identifier: GPL-2.0-or-later
"""Those in front of the disks: each writes stamped blocks and reads them back until it is told to
end, and then tells how many it has seen, or what was wrong."""

import json
import os
import re
import signal
import socket
import subprocess

from world import MIB, PATIENCE, TESTS, Failed, wait_until

PATIENCE_S = 60  # a front-end that gets no answer for so long has lost a request


class Load:
    """One front-end of some disks.  `verified` grows when a spell has ended."""
    can_leave = False  # may be killed and started anew at any time

    def __init__(self, world, name, disks):
        self.world = world
        self.name = name
        self.disks = disks
        self.verified = 0
        for disk in disks:
            disk.load = self

    def log_path(self):
        return f"{self.world.dir}/{self.name}.log"

    def fail(self, why):
        raise Failed(f"{self.name}: {why}")


class Program(Load):
    """One that is a process, for a spell."""

    def __init__(self, world, name, disks):
        super().__init__(world, name, disks)
        self.process = None
        self.spells = 0

    def spawn(self, words):
        self.spells += 1
        self.log = open(self.log_path(), "ab")
        self.begin = self.log.tell()
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        self.log.close()

    def output(self):
        with open(self.log_path(), "rb") as log:
            log.seek(self.begin)
            return log.read().decode(errors="replace")

    def leave(self):
        self.process.kill()
        self.process.wait()

    def wait(self, seconds):
        try:
            return self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            return self.fail("does not come to an end: a request was lost")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.leave()


class Bench(Program):
    """vblkbench: deep queues, and a check of all blocks at the end of each spell."""
    can_leave = True

    def __init__(self, world, disk, queues=2, depth=64, size=16 * MIB, more=()):
        super().__init__(world, f"bench-{disk.name}", [disk])
        self.words = ["--queues", str(queues), "--iodepth", str(depth), "--size", str(size), *more]

    def start(self, rw=("--rw", "randrw", "--verify"), seconds=100000):
        disk = self.disks[0]
        self.spawn([f"{self.world.builddir}/vblkbench", disk.socket(self.world), "--allow-write",
                    "--runtime", str(seconds), "--json", "--timeout",
                    str(min(self.world.options.patience, PATIENCE_S) * PATIENCE), *rw,
                    *self.words])

    def check(self):
        if self.process.poll() is not None:
            self.fail(f"has ended: {self.output().splitlines()[-1:]}")

    def tell_to_end(self):
        self.process.send_signal(signal.SIGTERM)

    def collect(self):
        status = self.wait(2 * PATIENCE_S)
        output = self.output()
        rows = [line for line in output.splitlines() if line.startswith("{")]
        if status != 0 or not rows:
            self.fail(f"status {status}: {output.splitlines()[-1:]}")
        result = json.loads(rows[-1])
        if result["errors"] or (result["verify"] or {}).get("wrong"):
            self.fail(f"{result['errors']} errors, {result['verify']}")
        self.verified += (result["verify"] or {}).get("checked", 0)


class Bare(Program):
    """vblkvm with the bare-metal guest, which ends after so many requests, and begins anew."""

    def __init__(self, world, disk, queues=2, packed=True):
        super().__init__(world, f"bare-{disk.name}", [disk])
        self.queues = queues
        self.packed = packed
        self.collected = None  # where the output began that was looked at last

    @staticmethod
    def is_possible(world):
        return (os.access("/dev/kvm", os.R_OK | os.W_OK) and
                os.path.exists(f"{world.builddir}/tests/guest/bare/bare"))

    def start(self):
        packed = "on" if self.packed else "off"
        self.spawn([f"{self.world.builddir}/vblkvm", "--control", f"{self.world.dir}/control",
                    "--kernel", f"{self.world.builddir}/tests/guest/bare/bare", "--memory", "64M",
                    "--disk", f"{self.disks[0].name},queues={self.queues},packed={packed}",
                    "--append", f"transport=pci queues={self.queues} requests=20000 depth=32 "
                    f"packed={packed} timeout={int(PATIENCE_S * PATIENCE * 1000)} "
                    f"seed={self.spells + 1}"])

    def tell_to_end(self):
        """It ends by itself."""

    def collect(self):
        if self.collected == self.begin:
            return
        status = self.wait(2 * PATIENCE_S)
        count = re.search(r"BARE OK.* requests=(\d+)", self.output())
        if status != 0 or not count:
            self.fail(f"status {status}: {self.output().splitlines()[-1:]}")
        self.verified += int(count[1]) // 2
        self.collected = self.begin

    def check(self):
        if self.process.poll() is None:
            return True
        self.collect()
        return False


class Agent:
    """The line to the agent of a guest: tests/guest/agentctl, which says what it is."""

    def __init__(self, path):
        self.path = path

    def words(self, seconds, *words):
        return [f"{TESTS}/guest/agentctl", self.path, str(seconds * PATIENCE), *words]

    def wait(self, seconds):
        return subprocess.run(self.words(seconds, "wait"), check=False).returncode == 0

    def run(self, command, seconds=60):
        """(status, output) of it."""
        done = subprocess.run(self.words(seconds, "run", command), capture_output=True, text=True,
                              check=False)
        return done.returncode, done.stdout + done.stderr


class Qmp:
    """QEMU's monitor, one connection."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60 * PATIENCE)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.lines.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failed(f"QEMU, {name}: {answer['error']['desc']}")

    def close(self):
        self.socket.close()


class Guest(Load):
    """A guest of QEMU with blkverify on each of its disks, vda for the first of them."""
    memory = 256

    def __init__(self, world, name, disks, queues=2, depth=48, size=16 * MIB, packed=False):
        super().__init__(world, name, disks)
        self.queues, self.depth, self.size, self.packed = queues, depth, size, packed
        self.agent = Agent(f"{world.dir}/{name}.agent")
        self.qemu = None
        self.dimms = 0

    def device_words(self):
        for i, disk in enumerate(self.disks):
            yield from ("-chardev", f"socket,id=disk{i},path={disk.socket(self.world)},reconnect=1",
                        "-device", f"vhost-user-blk-pci,chardev=disk{i},num-queues={self.queues},"
                        f"packed={'on' if self.packed else 'off'}")

    def boot(self, kernel, initramfs):
        base = f"{self.world.dir}/{self.name}"
        real = any(os.path.exists(f"/sys/module/kvm_{kind}") for kind in ("intel", "amd"))
        accel = "kvm" if real and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"
        khz = subprocess.run([f"{TESTS}/guest/tsc-khz"], capture_output=True, text=True,
                             check=False).stdout.strip()
        with open(self.log_path(), "ab") as log:
            self.qemu = subprocess.Popen(
                ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                 "-machine", "pc,memory-backend=mem", "-accel", accel, "-cpu",
                 "host" if accel == "kvm" else "qemu64", "-smp", "2", "-m",
                 f"{self.memory}M,slots=4,maxmem=2G", "-object",
                 f"memory-backend-memfd,id=mem,size={self.memory}M,share=on", "-chardev",
                 f"file,id=console,path={base}.console", "-serial", "chardev:console", "-chardev",
                 f"socket,id=agent,path={self.agent.path},server=on,wait=off", "-serial",
                 "chardev:agent", "-qmp", f"unix:{base}.qmp,server=on,wait=off", "-kernel", kernel,
                 "-initrd", initramfs, "-append",
                 "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable "
                 "no_timer_check cryptomgr.notests memhp_default_state=online_movable" +
                 (f" tsc_early_khz={khz}" if khz else ""), *self.device_words()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(30, f"{self.name}: QEMU listens",
                   lambda: os.path.exists(self.agent.path) and os.path.exists(f"{base}.qmp"))

    def has_booted(self):
        if not self.agent.wait(180):
            self.fail("the guest does not boot")
        self.qmp = Qmp(f"{self.world.dir}/{self.name}.qmp")

    def device(self, disk):
        return f"/dev/vd{chr(ord('a') + self.disks.index(disk))}"

    def must(self, command, seconds=60):
        status, output = self.agent.run(command, seconds)
        if status != 0:
            self.fail(f"{command}: status {status}: {output}")
        return output

    def start(self):
        for disk in self.disks:
            self.must(f"task start {disk.name} 'exec blkverify load --size {self.size} --depth "
                      f"{self.depth} --flush-every 64 --seconds 0 {self.device(disk)}'")

    def check(self):
        if self.qemu.poll() is not None:
            self.fail(f"QEMU has ended, with {self.qemu.returncode}")

    def tell_to_end(self):
        for disk in self.disks:
            self.must(f"task signal {disk.name} TERM")

    def collect(self):
        """The end of a spell: each block was read back, and the kernel has complained of nothing."""
        for disk in self.disks:
            output = self.must(f"task wait {disk.name}", 2 * PATIENCE_S)
            count = re.search(r"verified (\d+) flushed \d+ errors 0", output)
            if not count:
                self.fail(output)
            self.verified += int(count[1])
        self.must("! dmesg | grep -E 'I/O error|blk_update_request|blocked for more than'")

    def close(self):
        if self.qemu is not None and self.qemu.poll() is None:
            self.qemu.kill()
            self.qemu.wait()
