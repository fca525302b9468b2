#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Who may include whom, and how large things may be.  TAP; run by `make check`.
#
#   cmd --> daemon --> transports --> core --> libc, libaio, liburing, libuv
#
# Each folder is a room; `may_include` says whom its files may include beside their own.

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

# may_include ROOM [WHOM...]: a test of the room's own files: of ours they include those of the room
# and of the folders WHOM.
rooms=
may_include() {
    local known

    known=$(IFS='|' && echo "$*")
    rooms+="$1|"
    ok "$1 includes no others of ours but: ${*:2}" "$(grep -E "^$1/[^/:]*:" <<<"$includes" |
        grep -E 'include[[:space:]]*"' | grep -vE "include[[:space:]]*\"($known)/[^/]*\"")"
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

# statics: "NAME FILE" of each static function of core, once.
# shellcheck disable=SC2016 # $0 is awk's
statics() {
    find core -name '*.c' -print0 | xargs -0 awk '
        /static/ && /^[A-Za-z_].*[a-z0-9_]\(/ && !/^[^(]*=/ {
            gsub(/__attribute__\(\([^)]*\)*\)\)|PRINTF_LIKE\([^)]*\)/, "")
            sub(/\(.*/, "")
            sub(/.*[ *]/, "")
            print $0 " " FILENAME
        }' | sort -u
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

may_include core/base
may_include core/block core/base
may_include core/virtio core/base core/block
may_include core/device core/base core/block core/virtio
may_include core/driver core/base
may_include transports core/base core/device
may_include transports/client core/base core/driver transports
may_include transports/vmm core/base
may_include daemon core/base core/block core/virtio core/device transports
may_include cmd/common core/base daemon
may_include cmd/ctl core/base daemon cmd/common
may_include cmd/bench core/base core/driver transports/client cmd/common
may_include cmd/vm core/base transports/client transports/vmm cmd/common
ok "vblkd has nothing of the launcher and the bench" \
    "$(from cmd/vblkd '(transports/(client|vmm)|core/driver|cmd/(vm|bench|ctl))/')"
ok "each source is in a room, or a program of cmd" \
    "$(find core daemon transports cmd -name '*.[ch]' | grep -vE "^(${rooms%|}|cmd)/[^/]*$")"
ok "each #include names a file, ours in quotes" "$(
    grep -rnE --include='*.[ch]' '^[[:space:]]*(#|%:|\?\?=)[[:space:]]*include' core daemon transports cmd |
        grep -vE ':#include (<[^>]*>|"[^"]*")( /\*.*)?$'
    grep -E 'include[[:space:]]*<(core|daemon|transports|cmd)/' <<<"$includes"
)"
ok "our headers are named from the top" "$(
    grep -E 'include[[:space:]]*"' <<<"$includes" |
        grep -vE 'include[[:space:]]*"(core|daemon|transports|cmd)/'
)"

# A file may be known, tested and changed without those that include it.  Circles that are left,
# each with its reason:
circles_left() {
    cat <<'END'
cmd/vm/disk cmd/vm/disk_wires # two files of one noun: a disk, and the host's side of its registers
transports/client/vhost_user_client transports/client/vhost_user_client_state # the outside of an opaque struct, and its inside
transports/vhost_user_msgs transports/vhost_user_session # a session looks handlers up, which are given sessions
END
}
name="no file includes itself by way of others, but for $(circles_left | wc -l) circles"
if python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    ok "$name" "$(diff <(circles_left | sed 's/ *#.*//') <(python3 tests/circles.py . core daemon transports cmd))"
else
    skip "$name" "needs python3 (3.9)"
fi

ok "jansson is the daemon's and vblkctl's, for questions to the daemon, and vblkbench --json" \
    "$(included 'jansson\.h' \
        'daemon/[^:]*|cmd/(common|ctl)/[^:]*|cmd/vblkctl\.c|cmd/bench/report\.c')"
ok "libaio is core/block/engine_aio.c's" "$(included 'libaio\.h' 'core/block/engine_aio\.c')"
ok "liburing is core/block/engine_uring.c's" "$(included 'liburing\.h' 'core/block/engine_uring\.c')"
ok "libseccomp is daemon/sandbox_calls.c's" "$(included 'seccomp\.h' 'daemon/sandbox_calls\.c')"
ok "libuv in core is core/device's, mailbox's and watch's" \
    "$(from core/ 'uv\.h' | grep -vE '^core/(device/[a-z_]*|base/(mailbox|watch))\.[ch]:')"
ok "vblkctl has no loop" "$(from cmd/ 'uv\.h')"
ok "KVM is transports/vmm/kvm.c's and the processors'" \
    "$(included 'linux/kvm\.h' 'transports/vmm/kvm\.c|cmd/vm/v?cpu\.c')"
ok "a guest's registers do not know KVM" \
    "$(from 'transports/vmm/(virtio_|pci_host)' '(linux/kvm|transports/vmm/kvm)')"
ok "drivers stand alone, as firmware has no more" "$(
    grep -E '^core/driver/' <<<"$includes" |
        grep -vE 'include[[:space:]]*("core/(base/base|driver/[a-z_]*)\.h"|<linux/[^>]*>)'
)"
ok "no C file is included" "$(included '[^>"]*\.c[">]' '-')"

ok "getopt takes no beginning of a name, where argv_check has looked before" "$(
    grep -rl --include='*.c' 'getopt_long(' core daemon transports cmd | xargs grep -L 'argv_check('
)"
ok "errors and JSON reach the terminal by log_plain and answer_print_json" "$(
    grep -rnE --include='*.c' '(fprintf|fputs)\(.*stderr|perror\(|json_dumpf\(' core daemon transports cmd |
        grep -v '^cmd/bench/progress\.c:'
)"

# In the order of the arrows: none takes anything from one before it.
libraries=(daemon/libdaemon.a transports/libvhost_user.a core/device/libdevice.a
    core/virtio/libvirtio.a core/block/libblock.a core/base/libbase.a)
for ((i = 1; i < ${#libraries[@]}; i++)); do
    name="${libraries[i]} links without what is above"
    if command -v nm >/dev/null && [ -e "$build/${libraries[i]}" ]; then
        ok "$name" "$(for ((k = 0; k < i; k++)); do upward "${libraries[i]}" "${libraries[k]}"; done)"
    else
        skip "$name" "no nm, or nothing built in $build"
    fi
done

ok "no file has more than 500 lines" "$(long_files 500)"
ok "no function has more than 60 lines" "$(long_functions 60)"
ok "a static of core has a name of its own, of more than one word" "$(
    statics | awk '{ files[$1] = files[$1] " " $2; count[$1]++ }
        END { for (name in files) if (count[name] > 1 || name !~ /_/) print name ":" files[name] }'
)"
ok "nothing is left for later" \
    "$(grep -rnE '\b(TODO|FIXME|XXX)\b' core daemon transports cmd)"
ok "each source names its licence" \
    "$(find core daemon transports cmd -name '*.[ch]' -exec grep -L 'SPDX-License-Identifier' {} +)"
ok "each header is read once" "$(find core daemon transports cmd -name '*.h' -exec grep -L '#pragma once' {} +)"

echo "1..$tests"
