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

# cases_hold DISK: run all cases on it; what failed is shown.
cases_hold() {
    run timeout "$(deadline 120)" "$FRONTEND_TESTS" --socket "$(socket_of "$1")"
    grep -v '^ok ' <<<"$output"
    [ "$status" -eq 0 ]
}

@test "every front-end case holds on a disk with direct I/O" {
    start_vblkd
    add_disk vda 16M --queue-size 1024
    cases_hold vda
    process_runs vblkd
}

@test "every front-end case holds on a disk in the page cache" {
    start_vblkd
    add_disk vda 16M --queue-size 1024 --cache writethrough
    cases_hold vda
    process_runs vblkd
}

@test "hostile front-ends of one disk do not disturb the good one of another" {
    start_vblkd
    add_disk vda 16M --queue-size 1024
    add_disk vdb 16M --queue-size 1024
    without_bats "$FRONTEND_TESTS" --socket "$(socket_of vdb)" >"$E2E_DIR/vdb.tap" &
    cases_hold vda
    wait $!
    run grep '^not ok' "$E2E_DIR/vdb.tap"
    [ "$status" -eq 1 ]
}
