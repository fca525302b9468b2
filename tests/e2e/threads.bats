#!/usr/bin/env bats
#
# Disks that are served by several threads, and whose number of threads changes under load.

load ../lib/e2e

CLIENT_LOAD=${CLIENT_LOAD:-$top_builddir/tests/client-load}
FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}

setup() {
    if [ "${BATS_TEST_DESCRIPTION#*guest}" != "$BATS_TEST_DESCRIPTION" ]; then
        e2e_setup_file
    fi
    e2e_setup
}

teardown() {
    [ -z "${holder:-}" ] || exec {holder}>&-
    e2e_teardown
}

# load_start DISK: four queues, each request checked, until load_counts.
load_start() {
    [ -x "$CLIENT_LOAD" ] || skip "no client-load at $CLIENT_LOAD"
    process_start "load-$1" "$CLIENT_LOAD" "$(socket_of "$1")" 4 300 0
    wait_until 10 stat_reaches "$1" requests.write.requests 50
}

# load_counts DISK: it went well, and each of its requests was counted once.
load_counts() {
    local answered

    process_signal "load-$1" TERM
    wait_until 20 process_ended "load-$1"
    cat "$E2E_DIR/load-$1.log"
    answered=$(sed -n 's/^CLIENT OK requests=\([0-9]*\) .*/\1/p' "$E2E_DIR/load-$1.log")
    [ -n "$answered" ]
    [ "$(vblkctl --json stats "$1" | python3 -c '
import json, sys
requests = json.load(sys.stdin)["requests"]
print(requests["read"]["requests"] + requests["write"]["requests"])')" -eq "$answered" ]
    [ "$(stat_of "$1" requests.write.errors requests.read.errors invalid inflight)" = "0 0 0 0" ]
}

# continues DISK: more is answered from now on.
continues() {
    wait_until 20 stat_reaches "$1" requests.write.requests \
        $(($(stat_of "$1" requests.write.requests) + 20))
}

# thread_names: of vblkd, in a line.
thread_names() {
    sort "/proc/$(cat "$E2E_DIR/vblkd.pid")"/task/*/comm | xargs
}

@test "a disk has as many threads as it was given, and they serve its queues" {
    start_vblkd
    add_disk vda 16M --threads 3
    [[ "$(thread_names)" == *"vda vda/1 vda/2"* ]]
    load_start vda
    [ "$(field vda threads)" = 3 ]
    run vblkctl show vda
    [[ "$output" =~ threads:\ +3:\ [0-9]+\ [0-9]+\ [0-9]+ ]]
    [ "$(vblkctl --json show vda | python3 -c '
import json, sys
disk = json.load(sys.stdin)
assert disk["thread_ids"][0] == disk["thread"] and len(set(disk["thread_ids"])) == 3
image = disk["image"]
assert [each["engine"] for each in image["engines"]] == 3 * [image["engine"]]
print(*[(ring["index"], ring["thread"]) for ring in disk["rings"]])')" = \
        "(0, 0) (1, 1) (2, 2) (3, 0)" ]
    load_counts vda
    vblkctl remove vda
    [[ "$(thread_names)" != *vda* ]]
}

@test "twenty changes of threads under load lose nothing and count all" {
    start_vblkd
    add_disk vda 16M
    load_start vda
    for i in {1..20}; do
        vblkctl set vda threads=$((i % 4 + 1))
        [ "$(field vda threads)" = $((i % 4 + 1)) ]
        continues vda
    done
    load_counts vda
    [[ "$(thread_names)" != *vda/1* ]]
}

# map_of DISK: which thread serves each of its queues.
map_of() {
    vblkctl --json show "$1" | python3 -c '
import json, sys
print(*[ring["thread"] for ring in json.load(sys.stdin)["rings"]], sep=",")'
}

@test "queues are served by the threads that a list names, and move under load" {
    start_vblkd
    add_disk vda 16M --threads 2 --queue-threads 0,0,1,1
    load_start vda
    [ "$(map_of vda)" = 0,0,1,1 ]
    for move in "queue-threads=1,0" "threads=3 queue-threads=2,1,1,0" "queue-threads=0,1,2,2" \
        "threads=4 queue-threads=auto" "threads=1 queue-threads=0" "threads=2 queue-threads=0,0,1,1"; do
        # shellcheck disable=SC2086 # words
        vblkctl set vda $move
        continues vda
        case $move in
            *=1,0) [ "$(map_of vda)" = 1,0,1,0 ] ;;
            *=auto) [ "$(map_of vda)" = 0,1,2,3 ] ;;
            *=0) [ "$(map_of vda)" = 0,0,0,0 ] ;;
            *) [ "$(map_of vda)" = "${move##*=}" ] ;;
        esac
    done
    run vblkctl set vda threads=3
    [ "$status" -eq 1 ]
    [[ "$output" == *"queue-threads: thread 2 of 3 would serve no queue; "* ]]
    run vblkctl set vda queue-threads=0,2
    [ "$status" -eq 1 ]
    [[ "$output" == *"queue 1 is to be served by thread 2, and there are 2, counted from 0; "* ]]
    vblkctl stop vda
    vblkctl set vda queue-threads=1,1,0,0
    vblkctl start vda
    continues vda
    [ "$(map_of vda)" = 1,1,0,0 ]
    load_counts vda
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    load_start vda
    [ "$(field vda queue_threads)" = 1,1,0,0 ]
    [ "$(map_of vda)" = 1,1,0,0 ]
    run vblkctl add vdb null:1G --queues 2 --queue-threads 0,0,0
    [[ "$output" == *"--queue-threads: \"0,0,0\" has more numbers than the 2 queues of the disk"* ]]
}

@test "stop, start and a removal by force with four threads under load" {
    start_vblkd
    add_disk vda 16M --threads 4
    load_start vda
    for i in {1..5}; do
        vblkctl stop vda
        [ "$(stat_of vda inflight)" -eq 0 ]
        [ "$i" -ne 3 ] || vblkctl set vda threads=2
        vblkctl start vda
        continues vda
        vblkctl set vda threads=4
    done
    load_counts vda
    load_start vda
    vblkctl remove vda --force
    process_signal load-vda KILL
    process_runs vblkd
    [[ "$(thread_names)" != *vda* ]]
}

@test "changes of threads at the same time as stop, start and stats are all answered" {
    start_vblkd
    add_disk vda 16M
    load_start vda
    for i in {1..10}; do
        process_start "set$i" "$VBLKCTL" --control "$E2E_DIR/control" set vda \
            threads=$((i % 4 + 1))
        vblkctl stop vda
        vblkctl stats vda >/dev/null
        vblkctl start vda
        wait_until 10 process_ended "set$i"
        [ "$(process_status "set$i")" -eq 0 ]
        continues vda
    done
    load_counts vda
}

@test "threads outlast stop, start and the daemon" {
    start_vblkd
    add_disk vda 16M
    vblkctl set vda threads=2
    vblkctl stop vda
    kill_vblkd
    start_vblkd
    [ "$(field vda state threads)" = "stopped 2" ]
    vblkctl start vda
    [[ "$(thread_names)" == *"vda vda/1"* ]]
    kill_vblkd
    start_vblkd
    [ "$(field vda state threads)" = "running 2" ]
    load_start vda
    load_counts vda
}

@test "more threads than queues are refused, with what is of use" {
    start_vblkd
    run vblkctl add vda null:1G --queues 2 --threads 3
    [ "$status" -eq 2 ]
    [[ "$output" == *"threads: 3 are more than the 2 queues"*"up to 2 are of use"* ]]
    vblkctl add vda null:1G --queues 2 --poll-us 100
    run vblkctl set vda threads=3 poll-us=7
    [ "$status" -eq 1 ]
    [[ "$output" == *"up to 2 are of use"* ]]
    [ "$(field vda threads poll_us)" = "1 100" ]
}

@test "threads do not change while a request hangs, and the disk goes on" {
    start_vblkd
    vblkctl add vda null:1G,delay-ms=10000
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 1
    wait_until 5 stat_reaches vda inflight 1
    run vblkctl set vda threads=2
    [ "$status" -eq 1 ]
    [[ "$output" == *"1 in flight, the oldest a write of 4096 bytes"*"goes on as before"* ]]
    [ "$(field vda threads paused_by)" = "1 []" ]
    wait_until 20 grep -q '^status 0' "$E2E_DIR/hold.log"
}

hang_decided() {
    grep -q held "$E2E_DIR/hang.log" || process_ended hang
}

@test "a further thread that hangs is the one that is named" {
    local tid

    start_vblkd
    add_disk vda 1M --threads 2
    tid=$(vblkctl --json show vda | python3 -c '
import json, sys
print(json.load(sys.stdin)["thread_ids"][1])')
    mkfifo "$E2E_DIR/hang.in"
    # shellcheck disable=SC2016 # for the other shell
    process_start hang sh -c 'exec python3 "$1" "$2" <"$3"' sh \
        "$BATS_TEST_DIRNAME/hang_thread.py" "$tid" "$E2E_DIR/hang.in"
    exec {holder}>"$E2E_DIR/hang.in"
    wait_until 5 hang_decided
    process_runs hang || skip "no ptrace here: $(cat "$E2E_DIR/hang.log")"
    run vblkctl show vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: the disk's thread does not answer; it waits in epoll_"*" (state t, stopped by somebody else in /proc/"*"/task/$tid)" ]]
    exec {holder}>&-
    holder=
    wait_until 5 vblkctl show vda
}

@test "what a thread cannot have leaves the disk as it was" {
    local limit

    start_vblkd
    add_disk vda 16M
    load_start vda
    limit=$(find "/proc/$(cat "$E2E_DIR/vblkd.pid")/fd" | wc -l)
    prlimit --pid "$(cat "$E2E_DIR/vblkd.pid")" --nofile="$((limit + 5)):"
    run vblkctl set vda threads=4
    [ "$status" -eq 1 ]
    [[ "$output" =~ "vda: no room for more threads: "[0-9]+" of "[0-9]+" files are open; raise" ]]
    [ "$(field vda threads)" = 1 ]
    prlimit --pid "$(cat "$E2E_DIR/vblkd.pid")" --nofile=1024:
    continues vda
    vblkctl set vda threads=4
    load_counts vda
}

@test "every front-end case holds on a disk with two threads" {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    add_disk vda 16M --threads 2
    run timeout "$(deadline 120)" "$FRONTEND_TESTS" --socket "$(socket_of vda)"
    grep -v '^ok ' <<<"$output"
    [ "$status" -eq 0 ]
    process_runs vblkd
}

# asks: for statistics and settings, again and again, which parks all threads each time.
asks() {
    while [ -e "$E2E_DIR/asks" ]; do
        vblkctl stats vda >/dev/null || return
        vblkctl set vda poll-us=1000 || return
    done
}

@test "memory goes and comes under load while somebody asks a disk with threads" {
    local image

    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    for image in null:16M "$(image vda 16M)"; do
        vblkctl add vda "$image" --cache writeback --threads 2 --queues 2 --poll-us 1000
        touch "$E2E_DIR/asks"
        process_start asks asks
        run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" memory_goes
        echo "$output"
        [ "$status" -eq 0 ]
        rm "$E2E_DIR/asks"
        wait_until 10 process_ended asks
        [ "$(process_status asks)" -eq 0 ]
        vblkctl remove vda --force
    done
    process_runs vblkd
}

@test "a guest with two queues works on while its threads change" {
    local before

    start_vblkd
    add_disk vda 32M --queues 2 --threads 2
    guest_start a --smp 2 --disk "$(socket_of vda),queues=2"
    guest_bg a vda "exec blkverify load --size 8M --depth 16 --flush-every 50 /dev/vda"
    wait_until 30 stat_reaches vda requests.write.requests 500
    for threads in 1 2 1 2; do
        vblkctl set vda threads=$threads
        before=$(stat_of vda requests.write.requests)
        wait_until 30 stat_reaches vda requests.write.requests $((before + 50))
    done
    guest_bg_signal a vda TERM
    guest_bg_wait a vda
    guest_run a "blkverify verify --size 8M --generation 0 /dev/vda"
    guest_dmesg_clean a
    guest_stop a
}
