#!/usr/bin/env bats
#
# Discards and zeroes: what a guest does with them, what comes of it on the host, and what it does
# when its disk is stopped, its daemon killed, or its file system does not answer.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose
# shellcheck disable=SC2016 # the guest expands it

load ../lib/e2e

FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}
VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
    ! grep -qF " $E2E_DIR/slow " /proc/mounts || umount -l "$E2E_DIR/slow"
}

# allocated NAME: KiB that its image takes.
allocated() {
    du -k "$E2E_DIR/$1.img" | cut -f 1
}

field() {
    vblkctl --json show "$1" | json_members "${@:2}"
}

# discards DISK: discard all of it, a block of 64 KiB after the other, for as long as it is asked.
discards() {
    process_start bench "$VBLKBENCH" --control "$E2E_DIR/control" "$1" --rw discard --bs 64K \
        --allow-write "${@:2}"
}

# Not every file system of a host can: then there is nothing to be seen.
need_holes() {
    [ "$(field "$1" discard_block_size)" -gt 0 ] || skip "the file system here makes no holes"
}

@test "fstrim in a guest gives room back to the host, and its file system is whole" {
    local before

    start_vblkd
    add_disk vda 128M
    need_holes vda
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt'
    guest_run a 'dd if=/dev/urandom of=/mnt/file bs=1M count=32 2>/dev/null && sync'
    before=$(allocated vda)
    guest_run a 'rm /mnt/file && sync && fstrim /mnt'
    [ "$(allocated vda)" -lt $((before - 24 * 1024)) ]
    [ "$(stat_of vda freed)" -gt $((24 << 20)) ]
    [ "$(stat_of vda requests.discard.errors requests.write_zeroes.errors invalid)" = "0 0 0" ]
    guest_run a 'umount /mnt && e2fsck -f -n /dev/vda'
    guest_dmesg_clean a
}

@test "blkdiscard in a guest discards, and with -z zeroes; what was not offered is not there" {
    local sum

    start_vblkd
    add_disk vda 16M
    add_disk vdb 16M --discard off --write-zeroes off
    add_disk vdc 16M --readonly
    need_holes vda
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)" --disk "$(socket_of vdc)"
    run guest_run a 'cd /sys/block; for disk in vda vdb vdc; do
        for file in discard_max_bytes write_zeroes_max_bytes; do
            [ "$(cat $disk/queue/$file)" -eq 0 ] && echo no || echo yes; done; done'
    [ "$(tr '\n' ' ' <<<"$output")" = "yes yes no no no no " ]
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=1M count=16 conv=fsync 2>/dev/null'
    sum=$(guest_run a 'dd if=/dev/vda bs=1M skip=5 2>/dev/null | sha256sum')
    guest_run a '/bin/blkdiscard -z -o 1048576 -l 4194304 /dev/vda && echo 3 >/proc/sys/vm/drop_caches'
    guest_run a '[ "$(dd if=/dev/vda bs=1M skip=1 count=4 2>/dev/null | tr -d "\0" | wc -c)" -eq 0 ]'
    [ "$(guest_run a 'dd if=/dev/vda bs=1M skip=5 2>/dev/null | sha256sum')" = "$sum" ]
    [ "$(stat_of vda requests.write_zeroes.bytes requests.write_zeroes.errors)" = "4194304 0" ]
    [ "$(allocated vda)" -ge $((16 * 1024)) ]
    guest_run a '/bin/blkdiscard /dev/vda'
    [ "$(stat_of vda requests.discard.bytes requests.discard.errors)" = "16777216 0" ]
    [ "$(allocated vda)" -lt 1024 ]
    run guest_run a '/bin/blkdiscard /dev/vdb'
    [ "$status" -ne 0 ]
    guest_dmesg_clean a
}

