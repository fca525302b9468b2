#!/usr/bin/env bats
#
# Block devices as images: loop devices, which need root.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

load ../lib/e2e

FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}
VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    [ "$(id -u)" -eq 0 ] || skip "needs root for loop devices"
    need_tools losetup blockdev
    [ -e /dev/loop-control ] || skip "needs loop devices"
    e2e_setup
    start_vblkd
}

teardown() {
    local device

    e2e_end_vblkd || true
    while read -r device; do
        blockdev --setrw "$device" || true
        partx --delete "$device" 2>/dev/null || true
        losetup --detach "$device" || true
    done < <(cat "$E2E_DIR/loops" 2>/dev/null)
    e2e_teardown
}

# loop NAME [OPTION...]: attach NAME.img to a loop device, which ends with the test; prints its path.
loop() {
    local file=$E2E_DIR/$1.img device

    shift
    device=$(losetup --find --show "$@" "$file")
    echo "$device" >>"$E2E_DIR/loops"
    echo "$device"
}

# refused TEXT ARGUMENT...: vblkctl ends with 1 and says TEXT.
refused() {
    local text=$1

    shift
    run vblkctl "$@"
    if [ "$status" -ne 1 ] || [[ "$output" != *"$text"* ]]; then
        echo "$*: status $status, $output"
        return 1
    fi
}

@test "a write-protected device is served read-only alone" {
    local device

    image vda 1M
    device=$(loop vda)
    blockdev --setro "$device"
    refused "image $device is a write-protected device; lift the protection: blockdev --setrw $device" add vda "$device"
    refused "blockdev --setrw $device" add vda "$device" --cache writeback
    vblkctl add vda "$device" --readonly
    vblkctl remove vda
    blockdev --setrw "$device"
    vblkctl add vda "$device"
    vblkctl stop vda
    blockdev --setro "$device"
    refused "is a write-protected device" start vda
    blockdev --setrw "$device"
    vblkctl start vda
}

@test "a loop device that was attached read-only is served read-only alone" {
    local device

    image vda 1M
    device=$(loop vda --read-only)
    refused "a loop device has to be attached without --read-only" add vda "$device"
    vblkctl add vda "$device" --readonly
}

@test "a file that is swapped to is not written" {
    local file=$E2E_DIR/swap.img swapped

    need_tools mkswap swapon swapoff
    (umask 077 && dd if=/dev/zero of="$file" bs=1M count=1 status=none)
    mkswap "$file" >/dev/null
    swapon "$file" || skip "cannot swap to a file here"
    run vblkctl add vda "$file"
    swapoff "$file"
    swapped="$output"
    [[ "$swapped" == *"image $file cannot be written: Text file busy; it is swap space in use"* ]]
    vblkctl add vda "$file"
}

# node NAME DEVICE: another node of the device.
node() {
    mknod -m 600 "$E2E_DIR/$1" b $((0x$(stat -c %t "$2"))) $((0x$(stat -c %T "$2")))
    : 2>/dev/null <"$E2E_DIR/$1" || skip "device nodes cannot be used in $E2E_DIR"
    echo "$E2E_DIR/$1"
}

@test "a device is in use by any of its nodes" {
    local device one two

    image vda 1M
    device=$(loop vda)
    one=$(node one "$device")
    two=$(node two "$device")
    vblkctl add vda "$device"
    refused "image $one lies on $device, which is in use" add vdb "$one" --readonly
    refused "it is in use by vda, a disk of this vblkd" add vdb "$one"
    refused "it is in use by vda, a disk of this vblkd" add vdb "$device" --length 512K
    vblkctl add vdc --empty
    refused "it is in use by vda, a disk of this vblkd" insert vdc "$device"
    vblkctl remove vdc
    vblkctl remove vda
    vblkctl add vda "$one"
    refused "image $two lies on $device, which is in use" add vdb "$two" --readonly
    refused "image $device is in use" add vdb "$device" --readonly
    vblkctl remove vda
    vblkctl add vda "$one" --readonly
    refused "image $device is in use" add vdb "$device"
    refused "image $two lies on $device, which is in use" add vdb "$two"
    vblkctl add vdb "$device" --readonly
    vblkctl add vdc "$two" --readonly
}

