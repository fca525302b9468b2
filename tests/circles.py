# SPDX-License-Identifier: GPL-2.0-or-later
"""Circles of #include, a header and its source counted as one: which files cannot be understood,
tested or moved one by one.

circles.py SRCDIR FOLDER...: prints each circle as a line, its files sorted and without suffix.
"""

import pathlib
import re
import sys

SRC = pathlib.Path(sys.argv[1])
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)\.h"', re.M)


def read_graph(folders):
    """Which unit includes which others, "daemon/op" for op.c and op.h."""
    graph = {}
    for folder in folders:
        for path in (SRC / folder).rglob("*.[ch]"):
            unit = str(path.relative_to(SRC).with_suffix(""))
            graph.setdefault(unit, set()).update(INCLUDE.findall(path.read_text()))
    return graph


def reachable(graph, unit):
    seen = set()
    todo = [unit]
    while todo:
        for other in graph.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def circles(graph):
    """Units that reach each other, some of another name than their own."""
    reach = {unit: reachable(graph, unit) for unit in graph}
    for unit in sorted(graph):
        circle = sorted(other for other in reach[unit] | {unit} if unit in reach.get(other, ()))
        if len(circle) > 1 and circle[0] == unit:
            yield circle


for circle in circles(read_graph(sys.argv[2:])):
    print(" ".join(circle))