@test "a guest makes requests as large as add was told, and is told the same after a kill" {
    local limits='max_discard max_discard_segments max_write_zeroes max_write_zeroes_segments'

    start_vblkd
    add_disk vda 16M --max-discard 1M --max-discard-segments 3 --discard-granularity 64K \
        --max-write-zeroes 256K --max-write-zeroes-segments 5 --seg-max 17 --size-max 8K
    need_holes vda
    guest_start a --disk "$(socket_of vda)"
    [ "$(guest_run a 'cd /sys/block/vda/queue; cat discard_max_hw_bytes discard_granularity \
        max_discard_segments write_zeroes_max_bytes max_segments max_segment_size' |
        tr '\n' ' ')" = "1048576 65536 3 262144 17 8192 " ]
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null'
    guest_run a '/bin/blkdiscard -o 1048576 -l 4194304 /dev/vda'
    [ "$(stat_of vda requests.discard.requests requests.discard.bytes)" = "4 4194304" ]
    guest_run a '/bin/blkdiscard -z -o 8388608 -l 1048576 /dev/vda'
    [ "$(stat_of vda requests.write_zeroes.requests)" = 4 ]
    # shellcheck disable=SC2086
    [ "$(field vda $limits seg_max size_max)" = "1048576 3 262144 5 17 8192" ]
    vblkctl show vda | grep -q "^segments: *up to 17 in a request, each up to 8192 bytes$"
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    # shellcheck disable=SC2086
    [ "$(field vda $limits seg_max size_max)" = "1048576 3 262144 5 17 8192" ]
    guest_dmesg_clean a
}

@test "limits that do not suit the image are refused, and nothing is left of the disk" {
    start_vblkd
    add_disk vda 16M
    need_holes vda
    image vdb 16M
    run vblkctl add vdb "$E2E_DIR/vdb.img" --max-discard 512
    [ "$status" -ne 0 ]
    [[ $output == *"vdb.img: discards of 512 bytes at most are less than the "*"use --max-discard "* ]]
    run vblkctl add vdb "$E2E_DIR/new.img" --create --size 16M --max-discard 512
    [ "$status" -ne 0 ]
    [ ! -e "$E2E_DIR/new.img" ]
    run vblkctl show vdb
    [ "$status" -ne 0 ]
}

@test "every front-end case of discards holds, on several threads and through the page cache" {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    add_disk vda 16M --threads 2
    add_disk vdb 16M --cache writethrough
    for disk in vda vdb; do
        [ "$(field "$disk" zeroes)" != off ]
        for case in segments segment_that discards_beside; do
            run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of "$disk")" "$case"
            echo "$output"
            [ "$status" -eq 0 ]
        done
        [ "$(field "$disk" discard_block_size)" -eq 0 ] ||
            [ "$(stat_of "$disk" requests.write_zeroes.bytes)" -gt $((512 * 4096)) ]
    done
    vblkd_logged "vda: ring 0: a discard has a segment with flags that it does not have: "
    vblkd_logged "vda: ring 0: a discard of 4096 bytes at sector .* lies past the end (capacity 32768): "
}

@test "what was offered is offered again after a stop, a kill and a restart" {
    local before

    start_vblkd
    add_disk vda 16M
    add_disk vdb 16M --discard off
    add_disk vdc 16M --write-zeroes off
    before=$(for disk in vda vdb vdc; do field $disk discard_block_size zeroes discard write_zeroes; done)
    [ "$(field vdb discard_block_size zeroes discard write_zeroes)" = "0 keep off on" ]
    [ "$(field vdc zeroes write_zeroes)" = "off off" ]
    vblkctl stop vda
    vblkctl start vda
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    [ "$(for disk in vda vdb vdc; do field $disk discard_block_size zeroes discard write_zeroes; done)" = "$before" ]
    vblkctl show vda | grep -q "discards"
}

