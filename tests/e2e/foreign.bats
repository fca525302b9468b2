#!/usr/bin/env bats
#
# What front-ends hand in: files that make wait whoever touches them, as a FUSE file system that
# does not answer (silent_fs.py) does.  Needs root and /dev/fuse.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    need_tools python3
    e2e_setup
}

# What waits for the file system goes on when its server is gone.
teardown() {
    if [ -e "${E2E_DIR:-}/fs.pid" ]; then
        end_silence
        umount -l "$E2E_DIR/fs" 2>/dev/null || true
    fi
    e2e_teardown
}

fs_decided() {
    process_ended fs || grep -q mounted "$E2E_DIR/fs.log"
}

start_silence() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
    need_tools umount
    mkdir "$E2E_DIR/fs"
    process_start fs "$BATS_TEST_DIRNAME/silent_fs.py" "$E2E_DIR/fs"
    wait_until 10 fs_decided
    process_runs fs || skip "no FUSE: $(cat "$E2E_DIR/fs.log")"
}

end_silence() {
    process_ended fs || process_signal fs KILL
    wait_until 5 process_ended fs
}

# hand_in DISK MESSAGE [FILE]: prints what became of it.
hand_in() {
    without_bats timeout "$(deadline 20)" "$BATS_TEST_DIRNAME/hand_in.py" "$(socket_of "$1")" \
        "${3:-$E2E_DIR/fs/file}" "$2"
}

# works DISK: a front-end is served.
works() {
    without_bats timeout "$(deadline 20)" "$VBLKBENCH" --control "$E2E_DIR/control" "$1" \
        --runtime 0.05 </dev/null >/dev/null
}

