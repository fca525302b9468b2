#!/usr/bin/env bats
#
# A disk is limited, held on a full file system, grown and moved to another file while its guest
# writes and compares: the guest sees a disk that is slow at times, and no error.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

# It is gone when the daemon, which has a file there, is.
teardown() {
    ! grep -qF " ${E2E_DIR:-}/small " /proc/mounts || umount -l "$E2E_DIR/small"
    e2e_teardown
}

small_file_system() {
    mkdir "$E2E_DIR/small"
    mount -t tmpfs -o size=20m none "$E2E_DIR/small" || skip "may not mount"
}

is_paused_for_room() {
    [ "$(field vda iostatus paused_by)" = "nospace ['error']" ]
}

# The guest has gone on by so many writes.
goes_on() {
    local before

    before=$(stat_of vda requests.write.requests)
    wait_until 60 stat_reaches vda requests.write.requests $((before + $1))
}

guest_sees() {
    [ "$(guest_run a 'cat /sys/block/vda/size')" -eq $(($1 * 2048)) ]
}

# The pace of the guest's writes by the daemon's own clock, for two seconds: at most N a second.
is_no_faster_than() {
    local before after from to

    read -r before from < <(stat_of vda requests.write.requests time_ns)
    sleep 2
    read -r after to < <(stat_of vda requests.write.requests time_ns)
    # A burst of a tenth of a second is let go at once.
    [ $(((after - before) * 1000000000)) -le $(($1 * (to - from + 200000000))) ]
}

@test "a disk is limited, held without room, grown and moved under a guest that sees no error" {
    small_file_system
    start_vblkd
    vblkctl add vda "$E2E_DIR/small/vda.img" --create --size 64M --cache writeback --threads 2
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2"

    # Held: the file system has room for a third of it.
    guest_bg a load "exec blkverify load --size 48M --depth 16 --seconds 0 /dev/vda"
    wait_until 60 is_paused_for_room
    mount -o remount,size=200m "$E2E_DIR/small"
    vblkctl start vda
    goes_on 2000
    [ "$(field vda iostatus held)" = "ok 0" ]

    # Limited, and the same once more, which changes nothing.
    vblkctl set vda iops=400
    is_no_faster_than 400
    vblkctl set vda iops=400
    goes_on 100
    vblkctl set vda iops-write=300 iops=0
    kill_vblkd
    start_vblkd
    goes_on 100
    vblkctl set vda iops-write=0

    # Grown: by the daemon, and the guest uses what is new.
    vblkctl resize vda 96M
    wait_until 20 guest_sees 96
    guest_run a 'blkverify write --offset 67108864 --size 8M --generation 7 /dev/vda'

    # Moved to another file system; the old one is let go.
    vblkctl stop vda
    cp --sparse=always "$E2E_DIR/small/vda.img" "$E2E_DIR/moved.img"
    vblkctl replace vda "$E2E_DIR/moved.img"
    vblkctl start vda
    umount "$E2E_DIR/small"
    goes_on 1000
    guest_run a 'blkverify verify --offset 67108864 --size 8M --generation 7 /dev/vda'

    guest_bg_signal a load TERM
    guest_bg_wait a load 120
    guest_dmesg_clean a
    guest_stop a
}
