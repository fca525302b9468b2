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

# load_all ARGUMENT...: a front-end for each disk, all at work when it returns.
load_all() {
    local n

    fronts=()
    for n in $(seq "$DISKS"); do
        without_bats timeout 120 "$VBLKBENCH" "$(socket_of "vd$n")" --runtime 110 "$@" \
            >"$E2E_DIR/bench$n.log" 2>&1 </dev/null &
        fronts+=($!)
    done
    wait_until 60 all_have_served 1000
}

# all_have_served REQUESTS
all_have_served() {
    vblkctl --json stats | python3 -c '
import json, sys
disks = json.load(sys.stdin)["disks"]
sys.exit(min(disk["requests"]["read"]["requests"] for disk in disks) < int(sys.argv[1]))' "$1"
}

# Once in a while other programs take the core from some of them for long; a disk that is starved by the
# others is so each time.
shares_are_fair() {
    for _ in 1 2 3 4 5; do
        ! are_fair_now || return 0
    done
    return 1
}

# What each has served in the same three seconds: the slowest has at least half of its fair share.
are_fair_now() {
    vblkctl --json stats >"$E2E_DIR/before"
    sleep 3
    vblkctl --json stats >"$E2E_DIR/after"
    python3 - "$E2E_DIR/before" "$E2E_DIR/after" <<'END'
import json, sys
before, after = ({disk["name"]: disk["requests"]["read"]["requests"]
                  for disk in json.load(open(path))["disks"]} for path in sys.argv[1:])
served = sorted(after[name] - before[name] for name in after)
share = served[0] * len(served) / sum(served)
print("slowest", served[0], "fastest", served[-1], "share of the slowest", share)
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
    kill "${fronts[@]}"
    wait "${fronts[@]}" || true # by that signal
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
