#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What scripts/check is made of.  TAP; run by `make check`.

set -uo pipefail

top=$(cd "${srcdir:-$(dirname "$0")/..}" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
tests=0

# same NAME WANTED GOT
same() {
    tests=$((tests + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $tests - $1"
    else
        echo "not ok $tests - $1"
        diff <(echo "$2") <(echo "$3") | sed 's/^/# /'
    fi
}

skip() {
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

# A tree with a build tree inside, one beside the sources, and no git.
make_tree() {
    mkdir -p "$1"/{core,cmd,tests/e2e,scripts,build-aux,autom4te.cache,b/core,build-check/gcc}
    cp "$top/scripts/sources" "$1/scripts"
    touch "$1"/{config.status,config.h,core/a.c,core/a.h,cmd/b.bash,tests/t.c,tests/e2e/x.bats}
    touch "$1"/{b/config.status,b/core/generated.c,build-check/gcc/y.c,build-aux/z.c}
    touch "$1"/{autom4te.cache/q.sh,tests/list}
    printf '#!/bin/sh\n' >"$1/scripts/run"
    printf '#!/usr/bin/env python3\n' >"$1/scripts/snake"
}

# git_files KIND: what git knows of it.
git_files() {
    case $1 in
        programs) git -C "$top" ls-files {core,transports,daemon,cmd}'/*.c' ;;
        c) git -C "$top" ls-files '*.c' '*.h' ;;
        shell) git -C "$top" ls-files '*.bash' '*.bats' '*.sh' ;;
    esac
}

# missing_of KIND: files that git knows and scripts/sources does not.
missing_of() {
    comm -23 <(git_files "$1" | sort) <("$top/scripts/sources" "$1" | sort)
}

make_tree "$dir/tree"
same "sources of programs are found without git, those of build trees are not" \
    "core/a.c" "$("$dir/tree/scripts/sources" programs)"
same "all C files are found" "core/a.c core/a.h tests/t.c" \
    "$("$dir/tree/scripts/sources" c | xargs)"
same "shell scripts are found by ending and by first line" \
    "cmd/b.bash scripts/run scripts/sources tests/e2e/x.bats" \
    "$("$dir/tree/scripts/sources" shell | xargs)"

for kind in programs c shell; do
    if [ -e "$top/.git" ] && git -C "$top" ls-files >/dev/null 2>&1; then
        same "all that git knows is found: $kind" "" "$(missing_of "$kind")"
    else
        skip "all that git knows is found: $kind" "no git repository that git takes"
    fi
done

printf '1..4\nok 1 a guest # skip no /dev/kvm\nok 2 runs\nnot ok 3 fails\nok 4 fio # skip needs fio\n' \
    >"$dir/e2e.tap"
printf 'ok 1 - unit\nSKIP: x 1 - unit\nnot ok 2 # SKIP of_root\nok 3 a guest # skip no /dev/kvm\n' \
    >"$dir/asan-e2e.tap"
same "tests that were left out are named once, by reason, with the runs that left them out" \
    "skipped 2: no /dev/kvm
    a guest (e2e, asan-e2e)
skipped 1: needs fio
    fio (e2e)
skipped 1: no reason given
    of_root (asan-e2e)" "$("$top/scripts/skipped" "$dir/e2e.tap" "$dir/asan-e2e.tap")"
same "nothing is said where nothing was left out" "" \
    "$(printf 'ok 1 - unit\n' >"$dir/all.tap" && "$top/scripts/skipped" "$dir/all.tap")"

mkdir -p "$dir/check/scripts"
cp "$top/scripts/check" "$dir/check/scripts"
printf '#!/bin/sh\necho began\nexit 1\n' >"$dir/check/scripts/deps"
chmod +x "$dir/check/scripts/deps"
same "a step that there is not is refused before anything is done" \
    'scripts/check: there is no step "assan"; the steps are (2)' \
    "$("$dir/check/scripts/check" gcc assan >"$dir/said" 2>&1
    status=$?
    echo "$(cut -d : -f 1-2 "$dir/said") ($status)")"

echo "1..$tests"
