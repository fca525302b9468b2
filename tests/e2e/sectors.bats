#!/usr/bin/env bats
#
# Sectors of 512 bytes on what takes larger blocks only: a loop device of 4096, and a file system on
# one, whose files take no less with O_DIRECT.  Both need root.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose
# shellcheck disable=SC2016 # the guest expands it

load ../lib/e2e

FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}
VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup_file() {
    e2e_setup_file
}

setup() {
    [ "$(id -u)" -eq 0 ] || skip "needs root for loop devices"
    need_tools losetup mkfs.ext4
    [ -e /dev/loop-control ] || skip "needs loop devices"
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_end_vblkd || true
    ! mountpoint -q "$E2E_DIR/large" || umount "$E2E_DIR/large"
    [ ! -e "$E2E_DIR/loop" ] || losetup --detach "$(cat "$E2E_DIR/loop")" || true
    e2e_teardown
}

# loop SIZE: a device of 4096 bytes a sector, which ends with the test; prints its path.
loop() {
    losetup --sector-size 4096 --find --show "$(image back "$1")" >"$E2E_DIR/loop" 2>/dev/null ||
        skip "cannot have a loop device of 4096 bytes a sector here"
    cat "$E2E_DIR/loop"
}

# verified OPTION...: sectors by chance, written and read again, are what they should be.
verified() {
    run "$VBLKBENCH" --control "$E2E_DIR/control" vda --rw randrw --bs 512 --allow-write \
        --verify --runtime 0.7 "$@"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == *" 0 wrong"* ]]
}

is_served() {
    stat_reaches vda requests.write.requests 300
}

@test "a device of 4096 bytes a sector is served in sectors of 512, by each engine and two threads" {
    local device engine shown

    device=$(loop 16M)
    run vblkctl add vda "$device" --logical-block-size 512
    [ "$status" -eq 1 ]
    [[ "$output" == *"image $device: logical block size 512 is smaller than its own, 4096; use --emulate-512, --logical-block-size 4096, or --cache writeback"* ]]
    run vblkctl add vda "$device" --emulate-512 --logical-block-size 4096
    [ "$status" -eq 2 ]
    [[ "$output" == *"--logical-block-size: 4096 does not go with emulate-512, by which it is 512"* ]]
    for engine in aio io_uring; do
        vblkctl add vda "$device" --emulate-512 --threads 2 --engine $engine
        [ "$(field vda logical_block_size physical_block_size min_io_size image.block_size)" = \
            "512 4096 4096 4096" ]
        verified --iodepth 24 --queues 2
        verified --iodepth 4 --queues 2 --bs 1536
        vblkctl remove vda
    done
    vblkctl add vda "$device" --emulate-512 --threads 2
    vblkctl show vda | grep -q "^blocks: *logical 512 (emulated on blocks of 4096), physical 4096$"
    for case in segments segment_that discards_beside; do
        run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" "$case"
        echo "$output"
        [ "$status" -eq 0 ]
    done
    vblkctl stop vda
    vblkctl show vda | grep -q "^blocks: *logical 512 (emulated where the image needs it), "
    vblkctl start vda
    kill_vblkd
    start_vblkd
    shown=$(vblkctl show vda --shown)
    vblkctl remove vda
    run vblkctl add vda "$device" --as-shown "$shown"
    [ "$status" -eq 1 ]
    [[ "$output" == *"a disk that is added with --emulate-512 is served from it"* ]]
    vblkctl add vda "$device" --as-shown "$shown" --emulate-512 --threads 2
    [ "$(vblkctl show vda --shown)" = "$shown" ]
    verified --iodepth 8
    vblkctl remove vda
    vblkctl add vda "$device" --emulate-512 --cache writeback
    [ "$(field vda logical_block_size image.block_size)" = "512 512" ]
    vblkctl show vda | grep -q "^blocks: *logical 512 (emulated, which this image needs not), "
    verified --iodepth 8
}

