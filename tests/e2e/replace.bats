#!/usr/bin/env bats
#
# A disk that goes on with another image, under whoever uses it.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

# shellcheck disable=SC2154 # e2e.bash sets top_builddir
VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    ELSEWHERE=$(mktemp -d /dev/shm/vblk.XXXXXX) # another file system, as a rule
}

teardown() {
    umount "$E2E_DIR/full" 2>/dev/null || true
    [ -z "${ELSEWHERE:-}" ] || rm -rf "$ELSEWHERE"
    e2e_teardown
}

# load_start: writes, and checks what it reads, until it is ended.
load_start() {
    process_start load "$VBLKBENCH" "$(socket_of vda)" --allow-write --runtime 600 --rw randrw --verify \
        --size 8M --iodepth 16
    wait_until 20 stat_reaches vda requests.write.requests 500
}

load_goes_on() {
    local before

    before=$(stat_of vda requests.write.requests)
    wait_until 20 stat_reaches vda requests.write.requests $((before + 200))
}

# No error was seen, and all that was written is there.
load_ends_clean() {
    process_signal load INT
    wait_until 20 process_ended load
    [ "$(process_status load)" -eq 0 ]
}

@test "an image that is moved while its disk is stopped, under a load that checks" {
    start_vblkd
    add_disk vda 32M --cache writeback --threads 2
    load_start
    vblkctl stop vda
    mv "$E2E_DIR/vda.img" "$ELSEWHERE/vda.img"
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"if it was moved: vblkctl --control $E2E_DIR/control replace vda IMAGE" ]]
    run vblkctl replace vda "$ELSEWHERE/vda.img"
    [ "$output" = "vda: stopped, its image is $ELSEWHERE/vda.img, and was $E2E_DIR/vda.img" ]
    vblkctl start vda
    load_goes_on
    kill_vblkd
    start_vblkd
    [ "$(field vda image.path)" = "$ELSEWHERE/vda.img" ]
    vblkctl stop vda
    cp --sparse=always "$ELSEWHERE/vda.img" "$E2E_DIR/back.img"
    vblkctl replace vda "$E2E_DIR/back.img"
    rm "$ELSEWHERE/vda.img"
    vblkctl start vda
    load_goes_on
    load_ends_clean
}

@test "an image that is replaced by the same bytes under a load of reads" {
    start_vblkd
    truncate -s 32M "$E2E_DIR/a.img" "$ELSEWHERE/b.img"
    vblkctl add vda "$E2E_DIR/a.img" --cache writeback --threads 2
    process_start load "$VBLKBENCH" "$(socket_of vda)" --runtime 600 --rw randread --iodepth 16
    wait_until 20 stat_reaches vda requests.read.requests 500
    run vblkctl replace vda "$ELSEWHERE/b.img"
    [ "$status" -eq 1 ]
    [[ "$output" == *"first 'vblkctl --control $E2E_DIR/control stop vda'"*"use --force"* ]]
    for _ in 1 2 3 4 5; do
        vblkctl replace vda "$ELSEWHERE/b.img" --force
        vblkctl replace vda "$E2E_DIR/a.img" --force
    done
    [ "$(field vda state image.path)" = "running $E2E_DIR/a.img" ]
    [ "$(stat_of vda requests.read.errors)" -eq 0 ]
    rm "$ELSEWHERE/b.img"
    load_ends_clean
}

@test "an image that was moved under its disk is known by its new name" {
    start_vblkd
    add_disk vda 32M
    mv "$E2E_DIR/vda.img" "$E2E_DIR/moved.img"
    vblkctl list | grep -q "name that by 'vblkctl replace'"
    vblkctl replace vda "$E2E_DIR/moved.img"
    [ "$(field vda state image.path image.fate)" = "running $E2E_DIR/moved.img there" ]
    run vblkctl replace vda "$E2E_DIR/moved.img"
    [[ "$output" == *"as it was before" ]]
    vblkctl stop vda
    vblkctl start vda
}

