#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0-or-later
#
# All disks go to another process while their guests run: `vblkctl upgrade`.
#
# VBLKD_NEXT         the vblkd to which they go, default the one beside vblkctl: scripts/check upgrade

load ../lib/e2e

BENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    e2e_setup
    need_tools python3
    [ -x "$BENCH" ] || skip "no vblkbench at $BENCH"
}

# Those that were started by `upgrade` nobody has supervised.
teardown() {
    local pid

    if [ -e "${E2E_DIR:-}/heirs" ]; then
        while read -r pid; do
            kill -KILL "$pid" 2>/dev/null || true
        done <"$E2E_DIR/heirs"
    fi
    e2e_teardown
}

pid_of_vblkd() {
    vblkctl --json ping | json_members pid
}

# The process that has the disks then is ended by teardown, whatever fails.
upgrade() {
    local json

    json=$(vblkctl --json upgrade ${VBLKD_NEXT:+--binary "$VBLKD_NEXT"}) || return
    json_members to <<<"$json" >>"$E2E_DIR/heirs"
    echo "$json"
}

# end_heir: the one that runs, in order.
end_heir() {
    vblkctl shutdown
}

load_disk() {
    local name=$1

    shift
    process_start "load-$name" "$BENCH" --control "$E2E_DIR/control" "$name" --rw randrw --verify \
        --allow-write --iodepth 16 --runtime 900 "$@"
}

# load_is_right NAME: it goes on, until here.
load_is_right() {
    process_runs "load-$1"
    process_signal "load-$1" TERM
    wait_until 40 process_ended "load-$1"
    cat "$E2E_DIR/load-$1.log"
    [ "$(process_status "load-$1")" -eq 0 ]
    grep -q ' 0 wrong' "$E2E_DIR/load-$1.log"
}

moves() {
    stat_reaches "$1" requests.read.requests "$2"
}

# fake MODE: a --binary that is none.
fake() {
    printf '#!/bin/sh\nexec %s %s/e2e/upgrade_peer.py %s "$@"\n' "$(command -v python3)" "$E2E_TESTS" "$1" \
        >"$E2E_DIR/$1"
    chmod +x "$E2E_DIR/$1"
    echo "$E2E_DIR/$1"
}

@test "disks go on in another process, and in the next, and no request is lost" {
    local before after requests

    start_vblkd
    add_disk vda 32M --threads 2
    add_disk vdb 32M
    vblkctl add vdc null:16M
    add_disk vdd 16M
    vblkctl stop vdd
    vblkctl set vdb iops=100000
    load_disk vda --queues 2
    load_disk vdb --packed
    process_start load-vdc "$BENCH" --control "$E2E_DIR/control" vdc --runtime 900
    wait_until 20 moves vda 100
    wait_until 20 moves vdb 100
    wait_until 20 moves vdc 100
    before=$(pid_of_vblkd)
    for _ in 1 2 3; do
        requests=$(stat_of vda requests.read.requests)
        upgrade
        after=$(pid_of_vblkd)
        [ "$after" -ne "$before" ]
        before=$after
        wait_until 20 moves vda $((requests + 100)) # counters go on as well
        wait_until 20 moves vdb 100
    done
    [ "$(process_status vblkd)" -eq 0 ]
    load_is_right vda
    load_is_right vdb
    process_runs load-vdc
    process_signal load-vdc TERM
    [ "$(field vdd state)" = stopped ]
    [ "$(field vda threads)" -eq 2 ]
    vblkctl start vdd
    # Locks came along: of the image, of the control socket, of the state directory.
    run vblkctl add vde "$E2E_DIR/vda.img"
    [ "$status" -ne 0 ]
    [[ $output == *"in use"* ]]
    run "$VBLKD" --control "$E2E_DIR/control" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    [ "$status" -eq 1 ]
    run "$VBLKD" --control "$E2E_DIR/other" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    [ "$status" -eq 1 ]
    [[ $output == *"in use by another vblkd, process $after"* ]]
    end_heir
    vblkd_logged "disks went from process"
    [ ! -e "$(socket_of vda)" ]
}

@test "a process that comes to nothing leaves the disks where they are" {
    local mode before=

    start_vblkd
    add_disk vda 16M
    load_disk vda
    wait_until 20 moves vda 100
    before=$(pid_of_vblkd)
    for mode in old dies chatter leaves; do
        run vblkctl upgrade --binary "$(fake $mode)"
        echo "$mode: $output"
        [ "$status" -eq 1 ]
        [[ $output == *"not upgraded: the vblkd that runs goes on with its disks"* ]]
        wait_until 20 vblkctl ping
        [ "$(pid_of_vblkd)" -eq "$before" ]
        wait_until 20 moves vda $(($(stat_of vda requests.read.requests) + 100))
    done
    vblkd_logged "go on here: it has ended before it was ready"
    vblkd_logged "go on here: it has ended before it went on with them"
    vblkd_logged "go on here: it says something else than that it is ready"
    run vblkctl upgrade --binary "$(command -v false)"
    [ "$status" -eq 1 ]
    run vblkctl upgrade --binary "$E2E_DIR/none"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot run $E2E_DIR/none"* ]]
    load_is_right vda
    upgrade
    end_heir
}

