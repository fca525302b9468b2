#!/usr/bin/env bats
#
# vblkbench against a back-end that means harm: whatever it writes to shared memory, tells or keeps
# to itself, the end is a sentence and within the time limit.  Run with sanitizers.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    need_tools python3
    e2e_setup
}

teardown() {
    e2e_teardown
}

# hostile LIE [ARGUMENT]: such a back-end on disk.sock.
hostile() {
    local socket

    socket=$(socket_of disk)
    rm -f "$socket"
    process_start hostile python3 "$E2E_TESTS/e2e/hostile_backend.py" "$socket" "$@"
    wait_until 10 test -S "$socket"
}

hostile_ends() {
    process_signal hostile KILL
    wait_until 5 process_ended hostile
}

# bench ARGUMENT...: ends in time, by itself or by the back-end's lie.
bench() {
    run without_bats timeout "$(deadline 15)" "$VBLKBENCH" "$(socket_of disk)" --timeout 1 \
        --runtime 0.5 "$@" </dev/null
    echo "$output"
    [ "$status" -ne 124 ]
}

# harmless STATUS WORDS LIE [ARGUMENT]: a back-end that shall be borne with may be slow.
harmless() {
    local status_wanted=$1 words=$2 patience=()

    shift 2
    [ "$status_wanted" -ne 0 ] || patience=(--timeout 10)
    echo "--- $*"
    hostile "$@"
    bench "${patience[@]}"
    hostile_ends
    [ "$status" -eq "$status_wanted" ]
    [[ "$output" == *"$words"* ]]
}

@test "what is written over all that is shared breaks the ring, and nothing else" {
    local i

    for ((i = 0; i < 4; i++)); do
        harmless 1 "queue 0: the back-end broke the ring: " scribble
        harmless 1 "queue 0: the back-end broke the ring: " noise
    done
}

# A zero is a good status, so with the rings as they should be nothing is wrong at all.
@test "descriptors, headers and data that were wiped out are missed by nobody" {
    harmless 0 "IOPS" wipe 32
}

@test "shared memory cannot be cut off" {
    harmless 0 "IOPS" truncate
    grep -q 'it is sealed' "$E2E_DIR/hostile.log"
}

@test "requests that come back as they were not asked for are told" {
    harmless 1 "it gave back what was not under way" used id
    harmless 1 "it gave back what was not under way" used huge-id
    harmless 1 "it gave back what was not under way" used twice
    harmless 1 "its used index passed all that was under way" used jump
    harmless 1 "it says that it wrote more than there was room for" used length
    harmless 1 "answered nothing for 1 s, with 32 requests under way" used back
    harmless 1 "failed: it was answered with a status that there is not" status 77
    harmless 1 "failed: it was answered without a status" status 238
    harmless 1 "failed: I/O error" status 1
}

@test "sizes that cannot be are told" {
    harmless 1 "18446744073709551615 sectors, which is more than there can be" config 0=0xffffffffffffffff
    harmless 1 "36028797018963969 sectors, which is more than there can be" config 0=0x80000000000001
    harmless 1 "the disk is empty" config 0=0
    harmless 1 "not even one block of 4096 bytes in 512 bytes" config 0=1
    harmless 1 "the disk takes 1 bytes in one piece" config 8=1
    harmless 1 "blocks have 2147483648 bytes" config 20=0x80000000
    # What says nothing is as not said.
    harmless 1 "answered nothing" config 20=3
    harmless 1 "answered nothing" config 34=0
    harmless 1 "the back-end has no ring" queues 0
    harmless 1 "answered nothing" queues 0xffffffffffffffff
    harmless 1 "no VIRTIO_F_VERSION_1" features 0
    harmless 1 "answered nothing" features 0xffffffffffffffff
    harmless 1 "came back without features that the guest uses" flip
    [[ "$output" != *"disk.sock: $(socket_of disk)"* ]] # said once
}

