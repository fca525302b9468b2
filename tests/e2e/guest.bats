#!/usr/bin/env bats
#
# What a Linux guest can see and do: data, sizes, identity, several disks, guests and queues.

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

# Of an image written by blkverify; the layout of a sector is in tests/guest/blkverify.c.
generation_at() {
    od -An -t u8 -j $(($2 + 16)) -N 8 "$1" | tr -d ' '
}

quiet_queue() {
    guest_run "$1" "echo none >/sys/block/$2/queue/scheduler; echo 2 >/sys/block/$2/queue/nomerges"
}

@test "a file written in a partition of the guest has the same checksum on the host" {
    need_tools debugfs
    start_vblkd
    add_disk vda 256M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'echo ",,L" | sfdisk -q /dev/vda && mkfs.ext4 -q /dev/vda1'
    guest_run a 'mount -t ext4 /dev/vda1 /mnt'
    guest_run a 'dd if=/dev/urandom of=/mnt/file bs=1M count=24 2>/dev/null'
    sum=$(guest_sha256 a /mnt/file)
    guest_run a 'umount /mnt && e2fsck -f -n /dev/vda1'
    guest_dmesg_clean a
    guest_stop a
    stop_vblkd

    debugfs -R "dump /file $E2E_DIR/file" "$E2E_DIR/vda.img?offset=1048576"
    [ "$(sha256sum <"$E2E_DIR/file" | cut -d ' ' -f 1)" = "$sum" ]
}

@test "a guest finds its file after the caches were dropped and the disk mounted again" {
    start_vblkd
    add_disk vda 128M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt'
    guest_run a 'dd if=/dev/urandom of=/mnt/file bs=1M count=16 2>/dev/null'
    sum=$(guest_sha256 a /mnt/file)
    guest_run a 'umount /mnt && echo 3 >/proc/sys/vm/drop_caches && mount /dev/vda /mnt'
    [ "$(guest_sha256 a /mnt/file)" = "$sum" ]
    guest_dmesg_clean a
}

@test "eight disks of one daemon keep apart in one guest" {
    local disks=() arguments=() name generation=0

    start_vblkd
    for name in vd{a..h}; do
        add_disk "$name" 16M --serial "serial-$name"
        disks+=("$name")
        arguments+=(--disk "$(socket_of "$name")")
    done
    guest_start a "${arguments[@]}"
    for name in "${disks[@]}"; do
        generation=$((generation + 1))
        guest_bg a "$name" "blkverify write --size 4M --generation $generation /dev/$name"
    done
    for name in "${disks[@]}"; do
        guest_bg_wait a "$name"
    done
    generation=0
    for name in "${disks[@]}"; do
        generation=$((generation + 1))
        guest_run a "blkverify verify --size 4M --generation $generation /dev/$name"
        [ "$(guest_run a "cat /sys/block/$name/serial")" = "serial-$name" ]
        [ "$(generation_at "$E2E_DIR/$name.img" 0)" -eq "$generation" ]
        [ "$(generation_at "$E2E_DIR/$name.img" $((4 * 1024 * 1024 - 512)))" -eq "$generation" ]
    done
    guest_dmesg_clean a
    guest_stop a
}

@test "two guests at once use different disks of one daemon" {
    local name

    start_vblkd
    add_disk vda 64M
    add_disk vdb 64M
    guest_start a --disk "$(socket_of vda)" --no-wait
    guest_start b --disk "$(socket_of vdb)"
    guest_wait a
    for name in a b; do
        guest_bg "$name" load "exec blkverify load --size 8M --seconds 3 /dev/vda"
    done
    for name in a b; do
        run guest_bg_wait "$name" load
        echo "$output"
        [ "$status" -eq 0 ]
        guest_run "$name" "blkverify verify --size 8M --generation 0 /dev/vda"
        guest_dmesg_clean "$name"
        guest_stop "$name"
    done
}

@test "two queues serve two processors" {
    start_vblkd
    add_disk vda 64M --queues 2
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2"
    [ "$(guest_run a 'ls /sys/block/vda/mq | wc -l')" -eq 2 ]
    # One writer on each processor, so that each queue carries one of them.
    guest_bg a left "exec taskset 1 blkverify load --size 8M --seconds 3 /dev/vda"
    guest_bg a right "exec taskset 2 blkverify load --size 8M --offset 32M --seconds 3 /dev/vda"
    guest_bg_wait a left
    guest_bg_wait a right
    guest_run a "blkverify verify --size 8M --generation 0 /dev/vda"
    guest_run a "blkverify verify --size 8M --offset 32M --generation 0 /dev/vda"
    guest_dmesg_clean a
    guest_stop a
}

@test "a read-only disk says so, refuses writes and its image does not change" {
    local file before

    file=$(image vda 16M)
    dd if=/dev/urandom of="$file" bs=1M count=16 conv=notrunc status=none
    before=$(sha256sum <"$file")
    start_vblkd
    vblkctl add vda "$file" --readonly
    guest_start a --disk "$(socket_of vda)"
    [ "$(guest_run a 'cat /sys/block/vda/ro')" -eq 1 ]
    [ "$(guest_sha256 a /dev/vda)" = "${before%% *}" ]
    run guest_run a 'dd if=/dev/zero of=/dev/vda bs=4096 count=1 oflag=direct'
    [ "$status" -ne 0 ]
    guest_stop a
    stop_vblkd
    [ "$(sha256sum <"$file")" = "$before" ]
}

