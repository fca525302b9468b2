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
    e2e_setup
}

teardown() {
    e2e_teardown
}

is_served() {
    stat_reaches vda requests.write.requests 50 && stat_reaches vdb requests.write.requests 50
}

# kill_again: at some moment, and until both disks go on.
kill_again() {
    sleep "0.$((RANDOM % 90 + 10))"
    kill_vblkd
    start_vblkd
    wait_until 60 is_served
}

retries() {
    cat "$E2E_DIR"/vblkd.log{.before,} | grep -c "ring .: tries again"
}

rings_of() {
    field "$1" rings | grep -oE "'$2': [^,}]*" | sort -u
}

@test "a guest whose daemon is killed under load goes on, by split and packed rings and two threads" {
    start_vblkd
    add_disk vda 64M --threads 2 --cache writeback # by threads, which end in any order
    add_disk vdb 64M --threads 2 --iops-write 2000 # those that wait for it are in flight, too
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2" \
        --disk "$(socket_of vdb),queues=2,packed=on"
    [ "$(rings_of vda format)" = "'format': 'split'" ]
    [ "$(rings_of vdb format)" = "'format': 'packed'" ]
    [ "$(rings_of vdb inflight_log)" = "'inflight_log': True" ]
    for disk in vda vdb; do
        guest_bg a "$disk" "exec blkverify load --size 32M --depth 24 --seconds 0 /dev/$disk"
    done
    wait_until 60 is_served
    # On a busy host the daemon may have had nothing in flight each time.
    for ((i = 0; i < KILLS || ($(retries) == 0 && i < 5 * KILLS); i++)); do
        kill_again
    done
    for disk in vda vdb; do
        guest_bg_signal a "$disk" TERM
        guest_bg_wait a "$disk" 120
    done
    guest_dmesg_clean a
    [ "$(retries)" -gt 0 ]
    [ "$(field vda rings | grep -c broken)" -eq 0 ]
    guest_stop a
}
