#!/usr/bin/env bats
#
# A guest goes from one QEMU to another while it reads: what a disk has stored to its memory
# meanwhile goes with it.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# migrate NAME VERB...: see migrate.py.
migrate() {
    local name=$1

    shift
    without_bats "$BATS_TEST_DIRNAME/migrate.py" "$E2E_DIR/$name.qmp" "$(deadline 120)" "$@"
}

# qmp_of NAME: words for guest_start.
qmp_of() {
    printf '%s\n' --qemu -qmp --qemu "unix:$E2E_DIR/$1.qmp,server=on,wait=off"
}

# The first half of the disk fills the memory that is sent, the second one takes its place after that:
# what is not known to have been stored since is, at the other end, the first half.  A kernel that
# zeroes what it allocates would have it sent anyway.
@test "a guest that reads during a migration has what it has read afterwards" {
    local sum file options first second

    start_vblkd
    file=$(image vda 48M)
    dd if=/dev/urandom of="$file" bs=1M count=48 conv=notrunc status=none
    sum=$(tail -c 24M "$file" | sha256sum | cut -d ' ' -f 1)
    first="echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda of=/dev/null bs=1M count=24 2>/dev/null"
    second="dd if=/dev/vda bs=1M skip=24 2>/dev/null | sha256sum | cut -d ' ' -f 1"
    vblkctl add vda "$file" --readonly
    vblkctl add vdb "$file" --readonly
    mapfile -t options < <(qmp_of a)
    guest_start a --disk "$(socket_of vda)" --memory 128M --append init_on_alloc=0 "${options[@]}"
    guest_start b --disk "$(socket_of vdb)" --memory 128M --append init_on_alloc=0 --no-wait \
        --qemu -incoming --qemu "unix:$E2E_DIR/migration"
    guest_bg a hold "exec sleep 100000 </dev/vda" # the last who closes it empties the cache
    guest_bg a read "while [ ! -e /tmp/end ]; do $first; done"
    wait_until 60 stat_reaches vda requests.read.requests 500
    migrate a begin "unix:$E2E_DIR/migration" $((16 << 20))
    guest_run a "touch /tmp/end; task wait read; echo 3 >/proc/sys/vm/drop_caches"
    [ "$(guest_run a "$second")" = "$sum" ]
    migrate a finish
    guest_kill a
    guest_wait b
    [ "$(guest_run b "$second")" = "$sum" ]
    [ "$(stat_of vdb requests.read.requests)" -lt 100 ]
    guest_run b "echo 3 >/proc/sys/vm/drop_caches"
    [ "$(guest_run b "$second")" = "$sum" ]
    guest_dmesg_clean b
    guest_stop b
    [ "$(grep -cE "connection closed|ring stopped" "$E2E_DIR/vblkd.log")" -eq 0 ]
}
