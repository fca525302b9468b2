# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as tables: for a terminal, in Markdown, as POD for a manual page."""

import os
import platform
import statistics

HEADS = ["", "IOPS", "image", "qsd", "p50", "p99", "CPU", "calls", "spread"]

QSD = "qemu-storage-daemon (native; threads where there is no O_DIRECT; null-co)"

LEGEND = """IOPS: the median of the rounds.  image, {0}: IOPS divided by those of fio on the image, and
by those of {1}.  p50, p99:
latency that the client sees, in microseconds.  CPU: microseconds of the server's time for each
request, of fio's time for the image.  calls: system calls of the server for each request.
spread: the fastest round divided by the slowest."""


what_base_is = QSD


def compare_with_base():
    """The column of ratios is that to another build of vblkd."""
    global what_base_is  # pylint: disable=global-statement
    HEADS[3] = "base"
    what_base_is = "the other build of vblkd"


def legend():
    return LEGEND.format(HEADS[3], what_base_is)


class Row:
    """One server at one workload: its rounds, put together."""

    def __init__(self, name, rounds, calls, is_base):
        self.name, self.rounds, self.calls, self.is_base = name, rounds, calls, is_base

    def median(self, key):
        return statistics.median(r[key] for r in self.rounds)

    def spread(self):
        all_iops = [r["iops"] for r in self.rounds]
        return max(all_iops) / max(min(all_iops), 1)


def short(value):
    """Three digits are as many as mean something."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def cells(row, image, base):
    iops = row.median("iops")

    def ratio(other):
        return "-" if other is None or other is row else f"{iops / other.median('iops'):.2f}"
    return [row.name, f"{iops:.0f}", ratio(image), ratio(base), short(row.median("p50_us")),
            short(row.median("p99_us")), short(row.median("cpu_us")),
            "-" if row.calls is None else f"{row.calls:.2f}", f"{row.spread():.2f}"]


def workload_cells(rows, image_name):
    image = next((row for row in rows if row.name == image_name), None)
    base = next((row for row in rows if row.is_base), None)
    return [cells(row, image, base) for row in rows]


def aligned(table, widths, gap):
    return [(row[0].ljust(widths[0]) +
             "".join(f"{gap}{cell:>{width}}" for cell, width in zip(row[1:], widths[1:]))).rstrip()
            for row in table]


def text(title, workloads, image_name, gap="  "):
    """workloads: [(name, rows)]"""
    blocks = [(name, workload_cells(rows, image_name)) for name, rows in workloads]
    every = [HEADS] + [row for _, block in blocks for row in block]
    widths = [max(len(row[i]) for row in every) for i in range(len(HEADS))]
    widths[0] += 2
    lines = [title, ""] + aligned([HEADS], widths, gap)
    for name, block in blocks:
        lines += [name] + aligned([["  " + row[0], *row[1:]] for row in block], widths, gap)
    return "\n".join(lines) + "\n"


def markdown(title, workloads, image_name):
    lines = [f"### {title}", "", "| workload | server | " + " | ".join(HEADS[1:]) + " |",
             "|---|---|" + "---:|" * (len(HEADS) - 1)]
    for name, rows in workloads:
        lines += [f"| {name} | " + " | ".join(row) + " |"
                  for row in workload_cells(rows, image_name)]
    return "\n".join(lines) + "\n"


def pod(title, workloads, image_name):
    """A manual page has 80 columns, and needs 7 of them itself."""
    _, _, *rest = text(title, workloads, image_name, gap=" ").splitlines()
    title = title[0].upper() + title[1:]
    return f"{title}:\n\n" + "".join(f"  {line}\n" for line in rest)


def setting(circumstances):
    """What the numbers depend on, without the machine's name."""
    cores = len(os.sched_getaffinity(0))
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        virtual = " of a virtual machine" if " hypervisor" in file.read() else ""
    release = ".".join(platform.release().split(".")[:2])
    return ", ".join([f"{cores} core{'s' if cores != 1 else ''}{virtual}", f"kernel {release}",
                      *circumstances, f"with a load average of {os.getloadavg()[0]:.1f} before"])


def head(form, circumstances, command):
    """How the tables were made, and what they say."""
    made = f"Made on {setting(circumstances)}, by"
    if form == "pod":
        return f"{made}\n\n  {command}\n\n{legend()}\n"
    if form == "markdown":
        return f"{made}\n\n    {command}\n\n{legend()}\n"
    return f"{made} {command}\n\n{legend()}\n"


FORMS = {"text": text, "markdown": markdown, "pod": pod}
