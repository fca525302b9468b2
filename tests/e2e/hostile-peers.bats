#!/usr/bin/env bats
#
# Front-ends that mean harm, again and again (hostile_peer.c), beside a disk that is verified
# meanwhile: the daemon lives, their own disk says why it failed and serves the next, and nothing is
# left of them.
#
# HOSTILE_ROUNDS   of each, default 4; scripts/check hostile does 1000
# HOSTILE_SEED     default 1
# HOSTILE_PEER     the program, default $top_builddir/tests/hostile-peer

load ../lib/e2e

HOSTILE_PEER=${HOSTILE_PEER:-$top_builddir/tests/hostile-peer}
VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
rounds=${HOSTILE_ROUNDS:-4}
seed=${HOSTILE_SEED:-1}

setup() {
    [ -x "$HOSTILE_PEER" ] || skip "no hostile-peer at $HOSTILE_PEER"
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    e2e_setup
    start_vblkd
    add_disk evil 16M --queues 2
    add_disk good 16M --queues 2
}

teardown() {
    e2e_teardown
}

# be ROUNDS NAME...: such front-ends of the disk evil.
be() {
    local count=$1

    shift
    without_bats timeout "$(deadline $((60 + count)))" "$HOSTILE_PEER" \
        --socket "$(socket_of evil)" --rounds "$count" --seed "$seed" "$@" </dev/null
}

# works DISK: a front-end is served, and reads what it has written.
works() {
    without_bats timeout "$(deadline 20)" "$VBLKBENCH" --control "$E2E_DIR/control" "$1" \
        --verify --allow-write --rw randrw --runtime 0.05 </dev/null >"$E2E_DIR/works.log" 2>&1 || {
        cat "$E2E_DIR/works.log"
        return 1
    }
}

# What the daemon has: files, threads and mappings.  Porters go after a while.
count_of() {
    local proc

    proc=/proc/$(cat "$E2E_DIR/vblkd.pid")
    case $1 in
    files) find "$proc/fd" -mindepth 1 | wc -l ;;
    threads) find "$proc/task" -mindepth 1 -maxdepth 1 | wc -l ;;
    maps) wc -l <"$proc/maps" ;;
    guest-maps) grep -c 'memfd:' "$proc/maps" || true ;;
    kib) awk '$1 == "VmRSS:" { print $2 }' "$proc/status" ;;
    esac
}

count_is() {
    [ "$(count_of "$1")" -le "$2" ]
}

# Threads and their stacks come and go with porters: the heap of each takes mappings.
measured() {
    local what

    for what in files threads guest-maps maps kib; do
        printf '%s %s\n' "$what" "$(count_of "$what")"
    done
}

# nothing_grew BEFORE: as `measured` has told; RSS by less than a KiB a round.
nothing_grew() {
    local what was limit

    while read -r what was; do
        limit=$was
        case $what in
        maps) limit=$((was + 16)) ;;
        kib) limit=$((was + 2048 + rounds / 2)) ;;
        esac
        if [ -n "${E2E_SANITIZER:-}" ] && [[ $what == maps || $what == kib ]]; then
            continue # a sanitizer takes memory of its own
        fi
        wait_until 20 count_is "$what" "$limit" || {
            echo "$what: $was before, $(count_of "$what") now"
            return 1
        }
    done <<<"$1"
}

@test "whatever front-ends do again and again, another disk goes on, and nothing is left of them" {
    local name names before

    mapfile -t names < <("$HOSTILE_PEER")
    [ "${#names[@]}" -ge 20 ]
    process_start bench "$VBLKBENCH" "$(socket_of good)" --verify --allow-write --rw randrw \
        --iodepth 4 --runtime 100000
    works evil
    be 3 "${names[@]}"
    be 3 "${names[@]}"
    for name in "${names[@]}"; do
        before=$(measured)
        be "$rounds" "$name"
        works evil
        nothing_grew "$before" || {
            echo "after $rounds rounds of $name with --seed $seed"
            return 1
        }
    done
    process_runs bench
    process_signal bench INT
    wait_until 20 process_ended bench
    [ "$(process_status bench)" -eq 0 ]
    process_runs vblkd
}

# tells NAME TEXT: while such a front-end is there, or has been hung up on, `show` says why.
show_says() {
    vblkctl show evil | grep -qE "$1"
}

tells() {
    process_start peer "$HOSTILE_PEER" --socket "$(socket_of evil)" --seed "$seed" --hold "$1"
    wait_until 10 show_says "$2" || {
        echo "$1: nothing like \"$2\" in:"
        vblkctl show evil
        return 1
    }
    process_signal peer KILL
    wait_until 10 process_ended peer
    works evil
}

@test "a disk whose front-end means harm says what it did" {
    tells vanish "the file behind guest memory was truncated"
    tells jump "ring 0: the available index is further ahead than the ring is long"
    tells loop "ring 0: descriptors form a loop, or a chain that is too long"
    tells flips "queues? (is|are) broken"
    tells nowhere "hung up on: hostile-peer .* lies outside guest memory"
    tells inflight-lies "queues are broken"
    tells inflight-in-memory "queues are broken"
    tells same-fd "hung up on: hostile-peer"
    tells odd-fds "hung up on: hostile-peer"
    tells regions "hung up on: hostile-peer"
    tells bare-fds "hung up on: hostile-peer .*: more than 8 file descriptors in a message"
    tells garbage "hung up on: hostile-peer"
    tells breaks "hung up on: hostile-peer .*: ring 9999 of a device with 2"
    tells log-shrinks "the file behind the log of its migration was truncated|log of a migration: its file has 0 bytes"
    process_runs vblkd
}
