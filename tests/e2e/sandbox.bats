#!/usr/bin/env bats
#
# What vblkd gives up before it serves anybody, as the kernel tells it.

load ../lib/e2e

setup() {
    e2e_setup
    [ -z "${VBLKD_WRAPPER:-}" ] || skip "not under a wrapper"
}

teardown() {
    e2e_teardown
}

has_seccomp() {
    [[ "$(vblkctl ping)" == *seccomp* && "$(vblkctl ping)" != *"not: seccomp"* ]]
}

# all_threads NAME VALUE: so says the status of each thread of vblkd.
all_threads() {
    local status

    for status in /proc/"$(cat "$E2E_DIR/vblkd.pid")"/task/*/status; do
        grep -qx "$1:[[:space:]]*$2" "$status" || {
            grep "^Name:\|^$1:" "$status" >&2
            return 1
        }
    done
}

# None but those of daemon/sandbox_caps.c.
few_capabilities() {
    local cap

    while read -r cap; do
        [ $((0x$cap & ~0x20008401f)) -eq 0 ] || return 1
    done < <(sed -n 's/^Cap[PEB][a-z]*:[[:space:]]*//p' /proc/"$(cat "$E2E_DIR/vblkd.pid")"/task/*/status)
}

@test "sandbox: each thread has what the log and ping tell, whatever the engine" {
    local engine

    start_vblkd
    has_seccomp || skip "no seccomp here"
    vblkd_logged "sandbox: .*no new privileges, seccomp"
    for engine in aio auto io_uring; do
        truncate -s 16M "$E2E_DIR/$engine"
        vblkctl add "$engine" "$E2E_DIR/$engine" --cache writeback --engine "$engine" --threads 2
        without_bats timeout "$(deadline 60)" "${VBLKCTL%ctl}bench" "$E2E_DIR/$engine.sock" \
            --queues 2 --runtime 0.2
    done
    all_threads NoNewPrivs 1
    all_threads Seccomp 2
    few_capabilities
    stop_vblkd
}

@test "sandbox: off is off, on insists, and other words are usage errors" {
    start_vblkd --sandbox off
    [[ "$(vblkctl ping)" == *"sandbox: off"* ]]
    all_threads NoNewPrivs 0
    stop_vblkd

    start_vblkd
    has_seccomp || skip "no seccomp here"
    stop_vblkd
    start_vblkd --sandbox on
    all_threads Seccomp 2
    stop_vblkd

    run without_bats timeout "$(deadline 20)" "$VBLKD" --sandbox maybe
    [ "$status" -eq 2 ]
    [[ "$output" == *"--sandbox: \"maybe\" is none of on, off, auto"* ]]
}

@test "sandbox: on where it cannot be had is refused, and says what to do" {
    run without_bats timeout "$(deadline 60)" env LD_PRELOAD=vgpreload_core "$VBLKD" --sandbox on
    [ "$status" -eq 1 ]
    [[ "$output" == *"sandbox: not under valgrind; or --sandbox auto for what there is of it"* ]]
}
