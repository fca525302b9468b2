#!/usr/bin/env bats
#
# Requests that failed and wait for a start of their disk, and all that may come to pass meanwhile.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# answered STATUS N: the front-end has got N of these.
answered() {
    [ "$(grep -c "^status $1" "$E2E_DIR/hold.log")" -eq "$2" ]
}

# hold_four [OPTION...]: vda, each fourth of whose requests fails and is held, and a front-end that has
# sent it 16 writes.
hold_four() {
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    start_vblkd
    vblkctl add vda null:1G,error=hold,error-every=4 "$@"
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 16
    wait_until 5 answered 0 12
    wait_until 5 stat_is vda held 4
    wait_until 5 stat_is vda inflight 0
}

none_held() {
    vblkctl start vda
    stat_is vda held 0 && stat_is vda inflight 0
}

# start_all: as often as it takes, as some fail again.
start_all() {
    wait_until 5 none_held
    wait_until 5 answered 0 16
    answered 1 0
}

# Of its three requests the first is held as well.
another_is_served() {
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 3
    wait_until 5 answered 0 2
    wait_until 5 none_held
    wait_until 5 answered 0 3
}

@test "held: requests that fail wait for a start, and are told of" {
    hold_four
    [ "$(stat_of vda requests.write.errors)" -eq 0 ]
    [ "$(field vda held)" -eq 4 ]
    [[ "$(field vda rings)" == *"'held': 4"* ]]
    [[ "$(field vda warnings)" == *"'requests_held'"* ]]
    run vblkctl show vda
    [[ "$output" =~ warning:\ +"4 requests failed, and the guest waits for them" ]]
    [[ "$output" =~ held:\ +4,\ until ]]
    run vblkctl stats vda
    [[ "$output" == *"vda: 0 in flight, at most "*", held 4"* ]]
    vblkd_logged 'vda: write of 4096 bytes at offset [0-9]* failed: Input/output error; the guest waits'
    [ "$(grep -c 'failed: Input/output error' "$E2E_DIR/vblkd.log")" -eq 1 ]
    run vblkctl start vda
    [ "$status" -eq 0 ]
    [ "$output" = "vda: running" ]
    wait_until 5 answered 0 15
    wait_until 5 stat_is vda held 1
    start_all
    run vblkctl start vda
    [ "$output" = "vda: running, as it was before" ]
    [ "$(field vda warnings)" = "[]" ]
}

@test "held: a stop does not wait for them, and a start goes on with them" {
    hold_four
    run vblkctl stop vda --timeout 5
    [ "$status" -eq 0 ]
    [ "$(field vda state held)" = "stopped 4" ]
    start_all
}

@test "held: a change of threads does not wait for them" {
    hold_four
    vblkctl set vda threads=2
    vblkctl set vda threads=1
    vblkctl set vda threads=3
    [ "$(field vda threads held)" = "3 4" ]
    start_all
}

@test "held: several threads hold and try again" {
    hold_four --threads 2
    start_all
}

@test "held: a front-end that leaves is answered with errors, and the next is served" {
    hold_four
    process_signal hold KILL
    wait_until 5 vblkd_logged 'vda: ring 0: stops with 4 requests held, the guest gets I/O errors'
    wait_until 5 stat_is vda held 0
    [ "$(stat_of vda requests.write.errors)" -eq 4 ]
    another_is_served
}

@test "held: they are answered with errors when their disk is removed" {
    hold_four
    run vblkctl remove vda --force --timeout 5
    [ "$status" -eq 0 ]
    vblkd_logged 'vda: ring 0: stops with 4 requests held, the guest gets I/O errors'
    wait_until 5 answered 1 4
}

@test "held: they are answered with errors when the daemon ends, which they do not hold up" {
    hold_four
    stop_vblkd
    vblkd_logged 'vda: ring 0: stops with 4 requests held, the guest gets I/O errors'
    wait_until 5 answered 1 4
}