@test "a disk held on a full file system goes on elsewhere" {
    mkdir "$E2E_DIR/full"
    mount -t tmpfs -o size=6m none "$E2E_DIR/full" || skip "may not mount"
    start_vblkd
    truncate -s 32M "$E2E_DIR/full/vda.img"
    vblkctl add vda "$E2E_DIR/full/vda.img" --cache writeback --threads 2
    process_start load "$VBLKBENCH" "$(socket_of vda)" --allow-write --runtime 600 --rw randrw --verify \
        --size 24M --iodepth 16
    wait_until 20 stat_reaches vda held 1
    vblkctl stop vda
    cp --sparse=always "$E2E_DIR/full/vda.img" "$E2E_DIR/vda.img"
    vblkctl replace vda "$E2E_DIR/vda.img"
    umount "$E2E_DIR/full"
    vblkctl start vda
    wait_until 20 stat_is vda held 0
    load_goes_on
    load_ends_clean
}

@test "what is held for an image that is ejected is not written to the next" {
    mkdir "$E2E_DIR/full"
    mount -t tmpfs -o size=6m none "$E2E_DIR/full" || skip "may not mount"
    start_vblkd
    truncate -s 32M "$E2E_DIR/full/vda.img" "$E2E_DIR/next.img"
    vblkctl add vda "$E2E_DIR/full/vda.img" --threads 2
    process_start load "$VBLKBENCH" "$(socket_of vda)" --allow-write --runtime 1 --rw randwrite \
        --bs 64k --queues 2
    wait_until 20 stat_reaches vda held 1
    vblkctl eject vda --force
    stat_is vda held 0
    [ "$(field vda paused_by iostatus warnings)" = "[] ok []" ]
    wait_until 20 process_ended load
    grep -q "I/O error" "$E2E_DIR/load.log"
    vblkctl insert vda "$E2E_DIR/next.img"
    vblkctl start vda
    vblkctl remove vda
    [ "$(stat -c %b "$E2E_DIR/next.img")" -eq 0 ]
}

@test "a daemon that is killed while an image is replaced has the one or the other" {
    local path ended

    start_vblkd
    truncate -s 32M "$E2E_DIR/1.img"
    vblkctl add vda "$E2E_DIR/1.img" --cache writeback --threads 2
    load_start
    for ended in 0 0.002 0.01; do
        vblkctl stop vda
        path=$(field vda image.path)
        cp --sparse=always "$path" "$E2E_DIR/2.img"
        without_bats "$VBLKCTL" --control "$E2E_DIR/control" replace vda "$E2E_DIR/2.img" &
        sleep "$ended" # of the replacement, something
        kill_vblkd
        start_vblkd
        path=$(field vda image.path)
        [[ "$path" == "$E2E_DIR"/[12].img ]]
        vblkctl start vda
        load_goes_on
        vblkctl stop vda
        mv "$path" "$E2E_DIR/3.img"
        mv "$E2E_DIR/3.img" "$E2E_DIR/1.img"
        [ "$(field vda image.path)" = "$E2E_DIR/1.img" ] || vblkctl replace vda "$E2E_DIR/1.img"
        vblkctl start vda
    done
    load_ends_clean
}

@test "images that do not suit leave the disk as it is" {
    start_vblkd
    add_disk vda 32M
    vblkctl add null null:32M
    truncate -s 31M "$E2E_DIR/small.img"
    run vblkctl replace vda "$E2E_DIR/small.img" --force
    [ "$status" -eq 1 ]
    [[ "$output" == *"it has 32505856 bytes, and the disk 33554432"* ]]
    run vblkctl replace vda "$E2E_DIR" --force
    [[ "$output" == *"is a directory"* ]]
    truncate -s 32M "$E2E_DIR/q.img"
    printf 'QFI\373\0\0\0\3' | dd of="$E2E_DIR/q.img" conv=notrunc status=none
    run vblkctl replace vda "$E2E_DIR/q.img" --force
    [[ "$output" == *"is in qcow2 format"* ]]
    vblkctl replace vda "$E2E_DIR/q.img" --force --format raw
    run vblkctl replace null "$E2E_DIR/vda.img"
    [[ "$output" == *"its image is no file"* ]]
    run vblkctl replace nobody "$E2E_DIR/vda.img"
    [[ "$output" == *'no disk is named "nobody"'* ]]
    [ "$(field vda state)" = running ]
}

