#!/usr/bin/env bats
# shellcheck disable=SC2119 # stop_vblkd without a status
#
# A log that nobody reads holds nobody up.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
VBLKVM=${VBLKVM:-$top_builddir/vblkvm}

setup() {
    need_tools python3
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    e2e_setup
    mkfifo "$E2E_DIR/unread"
    exec 9<>"$E2E_DIR/unread"
}

teardown() {
    exec 9>&-
    e2e_teardown
}

# Not a byte more fits into the pipe.
fill_pipe() {
    python3 -c '
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_NONBLOCK)
fcntl.fcntl(fd, 1031, 4096)  # F_SETPIPE_SZ
for size in 4096, 1:
    try:
        while True:
            os.write(fd, b"\n" * size)
    except BlockingIOError:
        pass' "$E2E_DIR/unread"
}

# A daemon whose standard error is that pipe.
start_unread_vblkd() {
    # shellcheck disable=SC2016 # $0 is the inner shell's
    printf '#!/bin/sh\nexec "$@" 2>%s 9>&-\n' "$E2E_DIR/unread" >"$E2E_DIR/unread.sh"
    VBLKD_WRAPPER="sh $E2E_DIR/unread.sh ${VBLKD_WRAPPER:-}" start_vblkd
}

bench() {
    without_bats timeout "$(deadline 20)" "$VBLKBENCH" --control "$E2E_DIR/control" --runtime 0.1 "$@"
}

vblkd_is_gone_for_control() {
    ! vblkctl ping >/dev/null 2>&1
}

# What has come since: a pattern that the log gets, for wait_until.
unread_has() {
    timeout 0.2 cat <&9 >>"$E2E_DIR/unread.log" || true
    grep -q -e "$1" "$E2E_DIR/unread.log"
}

@test "log: nobody reads it: disks, their front-ends and control go on" {
    start_unread_vblkd
    fill_pipe
    add_disk vda 16M --cache writeback
    add_disk vdb 16M --cache writeback
    truncate -s 0 "$E2E_DIR/vda.img"
    run bench vda --rw read
    [ "$status" -eq 1 ] # the requests failed, and each of them was answered
    [[ $output == *"IOERR"* || $output == *"I/O error"* ]]
    bench vdb --rw read
    vblkctl show vda
    vblkctl stop vda
    vblkctl list
    vblkctl remove vda
}

@test "log: nobody reads it: the daemon ends in order" {
    fill_pipe
    start_unread_vblkd
    add_disk vda 16M --cache writeback
    stop_vblkd
}

@test "log: nobody reads it: the last resort ends at once as well" {
    fill_pipe
    start_unread_vblkd
    vblkctl add vda null:1G,delay-ms=3600000
    process_start load "$VBLKBENCH" --control "$E2E_DIR/control" --runtime 60 vda
    wait_until 10 stat_reaches vda inflight 1
    process_signal vblkd TERM
    wait_until 5 vblkd_is_gone_for_control
    process_signal vblkd TERM
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 1 ]
}

@test "log: nobody reads it: a start that fails ends as well" {
    start_vblkd
    fill_pipe
    run without_bats timeout -k 5 "$(deadline 20)" sh -c "exec '$VBLKD' --control '$E2E_DIR/control' \
        --socket-dir '$E2E_DIR' --state-dir '$E2E_DIR/state' 2>'$E2E_DIR/unread'"
    [ "$status" -eq 1 ]
}

@test "log: what was logged while nobody read comes when somebody does" {
    fill_pipe
    start_unread_vblkd
    add_disk vda 16M --cache writeback
    vblkctl stop vda
    wait_until 10 unread_has "vda.*stopped"
    stop_vblkd
    wait_until 10 unread_has "all disks drained, ended"
    grep -n "at most .* open files" "$E2E_DIR/unread.log"
    run grep "lost" "$E2E_DIR/unread.log"
    [ "$status" -eq 1 ]
}

@test "log: nobody reads it: a vblkvm that fails ends as well" {
    [ -x "$VBLKVM" ] || skip "no vblkvm at $VBLKVM"
    fill_pipe
    run without_bats timeout -k 5 "$(deadline 20)" sh -c \
        "exec '$VBLKVM' --kernel '$E2E_DIR/none' 2>'$E2E_DIR/unread'"
    [ "$status" -eq 1 ]
}

# closed CLOSE COMMAND...: with what CLOSE closes, such as "2>&-".
closed() {
    local close=$1

    shift
    without_bats timeout "$(deadline 20)" sh -c "exec \"\$@\" $close" sh "$@"
}

@test "log: without standard error, output and input a daemon serves, and writes to no socket" {
    local close

    for close in "2>&-" ">&- 2>&-" "<&- >&- 2>&-"; do
        printf '#!/bin/sh\nexec "$@" %s\n' "$close" >"$E2E_DIR/closed.sh"
        VBLKD_WRAPPER="sh $E2E_DIR/closed.sh ${VBLKD_WRAPPER:-}" start_vblkd
        add_disk vda 16M --cache writeback
        bench vda
        vblkctl stop vda
        [ "$(tr -d '\0' <"$E2E_DIR/vda.img" | wc -c)" -eq 0 ]
        vblkctl remove vda
        stop_vblkd
    done
}

@test "log: programs without standard files write to none that they open" {
    start_vblkd
    add_disk vda 16M
    run closed ">&-" "$VBLKCTL" --control "$E2E_DIR/control" stats vda --interval 0.1 --count 2
    [ "$status" -eq 1 ]
    [ "$output" = "vblkctl: cannot write the output" ]
    closed "<&- 2>&-" "$VBLKCTL" --control "$E2E_DIR/control" list
    closed "<&- 2>&-" "$VBLKBENCH" --control "$E2E_DIR/control" --runtime 0.1 vda
    run closed ">&-" "$VBLKBENCH" --control "$E2E_DIR/control" --runtime 0.1 vda
    [ "$status" -eq 1 ]
    run closed "<&- >&-" "$VBLKVM" --kernel "$E2E_DIR/none"
    [ "$status" -eq 1 ]
    vblkctl ping
}