@test "a guest lays small blocks out there, and goes on when the daemon is killed under load" {
    local device

    device=$(loop 96M)
    vblkctl add vda "$device" --emulate-512 --threads 2 --min-io 64K --opt-io 1M
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2"
    [ "$(guest_run a 'cd /sys/block/vda/queue; cat logical_block_size physical_block_size \
        minimum_io_size optimal_io_size' | tr '\n' ' ')" = "512 4096 65536 1048576 " ]
    guest_bg a load "exec blkverify load --offset 48M --size 1M --block 512 --depth 24 --seconds 0 /dev/vda"
    guest_run a 'mkfs.ext4 -q -b 1024 /dev/vda 40960 && mount -t ext4 /dev/vda /mnt'
    guest_run a 'dd if=/dev/urandom of=/mnt/file bs=1000 count=4000 2>/dev/null && sync && sha256sum </mnt/file >/mnt/sum'
    for _ in 1 2; do
        wait_until 60 is_served
        sleep "0.$((RANDOM % 50 + 10))"
        kill_vblkd
        start_vblkd
    done
    wait_until 60 is_served
    guest_bg_signal a load TERM
    guest_bg_wait a load 120
    guest_run a 'umount /mnt && echo 3 >/proc/sys/vm/drop_caches && e2fsck -f -n /dev/vda && mount -t ext4 /dev/vda /mnt'
    guest_run a '[ "$(sha256sum </mnt/file)" = "$(cat /mnt/sum)" ]'
    guest_dmesg_clean a
}

@test "a file whose file system takes 4096 bytes at a time, put in another's place, and of an odd size" {
    local file=$E2E_DIR/small.img sum

    mkdir "$E2E_DIR/large"
    mkfs.ext4 -q -b 4096 "$(loop 64M)"
    mount "$(cat "$E2E_DIR/loop")" "$E2E_DIR/large"
    run vblkctl add vda "$E2E_DIR/large/new" --emulate-512 --create --size 1049088
    [ "$status" -eq 1 ]
    [[ "$output" == *"image $E2E_DIR/large/new: its size, 1049088 bytes, is no multiple of the 4096 that it takes at a time"*"make it 1052672 bytes"* ]]
    [ ! -e "$E2E_DIR/large/new" ]
    dd if=/dev/urandom of="$file" bs=1M count=8 status=none
    sum=$(sha256sum <"$file")
    vblkctl add vda "$file" --emulate-512
    vblkctl add vdb "$(image vdb 8M)" --logical-block-size 512
    for disk in vda vdb; do
        [ "$(field $disk logical_block_size)" = 512 ]
        vblkctl stop $disk
    done
    mv "$file" "$E2E_DIR/large/vda"
    ln -s "$E2E_DIR/large/vda" "$file"
    vblkctl start vda --new-image
    [ "$(field vda logical_block_size image.block_size)" = "512 4096" ]
    [ "$(sha256sum <"$file")" = "$sum" ]
    vblkctl stop vda
    cp "$E2E_DIR/large/vda" "$E2E_DIR/copy.img"
    vblkctl replace vda "$E2E_DIR/copy.img"
    vblkctl start vda
    [ "$(field vda logical_block_size image.block_size)" = "512 512" ]
    vblkctl replace vda "$E2E_DIR/large/vda" --force
    [ "$(field vda logical_block_size image.block_size)" = "512 4096" ]
    run vblkctl resize vda $(((8 << 20) + 512))
    [ "$status" -eq 1 ]
    [[ "$output" == *"8389120 bytes are no number of whole blocks of 4096"* ]]
    [ "$(stat -c %s "$E2E_DIR/large/vda")" -eq $((8 << 20)) ]
    vblkctl resize vda 9M
    verified --iodepth 8
    run vblkctl resize vda $(((8 << 20) + 512)) --shrink
    [ "$status" -eq 1 ]
    truncate -s $(((9 << 20) + 512)) "$E2E_DIR/large/vda"
    run vblkctl resize vda --refresh
    [ "$status" -eq 1 ]
    vblkctl resize vda 8M --shrink
    [ "$(field vda size image.size)" = "8388608 8388608" ]
    [ "$(stat -c %s "$E2E_DIR/large/vda")" -eq $((8 << 20)) ]
    vblkctl add vdc --empty --emulate-512
    truncate -s 1M "$E2E_DIR/large/vdc"
    vblkctl insert vdc "$E2E_DIR/large/vdc"
    [ "$(field vdc size logical_block_size image.block_size)" = "1048576 512 4096" ]
    truncate -s 1049088 "$E2E_DIR/large/odd"
    vblkctl eject vdc
    run vblkctl insert vdc "$E2E_DIR/large/odd"
    [ "$status" -eq 1 ]
    [[ "$output" == *"its size, 1049088 bytes, is no multiple of the 4096 that it takes at a time"* ]]
    rm "$E2E_DIR/vdb.img"
    truncate -s 8M "$E2E_DIR/large/vdb"
    ln -s "$E2E_DIR/large/vdb" "$E2E_DIR/vdb.img"
    run vblkctl start vdb --new-image
    [ "$status" -eq 1 ]
    [[ "$output" == *"its blocks (4096 bytes) or size (8388608 bytes) do not suit the logical block size 512 that the guest knows; a disk that is added with --emulate-512 is served from it"* ]]
}