@test "answers that are none are told" {
    local kind

    for kind in other long longer empty version request noise; do
        harmless 1 "what came back is no answer to GET_FEATURES" reply 1:$kind
        harmless 1 "what came back is no answer to GET_QUEUE_NUM" reply 17:$kind
        harmless 1 "what came back is no answer to SET_OWNER" reply 3:$kind
    done
    for kind in other long longer version request noise; do
        harmless 1 "what came back is no answer to GET_CONFIG" reply 24:$kind
        harmless 1 "what came back is no answer to SET_VRING_NUM; waiting" reply 8:$kind
    done
    harmless 1 "the back-end does not give its config space" reply 24:empty
    harmless 1 "what came back is no answer to GET_CONFIG" reply 17:twice
    harmless 1 "the back-end refused SET_OWNER" reply 3:refused
    harmless 1 "the back-end refused SET_VRING_NUM" reply 8:refused
}

@test "in-flight regions that are none are told, and others are not looked at" {
    local kind

    for kind in other long longer empty version request noise; do
        harmless 1 "what came back is no answer to GET_INFLIGHT_FD; waiting" inflight 31:$kind
    done
    harmless 1 "no memory came with the answer to GET_INFLIGHT_FD; waiting" inflight 31:bare
    harmless 1 "the back-end refused SET_INFLIGHT_FD" inflight 32:refused
    harmless 0 "IOPS" inflight 31:fds
}

@test "answers that do not come, or never end, are told in time" {
    harmless 1 "closed the connection at GET_FEATURES" reply 1:half
    harmless 1 "closed the connection at GET_CONFIG" reply 24:half
    harmless 1 "closed the connection at SET_VRING_NUM; waiting" reply 8:half
    harmless 1 "no answer to GET_FEATURES within 1001 ms" reply 1:none
    harmless 1 "no answer to GET_FEATURES within 1001 ms" reply 1:slow
    harmless 1 "no answer to SET_VRING_NUM within 1001 ms" reply 8:slow
}

@test "answers that each come just in time hold up nobody for as long as there are queues" {
    hostile late 8
    bench --queues 64
    [ "$status" -eq 1 ]
    [[ "$output" == *"the set-up of all queues takes longer than 3003 ms, it is at SET_VRING_"* ]]
    hostile_ends
    hostile late 11
    bench --queues 64 --iodepth 128
    [ "$status" -eq 1 ]
    [[ "$output" == *"its rings hold 85 requests, not 128"* ]]
    hostile_ends
}

# With a ring that is stopped nothing is under way any more, so that needs no patience either.
@test "a flood on the back-end's channel moves no deadline" {
    local lie

    for lie in flood unknown drip; do
        harmless 1 "answered nothing for 1 s, with 32 requests under way" $lie 0
        harmless 1 "no answer to GET_QUEUE_NUM within 1001 ms" $lie 17
        harmless 1 "no answer to GET_CONFIG within 1001 ms" $lie 24
        harmless 1 "no answer to SET_VRING_NUM within 1001 ms" $lie 8
    done
    harmless 0 "IOPS" calm 11
}

bench_files() {
    readlink /proc/"$(cat "$E2E_DIR/bench.pid")"/fd/*
}

bench_has_memory() {
    bench_files | grep -q memfd:vblkbench
}

# An open file of ours more for each message would end all of it some day.
@test "file descriptors that come along with answers do not stay" {
    hostile reply 1:fds
    process_start bench "$VBLKBENCH" "$(socket_of disk)" --timeout 60 --runtime 60
    wait_until 10 bench_has_memory # so the answer was read
    [ "$(bench_files | grep -c hostile.log)" -eq 0 ]
}

# The first is kept, whatever it is; the log comes behind it.
@test "file descriptors that come along with an in-flight region do not stay" {
    hostile inflight 31:fds
    process_start bench "$VBLKBENCH" "$(socket_of disk)" --timeout 60 --runtime 60
    wait_until 10 grep -q started "$E2E_DIR/hostile.log"
    [ "$(bench_files | grep -c hostile.log)" -eq 0 ]
}
