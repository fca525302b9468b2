#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who may include whom, and how large things may be.  TAP; run by `make check`.
#
#   cmd --> daemon --> transports --> core --> libc, libaio, liburing, libuv

set -uo pipefail

build=$PWD
top=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
cd "$top" || exit 1
tests=0

# ok NAME OFFENDERS: a test passes when nobody offends.
ok() {
    tests=$((tests + 1))
    if [ -z "$2" ]; then
        echo "ok $tests - $1"
    else
        echo "not ok $tests - $1"
        printf '# %s\n' "${2//$'\n'/$'\n'# }"
    fi
}

skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

# "FILE:LINE:#include ..." of all sources, nothing else.
includes=$(grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include' core daemon transports cmd)

# included WHOM WHERE_IT_MAY_BE: lines that include what matches WHOM, in other files.
included() {
    grep -E "include[[:space:]]*[<\"]$1" <<<"$includes" | grep -vE "^($2):"
}

# from WHERE WHOM: lines of files whose path begins with WHERE that include what matches WHOM.
from() {
    grep -E "^$1[^:]*:[0-9]+:.*include[[:space:]]*[<\"]$2" <<<"$includes"
}

# functions: "FILE:LINE: NAME has N lines", for those with more than LIMIT.  A body begins with
# "{" and ends with "}", each alone in its line.
# shellcheck disable=SC2016 # $0 is awk's
long_functions() {
    find core daemon transports cmd -name '*.c' -print0 | xargs -0 awk -v limit="$1" '
        FNR == 1 { begin = 0 }
        /^[A-Za-z_].*\(/ { head = $0 }
        /^\{$/ { begin = FNR }
        /^\}$/ && begin {
            if (FNR - begin - 1 > limit) {
                sub(/\(.*/, "", head)
                printf "%s:%d: %s has %d lines\n", FILENAME, begin, head, FNR - begin - 1
            }
            begin = 0
        }'
}

long_files() {
    find core daemon transports cmd -name '*.[ch]' -exec wc -l {} + |
        awk -v limit="$1" '$2 != "total" && $1 > limit { print $2 " has " $1 " lines" }'
}

# What LIBRARY does not define itself.
undefined() {
    nm -u "$build/$1" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u
}

# What LIBRARY defines for others.
defined() {
    nm -g --defined-only "$build/$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u
}

# Symbols that LOWER takes from UPPER.
upward() {
    comm -12 <(undefined "$1") <(comm -23 <(defined "$2") <(defined "$1"))
}

ok "sources are found" "$([ -n "$includes" ] || echo "no include in $top")"

ok "core includes nothing above it" "$(from core/ '(daemon|transports|cmd)/')"
ok "transports include nothing above them" "$(from transports/ '(daemon|cmd)/')"
ok "daemon includes nothing above it" "$(from daemon/ 'cmd/')"
ok "our headers are named from the top" "$(
    grep -E 'include[[:space:]]*"' <<<"$includes" |
        grep -vE 'include[[:space:]]*"(core|daemon|transports|cmd)/'
)"

ok "jansson is the daemon's and vblkctl's, for questions to the daemon, and vblkbench --json" \
    "$(included 'jansson\.h' \
        'daemon/[^:]*|cmd/ctl/[^:]*|cmd/vblkctl\.c|cmd/lookup\.c|cmd/bench/report\.c')"
ok "libaio is core/engine_aio.c's" "$(included 'libaio\.h' 'core/engine_aio\.c')"
ok "liburing is core/engine_uring.c's" "$(included 'liburing\.h' 'core/engine_uring\.c')"
ok "libuv in core is device*'s, lane*'s, mailbox's and watch's" \
    "$(from core/ 'uv\.h' | grep -vE '^core/(device[a-z_]*|lane[a-z_]*|mailbox|watch)\.[ch]:')"
ok "vblkctl has no loop" "$(from cmd/ 'uv\.h')"
ok "KVM is transports/kvm.c's and the processors'" \
    "$(included 'linux/kvm\.h' 'transports/kvm\.c|cmd/vm/v?cpu\.c')"
ok "transports/kvm.h is the launcher's" \
    "$(included 'transports/kvm\.h' 'transports/kvm\.c|cmd/vm/[^:]*')"
ok "a guest's registers know neither KVM nor vhost-user" "$(
    from 'transports/(virtio_|pci_host)' '(linux/kvm|transports/(kvm|vhost_user|unix_socket))'
)"
ok "vblkd has nothing of the launcher" "$(
    launcher='transports/(kvm|virtio_|pci_host|vhost_user_(bus|client|link))'
    from daemon/ "$launcher"
    from cmd/vblkd "$launcher"
)"
ok "drivers stand alone, as firmware has no more" "$(
    grep -E '^core/[a-z]*_driver[^:]*:' <<<"$includes" |
        grep -vE 'include[[:space:]]*("core/(base|(ring|blk)_driver)\.h"|<linux/[^>]*>)'
)"
ok "no C file is included" "$(included '[^>"]*\.c[">]' '-')"

if command -v nm >/dev/null && [ -e "$build/libcore.a" ]; then
    ok "core links without what is above" \
        "$(upward libcore.a libtransports.a; upward libcore.a libdaemon.a)"
    ok "transports link without the daemon" "$(upward libtransports.a libdaemon.a)"
else
    skip "core links without what is above" "no nm, or nothing built in $build"
    skip "transports link without the daemon" "no nm, or nothing built in $build"
fi

ok "no file has more than 500 lines" "$(long_files 500)"
ok "no function has more than 60 lines" "$(long_functions 60)"
ok "nothing is left for later" \
    "$(grep -rnE '\b(TODO|FIXME|XXX)\b' core daemon transports cmd)"
ok "each source names its licence" \
    "$(find core daemon transports cmd -name '*.[ch]' -exec grep -L 'SPDX-License-Identifier' {} +)"
ok "each header is read once" "$(find core daemon transports cmd -name '*.h' -exec grep -L '#pragma once' {} +)"

echo "1..$tests"