# The guest's idea of the size, in sectors.
sees() {
    [ "$(guest_run a 'cat /sys/block/vdb/size')" -eq "$1" ]
}

@test "a Linux guest whose disks are moved, inserted and ejected" {
    start_vblkd
    add_disk vda 32M
    vblkctl add vdb --empty
    [ "$(field vdb state size image.type)" = "running 0 empty" ]
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)"
    guest_bg a load "exec blkverify load --size 8M --depth 16 --flush-every 50 /dev/vda"
    wait_until 30 stat_reaches vda requests.write.requests 500
    vblkctl stop vda
    mv "$E2E_DIR/vda.img" "$ELSEWHERE/vda.img"
    cp --sparse=always "$ELSEWHERE/vda.img" "$E2E_DIR/copy.img"
    vblkctl replace vda "$E2E_DIR/copy.img"
    rm "$ELSEWHERE/vda.img"
    vblkctl start vda
    load_goes_on
    sees 0
    run vblkctl insert vdb "$(image vdb 16M)"
    [ "$output" = "vdb: running, its image is $E2E_DIR/vdb.img, and was none; the guest has been told" ]
    wait_until 20 sees 32768
    guest_run a 'dd if=/dev/zero of=/dev/vdb bs=1M count=16 oflag=direct'
    run vblkctl eject vdb
    [ "$status" -eq 1 ]
    [[ "$output" == *"have the guest unmount it, and use --force"* ]]
    vblkctl eject vdb --force
    wait_until 20 sees 0
    vblkctl replace vda "$E2E_DIR/vdb.img" && return 1
    kill_vblkd
    start_vblkd
    [ "$(field vdb state size)" = "running 0" ]
    vblkctl insert vdb "$E2E_DIR/vdb.img"
    wait_until 20 sees 32768
    guest_bg_signal a load TERM
    guest_bg_wait a load
    guest_run a 'blkverify verify --size 8M --generation 0 /dev/vda'
    guest_dmesg_clean a
}

@test "what an empty disk is asked for in vain" {
    start_vblkd
    vblkctl add vda --empty
    add_disk vdb 1M
    run vblkctl add vdc --empty "$E2E_DIR/vdb.img"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--empty: goes in the place of IMAGE"* ]]
    run vblkctl add vdc --empty --incoming
    [[ "$output" == *'--incoming: goes with images of type "file" only'* ]]
    run vblkctl eject vda
    [ "$output" = "vblkctl: vda: it has no image" ]
    run vblkctl replace vda "$E2E_DIR/vdb.img"
    [[ "$output" == *"if this one is meant: vblkctl --control $E2E_DIR/control insert vda IMAGE" ]]
    run vblkctl insert vdb "$E2E_DIR/vdb.img"
    [[ "$output" == *"it has an image already; first 'vblkctl --control $E2E_DIR/control eject vdb'" ]]
    run vblkctl insert vda "$E2E_DIR/vdb.img"
    [[ "$output" == *"is in use by another disk"* ]]
    vblkctl eject vdb
    vblkctl insert vda "$E2E_DIR/vdb.img"
    [ "$(field vda state size image.path)" = "running 1048576 $E2E_DIR/vdb.img" ]
    stop_vblkd
    start_vblkd
    [ "$(field vda state size)" = "running 1048576" ]
    [ "$(field vdb state size)" = "running 0" ]
}

@test "an image is replaced by itself, and by another of its names" {
    start_vblkd
    add_disk vda 1M
    ln "$E2E_DIR/vda.img" "$E2E_DIR/other.img"
    run vblkctl replace vda "$E2E_DIR/vda.img"
    [ "$output" = "vda: running, its image is $E2E_DIR/vda.img, as it was before" ]
    run vblkctl replace vda "$E2E_DIR/other.img"
    [ "$output" = "vda: running, its image is $E2E_DIR/other.img, and was $E2E_DIR/vda.img" ]
    kill_vblkd
    start_vblkd
    [ "$(field vda state image.path)" = "running $E2E_DIR/other.img" ]
}