@test "held: a daemon that is killed comes back with its disk, and without them" {
    hold_four
    kill_vblkd
    start_vblkd
    [ "$(field vda state held image.error image.error_every)" = "running 0 hold 4" ]
    process_signal hold KILL
    another_is_served
}

@test "held: a guest under load sees no error, however often requests are held" {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    start_vblkd
    vblkctl add vda null:1G,error=hold,error-every=100 --threads 2
    process_start bench "$VBLKBENCH" "$(socket_of vda)" --rw randrw --allow-write \
        --iodepth 32 --queues 2 --runtime 2
    while ! process_ended bench; do
        vblkctl start vda
        vblkctl set vda threads=$((RANDOM % 2 + 1))
    done
    [ "$(process_status bench)" -eq 0 ]
    [ "$(stat_of vda requests.read.errors requests.write.errors held inflight)" = "0 0 0 0" ]
}

@test "null images: errors by rule are answered" {
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    start_vblkd
    vblkctl add vda null:1G,error=EIO,error-every=4
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 16
    wait_until 5 answered 0 12
    wait_until 5 answered 1 4
    [ "$(stat_of vda requests.write.errors held)" = "4 0" ]
    vblkd_logged 'failed: Input/output error; the guest gets an I/O error'
    run vblkctl start vda
    [[ "$output" == *"as it was before" ]]
    answered 1 4
}

# moves FEATURES [OPTION...]: a front-end has eight writes at vda, an image of which it does one a second or
# with these options, and goes on with them at vdb, which has another image.
moves() {
    local features=$1

    shift
    truncate -s 1M "$E2E_DIR/a.img" "$E2E_DIR/b.img"
    start_vblkd
    vblkctl add vda "$E2E_DIR/a.img" "$@"
    vblkctl add vdb "$E2E_DIR/b.img"
    process_start move "$BATS_TEST_DIRNAME/suspend.py" "$(socket_of vda)" "$(socket_of vdb)" "$features"
    wait_until 20 says ready
}

says() {
    grep -q "^$1" "$E2E_DIR/move.log"
}

# go_on WORD: by a signal, until that is said.
go_on() {
    process_signal move USR1
    wait_until 30 says "$1"
}

# numbers_of WORD: the writes that were answered then, each well.
numbers_of() {
    sed -n "s/^$1//p" "$E2E_DIR/move.log" | tr ' ' '\n' | sed -n 's/:0$//p' | sort -n | tr '\n' ' '
}

# has_written IMAGE NUMBER...: these, and none of the others.
has_written() {
    local image=$1 i byte

    shift
    for i in {0..7}; do
        byte=$(od -An -tu1 -N1 -j $((i * 4096)) "$image")
        case " $* " in
            *" $i "*) [ "$byte" -eq $((i + 1)) ] ;;
            *) [ "$byte" -eq 0 ] ;;
        esac || return
    done
}

# each_once: what the one answered and what the other did are all.
each_once() {
    # shellcheck disable=SC2046 # numbers are words
    has_written "$E2E_DIR/a.img" $(numbers_of before)
    # shellcheck disable=SC2046
    has_written "$E2E_DIR/b.img" $(numbers_of after)
    [ "$({ numbers_of before; numbers_of after; } | tr ' ' '\n' | sort -n | tr '\n' ' ')" = "0 1 2 3 4 5 6 7 " ]
}

some_wait() {
    [ "$(stat_of vda throttled_requests)" -ge "$1" ]
}

@test "held: what waits for a limit goes with its guest, to be done by the next disk alone" {
    local features

    for features in message first; do
        rm -f "$E2E_DIR"/?.img
        moves "$features" --iops-write 1
        wait_until 5 some_wait 6
        go_on before
        [ -n "$(numbers_of before)" ]
        [[ "$(numbers_of before)" != *"7"* ]]
        go_on after
        each_once
        stop_vblkd
        rm -rf "$E2E_DIR/state"
    done
}

@test "held: with nothing agreed what waits for a limit is done where it is" {
    moves none --iops-write 1
    wait_until 5 some_wait 6
    go_on before
    [ "$(numbers_of before)" = "0 1 2 3 4 5 6 7 " ]
}