@test "who has claimed a device is named, a disk, another vblkd or a mount" {
    local device

    need_tools mkfs.ext4
    image vda 8M
    mkfs.ext4 -q -F "$E2E_DIR/vda.img"
    device=$(loop vda)
    mkdir "$E2E_DIR/a mount"
    mount "$device" "$E2E_DIR/a mount" || skip "cannot mount here"
    run vblkctl add vda "$device"
    umount "$E2E_DIR/a mount"
    [ "$status" -eq 1 ]
    [[ "$output" == *"it is mounted on $E2E_DIR/a mount"* ]]
    vblkctl add vda "$device"
    process_start other "$VBLKD" --control "$E2E_DIR/other" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/other-state"
    wait_until 20 "$VBLKCTL" --control "$E2E_DIR/other" ping
    run "$VBLKCTL" --control "$E2E_DIR/other" add vdb "$device"
    process_signal other TERM
    wait_until 20 process_ended other
    [ "$status" -eq 1 ]
    [[ "$output" == *"it is in use by vblkd (pid $(cat "$E2E_DIR/vblkd.pid"))"* ]]
}

@test "a loop device and its file are one image" {
    local file device

    file=$(image vda 1M)
    device=$(loop vda)
    vblkctl add vda "$device"
    refused "image $file is in use by another disk or program" add vdb "$file"
    refused "image $file is in use by another disk or program" add vdb "$file" --readonly
    vblkctl stop vda
    vblkctl add vdb "$file" --readonly
    refused "image $device lies on $file, which is in use" start vda
    vblkctl remove vdb
    vblkctl start vda
    stop_vblkd
    start_vblkd
    refused "image $file is in use" add vdb "$file" --readonly
    vblkctl remove vda
    vblkctl add vda "$file" --readonly
    refused "image $device lies on $file, which is in use" add vdb "$device"
    vblkctl add vdb "$device" --readonly
}

@test "a file that a loop device is attached to is not written" {
    local file device

    file=$(image vda 1M)
    device=$(loop vda --read-only)
    refused "image $file is in use: $device is attached to it; unmount that and detach it: losetup --detach $device" \
        add vda "$file"
    vblkctl add vda "$file" --readonly
    vblkctl remove vda
    losetup --detach "$device"
    vblkctl add vda "$file"
    vblkctl stop vda
    device=$(loop vda)
    refused "$device is attached to it" start vda
}

@test "a file that is mounted by loop is not written, by no name" {
    local file=$E2E_DIR/vda.img hard=$E2E_DIR/hard failed=0

    need_tools mkfs.ext4 mount umount
    image vda 4M
    mkfs.ext4 -q "$file"
    mkdir "$E2E_DIR/mnt"
    mount -o loop "$file" "$E2E_DIR/mnt" || skip "cannot mount here"
    ln "$file" "$hard"
    refused "is attached to it; unmount that" add vda "$file" || failed=1
    refused "is attached to it; unmount that" add vda "$hard" || failed=1
    rm "$file"
    refused "is attached to it; unmount that" add vda "$hard" || failed=1
    umount "$E2E_DIR/mnt"
    [ "$failed" -eq 0 ]
    vblkctl add vda "$hard"
}

@test "loop devices of one file are one image where they overlap" {
    local first second third

    image vda 3M
    first=$(loop vda --sizelimit 1M)
    second=$(loop vda --offset 1M --sizelimit 1M)
    vblkctl add vda "$first"
    vblkctl add vdb "$second"
    refused "which is in use" add vdc "$E2E_DIR/vda.img" --readonly || refused "is in use" \
        add vdc "$E2E_DIR/vda.img" --readonly
    vblkctl remove vda
    third=$(loop vda --offset 512K --sizelimit 512K)
    refused "image $first is in use: $third is attached to it" add vda "$first"
}