@test "counters that outlasted a restart, what is in no state file, and who is allowed go along once" {
    local requests

    start_vblkd
    vblkctl add vda null:16M
    "$BENCH" --control "$E2E_DIR/control" vda --runtime 1
    stop_vblkd
    chmod 711 "$E2E_DIR"
    cp "$VBLKCTL" "$E2E_DIR/vblkctl"
    start_vblkd --allow-user 54322:read
    vblkctl add vdb null:16M --no-persist
    requests=$(stat_of vda requests.read.requests)
    [ "$requests" -gt 0 ]
    for _ in 1 2; do
        upgrade
        [ "$(stat_of vda requests.read.requests)" -eq "$requests" ]
    done
    [ "$(field vdb no_persist)" = True ]
    if [ "$(id -u)" -eq 0 ] && [ "$(command -v setpriv)" ]; then
        run setpriv --reuid 54322 --regid 54322 --clear-groups "$E2E_DIR/vblkctl" --control "$E2E_DIR/control" stop vda
        [[ $output == *"this user may only read"* ]]
    fi
    run grep vdb "$E2E_DIR/state/"*
    [ "$status" -eq 1 ]
    end_heir
}

# stranger ARGUMENT...: by a user for whom there are no places that nobody named.
stranger() {
    setpriv --reuid 54322 --regid 54322 --clear-groups env -u XDG_RUNTIME_DIR -u XDG_STATE_HOME -u HOME "$@"
}

@test "another user's disks go along as well, without places that nobody named" {
    local home=$E2E_DIR/home pid

    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
    chmod 711 "$E2E_DIR"
    mkdir "$home"
    cp "$VBLKCTL" "$VBLKD" "$home"
    chown 54322 "$home"
    process_start vblkd stranger "$home/vblkd" --control "$home/control" --socket-dir "$home" --state-dir "$home/state"
    wait_until 20 stranger "$home/vblkctl" --control "$home/control" ping
    stranger "$home/vblkctl" --control "$home/control" add vda null:16M
    run stranger "$home/vblkctl" --control "$home/control" --json upgrade
    echo "$output"
    [ "$status" -eq 0 ]
    pid=$(json_members to <<<"$output")
    echo "$pid" >>"$E2E_DIR/heirs"
    stranger "$home/vblkctl" --control "$home/control" show vda | grep -q "$home/vda.sock"
    stranger "$home/vblkctl" --control "$home/control" shutdown
}

@test "who takes disks over is told nothing else" {
    run "$VBLKD" --take-over "$E2E_DIR/control" --state-dir "$E2E_DIR"
    [ "$status" -eq 2 ]
    [[ $output == *"--take-over: all other options are as they were"* ]]
}

# asked NUMBER: so many processes have asked for the disks so far.
asked() {
    [ "$(grep -c "asks for all disks" "$E2E_DIR/vblkd.log")" -ge "$1" ]
}

@test "a process that is killed, or kills the one before, while it has been handed all leaves one of them" {
    local mode count=0

    start_vblkd
    add_disk vda 16M
    load_disk vda
    wait_until 20 moves vda 100
    for mode in mute silent; do
        process_start next "$(fake $mode)" --take-over "$E2E_DIR/control"
        count=$((count + 1))
        wait_until 20 asked "$count"
        process_signal next KILL
        wait_until 20 process_ended next
        wait_until 20 moves vda $(($(stat_of vda requests.read.requests) + 100))
    done
    [ "$(grep -c "go on here: it has ended before it was ready" "$E2E_DIR/vblkd.log")" -eq 2 ]
    load_is_right vda
    process_start next "$(fake silent)" --take-over "$E2E_DIR/control"
    wait_until 20 asked 3
    kill_vblkd
    wait_until 20 process_ended next
    start_vblkd
    [ "$(field vda state)" = running ]
    stop_vblkd
}

@test "a process that is told to end before the disks are its own takes nothing with it" {
    start_vblkd
    for i in 1 2 3 4 5 6 7 8; do
        vblkctl add "vd$i" null:16M >"$E2E_DIR/out"
    done
    export UPGRADE_NEXT=${VBLKD_NEXT:-$VBLKD}
    run vblkctl upgrade --binary "$(fake told)"
    echo "$output"
    if [ "$status" -eq 0 ]; then # it came too late
        wait_until 20 process_ended vblkd
        return
    fi
    [[ $output == *"it was told to end"* ]]
    vblkd_logged "go on here: it has ended before it was ready"
    wait_until 20 vblkctl ping
    [ "$(field vd8 state)" = running ]
    stop_vblkd
}

@test "a disk that does not come to rest is named, and all go on" {
    start_vblkd
    vblkctl add slow null:16M,delay-ms=8000
    add_disk vda 16M
    load_disk vda
    process_start load-slow "$BENCH" --control "$E2E_DIR/control" slow --iodepth 1 --runtime 1
    wait_until 20 stat_reaches slow inflight 1
    run vblkctl upgrade
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"slow: still draining: 1 in flight, the oldest a read of 4096 bytes"* ]]
    [ "$(pid_of_vblkd)" -eq "$(cat "$E2E_DIR/vblkd.pid")" ]
    wait_until 20 moves vda $(($(stat_of vda requests.read.requests) + 100))
    load_is_right vda
    kill_vblkd # nobody waits for the slow one
}

@test "a guest and its monitor notice nothing" {
    e2e_setup_file
    [ -z "${E2E_SKIP:-}" ] || skip "$E2E_SKIP"
    start_vblkd
    add_disk vda 64M
    guest_start vm --disk "$(socket_of vda),queues=2" --smp 2
    guest_run vm 'blkverify write --size 8M --generation 0 /dev/vda'
    guest_bg vm load 'exec blkverify load --size 8M --seconds 900 /dev/vda'
    for _ in 1 2 3; do
        upgrade
        wait_until 20 moves vda $(($(stat_of vda requests.read.requests) + 20))
    done
    guest_bg_signal vm load TERM
    guest_bg_wait vm load
    guest_dmesg_clean vm
    guest_stop vm
    end_heir
}
