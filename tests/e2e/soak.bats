#!/usr/bin/env bats
#
# tests/soak itself: it finds what it is there to find.  scripts/check has a step that runs it for
# longer, with guests.

load ../lib/e2e

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# soak SECONDS OPTION...: without guests.
soak() {
    without_bats timeout "$(deadline 240)" "$E2E_TESTS/soak" "$@" --builddir "${VBLKD%/*}" \
        --dir "$E2E_DIR" --guests 0
}

@test "front-ends that verify outlast a daemon that is killed, and each thing that is done to it" {
    run soak 3 --only kill,kill_amid,stop
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output =~ "blocks verified" ]]
}

@test "without recovery the same is found, with the seed and the logs" {
    run soak 60 --seed 1 --only kill --patience 5 --vblkd-option=--debug-no-recovery
    [ "$status" -eq 1 ]
    [[ $output == *"soak: FAILED after"* ]]
    [[ $output == *"--seed 1"* ]]
    [[ $output == *"logs of requests in flight are ignored"* ]]
}
