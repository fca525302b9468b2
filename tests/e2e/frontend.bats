#!/usr/bin/env bats
#
# Front-ends in C, well-behaved and not, over a disk's socket: see frontend_tests.c.

load ../lib/e2e

FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}

setup() {
    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    e2e_setup
}

teardown() {
    e2e_teardown
}

# cases_hold DISK [--packed]: run all cases on it; what failed is shown.
cases_hold() {
    local disk=$1

    shift
    run timeout "$(deadline 120)" "$FRONTEND_TESTS" --socket "$(socket_of "$disk")" "$@"
    grep -v '^ok ' <<<"$output"
    [ "$status" -eq 0 ]
}

@test "every front-end case holds on a disk with direct I/O" {
    start_vblkd
    add_disk vda 16M
    cases_hold vda
    process_runs vblkd
}

@test "every front-end case holds on a disk in the page cache" {
    start_vblkd
    add_disk vda 16M --cache writethrough
    cases_hold vda
    process_runs vblkd
}

@test "every front-end case of good front-ends holds with packed rings and two threads" {
    start_vblkd
    add_disk vda 16M --queues 2 --threads 2
    cases_hold vda --packed
    process_runs vblkd
}

@test "answers come in the order of requests where that was asked for" {
    start_vblkd
    add_disk vda 16M --in-order on --cache writeback # by threads, which end in any order
    vblkctl show vda | grep -E "^offered: .* in_order"
    cases_hold vda
    cases_hold vda --packed
    process_runs vblkd
}

@test "hostile front-ends of one disk do not disturb the good one of another" {
    start_vblkd
    add_disk vda 16M
    add_disk vdb 16M
    without_bats "$FRONTEND_TESTS" --socket "$(socket_of vdb)" >"$E2E_DIR/vdb.tap" &
    cases_hold vda
    wait $!
    run grep '^not ok' "$E2E_DIR/vdb.tap"
    [ "$status" -eq 1 ]
}

@test "requests that a disk refuses are told, each kind once for a ring" {
    local said="the guest gets an I/O error; later ones like it are only counted"

    start_vblkd
    add_disk vda 16M
    run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of vda)" cannot_do
    [ "$status" -eq 0 ]
    vblkd_logged "vda: ring 0: a request of type 99, which the disk does not have: $said"
    vblkd_logged "vda: ring 0: a read of 512 bytes at sector .* lies past the end (capacity 32768): $said"
    vblkd_logged "vda: ring 0: a read of 100 bytes at sector 0 is not in whole blocks of 512 bytes: $said"
    [ "$(grep -c "lies past the end" "$E2E_DIR/vblkd.log")" -eq 1 ]
}

# peak_kib: memory of vblkd at its height.
peak_kib() {
    awk '$1 == "VmHWM:" { print $2 }' "/proc/$(cat "$E2E_DIR/vblkd.pid")/status"
}

@test "a ring of 32768 with all of it in flight costs its slots and no more" {
    local before

    start_vblkd
    vblkctl add void null:1G,delay-ms=2000
    before=$(peak_kib)
    run timeout "$(deadline 60)" "$FRONTEND_TESTS" --socket "$(socket_of void)" largest_ring
    [ "$output" = "ok 1 - largest_ring_works"$'\n'"1..1" ]
    [ "$(vblkctl --json stats void | json_members inflight_max)" = 32768 ]
    [ -z "${E2E_SANITIZER:-}" ] || skip "a sanitizer takes memory of its own"
    # 32768 slots of 832 bytes, and the guest's own pages: ring and requests.
    [ $(($(peak_kib) - before)) -lt $((26 * 1024 + 8 * 1024)) ]
}