@test "a disk survives reboots of the guest" {
    local i

    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'blkverify write --size 4M --generation 7 /dev/vda'
    for i in 1 2 3; do
        guest_reboot a
        guest_run a 'blkverify verify --size 4M --generation 7 /dev/vda'
        guest_run a "blkverify write --offset 8M --size 1M --generation $i /dev/vda"
    done
    guest_dmesg_clean a
    guest_stop a
}

@test "a reboot under load is served again" {
    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    guest_bg a load 'exec blkverify load --size 8M --depth 16 /dev/vda'
    wait_until 20 stat_reaches vda requests.write.requests 1000
    guest_reboot a
    guest_run a 'blkverify verify --size 4M --generation 0 /dev/vda'
    guest_run a 'blkverify write /dev/vda && blkverify verify /dev/vda'
    guest_dmesg_clean a
}

@test "after a guest was killed a new one finds the data" {
    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'blkverify write --size 4M --generation 9 /dev/vda'
    guest_bg a load 'exec blkverify load --offset 8M --size 8M --depth 16 /dev/vda'
    wait_until 20 stat_reaches vda requests.write.requests 2000
    guest_kill a
    vblkctl ping
    guest_start b --disk "$(socket_of vda)"
    guest_run b 'blkverify verify --size 4M --generation 9 /dev/vda'
    guest_run b 'blkverify write /dev/vda && blkverify verify /dev/vda'
    guest_dmesg_clean b
    guest_stop b
}

@test "the serial is what add was told" {
    start_vblkd
    add_disk vda 16M --serial "ABC-123.twenty-chars"
    guest_start a --disk "$(socket_of vda)"
    [ "$(guest_run a 'cat /sys/block/vda/serial')" = "ABC-123.twenty-chars" ]
}

# shellcheck disable=SC2016 # expanded in the guest
@test "size, block size and write cache are what add was told" {
    start_vblkd
    add_disk vda 16M
    add_disk vdb 24M --logical-block-size 4096
    add_disk vdc 17M --physical-block-size 65536
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)" --disk "$(socket_of vdc)"
    run guest_run a 'cd /sys/block && for disk in vda vdb vdc; do
        echo $disk $(cat $disk/size $disk/queue/logical_block_size \
            $disk/queue/physical_block_size $disk/queue/minimum_io_size \
            $disk/queue/optimal_io_size $disk/alignment_offset $disk/ro)
    done'
    echo "$output"
    [ "${lines[0]}" = "vda 32768 512 4096 4096 0 0 0" ]
    [ "${lines[1]}" = "vdb 49152 4096 4096 4096 0 0 0" ]
    [ "${lines[2]}" = "vdc 34816 512 65536 65536 0 0 0" ]
    vblkctl show vda | grep -q "^features:.* geometry.* topology"
    [ "$(guest_run a 'cat /sys/block/vda/queue/write_cache')" = "write back" ]
    guest_run a 'blkverify write /dev/vdb && blkverify verify /dev/vdb'
    run guest_run a 'blkverify verify --block 512 --size 512 /dev/vdb'
    [[ $output == *"Invalid argument"* ]]
    guest_dmesg_clean a
}

@test "a geometry that was asked for is the guest's" {
    start_vblkd
    add_disk vda 16M --geometry 512,255,62
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'fdisk -l /dev/vda | grep "255 heads, 62 sectors/track"'
    guest_dmesg_clean a
}

@test "requests of as many segments as add was told arrive whole, in rings that are shorter" {
    start_vblkd
    add_disk vda 32M --seg-max 1024
    guest_start a --disk "$(socket_of vda)"
    [ "$(guest_run a 'cat /sys/block/vda/queue/max_segments')" = 1024 ]
    guest_run a 'echo 4096 >/sys/block/vda/queue/max_sectors_kb'
    guest_run a 'blkverify write --block 4M --depth 4 /dev/vda'
    [ "$(stat_of vda requests.write.requests requests.write.bytes invalid)" = "8 33554432 0" ]
    guest_run a 'blkverify verify --block 4M --depth 4 /dev/vda'
    guest_run a 'blkverify verify --block 512 --size 2M --depth 2 /dev/vda'
    guest_dmesg_clean a
}

@test "large requests of many segments arrive whole" {
    start_vblkd
    add_disk vda 64M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'blkverify write --block 1M --depth 4 /dev/vda'
    guest_run a 'blkverify verify --block 512 --size 2M --depth 2 /dev/vda'
    guest_run a 'blkverify verify --block 1M --depth 4 /dev/vda'
    guest_dmesg_clean a
}

@test "the counters equal what the guest did" {
    local before after fields=(requests.{read,write}.{requests,bytes} requests.flush.requests)

    start_vblkd
    add_disk vda 64M
    guest_start a --disk "$(socket_of vda)"
    quiet_queue a vda
    read -ra before < <(stat_of vda "${fields[@]}")
    guest_run a 'blkverify write --size 4M --block 64k --depth 4 /dev/vda'
    guest_run a 'blkverify verify --size 4M --block 32k --depth 2 /dev/vda'
    guest_run a 'dd if=/dev/vda of=/dev/null bs=4096 count=100 iflag=direct 2>/dev/null'
    read -ra after < <(stat_of vda "${fields[@]}")
    echo "${before[*]} -> ${after[*]}"
    [ $((after[0] - before[0])) -eq 228 ]
    [ $((after[1] - before[1])) -eq $((4 * 1024 * 1024 + 100 * 4096)) ]
    [ $((after[2] - before[2])) -eq 64 ]
    [ $((after[3] - before[3])) -eq $((4 * 1024 * 1024)) ]
    [ $((after[4] - before[4])) -eq 1 ]
    run stat_of vda inflight requests.read.errors requests.write.errors requests.flush.errors
    [ "$output" = "0 0 0 0" ]
}
