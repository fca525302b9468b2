#!/usr/bin/env bats
#
# The switch between writeback and writethrough (CONFIG_WCE): who may, what comes of it, and that
# what a guest was told of stays so whatever is done to disk and daemon.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

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

# hold DISK [MANNER]: a front-end that sends one write and stays.
hold() {
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    process_start "hold-$1" "$top_builddir/tests/frontend-hold" "$(socket_of "$1")" 1 "${@:2}"
    is_served() { process_ended "hold-$1" || grep -q "status 0" "$E2E_DIR/hold-$1.log"; }
    wait_until 20 is_served "$1"
    process_runs "hold-$1"
}

# cache_is DISK CACHE BY
cache_is() {
    [ "$(field "$1" write_cache write_cache_by)" = "$2 $3" ]
}

# has_switch DISK: its front-end has accepted CONFIG_WCE.
has_switch() {
    [ $(($(field "$1" features) >> 11 & 1)) -eq 1 ]
}

is_connected() {
    [ "$(field "$1" queues_running)" -gt 0 ]
}

@test "every front-end case of the switch holds, on several threads and through the page cache" {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    add_disk vda 16M --threads 2
    add_disk vdb 16M --cache writeback
    add_disk vdc 16M --cache writethrough
    add_disk vdd 16M --config-wce off
    for disk in vda vdb vdc vdd; do
        run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of "$disk")" switch
        echo "$output"
        [ "$status" -eq 0 ]
        [[ "$output" == *"1..5" ]]
    done
    cache_is vda writeback default
    cache_is vdc writethrough cache
    vblkd_logged "SET_CONFIG refused: writeback is 0 or 1, and not 2"
    vblkd_logged "SET_CONFIG refused: flags 0x1 are not"
}

@test "show tells what is served, who has switched it, and who may" {
    start_vblkd
    add_disk vda 4M
    add_disk vdb 4M --cache directsync
    add_disk vdc 4M --config-wce off
    add_disk vdd 4M --readonly
    vblkctl show vda | grep -q "write cache: *writeback, the guest may switch it$"
    vblkctl show vdb | grep -q "write cache: *writethrough, for --cache$"
    vblkctl show vdc | grep -q "write cache: *writeback$"
    run grep "write cache" <<<"$(vblkctl show vdd)"
    [ "$status" -eq 1 ]
    [ "$(field vdd write_cache write_cache_by)" = "None None" ]
    [ "$(field vdc config_wce)" = off ]
    hold vda writethrough
    has_switch vda
    cache_is vda writethrough guest
    vblkctl show vda | grep -q "write cache: *writethrough, switched by the guest$"
    hold vdc
    cache_is vdc writeback default
    vblkd_logged "vda: the guest has switched to writethrough"
}

@test "what a guest was told outlasts stop, start, threads, kill -9, a restart and a reconnect" {
    start_vblkd
    add_disk vda 16M --threads 2 --queues 2
    hold vda writethrough
    for _ in 1 2; do
        vblkctl stop vda
        cache_is vda writethrough guest
        vblkctl start vda
        vblkctl set vda threads=1
        vblkctl set vda threads=2
        cache_is vda writethrough guest
        kill_vblkd
        start_vblkd
        cache_is vda writethrough guest
        wait_until 20 is_connected vda
        has_switch vda
        cache_is vda writethrough guest
        stop_vblkd
        start_vblkd
        wait_until 20 is_connected vda
        cache_is vda writethrough guest
    done
    process_signal hold-vda KILL
    wait_until 20 process_ended hold-vda
    cache_is vda writethrough guest
    hold vda
    cache_is vda writethrough guest
    process_signal hold-vda KILL
    wait_until 20 process_ended hold-vda
    vblkctl remove vda
    vblkctl add vda "$E2E_DIR/vda.img"
    cache_is vda writeback default
}

@test "the switch is in the state file before it is answered, however soon the daemon is killed" {
    start_vblkd
    add_disk vda 4M
    for _ in 1 2 3; do
        hold vda writethrough
        kill_vblkd
        grep -q '"writethrough":true' "$E2E_DIR/state/disks.json"
        start_vblkd
        cache_is vda writethrough guest
        process_signal hold-vda KILL
        wait_until 20 process_ended hold-vda
        run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" outlasts
        cache_is vda writeback default
    done
}

