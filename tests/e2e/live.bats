#!/usr/bin/env bats
#
# Operations on a disk and on the daemon while a guest is busy with it.

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

# load_start GUEST DISK: a verifying load, known to have reached the daemon.
load_start() {
    guest_bg "$1" "$2" "exec blkverify load --size 8M --depth 16 --flush-every 50 /dev/$2"
    wait_until 30 stat_reaches "$2" requests.write.requests 500
}

# load_continues DISK: the guest completes more writes from now on.
load_continues() {
    local before

    before=$(stat_of "$1" requests.write.requests)
    wait_until 30 stat_reaches "$1" requests.write.requests $((before + 50))
}

# load_ends_clean GUEST DISK: no error seen by the load, and all data there.
load_ends_clean() {
    guest_bg_signal "$1" "$2" TERM
    guest_bg_wait "$1" "$2"
    guest_run "$1" "blkverify verify --size 8M --generation 0 /dev/$2"
    guest_dmesg_clean "$1"
}

is_idle() {
    [ "$(stat_of "$1" inflight)" -eq 0 ]
}

# How often a guest's driver, be it firmware's or the kernel's, has started the disk's ring.
ring_starts() {
    grep -c "$1: ring 0: starts" "$E2E_DIR/vblkd.log"
}

ring_starts_reach() {
    [ "$(ring_starts "$1")" -ge "$2" ]
}

@test "twenty times stop and start under load lose nothing" {
    local i stopped

    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    for i in {1..20}; do
        vblkctl stop vda
        [ "$(stat_of vda inflight)" -eq 0 ]
        stopped=$(stat_of vda requests.write.requests)
        guest_run a true
        [ "$(stat_of vda requests.write.requests)" -eq "$stopped" ]
        vblkctl start vda
        load_continues vda
    done
    load_ends_clean a vda
    guest_stop a
}

@test "stop of one disk leaves the other one running" {
    start_vblkd
    add_disk vda 32M
    add_disk vdb 32M
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)"
    load_start a vda
    load_start a vdb
    vblkctl stop vda
    load_continues vdb
    vblkctl start vda
    load_continues vda
    load_ends_clean a vda
    load_ends_clean a vdb
}

@test "remove --force under load leaves daemon and other disk alive" {
    start_vblkd
    add_disk vda 32M
    add_disk vdb 32M
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)"
    load_start a vda
    load_start a vdb
    vblkctl remove vda --force
    vblkctl ping
    run vblkctl show vda
    [ "$status" -eq 1 ]
    load_continues vdb
    guest_bg_signal a vdb TERM
    guest_bg_wait a vdb
    guest_run a 'blkverify verify --size 8M --generation 0 /dev/vdb'
    # Requests to vda never end, and with them an orderly end of the guest.
    guest_kill a
}

@test "a disk which was removed by force and added again serves its guest" {
    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    vblkctl remove vda --force
    vblkctl add vda "$E2E_DIR/vda.img"
    load_continues vda
    load_ends_clean a vda
}

@test "a guest which reboots while its disk is stopped comes up after start" {
    local starts

    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    guest_run a 'blkverify write --size 4M --generation 3 /dev/vda'
    vblkctl stop vda
    starts=$(ring_starts vda)
    guest_reboot a &
    # Firmware wants the first sector and waits for it.
    wait_until 30 ring_starts_reach vda $((starts + 1))
    vblkctl start vda
    wait $!
    guest_run a 'blkverify verify --size 4M --generation 3 /dev/vda'
    guest_dmesg_clean a
}

@test "a guest attached to a stopped disk comes up after start" {
    start_vblkd
    add_disk vda 32M
    vblkctl stop vda
    guest_start a --disk "$(socket_of vda)" --no-wait
    wait_until 30 ring_starts_reach vda 1
    vblkctl start vda
    guest_wait a
    guest_run a 'blkverify write --size 4M /dev/vda && blkverify verify --size 4M /dev/vda'
    guest_dmesg_clean a
}

@test "SIGTERM under a busy guest ends the daemon with status 0" {
    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    stop_vblkd
    [ ! -e "$(socket_of vda)" ]
    [ ! -e "$E2E_DIR/control" ]
    guest_kill a
}

@test "a busy guest goes on after the daemon was restarted in order" {
    local i

    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    for i in 1 2 3; do
        stop_vblkd
        # The disk comes back from the state directory.
        start_vblkd
        load_continues vda
    done
    load_ends_clean a vda
    guest_stop a
}

@test "a busy guest goes on after a daemon without state got its disk again" {
    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    stop_vblkd
    rm -r "$E2E_DIR/state"
    mkdir "$E2E_DIR/state"
    start_vblkd
    vblkctl add vda "$E2E_DIR/vda.img"
    load_continues vda
    load_ends_clean a vda
    guest_stop a
}

@test "a disk which was stopped stays stopped over a restart of the daemon" {
    local before

    start_vblkd
    add_disk vda 32M
    guest_start a --disk "$(socket_of vda)"
    load_start a vda
    vblkctl stop vda
    stop_vblkd
    start_vblkd
    before=$(stat_of vda requests.write.requests)
    guest_run a true
    [ "$(stat_of vda requests.write.requests)" -eq "$before" ]
    vblkctl start vda
    load_continues vda
    load_ends_clean a vda
}

@test "a guest killed under load leaves the disk usable and can be followed by another" {
    local i

    start_vblkd
    add_disk vda 32M
    for i in 1 2 3; do
        guest_start "g$i" --disk "$(socket_of vda)"
        guest_bg "g$i" load 'exec blkverify load --size 8M --depth 16 /dev/vda'
        load_continues vda
        guest_kill "g$i"
        wait_until 10 is_idle vda
    done
}
