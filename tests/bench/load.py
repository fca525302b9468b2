# SPDX-License-Identifier: GPL-2.0-or-later
"""One measurement: a load on a back-end's socket, or on the image itself."""

import dataclasses
import json
import shutil
import subprocess
import tempfile
import time

import servers

RAMP = 0.1  # of the run time
CALLS_SECONDS = 1


@dataclasses.dataclass
class Workload:
    name: str
    rw: str
    bs: int
    iodepth: int
    queues: int
    poll: bool = False


WORKLOADS = [
    Workload("randread 4k, depth 1", "randread", 4096, 1, 1),
    Workload("randread 4k, depth 1, polling client", "randread", 4096, 1, 1, True),
    Workload("randread 4k, depth 32", "randread", 4096, 32, 1),
    Workload("randread 4k, depth 128", "randread", 4096, 128, 1),
    Workload("randwrite 4k, depth 32", "randwrite", 4096, 32, 1),
    Workload("read 128k, depth 16", "read", 131072, 16, 1),
    Workload("randread 4k, depth 32 on 2 queues", "randread", 4096, 32, 2),
]


def cpu_ns(pid):
    """CPU time of a process, also of threads that have ended.  See clock_getcpuclockid(3)."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def run_json(words, cpus):
    pin = ["taskset", "-c", cpus] if cpus else []
    done = subprocess.run(pin + words, capture_output=True, text=True, check=False)
    if done.returncode != 0 or "{" not in done.stdout:
        raise RuntimeError(f"{words[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def vblkbench(options, workload, socket, runtime):
    words = [f"{options.builddir}/vblkbench", socket, "--rw", workload.rw, "--bs", workload.bs,
             "--iodepth", workload.iodepth, "--queues", workload.queues, "--runtime", runtime,
             "--ramp", runtime * RAMP, "--json", "--allow-write"]
    return ([str(word) for word in words] + ["--poll"] * workload.poll +
            ["--huge-pages"] * options.huge_pages)


def measure(options, workload, server, image):
    with server.run(image, options.cpus[0]) as (pid, socket):
        before = cpu_ns(pid)
        result = run_json(vblkbench(options, workload, socket, options.runtime), options.cpus[1])
        used = cpu_ns(pid) - before
    return {"iops": result["iops"], "p50_us": result["latency_ns"]["p50"] / 1000,
            "p99_us": result["latency_ns"]["p99"] / 1000,
            "cpu_us": used / 1000 / result["all_requests"],
            "interrupts": result["interrupts"] / max(result["requests"], 1)}


def system_calls(options, workload, server, image):
    """System calls of the server for each request, None: perf may not.  Not in a round that is
    measured, as a traced server is a slower one."""
    runtime = min(options.runtime, CALLS_SECONDS)
    if not shutil.which("perf"):
        return None
    with server.run(image, options.cpus[0]) as (pid, socket), \
            tempfile.NamedTemporaryFile("r", prefix="vblk-bench.") as counted:
        words = ["perf", "stat", "-x", ",", "-o", counted.name, "-e", "raw_syscalls:sys_enter",
                 "-p", str(pid), "--"]
        try:
            result = run_json(words + vblkbench(options, workload, socket, runtime),
                              options.cpus[1])
        except RuntimeError:
            return None
        for line in counted:
            count = line.split(",")[0]
            if "sys_enter" in line and count.isdigit():
                return int(count) / result["all_requests"]
    return None


def fio(options, workload, image, straight):
    """The same on the image itself; a polling client looks at the kernel's ring in user space."""
    batch = straight.batch or workload.iodepth
    words = ["fio", "--name=image", f"--filename={image.path}", f"--size={image.size}",
             f"--rw={workload.rw}", f"--bs={workload.bs}", f"--iodepth={workload.iodepth}",
             f"--numjobs={workload.queues}", "--thread", "--group_reporting", *straight.words,
             f"--direct={int(image.is_direct)}", "--time_based", f"--runtime={options.runtime}s",
             f"--ramp_time={options.runtime * RAMP}s", "--norandommap", "--randrepeat=1",
             "--clat_percentiles=0", "--lat_percentiles=1", "--output-format=json",
             # Shared memory, as a guest's: private memory is often contiguous, which makes fewer
             # segments of a request.
             "--mem=mmapshared",
             # As vblkbench: the same data again and again, all there is in one system call.
             "--scramble_buffers=0",
             f"--iodepth_batch_submit={batch}", f"--iodepth_batch_complete_max={batch}"]
    if workload.poll:
        words += [*straight.poll_words, "--iodepth_batch_complete_min=0"]
    job = run_json(words, options.cpus[1])["jobs"][0]
    side = job["write" if "write" in workload.rw else "read"]
    # Its share of the jobs' time, all after the ramp: its start takes long.
    cpu_us = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1000
    return {"iops": side["iops"], "p50_us": side["lat_ns"]["percentile"]["50.000000"] / 1000,
            "p99_us": side["lat_ns"]["percentile"]["99.000000"] / 1000,
            "cpu_us": cpu_us / max(side["total_ios"], 1), "interrupts": None}


@dataclasses.dataclass(frozen=True)
class Straight:
    """fio in the place of a server."""

    name: str = "the image"
    words: tuple = ("--ioengine=libaio",)
    poll_words: tuple = ("--userspace_reap=1",)
    batch: int = 0  # requests in a system call, 0: all
    is_base = False
    program = servers.Program("fio", "fio")

    @staticmethod
    def fits(image, _workload):
        return bool(image.path)


# What a back-end could reach: 16 requests in a system call at most, and their memory pinned once.
STRAIGHT = [Straight(),
            Straight("the image, io_uring",
                     ("--ioengine=io_uring", "--fixedbufs=1", "--registerfiles=1"), (), 16)]


def one(options, workload, server, image):
    if isinstance(server, Straight):
        return fio(options, workload, image, server)
    return measure(options, workload, server, image)
