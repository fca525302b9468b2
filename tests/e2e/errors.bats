#!/usr/bin/env bats
#
# What is done about requests that fail (on-read-error, on-write-error): reported, ignored, or held, with
# the disk paused until it is started; and that a guest outlasts a file system that is full.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

# It is gone when the daemon, which has files there, is.
teardown() {
    local dir

    for dir in full small; do
        ! grep -qF " ${E2E_DIR:-}/$dir " /proc/mounts || umount -l "$E2E_DIR/$dir"
    done
    e2e_teardown
}

# answered STATUS N: the front-end has got N of these.
answered() {
    [ "$(grep -c "^status $1" "$E2E_DIR/hold.log")" -eq "$2" ]
}

# write_some N: from a front-end that stays.
write_some() {
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" "$1"
}

# As often as it takes: some fail again.
started_for_good() {
    vblkctl start vda
    answered 0 "$1"
}

iostatus_is() {
    [ "$(field "$1" iostatus)" = "$2" ]
}

@test "errors: a write that finds no room pauses the disk, and all that tells of it does" {
    start_vblkd
    vblkctl add vda null:1G,error=ENOSPC,error-every=4
    iostatus_is vda ok
    write_some 16
    wait_until 5 answered 0 12
    wait_until 5 iostatus_is vda nospace
    [ "$(field vda state held paused_by held_types.write)" = "running 4 ['error'] 4" ]
    [ "$(field vda held_first.type held_first.errno held_first.length)" = "write ENOSPC 4096" ]
    [ "$(stat_of vda requests.write.errors ignored)" = "0 0" ]
    vblkd_logged 'vda: write of 4096 bytes at offset 8192 failed: No space left on device; the disk is paused'
    [ "$(grep -c 'No space left' "$E2E_DIR/vblkd.log")" -eq 1 ]
    run vblkctl list
    [[ "$output" =~ vda:\ +"paused for "[0-9]+" s: a write of 4096 bytes at offset 8192 failed: No space" ]]
    [[ "$output" == *"with 4 requests held: make room for its image, and start the disk"* ]]
    run vblkctl show vda
    [[ "$output" =~ "paused by:"\ +error ]]
    [[ "$output" =~ "I/O status:"\ +nospace ]]
    [[ "$output" =~ held:\ +"4, until the disk is started: 4 write" ]]
    [[ "$output" =~ "held first:"\ +"write of 4096 bytes at offset 8192, ring 0, for "[0-9.]+" s: ENOSPC" ]]
    run vblkctl start vda
    [ "$output" = "vda: running" ]
    wait_until 5 answered 0 15
    wait_until 5 iostatus_is vda nospace # the first of them has failed again
    wait_until 5 started_for_good 16
    iostatus_is vda ok
    [ "$(field vda warnings)" = "[]" ]
}

@test "errors: policies change under a disk that is paused, and count from the next failure on" {
    start_vblkd
    vblkctl add vda null:1G,error=EIO --on-write-error stop
    [ "$(vblkctl set vda | grep on-)" = $'on-read-error=report\non-write-error=stop' ]
    write_some 3
    wait_until 5 iostatus_is vda failed
    wait_until 5 stat_is vda held 3
    vblkctl set vda on-write-error=ignore threads=2 poll-us=0
    vblkctl stop vda
    [ "$(field vda state held paused_by)" = "stopped 3 ['stopped', 'error']" ]
    run vblkctl remove vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"in use by "*"3 of its requests failed and wait: a start tries them again, --force"* ]]
    vblkctl start vda
    wait_until 5 answered 0 3
    [ "$(stat_of vda requests.write.errors ignored held)" = "0 3 0" ]
    vblkd_logged 'failed: Input/output error; the guest is told that all went well'
    run vblkctl set vda on-read-error=enospc
    [ "$status" -eq 2 ]
    vblkctl set vda on-write-error=report
    stop_vblkd
    start_vblkd
    [ "$(field vda on_read_error on_write_error iostatus)" = "report report ok" ]
}

@test "errors: a flush that fails is reported, whatever is asked for" {
    local what

    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    start_vblkd
    vblkctl add vda null:1G,error=ENOSPC
    for what in stop ignore enospc; do
        vblkctl set vda on-write-error=$what
        run "$VBLKBENCH" "$(socket_of vda)" --rw flush --runtime 0.1
        [ "$status" -eq 1 ]
        [ "$(field vda iostatus held)" = "ok 0" ]
    done
    read -r requests errors < <(stat_of vda requests.flush.requests requests.flush.errors)
    [ "$requests" -gt 0 ] && [ "$errors" -eq "$requests" ]
}

