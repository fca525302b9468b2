#!/usr/bin/env bats
#
# Writes of zeroes that become zeroings (detect-zeroes): what comes of them on the host, and that a
# guest finds what it wrote, whatever happens meanwhile.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose
# shellcheck disable=SC2016 # the guest expands it

load ../lib/e2e

FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# allocated NAME: KiB that its image takes.
allocated() {
    du -k "$E2E_DIR/$1.img" | cut -f 1
}

field() {
    vblkctl --json show "$1" | json_members "${@:2}"
}

# Not every file system of a host can.
need_holes() {
    [ "$(field "$1" discard_block_size)" -gt 0 ] || skip "the file system here makes no holes"
}

@test "zeroes that a guest writes take no room with unmap, and are zeroes" {
    local sum

    start_vblkd
    add_disk vda 32M --detect-zeroes unmap
    need_holes vda
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=1M count=32 oflag=direct 2>/dev/null'
    [ "$(allocated vda)" -ge $((32 * 1024)) ]
    [ "$(stat_of vda turned)" -eq 0 ]
    sum=$(guest_run a 'dd if=/dev/vda bs=1M skip=24 iflag=direct 2>/dev/null | sha256sum')
    guest_run a 'dd if=/dev/zero of=/dev/vda bs=1M seek=8 count=16 oflag=direct 2>/dev/null'
    [ "$(allocated vda)" -le $((16 * 1024 + 64)) ]
    [ "$(stat_of vda turned)" -ge 16 ]
    [ "$(stat_of vda freed)" -ge $((16 << 20)) ]
    [ "$(stat_of vda requests.write.errors requests.write_zeroes.requests)" = "0 0" ]
    [ "$(stat_of vda requests.write.bytes)" -eq $((48 << 20)) ]
    vblkctl stats vda | grep -q "^writes of zeroes that were zeroed: $(stat_of vda turned)$"
    [ "$(guest_run a 'dd if=/dev/vda bs=1M skip=8 count=16 iflag=direct 2>/dev/null | tr -d "\0" | wc -c')" -eq 0 ]
    [ "$(guest_run a 'dd if=/dev/vda bs=1M skip=24 iflag=direct 2>/dev/null | sha256sum')" = "$sum" ]
    guest_dmesg_clean a
}

@test "it changes under a guest, and is found again after a kill" {
    local turned

    start_vblkd
    add_disk vda 16M
    add_disk vdb 16M --discard off
    need_holes vda
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=1M count=16 oflag=direct 2>/dev/null'
    guest_run a 'dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null'
    [ "$(stat_of vda turned)" -eq 0 ]
    vblkctl set vda detect-zeroes=on
    guest_run a 'dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null'
    turned=$(stat_of vda turned)
    [ "$turned" -ge 4 ]
    [ "$(allocated vda)" -ge $((16 * 1024)) ]
    vblkctl set vda detect-zeroes=unmap
    guest_run a 'dd if=/dev/zero of=/dev/vda bs=1M count=4 oflag=direct 2>/dev/null'
    [ "$(stat_of vda turned)" -gt "$turned" ]
    [ "$(allocated vda)" -le $((12 * 1024 + 64)) ]
    run vblkctl set vdb detect-zeroes=unmap
    [ "$status" -ne 0 ]
    [[ $output == *"does not go with --discard off"*'use "on"'* ]]
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    [ "$(field vda detect_zeroes)" = unmap ]
    [ "$(field vdb detect_zeroes)" = off ]
    guest_run a 'dd if=/dev/zero of=/dev/vda bs=1M seek=4 count=4 oflag=direct 2>/dev/null'
    [ "$(allocated vda)" -le $((8 * 1024 + 64)) ]
    guest_dmesg_clean a
}

@test "every front-end case holds with unmap, on several threads, in all cache modes" {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    for cache in none directsync writeback writethrough; do
        add_disk "vd-$cache" 16M --cache "$cache" --threads 2 --detect-zeroes unmap
        run timeout "$(deadline 120)" "$FRONTEND_TESTS" --socket "$(socket_of "vd-$cache")"
        echo "$output"
        [ "$status" -eq 0 ]
    done
}

@test "a file system goes through threads, stop and start, while its zeroes are turned" {
    start_vblkd
    add_disk vda 64M --detect-zeroes unmap --cache writethrough
    need_holes vda
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'mkfs.ext4 -q -E nodiscard /dev/vda && mount -t ext4 -o nodiscard /dev/vda /mnt'
    guest_bg a files 'for i in 1 2 3 4 5 6; do
        (head -c 1000000 /dev/urandom; head -c 3000000 /dev/zero; head -c 1000 /dev/urandom) >/mnt/$i
        sha256sum /mnt/$i >>/tmp/sums; sync; done'
    for threads in 2 1 3; do
        vblkctl set vda threads=$threads
        vblkctl stop vda
        vblkctl start vda
    done
    guest_bg_wait a files
    guest_run a 'echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /tmp/sums'
    guest_run a 'umount /mnt && e2fsck -f -n /dev/vda'
    [ "$(stat_of vda turned)" -gt 0 ]
    [ "$(stat_of vda requests.write.errors invalid)" = "0 0" ]
    guest_dmesg_clean a
}
