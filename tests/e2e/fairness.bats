#!/usr/bin/env bats
#
# Many disks under load share one core: none is starved, whether their threads spin or sleep.
# What counts are shares of one run, so a slow or busy machine does not matter.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
DISKS=16

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    need_tools python3 taskset
    e2e_setup
    first_core=$(taskset -cp $$ | sed 's/.*: *\([0-9]*\).*/\1/')
    VBLKD_WRAPPER="taskset -c $first_core ${VBLKD_WRAPPER:-}"
    VBLKD_LOG_LEVEL=info start_vblkd
}

teardown() {
    e2e_teardown
}

# load_all ARGUMENT...: a front-end for each disk at the same time; results in N.json.
load_all() {
    local n pids=()

    for n in $(seq "$DISKS"); do
        without_bats timeout "$(deadline 60)" "$VBLKBENCH" "$(socket_of "vd$n")" --json --ramp 1 \
            --runtime 3 "$@" >"$E2E_DIR/$n.json" </dev/null &
        pids+=($!)
    done
    for n in "${pids[@]}"; do
        wait "$n" || return
    done
}

# The slowest has at least half of its fair share.
shares_are_fair() {
    python3 - "$E2E_DIR"/[0-9]*.json <<'END'
import json, sys
iops = sorted(json.load(open(path))["iops"] for path in sys.argv[1:])
share = iops[0] * len(iops) / sum(iops)
print("slowest", iops[0], "fastest", iops[-1], "share of the slowest", share)
sys.exit(share < 0.5)
END
}

# fair_with POLL_US DEPTH
fair_with() {
    local n

    for n in $(seq "$DISKS"); do
        vblkctl add "vd$n" null:1G --poll-us "$1" >/dev/null
    done
    load_all --iodepth "$2"
    shares_are_fair
    stop_vblkd
}

@test "16 disks on one core, one request at a time: fair" {
    fair_with 100 1
}

@test "16 disks on one core, 32 requests at a time: fair" {
    fair_with 100 32
}

@test "16 disks on one core that may spin for as long as they like: fair" {
    fair_with 1000 4
}

@test "16 disks on one core that only sleep: fair" {
    fair_with 0 4
}