# The threads of the daemon that wait for the file system.
waiting_threads() {
    grep -lx porter "/proc/$(cat "$E2E_DIR/vblkd.pid")"/task/*/comm | wc -l
}

forget_silence() {
    end_silence # lets go of the thread
    umount -l "$E2E_DIR/fs"
    rmdir "$E2E_DIR/fs"
}

# silence_harms_nobody MESSAGE...: not another disk, control, the next front-end, nor the end.
silence_harms_nobody() {
    local message

    for message; do
        start_silence
        [ "$(hand_in evil "$message")" = closed ]
        works good
        [ "$(vblkctl list | grep -c ' running ')" -eq 2 ]
        works evil
        forget_silence
    done
    vblkd_logged "is on a file system that does not answer; guest memory must be a memfd"
    stop_vblkd
}

@test "a file whose file system is silent harms nobody, whatever it is sent as" {
    start_vblkd
    vblkctl add evil null:16M
    vblkctl add good null:16M
    silence_harms_nobody memory table kick call err channel stray
}

@test "a file whose file system is silent harms no disk of several threads" {
    start_vblkd
    vblkctl add evil null:16M --queues 4 --threads 2
    vblkctl add good null:16M --queues 4 --threads 2
    silence_harms_nobody memory kick
}

@test "a disk whose front-ends bring silent files again and again waits, alone" {
    start_silence
    start_vblkd
    vblkctl add evil null:16M
    vblkctl add good null:16M
    for _ in 1 2 3; do
        [ "$(hand_in evil memory)" = closed ]
    done
    process_start last "$BATS_TEST_DIRNAME/hand_in.py" "$(socket_of evil)" "$E2E_DIR/fs/file" memory
    vblkd_logged "evil: 3 threads wait for files that front-ends handed in"
    [ "$(waiting_threads)" -ge 3 ]
    works good
    vblkctl add third null:16M
    works third
    vblkctl stop evil
    vblkctl start evil
    end_silence
    wait_until 10 process_ended last
    works evil
}

second_vblkd_serves() {
    second_vblkd
    [ "$(vblkctl list | grep -c ' running ')" -eq 2 ]
    works good
    works evil
    process_signal second TERM
    wait_until 20 process_ended second
    [ "$(process_status second)" -eq 0 ]
}

@test "after SIGTERM a new daemon starts while a thread of the old one waits" {
    start_silence
    start_vblkd
    add_disk evil 16M --cache writeback
    add_disk good 16M --cache writeback
    [ "$(hand_in evil kick)" = closed ]
    process_signal vblkd TERM
    vblkd_logged "all disks drained, ended"
    second_vblkd_serves
    end_silence
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
}

@test "after SIGKILL a new daemon starts while a thread of the old one waits" {
    [ "${E2E_SANITIZER:-}" != thread ] || skip "porters have no table of their own there"
    start_silence
    start_vblkd
    add_disk evil 16M --cache writeback
    add_disk good 16M --cache writeback
    [ "$(hand_in evil memory)" = closed ]
    process_signal vblkd KILL
    second_vblkd_serves
    run process_ended vblkd # it did wait
    [ "$status" -ne 0 ]
    end_silence
    wait_until 10 process_ended vblkd
}

@test "what is no local file is refused as memory by name" {
    start_vblkd
    vblkctl add vda null:16M
    : >"$E2E_DIR/short"
    [ "$(hand_in vda memory /dev/null)" = refused ]
    vblkd_logged "ADD_MEM_REG refused: memory region at 0x100000: what came is a device that is no DAX"
    [ "$(hand_in vda kick "$E2E_DIR/short")" = refused ]
    vblkd_logged "what came is no eventfd but "
    truncate -s 1M "$E2E_DIR/short"
    [ "$(hand_in vda memory "$E2E_DIR/short")" = taken ] || vblkd_logged "what came is a file on overlayfs"
}

# The thread of a disk, or the second of two, waits in write(2) until it is sent on.
@test "an fd that a front-end fills and lets block does not hold its disk for ever" {
    local options

    start_vblkd
    for options in "" "--queues 2 --threads 2"; do
        # shellcheck disable=SC2086 # the options are words
        vblkctl add evil null:16M $options
        run without_bats timeout "$(deadline 20)" "$BATS_TEST_DIRNAME/block_err.py" "$(socket_of evil)" 1
        [ "$output" = waits ]
        vblkd_logged "evil: ring 0: its error fd is full and was made to block"
        wait_until 10 works evil # the one before may be seen to leave a little later
        vblkctl remove evil
    done
}

@test "however many fds a front-end fills and lets block, its disk waits once" {
    start_vblkd
    vblkctl add evil null:16M --queues 16
    process_start front python3 "$BATS_TEST_DIRNAME/block_err.py" "$(socket_of evil)" 16
    wait_until 10 grep -q waits "$E2E_DIR/front.log"
    wait_until 6 grep -q "goes on" "$E2E_DIR/front.log"
    vblkd_logged "error fd is full and was made to block"
    wait_until 10 works evil
}

@test "a pipe that a front-end empties and lets block, ends its ring" {
    start_vblkd
    vblkctl add evil null:16M
    process_start thief python3 "$BATS_TEST_DIRNAME/block_kick.py" "$(socket_of evil)"
    wait_until 30 grep -q "evil: ring 0: its kick fd was made to block, ring stopped" "$E2E_DIR/vblkd.log"
    process_signal thief KILL
    wait_until 10 works evil
}

# share NAME DISK TIB: a front-end in the background; returns when it knows what became of it.
share() {
    process_start "$1" python3 "$BATS_TEST_DIRNAME/share_much.py" "$(socket_of "$2")" "$3"
    wait_until 10 grep -Eq 'taken|refused' "$E2E_DIR/$1.log"
}

@test "front-ends take no more addresses than are theirs, and leave some to the others" {
    local disk

    [ -z "${E2E_SANITIZER:-}" ] || skip "a sanitizer takes addresses of its own"
    start_vblkd
    for disk in a b c d good; do
        vblkctl add "$disk" null:16M
    done
    share first a 33
    grep -q 'refused' "$E2E_DIR/first.log"
    vblkd_logged "with it the front-end would share 33.0 TiB, 32 TiB is the most; give the guest less memory"
    for disk in a b c; do
        share "front-$disk" "$disk" 32
        grep -q taken "$E2E_DIR/front-$disk.log"
    done
    share last d 1
    grep -q 'refused' "$E2E_DIR/last.log"
    vblkd_logged "with it all front-ends together would share 97.0 TiB, 96 TiB is the most; end another guest"
    process_signal front-a KILL
    wait_until 10 works good
}

# The numbers below 64 are the porters': they are taken when the limit is raised.
@test "a small soft limit of open files is raised before it matters" {
    need_tools prlimit
    VBLKD_WRAPPER="prlimit --nofile=48:$(ulimit -Hn)" start_vblkd
    vblkctl add good null:16M
    works good
}
