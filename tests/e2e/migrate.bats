#!/usr/bin/env bats
#
# A guest goes from one QEMU to another while it reads: what a disk has stored to its memory
# meanwhile goes with it.  While it writes: its image goes from one vblkd to another.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    local status=0

    on a e2e_teardown || status=1
    on b e2e_teardown || status=1
    e2e_teardown || status=1
    return "$status"
}

# on HOST COMMAND...: with a daemon, a state and guests of its own.
on() {
    local E2E_DIR=$E2E_DIR/$1

    shift
    "$@"
}

# hosts: two, a and b, with a vblkd each.
hosts() {
    local host

    for host in a b; do
        mkdir -p "$E2E_DIR/$host/state"
        on "$host" start_vblkd
    done
}

# state_is HOST STATE
state_is() {
    [ "$(on "$1" field vda state)" = "$2" ]
}

# guest_on HOST NAME [WORD...]: a guest on vda, with words for guest_start.
guest_on() {
    local host=$1 name=$2 options

    shift 2
    mapfile -t options < <(on "$host" qmp_of "$name")
    on "$host" guest_start "$name" --disk "$(on "$host" socket_of vda)" --memory 96M \
        "${options[@]}" "$@"
}

# guest_comes_to HOST NAME: one that waits for a guest, at $E2E_DIR/migration.
guest_comes_to() {
    rm -f "$E2E_DIR/migration"
    guest_on "$1" "$2" --no-wait --qemu -incoming --qemu "unix:$E2E_DIR/migration"
}

# guest_goes FROM NAME TO NAME: an emulated processor's writes are lost to a migration now and then
# (QEMU 7.2, without any disk), so such a guest stands still.
guest_goes() {
    local stopped=()

    [ "$(accelerator)" = kvm ] || stopped=(stopped)
    on "$1" migrate "$2" all "unix:$E2E_DIR/migration" "${stopped[@]}"
    on "$3" migrate "$4" go
}

# writes_on HOST: the load in the guest gets answers.
writes_on() {
    local count

    count=$(on "$1" stat_of vda requests.write.requests)
    wait_until 30 on "$1" stat_reaches vda requests.write.requests $((count + 50))
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

# The load knows of each block what it has written last, and finds what is older.  In between each
# daemon is killed once while it does not have the image, and has it no more afterwards.
@test "a guest that writes is migrated there and back" {
    local file

    hosts
    file=$(image vda 16M)
    on a vblkctl add vda "$file" --threads 2
    guest_on a first
    on a guest_bg first load "exec blkverify load --size 8M --depth 8 /dev/vda"
    run on b vblkctl add vda "$file"
    [ "$status" -eq 1 ]
    [[ $output == *"in use by another disk"*" (pid "* ]]
    on b vblkctl add vda "$file" --incoming
    state_is b waiting
    on b kill_vblkd
    on b start_vblkd
    state_is b waiting
    guest_comes_to b second
    guest_goes a first b second
    writes_on b
    state_is b running
    state_is a waiting
    on a guest_kill first
    on a kill_vblkd
    on a start_vblkd
    state_is a waiting
    run on a vblkctl start vda
    [ "$status" -eq 1 ]
    [[ $output == *"in use by another disk"*" (pid "* ]]
    on b vblkctl stop vda
    on b vblkctl start vda
    writes_on b
    guest_comes_to a third
    guest_goes b second a third
    writes_on a
    state_is a running
    state_is b waiting
    on a guest_bg_signal third load TERM
    on a guest_bg_wait third load
    on a guest_run third "blkverify verify --size 8M --generation 0 /dev/vda"
    on a guest_dmesg_clean third
    on a guest_stop third
}

# Its rings are stopped while the log is on, as at the end of a migration.  Before that its daemon is
# killed, and its disk stopped and started; afterwards it goes after all, and writes through.
@test "a guest whose migration is cancelled goes on where it was, and goes later" {
    local file

    hosts
    file=$(image vda 16M)
    on a vblkctl add vda "$file"
    guest_on a first
    on a guest_bg first load "exec blkverify load --size 8M --depth 8 /dev/vda"
    on b vblkctl add vda "$file" --incoming
    guest_comes_to b second
    on a migrate first slow "unix:$E2E_DIR/migration"
    on a kill_vblkd
    on a start_vblkd
    state_is a running
    writes_on a
    on a vblkctl stop vda
    on a vblkctl start vda
    writes_on a
    on a migrate first stop
    wait_until 20 state_is a waiting
    on a migrate first cancel
    writes_on a
    state_is a running
    state_is b waiting
    on a guest_run first 'echo "write through" >/sys/block/vda/cache_type'
    wait_until 20 on b process_ended second
    guest_comes_to b third
    guest_goes a first b third
    writes_on b
    [ "$(on b field vda write_cache)" = writethrough ]
    on b guest_bg_signal third load TERM
    on b guest_bg_wait third load
    on b guest_run third "blkverify verify --size 8M --generation 0 /dev/vda"
    on b guest_dmesg_clean third
    on b guest_stop third
}

# QEMU stops the rings of a guest that is paused, and says that its device was reset; what the guest
# has been told and has chosen is as before.
@test "a guest that is paused under load goes on with what it has chosen" {
    hosts
    on a add_disk vda 16M --threads 2
    guest_on a first
    on a guest_run first "echo 'write through' >/sys/block/vda/cache_type"
    [ "$(on a field vda write_cache write_cache_by)" = "writethrough guest" ]
    on a guest_bg first load "exec blkverify load --size 8M --depth 8 /dev/vda"
    for _ in 1 2 3; do
        writes_on a
        on a migrate first stop
        [ "$(on a field vda queues_running inflight)" = "0 0" ]
        [ "$(on a field vda write_cache write_cache_by)" = "writethrough guest" ]
        on a migrate first go
    done
    writes_on a
    [ "$(on a field vda write_cache write_cache_by)" = "writethrough guest" ]
    on a guest_bg_signal first load TERM
    on a guest_bg_wait first load
    on a guest_run first "blkverify verify --size 8M --generation 0 /dev/vda"
    on a guest_dmesg_clean first
    on a guest_stop first
    run grep -E "connection closed|ring stopped|refused" "$E2E_DIR/a/vblkd.log"
    [ "$status" -eq 1 ]
}
