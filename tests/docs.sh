#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Do the programs, the manual pages, the README and the completion know the same?  TAP; run by
# `make check` in the build tree.

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "1..0 # SKIP needs python3 (3.9)"
    exit 0
fi
exec python3 "${srcdir:-.}/tests/docs.py" "${srcdir:-.}" .
