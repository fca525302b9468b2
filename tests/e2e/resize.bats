#!/usr/bin/env bats
#
# Another size of a disk under its guest.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    local device

    e2e_end_vblkd || true
    while read -r device; do
        losetup --detach "$device" || true
    done < <(cat "$E2E_DIR/loops" 2>/dev/null)
    e2e_teardown
}

# guest_sees DISK MEBIBYTES: Linux has made it of its disk's size.
guest_sees() {
    [ "$(guest_run a "cat /sys/block/$1/size")" -eq $(($2 << 11)) ]
}

# The last block of the guest's disk can be written and read.
guest_uses() {
    guest_run a "dd if=/bin/busybox of=/dev/$1 bs=4096 count=1 seek=$((($2 << 8) - 1)) oflag=direct 2>&1 &&
        dd if=/dev/$1 bs=4096 count=1 skip=$((($2 << 8) - 1)) iflag=direct 2>/dev/null | wc -c | grep -qx 4096"
}

# add_loop NAME MEBIBYTES: a disk on a loop device, whose file is NAME.img; fails without loop devices.
add_loop() {
    local device

    [ "$(id -u)" -eq 0 ] && command -v losetup >/dev/null && [ -e /dev/loop-control ] || return 1
    device=$(losetup --find --show "$(image "$1" "$2M")") || return 1
    echo "$device" >>"$E2E_DIR/loops"
    vblkctl add "$1" "$device"
}

resize_says() {
    local text=$1

    shift
    run vblkctl resize "$@"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"$text"* ]]
}

resize_refused() {
    local text=$1

    shift
    run vblkctl resize "$@"
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"$text"* ]]
}

size_is() {
    [ "$(field "$1" size)" -eq $(($2 << 20)) ]
}

@test "a guest under load sees its disks grow and shrink, and what others and a restart have made of them" {
    local disks device=''

    start_vblkd
    disks=(--disk "$(socket_of vda),queues=2")
    add_disk vda 16M --threads 2
    if add_loop vdb 16; then
        device=$(tail -n 1 "$E2E_DIR/loops")
        disks+=(--disk "$(socket_of vdb)")
    fi
    guest_start a "${disks[@]}" --smp 2
    guest_bg a vda "exec blkverify load --size 8M --depth 16 --flush-every 50 /dev/vda"
    wait_until 30 stat_reaches vda requests.write.requests 500
    resize_says "vda: 32M, was 16M; the guest has been told" vda 32M
    wait_until 10 guest_sees vda 32
    guest_uses vda 32
    truncate -s 48M "$E2E_DIR/vda.img"
    wait_until 10 guest_sees vda 48
    guest_uses vda 48
    resize_refused "what is beyond 16777216 would be lost" vda 16M
    resize_says "vda: 16M, was 48M; the guest has been told" vda 16M --shrink
    [ "$(stat -c %s "$E2E_DIR/vda.img")" -eq $((16 << 20)) ]
    wait_until 10 guest_sees vda 16
    if [ "$device" ]; then
        truncate -s 32M "$E2E_DIR/vdb.img"
        resize_refused "is a device of 16777216 bytes" vdb 32M
        losetup -c "$device"
        resize_says "vdb: 32M" vdb --refresh # unless it was noticed before that
        wait_until 10 guest_sees vdb 32
        guest_uses vdb 32
    fi
    kill_vblkd
    truncate -s 64M "$E2E_DIR/vda.img"
    start_vblkd
    wait_until 20 guest_sees vda 64
    guest_uses vda 64
    guest_bg_signal a vda TERM
    guest_bg_wait a vda
    guest_run a "blkverify verify --size 8M --generation 0 /dev/vda"
    guest_dmesg_clean a
}

@test "resize says what it does for whom, and what it does not" {
    start_vblkd
    add_disk vda 16M
    resize_says "vda: 32M, was 16M; no guest is connected" vda 32M
    resize_says "vda: 32M, as it was before" vda 32M
    process_start peer python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
time.sleep(100)' "$(socket_of vda)"
    wait_until 10 field vda client.pid
    resize_says "the guest cannot be told: it sees it when" vda 48M
    vblkctl stop vda
    resize_refused "it is stopped, and its image is closed; first 'vblkctl" vda 64M
    vblkctl start vda
    truncate -s 8M "$E2E_DIR/vda.img"
    vblkctl list | grep 'the image was cut to 8388608 bytes, of 50331648'
    resize_refused "its image has 8388608 bytes" vda --refresh
    resize_says "vda: 8M, was 48M" vda 8M --shrink
    kill_vblkd
    start_vblkd
    size_is vda 8
    resize_refused "no whole logical blocks of 512: 1024 would be" vda 1000
    vblkctl add vdb null:1M
    resize_refused "keeps the size that it has" vdb 2M
    for words in "vda" "vda 1M --refresh" "vda --refresh --shrink" "vda 0" "vda 1x"; do
        # shellcheck disable=SC2086 # words, on purpose
        run vblkctl resize $words
        [ "$status" -eq 2 ]
    done
}

@test "a file system that does not answer holds up its resize alone, and a crash leaves a disk that starts" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
    mkdir "$E2E_DIR/slow" "$E2E_DIR/orders"
    process_start slow_fs python3 "$BATS_TEST_DIRNAME/slow_fs.py" "$E2E_DIR/slow" \
        $((8 << 20)) "$E2E_DIR/orders"
    slow_decided() { process_ended slow_fs || grep -q ready "$E2E_DIR/slow_fs.log"; }
    wait_until 5 slow_decided
    process_runs slow_fs || skip "may not mount FUSE: $(cat "$E2E_DIR/slow_fs.log")"
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --cache writeback
    touch "$E2E_DIR/orders/setattr"
    resize_refused "the disk goes on as it is, and grows when its image has" vda 16M --timeout 0.2
    [ "$(field vda state)" = running ]
    resize_refused "its size is being changed already" vda 16M
    rm "$E2E_DIR/orders/setattr"
    wait_until 10 size_is vda 16
    touch "$E2E_DIR/orders/setattr"
    resize_refused "the disk is smaller, but the image's file system does not answer" vda 4M --shrink --timeout 0.5
    size_is vda 4
    grep -q '"size":4194304' "$E2E_DIR"/state/disks.json
    process_signal vblkd KILL
    rm "$E2E_DIR/orders/setattr" # it ends only then
    wait_until 10 process_ended vblkd
    start_vblkd
    size_is vda "$(($(stat -c %s "$E2E_DIR/slow/disk") >> 20))"
}