@test "errors: a removal by force answers what is held, a guest that leaves ends the pause" {
    start_vblkd
    vblkctl add vda null:1G,error=EIO --on-write-error stop
    write_some 2
    wait_until 5 iostatus_is vda failed
    process_signal hold KILL
    wait_until 5 iostatus_is vda ok
    vblkd_logged 'vda: ring 0: stops with 2 requests held, the guest gets I/O errors'
    write_some 5
    wait_until 5 stat_is vda held 5
    vblkctl remove vda --force --timeout 5
    wait_until 5 answered 1 5
}

@test "errors: under load on several queues nothing is lost, however often the disk is paused" {
    local packed

    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    start_vblkd
    vblkctl add vda null:1G,error=EIO,error-every=200 --threads 2 --on-write-error stop \
        --on-read-error stop
    for packed in "" --packed; do
        # shellcheck disable=SC2086 # none, or one
        process_start bench "$VBLKBENCH" "$(socket_of vda)" --rw randrw --allow-write \
            --iodepth 32 --queues 3 --runtime 1 $packed
        [ -z "$packed" ] || vblkctl set vda iops-read=20000 iops-write=20000
        while ! process_ended bench; do
            vblkctl start vda
            vblkctl set vda threads=$((RANDOM % 3 + 1))
        done
        [ "$(process_status bench)" -eq 0 ]
    done
    [ "$(stat_of vda requests.read.errors requests.write.errors held inflight)" = "0 0 0 0" ]
    vblkd_logged 'the disk is paused'
}

# small_fs SIZE: a file system that is full before the images on it are.
small_fs() {
    need_tools mkfs.ext4 mount
    mkdir "$E2E_DIR/small" "$E2E_DIR/full"
    mount -t tmpfs -o size=20m none "$E2E_DIR/full" || skip "may not mount"
    truncate -s 24M "$E2E_DIR/fs"
    mkfs.ext4 -q -O ^has_journal "$E2E_DIR/fs"
    mount -o loop "$E2E_DIR/fs" "$E2E_DIR/small" || skip "may not mount by a loop device"
}

all_are_full() {
    local disk

    for disk in "${disks[@]}"; do
        iostatus_is "$disk" nospace || return
    done
}

# On a tmpfs by the page cache, on ext4 by O_DIRECT, each with and without all writes stable.
@test "errors: a guest outlasts file systems that are full, a kill and a move meanwhile, and finds each byte" {
    local disk disks=(vda vdb vdc vdd)

    small_fs
    start_vblkd
    dd if=/dev/zero of="$E2E_DIR/full/ballast" bs=1M count=14 status=none
    dd if=/dev/zero of="$E2E_DIR/small/ballast" bs=1M count=16 status=none
    truncate -s 8M "$E2E_DIR"/{full/vda,small/vdb,small/vdc,full/vdd}.img
    vblkctl add vda "$E2E_DIR/full/vda.img" --cache writeback
    vblkctl add vdb "$E2E_DIR/small/vdb.img" --threads 2
    vblkctl add vdc "$E2E_DIR/small/vdc.img" --cache directsync --engine io_uring
    vblkctl add vdd "$E2E_DIR/full/vdd.img" --cache writethrough --engine io_uring
    guest_start a --smp 2 --disk "$(socket_of vda)" --disk "$(socket_of vdb),queues=2" \
        --disk "$(socket_of vdc),packed=on" --disk "$(socket_of vdd)"
    for disk in "${disks[@]}"; do
        guest_bg a "$disk" "exec blkverify write --size 8M --depth 8 /dev/$disk"
    done
    wait_until 30 all_are_full
    kill_vblkd
    start_vblkd
    wait_until 30 all_are_full # all have tried again
    stop_vblkd
    start_vblkd
    wait_until 30 all_are_full
    vblkctl stop vdb
    vblkctl start vdb
    vblkctl set vdb threads=1
    wait_until 30 all_are_full
    vblkctl stop vdc
    cp --sparse=always "$E2E_DIR/small/vdc.img" "$E2E_DIR/vdc.img"
    vblkctl replace vdc "$E2E_DIR/vdc.img"
    vblkctl start vdc # where there is room
    guest_bg_wait a vdc
    iostatus_is vdc ok
    iostatus_is vdb nospace
    rm "$E2E_DIR"/{full,small}/ballast
    for disk in vda vdb vdd; do
        vblkctl start "$disk"
        guest_bg_wait a "$disk"
    done
    for disk in "${disks[@]}"; do
        guest_run a "blkverify verify --size 8M --depth 8 /dev/$disk"
        iostatus_is "$disk" ok
        [ "$(stat_of "$disk" requests.write.errors requests.flush.errors)" = "0 0" ]
    done
    guest_dmesg_clean a
    guest_stop a
}
