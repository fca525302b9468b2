#!/usr/bin/env bats
#
# What a killed daemon has given to the kernel ends before the next one uses the image: whatever
# was written since stays, in the image and in the guest's memory.

load ../lib/e2e

setup() {
    e2e_setup
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
    # shellcheck disable=SC2154 # e2e.bash sets it
    [ -x "$top_builddir/tests/frontend-fence" ] || skip "no tests/frontend-fence in $top_builddir"
    mkdir "$E2E_DIR/slow" "$E2E_DIR/orders"
    loop=
}

teardown() {
    local status=0

    [ ! -d "${E2E_DIR:-}/orders" ] || rm -f "$E2E_DIR"/orders/*
    e2e_teardown || status=1
    [ -z "${loop:-}" ] || losetup -d "$loop"
    ! grep -qF " ${E2E_DIR:-}/slow " /proc/mounts || umount -l "$E2E_DIR/slow" || status=1
    [ -n "${E2E_KEEP:-}" ] || rm -rf "${E2E_DIR:-}"
    return "$status"
}

# bats takes no notice of a failure that is negated.
not() {
    ! "$@"
}

order() {
    touch "$E2E_DIR/orders/$1"
}

release() {
    rm "$E2E_DIR/orders/$1"
}

slow_decided() {
    process_ended slow_fs || grep -q ready "$E2E_DIR/slow_fs.log"
}

# slow_image [ORDER...]: an image of 1 MiB whose file system holds back what is ordered.
slow_image() {
    local one

    for one in async "$@"; do
        order "$one"
    done
    process_start slow_fs python3 "$BATS_TEST_DIRNAME/slow_fs.py" "$E2E_DIR/slow" 1048576 \
        "$E2E_DIR/orders"
    wait_until 5 slow_decided
    process_runs slow_fs || skip "may not mount FUSE: $(cat "$E2E_DIR/slow_fs.log")"
}

# in_flight DISK write|read: the first such request of a front-end's is held back from now on.
in_flight() {
    order "one-$2"
    process_start "front-$1" "$top_builddir/tests/frontend-fence" "$(socket_of "$1")" "$2"
    wait_until 5 test -e "$E2E_DIR/orders/kept-$2"
}

front_has() {
    grep -q "^$2" "$E2E_DIR/front-$1.log"
}

# next_vblkd NAME: in the same directories, whether or not it can be ready.
next_vblkd() {
    # shellcheck disable=SC2086 # the wrapper is words
    process_start "$1" ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/control" \
        --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
}

logged() {
    grep -q -e "$2" "$E2E_DIR/$1.log"
}

# The kernel waits for Linux AIO where the last user of the process's memory lets go of it: that is a
# thread which has the locks open, unless it is a porter, which has files of its own, or somebody
# reads the process's arguments in /proc just then.
needs_dying() {
    if process_ended vblkd || logged second "waits for I/O of a process that has gone"; then
        stays_newer vda write
        skip "what waits for the killed process's I/O has none of its files"
    fi
}

state_is() {
    [ "$(field "$1" state)" = "$2" ]
}

reason_has() {
    [[ "$(field "$1" reason)" == *"$2"* ]]
}

# stays_newer DISK write|read: the request of before ends, and what came after it is there.
stays_newer() {
    not front_has "$1" answered
    release "kept-$2"
    wait_until 10 front_has "$1" "newer 0"
    if [ "$2" = write ]; then
        [ "$(dd if="$E2E_DIR/slow/disk" bs=4096 skip=2 count=1 iflag=direct status=none |
            tr -d N | wc -c)" -eq 0 ]
    fi
    not front_has "$1" changed
}

# add_uring DISK IMAGE [OPTION...]: by io_uring, or not at all.
add_uring() {
    vblkctl add "$1" "$2" --format raw --engine io_uring "${@:3}"
    [ "$(field "$1" image.engine)" = io_uring ] || skip "the kernel refuses io_uring"
}

# killed_and_back write|read WORD...: a disk with these options is killed with that under way.
killed_and_back() {
    slow_image
    start_vblkd
    if [[ " $* " == *" io_uring "* ]]; then
        add_uring vda "$E2E_DIR/slow/disk" "${@:2}"
    else
        vblkctl add vda "$E2E_DIR/slow/disk" --format raw "${@:2}"
    fi
    in_flight vda "$1"
    process_signal vblkd KILL
    next_vblkd second
}

has_client() {
    [ "$(field "$1" client.pid)" = "$(cat "$E2E_DIR/front-$1.pid")" ]
}

@test "by io_uring, the process has gone: a disk of two threads waits, answers, says so, and starts by itself" {
    killed_and_back write --engine io_uring --threads 2
    wait_until 10 reason_has vda "waits for I/O of a process that has gone"
    state_is vda stopped
    wait_until 10 has_client vda
    stays_newer vda write
    wait_until 10 state_is vda running
    logged second "vda: what it waited for has ended, after"
}

@test "by Linux AIO the process is waited for, and named" {
    killed_and_back write --engine aio --shareable
    wait_until 10 logged second "waits for"
    needs_dying
    wait_until 10 logged second "waits for .* (pid $(cat "$E2E_DIR/vblkd.pid")), which is ending"
    stays_newer vda write
}

@test "by threads and the page cache, too" {
    local wrapper="python3 $BATS_TEST_DIRNAME/no_io_uring.py"

    $wrapper true || skip "no seccomp"
    VBLKD_WRAPPER="$wrapper ${VBLKD_WRAPPER:-}" \
        killed_and_back write --cache writeback
    wait_until 10 logged second "(pid $(cat "$E2E_DIR/vblkd.pid")), which is ending"
    stays_newer vda write
}

@test "a late read does not come over memory that the guest has put to another use" {
    killed_and_back read --engine io_uring --readonly
    wait_until 10 reason_has vda "waits for I/O"
    stays_newer vda read
}

# bg WORD...: vblkctl, while the test goes on; bg_wait is its end.
bg() {
    vblkctl "$@" >/dev/null 2>&1 3>&- &
    bg_pid=$!
}

bg_wait() {
    wait "$bg_pid"
}

@test "who is killed while it waits leaves it to the next; stop, remove and the end do not wait" {
    killed_and_back write --engine io_uring --shareable
    wait_until 10 reason_has vda "waits for I/O"
    process_signal second KILL
    next_vblkd third
    wait_until 10 reason_has vda "waits for I/O"
    vblkctl stop vda
    state_is vda stopped
    bg start vda
    wait_until 10 reason_has vda "waits for I/O"
    vblkctl stop vda
    not bg_wait
    bg start vda
    wait_until 10 reason_has vda "waits for I/O"
    process_signal third TERM
    not bg_wait
    wait_until 10 process_ended third
    [ "$(process_status third)" -eq 0 ]
    next_vblkd fourth
    wait_until 10 state_is vda stopped
    vblkctl remove --force vda
    bg add vda "$E2E_DIR/slow/disk" --format raw --engine io_uring --shareable
    wait_until 10 logged fourth "vda: waits for I/O of a process that has gone"
    release kept-write
    bg_wait
    state_is vda running
    wait_until 10 front_has vda "newer 0"
}

@test "a disk that shares the image with one that waits does not wait" {
    slow_image
    start_vblkd
    add_uring vda "$E2E_DIR/slow/disk" --shareable
    vblkctl add vdb "$E2E_DIR/slow/disk" --format raw --engine io_uring --shareable
    in_flight vda write
    process_signal vblkd KILL
    next_vblkd second
    wait_until 10 reason_has vda "waits for I/O"
    wait_until 10 state_is vdb running
    stays_newer vda write
}

@test "a daemon that waits for the one before ends when it is told to" {
    killed_and_back write --engine aio
    wait_until 10 logged second "waits for"
    needs_dying
    wait_until 10 logged second "which is ending"
    process_signal second TERM
    wait_until 10 process_ended second
    [ "$(process_status second)" -eq 0 ]
    not process_ended vblkd
    next_vblkd third
    wait_until 10 logged third "which is ending"
    stays_newer vda write
}

@test "the kernel's claim of a block device is waited for, too" {
    need_tools losetup
    slow_image
    loop=$(losetup --find --show --direct-io=on "$E2E_DIR/slow/disk") || skip "no loop devices"
    start_vblkd
    add_uring vda "$loop"
    in_flight vda write
    process_signal vblkd KILL
    next_vblkd second
    wait_until 10 reason_has vda "waits for I/O"
    stays_newer vda write
    wait_until 10 state_is vda running
}

@test "a disk is added again while the image that it had is being closed" {
    slow_image
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --format raw --shareable
    order one-flush
    run vblkctl remove --force --timeout 0.2 vda
    [[ "$output" == *"its image may be in use until its file system answers"* ]]
    test -e "$E2E_DIR/orders/kept-flush"
    vblkctl add vda "$E2E_DIR/slow/disk" --format raw --shareable
    state_is vda running
    release kept-flush
}

@test "a file system without locks has no io_uring" {
    slow_image nolocks
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --format raw --engine io_uring
    [ "$(field vda image.engine)" = aio ]
    [[ "$(field vda image.engine_reason)" == *"no io_uring, as the file system has no locks"* ]]
}