@test "a partition is a part of its disk" {
    local device file=$E2E_DIR/vda.img

    need_tools partx sfdisk
    image vda 8M
    printf 'start=2048, size=4096\nstart=6144, size=4096\n' | sfdisk -q "$file"
    device=$(loop vda)
    partx --add "$device" || skip "no partitions of loop devices"
    wait_until 5 test -b "${device}p2"
    vblkctl add vda "${device}p1"
    vblkctl add vdb "${device}p2"
    refused "image $device is in use" add vdc "$device" --readonly
    refused "image $file is in use" add vdc "$file" --readonly
    vblkctl remove vda
    vblkctl remove vdb
    vblkctl add vdc "$device"
    refused "image ${device}p1 lies on $device, which is in use" add vda "${device}p1" --readonly
}

@test "QEMU is kept off the file of a loop device that a disk writes" {
    local device

    need_tools qemu-io
    image vda 1M
    device=$(loop vda)
    vblkctl add vda "$device"
    run qemu-io -f raw -c 'write 0 512' "$E2E_DIR/vda.img"
    [ "$status" -ne 0 ]
    [[ "$output" == *lock* ]]
    vblkctl remove vda
    qemu-io -f raw -c 'write 0 512' "$E2E_DIR/vda.img"
}

# files_needed IMAGE: of a daemon with ten disks that read it.
files_needed() {
    local i

    rm -f "$E2E_DIR/state/disks.json"
    start_vblkd
    for i in {1..10}; do
        vblkctl add "d$i" "$1" --readonly >/dev/null
    done
    stop_vblkd
    # shellcheck disable=SC2086 # the wrapper is words
    run without_bats timeout "$(deadline 20)" prlimit --nofile=90 ${VBLKD_WRAPPER:-} "$VBLKD" \
        --control "$E2E_DIR/control" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    [ "$status" -eq 1 ]
    [[ "$output" =~ "they need "([0-9]+)" open files" ]]
    needed=${BASH_REMATCH[1]}
}

@test "the files of what a device lies on are counted before the daemon starts" {
    local file needed of_file

    need_tools prlimit
    file=$(image vda 1M)
    stop_vblkd
    files_needed "$file"
    of_file=$needed
    files_needed "$(loop vda --read-only)"
    [ $((needed - of_file)) -eq 10 ]
    start_vblkd
}

# A loop device hands both on to its file, so what the device was asked is seen in it.
@test "a device is discarded and zeroed by requests of its own" {
    local device

    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    dd if=/dev/urandom of="$E2E_DIR/vda.img" bs=1M count=16 conv=fsync 2>/dev/null
    device=$(loop vda)
    [ "$(cat "/sys/block/${device##*/}/queue/discard_max_bytes")" -gt 0 ] ||
        skip "the file system here makes no holes"
    for options in "--threads 2" "--cache writeback"; do
        # shellcheck disable=SC2086 # words
        vblkctl add vda "$device" $options
        [ "$(vblkctl --json show vda | json_members zeroes)" = unmap ]
        for case in segments segment_that discards_beside; do
            run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" "$case"
            echo "$output"
            [ "$status" -eq 0 ]
        done
        vblkctl remove vda
    done
    [ "$(du -k "$E2E_DIR/vda.img" | cut -f 1)" -gt 12288 ]
    vblkctl add vda "$device"
    "$VBLKBENCH" --control "$E2E_DIR/control" vda --rw discard --bs 1M --runtime 1 --allow-write
    [ "$(stat_of vda requests.discard.errors invalid)" = "0 0" ]
    vblkctl stop vda
    [ "$(du -k "$E2E_DIR/vda.img" | cut -f 1)" -lt 1024 ]
    cmp -n $((16 << 20)) "$device" /dev/zero
}

@test "a device's topology is the disk's" {
    local device facts sector name

    for sector in 512 4096; do
        name=vd$sector
        image "$name" 16M
        device=$(loop "$name" --sector-size "$sector")
        vblkctl add "$name" "$device"
        facts=$(cat "/sys/block/${device##*/}/"{queue/{logical_block_size,physical_block_size,minimum_io_size,optimal_io_size},alignment_offset})
        [ "$(field "$name" {logical_block,physical_block,min_io,opt_io}_size alignment_offset)" = "${facts//$'\n'/ }" ]
    done
}