# As after a migration: the daemon has not heard of the switch, and the rings go on where they were.
@test "a guest that goes on at a daemon that has not heard of it writes through" {
    start_vblkd
    add_disk vda 4M
    hold vda writethrough
    kill_vblkd
    sed -i 's/"writethrough":true/"writethrough":false/' "$E2E_DIR/state/disks.json"
    start_vblkd
    wait_until 20 is_connected vda
    cache_is vda writethrough unknown
    vblkctl show vda | grep -q "write cache: *writethrough until the guest flushes, as it may have switched$"
    vblkctl stop vda
    vblkctl start vda
    cache_is vda writethrough unknown
}

@test "a disk of an older state file is offered the switch, and its front-end goes on without" {
    start_vblkd
    add_disk vda 4M
    hold vda
    kill_vblkd
    process_signal hold-vda KILL
    wait_until 20 process_ended hold-vda
    sed -i 's/,"config_wce":"on"//; s/,"writethrough":false//' "$E2E_DIR/state/disks.json"
    run grep -c "config_wce\|writethrough" "$E2E_DIR/state/disks.json"
    [ "$output" -eq 0 ]
    start_vblkd
    [ "$(field vda config_wce)" = on ]
    hold vda
    run has_switch vda
    [ "$status" -eq 1 ]
    cache_is vda writeback default
    process_signal hold-vda KILL
    wait_until 20 process_ended hold-vda
    hold vda writethrough
    cache_is vda writethrough guest
}

@test "a switch that the state directory cannot take is refused, served, and taken later" {
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    start_vblkd
    add_disk vda 4M
    mkdir "$E2E_DIR/state/disks.json.new"
    process_start hold-vda "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 1 writethrough
    wait_until 20 process_ended hold-vda
    [ "$(process_status hold-vda)" -eq 1 ]
    cache_is vda writethrough guest
    vblkd_logged "vda: .*SET_CONFIG refused: "
    rmdir "$E2E_DIR/state/disks.json.new"
    hold vda writethrough
    grep -q '"writethrough":true' "$E2E_DIR/state/disks.json"
}

# --- guests

cache_type() {
    guest_run a "cat /sys/block/$1/cache_type"
}

@test "a guest switches its cache live; kill -9, a restart and a reboot find it so" {
    local flushes

    start_vblkd
    add_disk vda 16M
    add_disk vdb 16M --config-wce off
    add_disk vdc 16M --cache writethrough
    guest_start a --disk "$(socket_of vda)" --disk "$(socket_of vdb)" --disk "$(socket_of vdc)"
    [ "$(cache_type vda)" = "write back" ]
    has_switch vda
    guest_run a 'echo "write through" >/sys/block/vda/cache_type'
    [ "$(cache_type vda)" = "write through" ]
    cache_is vda writethrough guest
    for disk in vdb vdc; do
        run guest_run a "echo 'write through' >/sys/block/$disk/cache_type"
        [ "$status" -ne 0 ]
    done
    cache_is vdb writeback default
    flushes=$(stat_of vda requests.flush.requests)
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 oflag=direct conv=fsync 2>/dev/null'
    [ "$(stat_of vda requests.flush.requests)" -eq "$flushes" ]
    kill_vblkd
    start_vblkd
    wait_until 60 is_connected vda
    cache_is vda writethrough guest
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 oflag=direct conv=fsync 2>/dev/null'
    [ "$(stat_of vda requests.flush.requests)" -eq 0 ]
    [ "$(stat_of vda requests.write.requests)" -ge 16 ]
    guest_reboot a
    [ "$(cache_type vda)" = "write through" ]
    cache_is vda writethrough guest
    guest_run a 'echo "write back" >/sys/block/vda/cache_type'
    [ "$(cache_type vda)" = "write back" ]
    cache_is vda writeback default
    guest_run a 'dd if=/dev/urandom of=/dev/vda bs=64k count=16 oflag=direct conv=fsync 2>/dev/null'
    [ "$(stat_of vda requests.flush.requests)" -gt 0 ]
    guest_dmesg_clean a
}
