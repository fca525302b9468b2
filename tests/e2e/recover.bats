#!/usr/bin/env bats
#
# The daemon is killed under load, again and again: what was in flight is tried again by the next
# one, and the guest sees a slow disk and nothing else.

load ../lib/e2e

KILLS=6

setup_file() {
    e2e_setup_file
}

setup() {
    need_tools python3
    e2e_setup
    [ "$(id -u)" -eq 0 ] || skip "needs root, for FUSE"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
}

teardown() {
    local place

    for place in "${E2E_DIR:-}"/fs-*; do
        [ ! -d "$place" ] || umount -l "$place"
    done
    e2e_teardown
}

fs_decided() {
    process_ended "fs-$1" || grep -q ready "$E2E_DIR/fs-$1.log"
}

# add_scattered NAME [OPTION...]: on an image whose requests take up to 80 ms, each its own time.
add_scattered() {
    mkdir "$E2E_DIR/fs-$1"
    process_start "fs-$1" "$E2E_TESTS/e2e/scattered_fs.py" "$E2E_DIR/fs-$1" $((64 << 20)) 80
    wait_until 20 fs_decided "$1"
    process_runs "fs-$1" || skip "may not mount FUSE: $(cat "$E2E_DIR/fs-$1.log")"
    vblkctl add "$1" "$E2E_DIR/fs-$1/disk" "${@:2}"
}

is_served() {
    local disk

    for disk in "${disks[@]}"; do
        stat_reaches "$disk" requests.write.requests 20 || return
    done
}

now_ms() {
    date +%s%3N
}

# kill_again: at some moment, and until all disks go on.
kill_again() {
    local gone

    sleep "0.$((RANDOM % 90 + 10))"
    kill_vblkd
    gone=$(now_ms)
    start_vblkd
    echo "answers $(($(now_ms) - gone)) ms after the process had gone"
    wait_until 60 is_served
    echo "guests go on $(($(now_ms) - gone)) ms after it"
}

retries() {
    cat "$E2E_DIR"/vblkd.log{.before,} | grep -c "ring .: tries again"
}

rings_of() {
    field "$1" rings | grep -oE "'$2': [^,}]*" | sort -u
}

@test "a guest whose daemon is killed under load goes on, by split and packed rings and two threads" {
    disks=(vda vdb vdc vdd)
    start_vblkd
    add_disk vda 64M --threads 2 --cache writeback # by threads, which end in any order
    add_disk vdb 64M --threads 2 --iops-write 2000 # those that wait for it are in flight, too
    add_scattered vdc --threads 2
    add_scattered vdd --engine io_uring # which goes on when the process has gone
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2" \
        --disk "$(socket_of vdb),queues=2,packed=on" --disk "$(socket_of vdc),queues=2" \
        --disk "$(socket_of vdd),queues=2,packed=on"
    [ "$(rings_of vda format)" = "'format': 'split'" ]
    [ "$(rings_of vdb format)" = "'format': 'packed'" ]
    [ "$(rings_of vdb inflight_log)" = "'inflight_log': True" ]
    for disk in "${disks[@]}"; do
        guest_bg a "$disk" \
            "exec blkverify load --size 2M --depth 24 --flush-every 100 --seconds 0 /dev/$disk"
    done
    wait_until 60 is_served
    # On a busy host the daemon may have had nothing in flight each time.
    for ((i = 0; i < KILLS || ($(retries) == 0 && i < 5 * KILLS); i++)); do
        kill_again
    done
    for disk in "${disks[@]}"; do
        guest_bg_signal a "$disk" TERM
    done
    for disk in "${disks[@]}"; do
        guest_bg_wait a "$disk" 120
        [ "$(field "$disk" rings | grep -c broken)" -eq 0 ]
    done
    guest_dmesg_clean a
    [ "$(retries)" -gt 0 ]
    guest_stop a
}