@test "discards go on over stop and start, other threads, and a new daemon" {
    start_vblkd
    add_disk vda 16M --threads 2
    need_holes vda
    discards vda --iodepth 8 --runtime 120
    wait_until 20 stat_reaches vda requests.discard.requests 20
    for _ in 1 2 3; do
        vblkctl stop vda
        [ "$(stat_of vda inflight)" -eq 0 ]
        vblkctl start vda
        vblkctl set vda threads=1
        vblkctl set vda threads=2
    done
    [ "$(stat_of vda requests.discard.errors invalid)" = "0 0" ]
    stop_vblkd
    start_vblkd
    wait_until 20 stat_reaches vda requests.discard.requests 20
    process_signal bench TERM
    wait_until 20 process_ended bench
}

# slow_disk SIZE: the disk vda, of which no discard is answered while orders has "fallocate".
slow_disk() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
    need_tools python3
    mkdir "$E2E_DIR/slow" "$E2E_DIR/orders"
    process_start slow_fs python3 "$BATS_TEST_DIRNAME/slow_fs.py" "$E2E_DIR/slow" "$1" \
        "$E2E_DIR/orders"
    slow_decided() { process_ended slow_fs || grep -q ready "$E2E_DIR/slow_fs.log"; }
    wait_until 5 slow_decided
    process_runs slow_fs || skip "may not mount FUSE: $(cat "$E2E_DIR/slow_fs.log")"
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --cache writeback
    touch "$E2E_DIR/orders/fallocate"
}

is_held() {
    grep -q "held fallocate" "$E2E_DIR/slow_fs.log"
}

is_stopped() {
    [ "$(field vda state)" = stopped ]
}

@test "a stop waits for a piece of a long discard, and for a second, but not for all of it" {
    slow_disk $((96 << 20))
    guest_start a --disk "$(socket_of vda)"
    guest_bg a discard '/bin/blkdiscard /dev/vda'
    wait_until 20 is_held
    run vblkctl stop vda --timeout 1.5
    [ "$status" -eq 1 ]
    rm "$E2E_DIR/orders/fallocate"
    wait_until 20 is_stopped
    grep -q "^fallocate 0 33554432$" "$E2E_DIR/slow_fs.log"
    run grep -c "^fallocate 33554432 " "$E2E_DIR/slow_fs.log"
    [ "$output" -eq 0 ]
    vblkctl start vda
    guest_bg_wait a discard
    [ "$(stat_of vda requests.discard.bytes requests.discard.errors)" = "100663296 0" ]
    guest_run a '/bin/blkdiscard /dev/vda'
    grep -q "^fallocate 33554432 " "$E2E_DIR/slow_fs.log" # of half the size, after one that took long
    guest_dmesg_clean a
}

@test "a discard that its file system does not answer holds up its disk's stop, and nothing else" {
    slow_disk $((8 << 20))
    add_disk vdb 1M
    discards vda --iodepth 4 --runtime 0.1
    wait_until 20 is_held
    vblkctl show vda >/dev/null
    [ "$(stat_of vda inflight)" -gt 0 ]
    vblkctl stop vdb
    run vblkctl stop vda --timeout 0.2
    [ "$status" -eq 1 ]
    vblkctl show vda | grep -q "discard"
    rm "$E2E_DIR/orders/fallocate"
    wait_until 20 stat_is vda inflight 0
    wait_until 20 is_stopped
    vblkctl start vda
    wait_until 30 process_ended bench
    [ "$(process_status bench)" -eq 0 ]
    [ "$(stat_of vda requests.discard.errors)" -eq 0 ]
}

# rate_of NAME: the column of the one line that stats --interval has printed.
rate_of() {
    awk -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) column = i }
                      NR == 2 { print $column }' <<<"$output"
}

@test "stats by the interval tell what is discarded and zeroed" {
    start_vblkd
    vblkctl add vda null:1G
    discards vda --runtime 120
    wait_until 10 stat_reaches vda requests.discard.requests 1
    run vblkctl stats vda --interval 0.5 --count 1
    echo "$output"
    [ "$(rate_of DISK)" = "vda" ]
    [ "$(rate_of wkB/s)" = "0.0" ]
    [ "$(rate_of zkB/s)" = "0.0" ]
    [ "$(rate_of dkB/s)" != "0.0" ]
}
