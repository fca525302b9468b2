#!/usr/bin/env bats
#
# Large requests through huge pages of the daemon's, across what happens to a disk under load
# meanwhile.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    e2e_setup
}

teardown() {
    local status=0

    e2e_teardown || status=1
    # The directory is gone by now, but for what is mounted there.
    ! mountpoint -q "${E2E_DIR:-}/full" || umount -l "$E2E_DIR/full" || status=1
    [ -n "${E2E_KEEP:-}" ] || rm -rf "${E2E_DIR:-}"
    return "$status"
}

# bench OPTION...: of vda.
bench() {
    without_bats timeout "$(deadline 60)" "$VBLKBENCH" --control "$E2E_DIR/control" vda "$@" </dev/null
}

# load_start OPTION...: of large requests, until load_ends.
load_start() {
    process_start load "$VBLKBENCH" --control "$E2E_DIR/control" vda --runtime 600 "$@"
    bounced_more
}

load_ends() {
    process_signal load INT
    wait_until 20 process_ended load
    cat "$E2E_DIR/load.log"
    [ "$(process_status load)" -eq 0 ]
}

bounced_more() {
    wait_until 20 stat_reaches vda bounced $(($(stat_of vda bounced) + 50))
}

# memory_kib: of vblkd's that it has asked huge pages for, nothing where there are none.
memory_kib() {
    awk '$1 == "Rss:" { kib = $2 } $1 == "VmFlags:" && / hg/ { sum += kib; has_any = 1 }
        END { if (has_any) { print sum } }' "/proc/$(cat "$E2E_DIR/vblkd.pid")/smaps"
}

memory_reaches() {
    [ "$(memory_kib)" -ge "$1" ]
}

memory_is() {
    [ "$(memory_kib)" -eq "$1" ]
}

@test "memory that large requests went through goes back when the disk is idle, and comes again" {
    local i

    start_vblkd
    add_disk vda 16M --huge-bounce on
    [ -n "$(memory_kib)" ] || skip "the kernel has no huge pages"
    # shellcheck disable=SC2034 # it counts
    for i in 1 2; do
        memory_is 0
        load_start --rw read --bs 1M --iodepth 16
        wait_until 20 memory_reaches 6144
        load_ends
        wait_until 20 memory_is 0
    done
}

# Each load checks what it reads: wrong data would end it.
@test "large requests outlast threads, stop and start, a kill, and are right by every way" {
    local use

    start_vblkd
    add_disk vda 16M --queues 2 --huge-bounce on
    for use in on auto; do
        load_start --rw randrw --bs 64k --verify --allow-write --queues 2
        vblkctl set vda huge-bounce=off threads=2
        vblkctl set vda huge-bounce=on
        bounced_more
        vblkctl stop vda
        vblkctl start vda
        bounced_more
        vblkctl set vda huge-bounce=$use threads=1
        [ "$(stat_of vda requests.read.errors requests.write.errors invalid)" = "0 0 0" ]
        process_runs load
        kill_vblkd
        process_signal load KILL
        start_vblkd
        [ "$(field vda huge_bounce threads)" = "$use 1" ]
        vblkctl set vda huge-bounce=on
    done
    load_start --rw randrw --bs 64k --verify --allow-write --queues 2
    load_ends
    grep -q 'blocks, 0 wrong' "$E2E_DIR/load.log"
}

@test "memory goes and comes while large requests of it are under way" {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    add_disk vda 16M --huge-bounce on --queues 2 --threads 2
    run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" memory_goes
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(stat_of vda bounced)" -gt 0 ]
    process_runs vblkd
}

# full_image: sparse, in a file system that has no room but for its first half.
full_image() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools mkfs.ext4 mount
    mkdir "$E2E_DIR/full"
    truncate -s 32M "$E2E_DIR/disk"
    mkfs.ext4 -q -F -O ^has_journal -m 0 "$E2E_DIR/disk"
    mount -o loop "$E2E_DIR/disk" "$E2E_DIR/full" || skip "may not mount by a loop device"
    head -c 4M /dev/zero | tr '\0' x >"$E2E_DIR/full/vda.img"
    truncate -s 8M "$E2E_DIR/full/vda.img"
    ! dd if=/dev/zero of="$E2E_DIR/full/rest" bs=64k status=none
    sync -f "$E2E_DIR/full"
}

@test "a full file system fails the writes that find no room, and no others" {
    full_image
    start_vblkd
    vblkctl add vda "$E2E_DIR/full/vda.img" --huge-bounce on --on-write-error report
    run bench --rw randwrite --bs 128k --offset 4M --runtime 0.3 --allow-write
    [ "$status" -eq 1 ]
    [ "$(stat_of vda requests.write.errors)" -gt 0 ]
    bench --rw randrw --bs 128k --offset 2M --size 2M --runtime 0.3 --verify --allow-write
    [ "$(head -c 2M "$E2E_DIR/full/vda.img" | tr -d x | wc -c)" -eq 0 ]
    rm "$E2E_DIR/full/rest"
    bench --rw randrw --bs 128k --offset 4M --runtime 0.3 --verify --allow-write
    [ "$(stat_of vda requests.read.errors invalid inflight)" = "0 0 0" ]
    [ "$(stat_of vda bounced)" -gt 0 ]
}
