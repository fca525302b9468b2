#!/usr/bin/env bats
#
# What vblkd says and does when an image cannot keep what was written to it.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

load ../lib/e2e

setup() {
    need_tools python3
    e2e_setup
}

is_mounted() {
    grep -qF " $1 " /proc/mounts
}

teardown() {
    local status=0 dir loops=()

    [ ! -s "${E2E_DIR:-}/loops" ] || mapfile -t loops <"$E2E_DIR/loops"
    [ ! -d "${E2E_DIR:-}/orders" ] || rm -f "$E2E_DIR"/orders/*
    e2e_teardown || status=1
    [ "${#loops[@]}" -eq 0 ] || losetup -d "${loops[@]}"
    # The directory is gone by now, but for what is mounted there.
    for dir in slow leaky small vda.img; do
        ! is_mounted "${E2E_DIR:-}/$dir" || umount -l "$E2E_DIR/$dir" || status=1
    done
    [ -n "${E2E_KEEP:-}" ] || rm -rf "${E2E_DIR:-}"
    return "$status"
}

# leaky_image SIZE: an image on a file system that takes writes and cannot write all of them back:
# ext4 on a loop device whose own file lies on a tmpfs that is smaller than it says.
leaky_image() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools mkfs.ext4 mount
    mkdir "$E2E_DIR/small" "$E2E_DIR/leaky"
    mount -t tmpfs -o size=12m none "$E2E_DIR/small" || skip "may not mount"
    truncate -s 64M "$E2E_DIR/small/disk"
    mkfs.ext4 -q -F -O ^has_journal "$E2E_DIR/small/disk"
    mount -o loop "$E2E_DIR/small/disk" "$E2E_DIR/leaky" || {
        umount "$E2E_DIR/small"
        rmdir "$E2E_DIR/small"
        skip "may not mount by a loop device"
    }
    truncate -s "$1" "$E2E_DIR/leaky/vda.img"
}

# slow_image SIZE: an image whose file system is told by order and release when not to answer.
slow_image() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    [ -w /dev/fuse ] || skip "needs /dev/fuse"
    mkdir "$E2E_DIR/slow" "$E2E_DIR/orders"
    process_start slow_fs python3 "$BATS_TEST_DIRNAME/slow_fs.py" "$E2E_DIR/slow" \
        $(($1 << 20)) "$E2E_DIR/orders"
    wait_until 5 slow_decided
    process_runs slow_fs || skip "may not mount FUSE: $(cat "$E2E_DIR/slow_fs.log")"
}

slow_decided() {
    process_ended slow_fs || grep -q ready "$E2E_DIR/slow_fs.log"
}

order() {
    touch "$E2E_DIR/orders/$1"
}

release() {
    rm "$E2E_DIR/orders/$1"
}

# holds REQUEST: how many were not answered at once since the file system was mounted, those released since among them.
holds() {
    grep -c "held $1" "$E2E_DIR/slow_fs.log" || true
}

# is_held REQUEST [N]: at least N were not answered at once since the file system was mounted.
is_held() {
    [ "$(holds "$1")" -ge "${2:-1}" ]
}

# slow_disk [OPTION...]: vda on such an image.
slow_disk() {
    slow_image 8
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --cache writeback "$@"
}

# hangs_in REQUEST NAME ARGUMENT...: vblkctl, until its file system has this request and does not answer.
hangs_in() {
    local before

    before=$(holds "$1")
    order "$1"
    process_start "$2" "$VBLKCTL" --control "$E2E_DIR/control" "${@:3}"
    wait_until 10 is_held "$1" $((before + 1))
}

# state_is DISK STATE
state_is() {
    [ "$(vblkctl --json show "$1" | json_members state)" = "$2" ]
}

is_gone() {
    ! vblkctl show "$1" >/dev/null 2>&1
}

# load_reaches DISK FIELD VALUE OPTION...: a load until this statistic is reached.
load_reaches() {
    local disk=$1 field=$2 value=$3

    shift 3
    # shellcheck disable=SC2154 # e2e.bash sets it
    process_start load "$top_builddir/vblkbench" "$(socket_of "$disk")" --allow-write --runtime 600 "$@"
    wait_until 20 stat_reaches "$disk" "$field" "$value"
    process_signal load INT
    wait_until 20 process_ended load
}

# fill DISK [OPTION...]: write more than the file system of leaky_image has room for.
fill() {
    load_reaches "$1" requests.write.bytes $((25 << 20)) --rw write --bs 1M "${@:2}"
}

# bench DISK OPTION...: a load, whether or not requests of it fail.
bench() {
    local disk=$1

    shift
    without_bats timeout "$(deadline 60)" "$top_builddir/vblkbench" "$(socket_of "$disk")" \
        --allow-write --runtime 0.3 "$@" >"$E2E_DIR/bench.log" 2>&1 || [ $? -eq 1 ]
}

# warnings DISK: their codes, in `list`.
warnings() {
    vblkctl --json list | python3 -c '
import json, sys
for disk in json.load(sys.stdin)["disks"]:
    if disk["name"] == sys.argv[1]:
        print(*[warning["code"] for warning in disk["warnings"]])' "$1"
}

# has_warning DISK CODE, fate_is DISK FATE, lists TEXT: of an image, whose file system is given a moment
# only, so on a busy machine they may say nothing at first: for wait_until.
has_warning() {
    [ "$(warnings "$1")" = "$2" ]
}

fate_is() {
    [ "$(vblkctl --json show "$1" | json_members image.fate)" = "$2" ]
}

lists() {
    run vblkctl list
    [[ "$output" == *"$1"* ]]
}

# end_after_loss: a daemon with a disk that has lost something ends in order, and says so.
end_after_loss() {
    stop_vblkd 1
    grep -q "all disks drained, ended; what was written to some may be lost" "$E2E_DIR/vblkd.log"
}

# flushes_fail_for_good DISK QUEUES: bytes are lost, and no queue is told otherwise, ever.
flushes_fail_for_good() {
    local errors requests

    fill "$1" --queues "$2"
    [ "$(stat_of "$1" requests.write.errors requests.flush.requests)" = "0 0" ]
    [ "$(warnings "$1")" = "" ]
    load_reaches "$1" requests.flush.errors 100 --rw flush --queues "$2"
    bench "$1" --rw flush --queues "$2"
    read -r requests errors < <(stat_of "$1" requests.flush.requests requests.flush.errors)
    [ "$errors" -eq "$requests" ]
}

@test "a flush that failed fails all later ones, until the image is opened anew; list and show tell" {
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback
    flushes_fail_for_good vda 1
    [ "$(warnings vda)" = flush_failed ]
    run vblkctl list
    [[ "${lines[1]}" =~ ^vda\ +running ]]
    [[ "${lines[2]}" =~ ^vda:\ +a\ flush\ failed\ at\ [0-9T:-]+Z:\ .*"stop the disk, start it" ]]
    run vblkctl show vda
    [[ "$output" =~ warning:\ +a\ flush\ failed\ at ]]
    vblkd_logged "error: image $E2E_DIR/leaky/vda.img: a flush failed"
    [ "$(grep -c "error: image $E2E_DIR/leaky/vda.img: a flush failed" "$E2E_DIR/vblkd.log")" -eq 1 ]
    end_after_loss
}

@test "a flush that one thread saw fail fails on all threads, with each engine" {
    local engine

    leaky_image 30M
    start_vblkd
    for engine in aio io_uring; do
        rm "$E2E_DIR/leaky/vda.img"
        truncate -s 30M "$E2E_DIR/leaky/vda.img"
        vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback --threads 4 --engine $engine \
            --on-write-error ignore || continue
        flushes_fail_for_good vda 4
        run vblkctl remove vda
        [ "$status" -eq 1 ]
    done
}

@test "the same by threads that wait for the page cache, where io_uring is refused" {
    local wrapper="python3 $BATS_TEST_DIRNAME/no_io_uring.py"

    $wrapper true || skip "no seccomp"
    leaky_image 30M
    VBLKD_WRAPPER=$wrapper start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback --threads 4
    flushes_fail_for_good vda 4
    end_after_loss
}

@test "once a guest has switched its cache off, a write is stable when it is answered" {
    [ -x "$top_builddir/tests/frontend-tests" ] || skip "no frontend-tests in $top_builddir"
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback --threads 2
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 1 writethrough
    is_switched() { [ "$(vblkctl --json show vda | json_members write_cache_by)" = guest ]; }
    wait_until 20 is_switched
    process_signal hold KILL
    wait_until 20 process_ended hold
    # What does not fit fails by itself, and not the flush after it.
    load_reaches vda requests.write.errors 1 --rw write --bs 1M
    [ "$(stat_of vda requests.flush.requests)" -eq 0 ]
    [ "$(warnings vda)" = flush_failed ]
    end_after_loss
}

@test "a stable write that failed fails the flushes after it" {
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writethrough
    load_reaches vda requests.write.errors 1 --rw write --bs 1M
    [ "$(warnings vda)" = flush_failed ]
    load_reaches vda requests.flush.requests 100 --rw flush
    read -r requests errors < <(stat_of vda requests.flush.requests requests.flush.errors)
    [ "$errors" -eq "$requests" ]
    end_after_loss
}

# --- the flush before an image is closed

@test "stop flushes the image, and says what was lost; list tells until it is started" {
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback --threads 2
    fill vda
    run vblkctl stop vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but a flush failed at "*"may be lost; see to the host's"* ]]
    state_is vda stopped
    [ "$(warnings vda)" = flush_failed ]
    run vblkctl stop vda
    [ "${lines[0]}" = "vda: stopped, as it was before" ]
    [[ "${lines[1]}" =~ ^vda:\ +a\ flush\ failed ]]
    grep -q '"stopped":true' "$E2E_DIR/state/disks.json"
    vblkctl start vda
    wait_until 5 has_warning vda ""
    vblkd_logged "vda: started after a flush that failed"
    run vblkctl remove vda
}

@test "remove flushes the image, and says what was lost" {
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback
    fill vda
    run vblkctl remove vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but a flush failed at "* ]]
    is_gone vda
    run grep vda "$E2E_DIR/state/disks.json"
    [ "$status" -eq 1 ]
}

@test "a daemon that ends flushes its images; what was lost is in its log and its status" {
    leaky_image 30M
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback
    vblkctl add vdb null:1G
    fill vda
    end_after_loss
    grep -q "error: vda: it was done, but a flush failed at" "$E2E_DIR/vblkd.log"
    grep -q '"name":"vda"' "$E2E_DIR/state/disks.json"
}

@test "a failed flush at the end is told with O_DIRECT, too, and by each engine" {
    local engine

    slow_image 8
    start_vblkd
    for engine in aio io_uring; do
        vblkctl add vda "$E2E_DIR/slow/disk" --cache none --engine $engine || continue
        order fail
        run vblkctl stop vda
        [ "$status" -eq 1 ]
        [[ "$output" == *"vda: it was done, but a flush failed at "*"Input/output error"* ]]
        [ "$(warnings vda)" = flush_failed ]
        vblkctl start vda
        run vblkctl remove vda
        [ "$status" -eq 1 ]
        [[ "$output" == *"vda: it was done, but a flush failed at "* ]]
        release fail
        is_gone vda
    done
}

@test "an image that is only read is not flushed" {
    slow_image 8
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --readonly
    order fsync
    vblkctl stop vda
    vblkctl start vda
    vblkctl remove vda
    run is_held fsync
    [ "$status" -eq 1 ]
}

@test "a flush that takes long holds up its own disk alone, and the stop goes on past its time-out" {
    slow_disk --threads 2
    vblkctl add vdb null:1G
    order fsync
    run vblkctl stop vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: all requests are answered, but the bytes that they wrote are still on their way to"* ]]
    [[ "$output" =~ for\ [0-9]+\.[0-9]\ s\;\ the\ stop\ goes\ on,\ unless\ it\ would\ lose\ the\ image$ ]]
    state_is vda stopping
    run vblkctl show vda
    [[ "$output" =~ "image is:"\ +open,.*"s in the flush before it is closed" ]]
    timeout "$(deadline 20)" "$VBLKCTL" --control "$E2E_DIR/control" stop vdb
    release fsync
    wait_until 5 state_is vda stopped
    wait_until 5 has_warning vda ""
}

@test "of a disk with --cache unsafe no flush of the guest goes to the image, and that of a stop does" {
    slow_image 8
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --cache unsafe --threads 2
    vblkctl show vda | grep -q "warning: *cache is unsafe: what the guest flushes is not stable"
    has_warning vda ""
    order fsync
    without_bats timeout "$(deadline 20)" "$top_builddir/vblkbench" "$(socket_of vda)" --rw flush --runtime 0.2
    run is_held fsync
    [ "$status" -eq 1 ]
    hangs_in fsync stopper stop vda
    release fsync
    wait_until 5 process_ended stopper
    state_is vda stopped
}

@test "start goes on while the flush of a stop is under way; the next stop flushes anew" {
    slow_disk
    hangs_in fsync stopper stop vda
    vblkctl start vda
    wait_until 5 process_ended stopper
    grep -q "started again" "$E2E_DIR/stopper.log"
    state_is vda running
    run vblkctl stop vda --timeout 0.1
    [ "$status" -eq 1 ]
    release fsync
    wait_until 5 state_is vda stopped
    vblkd_logged "vda: stopped"
    [ "$(grep -c "vda: stopped" "$E2E_DIR/vblkd.log")" -eq 1 ]
    order fsync
    vblkctl start vda
    run vblkctl remove vda --timeout 0.1
    [[ "$output" == *"still on their way to stable storage"*"the removal goes on" ]]
    state_is vda removing
    release fsync
    wait_until 5 is_gone vda
}

@test "a daemon that ends waits for a flush, and no disk for that of another" {
    slow_image 8
    start_vblkd
    add_disk vdb 1M
    vblkctl add vda "$E2E_DIR/slow/disk"
    order fsync
    process_signal vblkd TERM
    wait_until 5 is_held fsync
    wait_until 5 grep -q "vdb: closed" "$E2E_DIR/vblkd.log"
    process_runs vblkd
    release fsync
    wait_until 5 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
}

# --- another image in the place of the one that was open

# A new file of the same size, which may even have the inode number of the old one.
make_anew() {
    rm "$E2E_DIR/vda.img"
    truncate -s "$1" "$E2E_DIR/vda.img"
}

@test "start refuses an image that was made anew since the stop, unless it is told to take it" {
    start_vblkd
    add_disk vda 1M
    vblkctl stop vda
    make_anew 1M
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"image $E2E_DIR/vda.img: it is not the one that the disk had open: it is "* ]]
    [[ "$output" == *"if this one is meant: vblkctl --control $E2E_DIR/control start vda --new-image" ]]
    state_is vda stopped
    vblkctl start vda --new-image
    state_is vda running
    vblkctl stop vda
    vblkctl start vda
}

@test "start takes an image that was grown, copied into, or moved away and back meanwhile" {
    start_vblkd
    add_disk vda 1M
    vblkctl stop vda
    truncate -s 2M "$E2E_DIR/vda.img"
    vblkctl start vda
    vblkctl stop vda
    cp "$E2E_DIR/vda.img" "$E2E_DIR/backup"
    cp --sparse=always "$E2E_DIR/backup" "$E2E_DIR/vda.img"
    vblkctl start vda
    vblkctl stop vda
    mv "$E2E_DIR/vda.img" "$E2E_DIR/elsewhere.img"
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"put it back, or a symbolic link to where it is now; if it was moved: vblkctl --control $E2E_DIR/control replace vda IMAGE" ]]
    ln -s "$E2E_DIR/elsewhere.img" "$E2E_DIR/vda.img"
    vblkctl start vda
    state_is vda running
}

@test "a daemon that is started again knows the images of its disks, within one boot" {
    start_vblkd
    add_disk vda 1M
    stop_vblkd
    start_vblkd
    state_is vda running
    stop_vblkd
    make_anew 1M
    start_vblkd
    state_is vda failed
    run vblkctl list
    [[ "$output" == *"it is not the one that the disk had open"*"vblkctl --control $E2E_DIR/control start vda --new-image" ]]
    vblkctl start vda --new-image
    stop_vblkd
    make_anew 1M
    # What a reboot does to the table: it was written in another boot.
    sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$E2E_DIR/state/disks.json"
    start_vblkd
    state_is vda running
    stop_vblkd
    make_anew 1M
    start_vblkd
    state_is vda failed
}

@test "a block device is known by its number, not by its node" {
    local first second

    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools losetup
    first=$(losetup --find --show "$(image first 1M)") || skip "no loop devices"
    echo "$first" >"$E2E_DIR/loops"
    second=$(losetup --find --show "$(image second 1M)")
    echo "$second" >>"$E2E_DIR/loops"
    ln -s "$first" "$E2E_DIR/node"
    start_vblkd
    vblkctl add vda "$E2E_DIR/node"
    vblkctl stop vda
    rm "$E2E_DIR/node"
    mknod "$E2E_DIR/node" b "$((16#$(stat -c %t "$first")))" "$((16#$(stat -c %T "$first")))"
    vblkctl start vda
    vblkctl stop vda
    ln -sf "$second" "$E2E_DIR/node"
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" =~ "it is device 7:"[0-9]+", and was device 7:"[0-9]+ ]]
}

@test "who has an image is not who has a file of the same number elsewhere" {
    local dir

    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools mount
    for dir in small leaky; do
        mkdir "$E2E_DIR/$dir"
        mount -t tmpfs -o size=2m none "$E2E_DIR/$dir" || skip "may not mount"
        truncate -s 1M "$E2E_DIR/$dir/vda.img"
    done
    [ "$(stat -c %i "$E2E_DIR/small/vda.img")" = "$(stat -c %i "$E2E_DIR/leaky/vda.img")" ] ||
        skip "files of two tmpfs have different numbers here"
    # Processes are looked at in the order of their numbers, so this one comes first.
    process_start other "$BATS_TEST_DIRNAME/lock_file.py" "$E2E_DIR/small/vda.img"
    wait_until 10 grep -q locked "$E2E_DIR/other.log"
    start_vblkd
    vblkctl add vda "$E2E_DIR/leaky/vda.img" --cache writeback
    run vblkctl add vdb "$E2E_DIR/leaky/vda.img" --cache writeback
    process_signal other TERM
    [ "$status" -eq 1 ]
    [[ "$output" = *": vda, a disk of this vblkd;"* ]]
}

@test "a file is known when its file system comes back on another device" {
    local before after

    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools losetup mkfs.ext4 mount
    truncate -s 8M "$E2E_DIR/fs"
    mkfs.ext4 -q -F -I 256 "$E2E_DIR/fs" # smaller inodes do not know when they were made
    mkdir "$E2E_DIR/small"
    before=$(losetup --find --show "$E2E_DIR/fs") || skip "no loop devices"
    echo "$before" >"$E2E_DIR/loops"
    mount "$before" "$E2E_DIR/small" || skip "may not mount"
    truncate -s 1M "$E2E_DIR/small/vda.img"
    start_vblkd
    vblkctl add vda "$E2E_DIR/small/vda.img" --cache writeback
    vblkctl stop vda
    umount "$E2E_DIR/small"
    losetup --find --show "$E2E_DIR/fs" >>"$E2E_DIR/loops"
    after=$(tail -n 1 "$E2E_DIR/loops")
    [ "$before" != "$after" ]
    mount "$after" "$E2E_DIR/small"
    vblkctl start vda
    kill_vblkd
    start_vblkd
    state_is vda running
    vblkctl stop vda
    rm "$E2E_DIR/small/vda.img"
    truncate -s 1M "$E2E_DIR/small/vda.img"
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"not the one that the disk had open"* ]]
}

# --- an image that is deleted, replaced or moved while it is open

# line_that_saves DISK: what `list` advises, up to where to.
line_that_saves() {
    wait_until 5 lists "cp --sparse=always"
    grep -o "cp --sparse=always /proc/[0-9]*/fd/[0-9]*" <<<"$output"
}

# closes_told N: the log has so many that lost something.
closes_told() {
    [ "$(grep -cE "vda: closes an image that was deleted.*\(inode [0-9]+ on device [0-9]+:[0-9]+\)" \
        "$E2E_DIR/vblkd.log")" -eq "$1" ]
}

# refused_for_the_image COMMAND...: it says why, and what else can be done.
refused_for_the_image() {
    local answer code=0

    answer=$(vblkctl "$@" 2>&1) || code=$?
    [ "$code" -eq 1 ]
    [[ "$answer" == *"cp --sparse=always /proc/$(cat "$E2E_DIR/vblkd.pid")/fd/"*"/SOMEWHERE"* ]]
    [[ "$answer" == *"$E2E_DIR/vda.img); or use --force" ]]
    state_is vda running
}

@test "an image that was deleted is told, saved by the line that is given, and put back" {
    local cache line sum

    start_vblkd
    for cache in none writeback; do
        add_disk vda 8M --cache "$cache"
        bench vda --rw randwrite
        sum=$(sha256sum <"$E2E_DIR/vda.img")
        rm "$E2E_DIR/vda.img"
        wait_until 5 lists "(deleted)"
        [[ "${lines[1]}" == *"$E2E_DIR/vda.img (deleted)" ]]
        [[ "${lines[2]}" =~ ^vda:\ +the\ image\ was\ deleted,\ and\ its\ data\ is\ lost\ when ]]
        wait_until 5 has_warning vda image_deleted
        wait_until 5 fate_is vda deleted
        refused_for_the_image stop vda
        refused_for_the_image remove vda
        refused_for_the_image shutdown
        line=$(line_that_saves)
        $line "$E2E_DIR/saved"
        [ "$(sha256sum <"$E2E_DIR/saved")" = "$sum" ]
        vblkctl stop vda --force
        [[ "$(vblkctl list)" != *deleted* ]]
        mv "$E2E_DIR/saved" "$E2E_DIR/vda.img"
        run vblkctl start vda
        [ "$status" -eq 1 ]
        vblkctl start vda --new-image
        wait_until 5 has_warning vda ""
        vblkctl remove vda
    done
    wait_until 5 closes_told 2
}

@test "an image of a file system that counts no links is not taken for deleted" {
    slow_image 1
    order nolinks
    [ "$(stat -c %h "$E2E_DIR/slow/disk")" -eq 0 ]
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk"
    [ -z "$(warnings vda)" ]
    wait_until 5 fate_is vda there
    vblkctl stop vda
    vblkctl start vda
    vblkctl shutdown
    wait_until 5 process_ended vblkd
}

@test "an image that is bind-mounted and was deleted is told, and not closed" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    touch "$E2E_DIR/vda.img"
    image orig 1M
    mount --bind "$E2E_DIR/orig.img" "$E2E_DIR/vda.img" || skip "may not mount"
    start_vblkd
    vblkctl add vda "$E2E_DIR/vda.img"
    wait_until 5 has_warning vda ""
    rm "$E2E_DIR/orig.img"
    wait_until 5 has_warning vda image_deleted
    refused_for_the_image stop vda
    refused_for_the_image remove vda
    refused_for_the_image shutdown
    vblkctl stop vda --force
}

@test "an image with another one in its place is told, whether or not it has a name" {
    start_vblkd
    add_disk vda 1M --threads 2
    mv "$E2E_DIR/vda.img" "$E2E_DIR/old.img"
    truncate -s 1M "$E2E_DIR/vda.img"
    wait_until 5 has_warning vda image_replaced
    wait_until 5 lists "(replaced)"
    [[ "${lines[1]}" == *"vda.img (replaced)" ]]
    [[ "${lines[2]}" == *", or put it back: it is at $E2E_DIR/old.img ("* ]]
    refused_for_the_image stop vda
    mv "$E2E_DIR/old.img" "$E2E_DIR/vda.img"
    wait_until 5 has_warning vda ""
    vblkctl stop vda
    vblkctl start vda
    make_anew 1M
    wait_until 5 has_warning vda image_replaced
    refused_for_the_image remove vda
    vblkctl remove vda --force
}

@test "an image that was moved may be stopped; stop and start say what to do" {
    start_vblkd
    add_disk vda 1M
    mv "$E2E_DIR/vda.img" "$E2E_DIR/elsewhere.img"
    wait_until 5 has_warning vda image_moved
    run vblkctl stop vda
    [ "$status" -eq 0 ]
    [ "${lines[0]}" = "vda: stopped" ]
    [[ "${lines[1]}" == *"not at its path any more, but at $E2E_DIR/elsewhere.img: put it back, or a"* ]]
    wait_until 5 has_warning vda image_moved
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"put it back, or a symbolic link to where it is now; if it was moved: vblkctl --control $E2E_DIR/control replace vda IMAGE" ]]
    ln -s elsewhere.img "$E2E_DIR/vda.img"
    run vblkctl start vda
    [ "$output" = "vda: running" ]
    wait_until 5 has_warning vda ""
}

@test "an image that has other names alone, or is a device without a node, is told truly" {
    local inode number

    start_vblkd
    add_disk vda 1M
    ln "$E2E_DIR/vda.img" "$E2E_DIR/hard.img"
    inode=$(stat -c %i "$E2E_DIR/vda.img")
    rm "$E2E_DIR/vda.img"
    wait_until 5 lists "other name"
    [[ "${lines[2]}" == *"but at 1 other name, which 'find DIR -inum $inode' tells: put it back, "*", or let the guest write no more and save it by 'cp "* ]]
    [ "$(find "$E2E_DIR" -inum "$inode")" = "$E2E_DIR/hard.img" ]
    $(line_that_saves) "$E2E_DIR/saved"
    vblkctl stop vda
    [[ "$(vblkctl list)" != *"save it by"* ]]
    ln -s hard.img "$E2E_DIR/vda.img"
    vblkctl start vda
    ln -sf saved "$E2E_DIR/vda.img"
    rm "$E2E_DIR/hard.img" # the last: only now it is lost
    wait_until 5 lists "vda: "
    [[ "${lines[2]}" == *"the image was deleted and another one put in its place"* ]]
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools losetup
    losetup --find --show "$(image vdb 1M)" >"$E2E_DIR/loops" || skip "no loop devices"
    number=$(stat -c %Hr:%Lr "$(cat "$E2E_DIR/loops")")
    mknod "$E2E_DIR/node" b "${number%:*}" "${number#*:}"
    vblkctl add vdb "$E2E_DIR/node"
    rm "$E2E_DIR/node"
    wait_until 5 lists "the image is not at its path any more, but at device $number, of which mknod makes a node: put it back"
    vblkctl stop vdb
}

@test "a signal ends the daemon all the same, and the log says what was lost" {
    start_vblkd
    add_disk vda 1M
    rm "$E2E_DIR/vda.img"
    stop_vblkd
    grep -qE "error: vda: closes an image that was deleted, with all that is in it: $E2E_DIR/vda.img \(inode" \
        "$E2E_DIR/vblkd.log"
}

@test "vblkctl shutdown says how many images would be lost, and goes by --force" {
    start_vblkd
    add_disk vda 1M
    add_disk vdb 1M
    vblkctl add vdc null:1G
    rm "$E2E_DIR/vda.img" "$E2E_DIR/vdb.img"
    run vblkctl shutdown
    [ "$status" -eq 1 ]
    [[ "$output" =~ vd[ab]:\ the\ image\ was\ deleted.*or\ use\ --force ]]
    [[ "$output" == *"; 1 more disk would lose its image" ]]
    vblkctl shutdown --force
    wait_until 5 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
}

@test "a file system that does not answer holds up its own disk alone, and nobody waits to be told so" {
    slow_image 8
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk"
    add_disk vdb 1M
    order getattr
    timeout "$(deadline 20)" "$VBLKCTL" --control "$E2E_DIR/control" --json list >"$E2E_DIR/list"
    wait_until 5 is_held getattr
    wait_until 5 fate_is vda unknown
    rm "$E2E_DIR/vdb.img"
    wait_until 5 has_warning vdb image_deleted
    run vblkctl stop vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"the image's file system does not answer, for "*"the stop goes on, unless it would lose the image" ]]
    timeout "$(deadline 20)" "$VBLKCTL" --control "$E2E_DIR/control" remove vdb --force
    release getattr
    wait_until 5 state_is vda stopped
    vblkctl start vda
    wait_until 5 fate_is vda there
}

# replaced_slowly: vda has an image whose file system does not answer, and another one at its path.
replaced_slowly() {
    slow_image 8
    image other 8M
    ln -s "$E2E_DIR/slow/disk" "$E2E_DIR/vda.img"
    start_vblkd
    vblkctl add vda "$E2E_DIR/vda.img" --cache writeback
    order getattr
    ln -sfn "$E2E_DIR/other.img" "$E2E_DIR/vda.img"
}

@test "a stop whose file system is slow to say that the image was replaced is refused then" {
    replaced_slowly
    process_start stopper "$VBLKCTL" --control "$E2E_DIR/control" stop vda
    wait_until 5 state_is vda stopping
    run vblkctl stop vda --timeout 0.1
    [ "$status" -eq 1 ]
    [[ "$output" == *"does not answer, for "*"the stop goes on, unless it would lose the image" ]]
    release getattr
    wait_until 5 process_ended stopper
    [ "$(process_status stopper)" -eq 1 ]
    grep -q "vda: the path of the image leads to another one.*or use --force" "$E2E_DIR/stopper.log"
    vblkd_logged "error: vda: not stopped: the path of the image leads to another one"
    state_is vda running
    run grep "closes an image" "$E2E_DIR/vblkd.log"
    [ "$status" -eq 1 ]
    bench vda --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
    vblkctl stop vda --force
    vblkd_logged "vda: closes an image that is not at its path"
}

# is_kept_stopped BOOLEAN: what the state file has of the only disk.
is_kept_stopped() {
    grep -q "\"stopped\": *$1" "$E2E_DIR/state/disks.json"
}

@test "a stop that is refused after its time-out leaves a disk that runs, also when vblkd is started again" {
    replaced_slowly
    release getattr
    ln -sfn "$E2E_DIR/slow/disk" "$E2E_DIR/vda.img"
    order fsync
    run vblkctl stop vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"on their way to stable storage, for "*"the stop goes on, unless it would lose the image" ]]
    is_kept_stopped true
    ln -sfn "$E2E_DIR/other.img" "$E2E_DIR/vda.img"
    wait_until 5 has_warning vda image_replaced
    release fsync
    vblkd_logged "error: vda: not stopped: the path of the image leads to another one"
    wait_until 5 is_kept_stopped false
    state_is vda running
    ln -sfn "$E2E_DIR/slow/disk" "$E2E_DIR/vda.img"
    kill_vblkd
    start_vblkd
    state_is vda running
}

@test "a stop that is forced while another waits for the file system is not refused" {
    replaced_slowly
    process_start stopper "$VBLKCTL" --control "$E2E_DIR/control" stop vda
    wait_until 5 state_is vda stopping
    run vblkctl stop vda --force --timeout 0.1
    [ "$status" -eq 1 ]
    [[ "$output" == *"the stop goes on" ]]
    release getattr
    wait_until 5 process_ended stopper
    [ "$(process_status stopper)" -eq 0 ]
    state_is vda stopped
}

@test "remove waits for a file system that is slow, and does nothing until it has answered" {
    replaced_slowly
    run vblkctl remove vda --timeout 1.5
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: whether the image would be lost cannot be told, as its file system does not answer, for "*" s; nothing is changed; or use --force" ]]
    state_is vda running
    process_start remover "$VBLKCTL" --control "$E2E_DIR/control" remove vda
    wait_until 5 is_held getattr
    release getattr
    wait_until 5 process_ended remover
    [ "$(process_status remover)" -eq 1 ]
    grep -q "vda: the path of the image leads to another one.*or use --force" "$E2E_DIR/remover.log"
    state_is vda running
    ln -sfn "$E2E_DIR/slow/disk" "$E2E_DIR/vda.img"
    vblkctl remove vda
    is_gone vda
}

@test "vblkctl shutdown does not end over an image whose file system is slow to say what became of it" {
    replaced_slowly
    add_disk vdb 1M
    run vblkctl shutdown
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: whether the image would be lost cannot be told, as its file system does not answer, for "[1-9]*" s; or use --force" ]]
    release getattr
    wait_until 5 has_warning vda image_replaced
    run vblkctl shutdown
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: the path of the image leads to another one"*"; or use --force" ]]
    order getattr
    process_start shutdown "$VBLKCTL" --control "$E2E_DIR/control" shutdown --force
    wait_until 5 grep -q "draining all disks" "$E2E_DIR/vblkd.log"
    release getattr
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
}

needs_addresses_to_take() {
    [ -z "${E2E_SANITIZER:-}${VBLKD_WRAPPER:-}" ] || skip "needs the addresses that it takes away"
    need_tools prlimit
}

# Of vblkd: no more are to be had.
take_threads() {
    prlimit --pid "$(cat "$E2E_DIR/vblkd.pid")" --as=1000000:unlimited
}

give_threads() {
    prlimit --pid "$(cat "$E2E_DIR/vblkd.pid")" --as=unlimited:unlimited
}

# refused_for_want_of_threads COMMAND...
refused_for_want_of_threads() {
    run vblkctl "$@"
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: no thread to see whether the image would be lost; "*"or use --force" ]]
}

@test "stop, remove and shutdown do not close an image that nobody could look at" {
    needs_addresses_to_take
    # The C library keeps smaller stacks of threads that have ended for the next.
    VBLKD_WRAPPER="prlimit --stack=67108864" start_vblkd
    add_disk vda 1M
    add_disk vdb 1M
    take_threads
    vblkctl stop vdb --force # its own thread closes it
    state_is vdb stopped
    rm "$E2E_DIR/vda.img"
    refused_for_want_of_threads stop vda
    refused_for_want_of_threads remove vda
    refused_for_want_of_threads shutdown
    give_threads
    state_is vda running
    refused_for_the_image shutdown
    vblkctl stop vda --force
}

# connect_to DISK: a front-end that says nothing, until the disk ends; its log is front.log.
connect_to() {
    export -f wait_for_end
    # shellcheck disable=SC2016 # for the other shell
    process_start front bash -c 'wait_for_end "$1"' bash "$(socket_of "$1")"
    wait_until 5 is_connected "$1"
}

is_connected() {
    [ "$(vblkctl --json show "$1" | json_members client)" != None ]
}

wait_for_end() {
    python3 -c '
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
print("ended" if link.recv(1) == b"" else "data", flush=True)' "$1"
}

# start_vblkd_with_heirloom: it inherits a listening socket of somebody else, at $E2E_DIR/heirloom.
start_vblkd_with_heirloom() {
    cat >"$E2E_DIR/bequeath.py" <<'END'
import os, socket, sys
heirloom = socket.socket(socket.AF_UNIX)
heirloom.bind(sys.argv[1])
heirloom.listen()
heirloom.set_inheritable(True)
os.execvp(sys.argv[2], sys.argv[2:])
END
    VBLKD_WRAPPER="python3 $E2E_DIR/bequeath.py $E2E_DIR/heirloom ${VBLKD_WRAPPER:-}" start_vblkd
}

# Others who have it listen there as well.
heirloom_listens() {
    python3 -c '
import socket, sys
socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$E2E_DIR/heirloom"
}

@test "remove refuses a disk in use at once, also while its file system does not answer" {
    slow_disk
    connect_to vda
    order getattr
    run timeout "$(deadline 20)" "$VBLKCTL" --control "$E2E_DIR/control" remove vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: in use by "* ]]
    release getattr
}

@test "a disk that waits for its file system says in which call" {
    slow_disk --engine aio
    order write
    process_start writer "$top_builddir/vblkbench" "$(socket_of vda)" --allow-write --rw write \
        --runtime 0.1
    wait_until 5 is_held write
    run vblkctl show vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"it waits in io_submit, most likely for $E2E_DIR/slow/disk (state "[DS]" in /proc/"* ]]
    release write
    wait_until 10 process_ended writer
    [ "$(process_status writer)" -eq 0 ]
}

@test "an image that does not close holds up neither its disk's answers nor another disk" {
    slow_disk
    add_disk vdb 1M
    hangs_in flush stopper stop vda
    run vblkctl stop vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: all requests are answered, but its image is still being closed, for "*"; the stop goes on; remove --force ends the disk instead after its time-out" ]]
    vblkctl show vda | grep -q "its image is being closed"
    state_is vda stopping
    vblkctl stats vda >/dev/null
    vblkctl set vda threads=2
    bench vdb --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
    process_start starter "$VBLKCTL" --control "$E2E_DIR/control" start vda
    release flush
    wait_until 10 process_ended stopper
    [ "$(process_status stopper)" -eq 0 ]
    wait_until 10 process_ended starter
    [ "$(process_status starter)" -eq 0 ]
    state_is vda running
    [ "$(vblkctl set vda | grep "^threads")" = threads=2 ]
}

@test "a disk whose image does not close goes by force" {
    slow_disk
    hangs_in flush remover remove vda
    run vblkctl remove vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"is still being closed, for "*"; the removal goes on; "* ]]
    state_is vda removing
    run vblkctl remove vda --force --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but its image may be in use until its file system answers"* ]]
    wait_until 5 process_ended remover
    grep -q "it was done, but" "$E2E_DIR/remover.log"
    is_gone vda
    vblkctl add vda null:1G
    release flush
    wait_until 10 vblkctl add vdb "$E2E_DIR/slow/disk" --cache writeback
}

@test "a daemon that ends does not wait for an image that does not close" {
    slow_disk
    add_disk vdb 1M
    order flush
    process_signal vblkd TERM
    vblkd_logged "vda: does not wait any longer for its image to be closed"
    vblkd_logged "all disks drained, ended"
    release flush
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
    start_vblkd
    state_is vda running
}

@test "a shutdown names the image that it does not wait for" {
    slow_disk
    order flush
    run vblkctl shutdown
    [ "$status" -eq 0 ]
    [[ "$output" == *"vblkctl: the image $E2E_DIR/slow/disk may be in use until its file system answers"* ]]
    [[ "$output" == *", has ended"* ]]
    release flush
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
}

@test "a daemon that is killed while an image does not close has its disk afterwards" {
    slow_disk
    hangs_in flush stopper stop vda
    process_signal vblkd KILL
    release flush
    wait_until 10 process_ended vblkd
    start_vblkd
    state_is vda running # nobody was told that it is stopped
    vblkctl stop vda
}

@test "a daemon that cannot end, as a file system does not answer, lets go of all the rest" {
    slow_image 8
    start_vblkd_with_heirloom
    vblkctl add vda "$E2E_DIR/slow/disk" --cache writeback
    add_disk vdb 1M
    connect_to vda
    hangs_in fsync stopper stop vda
    process_signal vblkd TERM
    wait_until 10 grep -q "vdb: closed" "$E2E_DIR/vblkd.log"
    process_signal vblkd TERM
    vblkd_logged "told to end for the second time, ending without waiting"
    wait_until 5 grep -q ended "$E2E_DIR/front.log"
    second_vblkd
    process_runs vblkd # the kernel keeps it until the file system answers
    heirloom_listens
    vblkctl show vdb | grep -q running
    vblkctl stop vdb
    release fsync
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 1 ]
    process_signal second TERM
    wait_until 20 process_ended second
    [ "$(process_status second)" -eq 0 ]
    rm "$E2E_DIR/vblkd.pid" # it has ended as it should
}

@test "a disk whose image does not open is shown and removed, and holds up no end" {
    slow_disk
    vblkctl stop vda
    hangs_in open starter start vda
    vblkctl show vda | grep -q "its image is being opened"
    run vblkctl stop vda --timeout 0.2
    [[ "$output" == *"vda: "*"its image is still being opened, for "*"; the stop goes on; remove --force ends the disk instead after its time-out" ]]
    wait_until 5 process_ended starter
    grep -q "vda: stopped before its image was open" "$E2E_DIR/starter.log"
    run vblkctl remove vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but its image may be in use until its file system answers"* ]]
    is_gone vda
    add_disk vdb 1M
    process_signal vblkd TERM
    vblkd_logged "all disks drained, ended"
    release open
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
    rm "$E2E_DIR/vblkd.pid" # it has ended as it should
}

@test "a start that hangs leaves its disk's threads, statistics and other disks alone" {
    slow_disk
    add_disk vdb 1M
    vblkctl stop vda
    hangs_in open starter start vda
    vblkctl set vda threads=2
    vblkctl stats vda >/dev/null
    bench vdb --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
    release open
    wait_until 10 process_ended starter
    [ "$(process_status starter)" -eq 0 ]
    [ "$(vblkctl --json show vda | json_members thread_ids | tr -cd , | wc -c)" -eq 1 ]
    bench vda --rw randwrite --queues 2
    grep -q IOPS "$E2E_DIR/bench.log"
}

# add_slowly REQUEST OPTION...: vda, of which the file system does not answer this request.
add_slowly() {
    hangs_in "$1" adder add vda "${@:2}"
}

# adder_failed TEXT
adder_failed() {
    wait_until 10 process_ended adder
    [ "$(process_status adder)" -eq 1 ]
    grep -q "$1" "$E2E_DIR/adder.log"
}

@test "a disk that is added on a file system that does not answer is shown, and holds up nobody" {
    slow_image 8
    start_vblkd
    add_disk vdb 1M
    add_slowly open "$E2E_DIR/slow/disk" --cache writeback
    state_is vda opening
    vblkctl show vda | grep -q "its image is being opened"
    vblkctl list | grep -q "^vda *opening  *- "
    [ "$(field vda size logical_block_size)" = "None None" ]
    vblkctl stats vda >/dev/null
    vblkctl stats >/dev/null
    run vblkctl set vda threads=2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it is being added, and its image is not open yet"* ]]
    run vblkctl stop vda
    [[ "$output" == *"it is being added"* ]]
    run vblkctl add vda null:1G
    [[ "$output" == *"there is a disk of that name already"* ]]
    bench vdb --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
    release open
    wait_until 10 process_ended adder
    [ "$(process_status adder)" -eq 0 ]
    state_is vda running
    bench vda --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
}

is_deleted() {
    grep -q "deleted $1" "$E2E_DIR/slow_fs.log"
}

@test "a disk that is removed while it is added takes back the image that is made for it later" {
    slow_image 8
    start_vblkd
    add_slowly create "$E2E_DIR/slow/new" --create --size 1M
    run vblkctl remove vda --timeout 0.2
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but its image may be in use until its file system answers"* ]]
    [[ "$output" == *"$E2E_DIR/slow/new"* ]]
    adder_failed "vda: it was removed before its image was open"
    is_gone vda
    vblkctl add vda null:1G
    release create
    wait_until 10 is_deleted new
    vblkctl add vdb "$E2E_DIR/slow/new" --create --size 1M --cache writeback
}

@test "a daemon that ends does not wait for a disk that is added, nor has it afterwards" {
    slow_image 8
    start_vblkd
    add_disk vdb 1M
    add_slowly open "$E2E_DIR/slow/disk" --cache writeback
    vblkctl shutdown
    adder_failed "vda: the daemon is ending, the disk was not added"
    vblkd_logged "all disks drained, ended"
    release open
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
    start_vblkd
    is_gone vda
    state_is vdb running
}

@test "a daemon that is killed while a disk is added does not have it afterwards" {
    slow_image 8
    start_vblkd
    add_disk vdb 1M
    add_slowly open "$E2E_DIR/slow/disk" --cache writeback
    process_signal vblkd KILL
    release open
    wait_until 10 process_ended vblkd
    start_vblkd
    is_gone vda
    state_is vdb running
    vblkctl add vda "$E2E_DIR/slow/disk" --cache writeback
}

@test "an image for which there is no room is not left behind" {
    slow_image 8
    start_vblkd
    order full
    run vblkctl add vda "$E2E_DIR/slow/new" --create --size 1M --cache writeback
    [ "$status" -eq 1 ]
    [[ "$output" == *"cannot make image $E2E_DIR/slow/new 1048576 bytes long: No space left on device"* ]]
    is_deleted new
    is_gone vda
    release full
    vblkctl add vda "$E2E_DIR/slow/new" --create --size 1M --cache writeback
    state_is vda running
}

@test "a file system that does not answer holds up no front-end of another disk" {
    slow_disk
    add_disk vdb 1M
    order flush # as a close of the image asks for
    bench vdb --rw randread
    grep -q IOPS "$E2E_DIR/bench.log"
    run is_held flush
    [ "$status" -eq 1 ]
    release flush
}

# open_in_time COMMAND...: vblkctl, which shall not wait for what hangs.
open_in_time() {
    timeout "$(deadline 20)" "$VBLKCTL" --control "$E2E_DIR/control" "$@"
}

@test "a loop device whose file does not answer holds up no disk that is not on it" {
    local other slow

    slow_image 8
    need_tools losetup
    slow=$(losetup --find --show "$E2E_DIR/slow/disk") || skip "no loop devices"
    echo "$slow" >"$E2E_DIR/loops"
    other=$(losetup --find --show "$(image vdc 1M)")
    echo "$other" >>"$E2E_DIR/loops"
    start_vblkd
    add_disk vda 1M
    add_disk vdb 1M --cache writeback
    vblkctl stop vdb
    image vdd 1M
    order getattr
    run open_in_time add vdc "$E2E_DIR/vdc.img"
    [ "$status" -eq 1 ]
    [[ "$output" == *"in use: $other is attached to it"* ]]
    open_in_time start vdb
    open_in_time add vdd "$E2E_DIR/vdd.img"
    vblkd_logged "warn: image $E2E_DIR/vdd.img: $slow does not answer, not looked at"
    process_signal vblkd TERM
    vblkd_logged "all disks drained, ended"
    second_vblkd
    state_is vda running
    state_is vdb running
    release getattr
    wait_until 10 process_ended vblkd # the kernel kept it until the file system answered
    [ "$(process_status vblkd)" -eq 0 ]
    run vblkctl add vde "$E2E_DIR/slow/disk"
    [ "$status" -eq 1 ]
    [[ "$output" == *"in use: $slow is attached to it"* ]]
    process_signal second TERM
    wait_until 20 process_ended second
    [ "$(process_status second)" -eq 0 ]
}

# fail_first_flush DISK: a stop that does not wait for its flush, which fails when fsync is released.
fail_first_flush() {
    order fsync
    order fail-once
    run vblkctl stop "$1" --timeout 0.2
    [ "$status" -eq 1 ]
    wait_until 5 is_held fsync "$2"
}

@test "a flush that failed is told by whoever closes the image, though others came after it" {
    slow_image 8
    start_vblkd
    vblkctl add vda "$E2E_DIR/slow/disk" --cache none || skip "no O_DIRECT on FUSE here"
    fail_first_flush vda 1
    vblkctl start vda
    release fsync
    vblkd_logged "error: vda: a flush failed at .*Input/output error"
    run vblkctl stop vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: it was done, but a flush failed at "*"Input/output error"* ]]
    vblkctl start vda
    fail_first_flush vda 2
    process_start remover "$VBLKCTL" --control "$E2E_DIR/control" remove vda --force
    wait_until 5 state_is vda removing
    release fsync
    wait_until 10 process_ended remover
    [ "$(process_status remover)" -eq 1 ]
    grep -q "vda: it was done, but a flush failed at .*Input/output error" "$E2E_DIR/remover.log"
}

# has_room FILE: it is allocated, as far as its file system tells.
has_room() {
    [ $(($(stat -c %b "$1") * 512)) -ge "$(stat -c %s "$1")" ]
}

@test "the room of a new file is taken when that is asked for" {
    start_vblkd
    vblkctl add vda "$E2E_DIR/falloc" --create --size 8M --preallocation falloc
    vblkctl add vdb "$E2E_DIR/full" --create --size 8M --preallocation full --cache writeback
    vblkctl add vdc "$E2E_DIR/off" --create --size 8M --preallocation off
    has_room "$E2E_DIR/falloc"
    has_room "$E2E_DIR/full"
    ! has_room "$E2E_DIR/off" || false
    cmp -n $((8 << 20)) "$E2E_DIR/full" /dev/zero
    run vblkctl add vdd "$E2E_DIR/full" --preallocation full
    [ "$status" -eq 2 ]
    [[ "$output" == *"--preallocation: goes with a new file only"* ]]
    run vblkctl add vdd "$E2E_DIR/huge" --create --size 1000T --preallocation falloc
    [ "$status" -eq 1 ]
    [ ! -e "$E2E_DIR/huge" ]
    kill_vblkd
    start_vblkd
    [ "$(field vda state)" = running ]
}

@test "an addition tells how much of its new file is allocated, and its removal ends that" {
    slow_image 8
    start_vblkd
    add_slowly fsync "$E2E_DIR/slow/new" --create --size 96M --preallocation full --cache writeback
    vblkctl list | grep -q "^vda: *its image is being opened: 32505856 of 100663296 bytes are allocated"
    process_start remover "$VBLKCTL" --control "$E2E_DIR/control" remove vda
    adder_failed "vda: it was removed before its image was open"
    release fsync
    wait_until 10 process_ended remover
    [ "$(process_status remover)" -eq 0 ]
    is_gone vda
    wait_until 10 is_deleted new
    add_slowly fsync "$E2E_DIR/slow/new" --create --size 96M --preallocation full --cache writeback
    process_signal adder TERM
    wait_until 10 state_is vda opening
    release fsync
    adder_failed "interrupted: the disk is not added, and its file is deleted"
    is_gone vda
    [ ! -e "$E2E_DIR/slow/new" ]
    add_slowly fsync "$E2E_DIR/slow/new" --create --size 96M --preallocation full --cache writeback
    process_signal vblkd TERM
    release fsync
    wait_until 20 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
    [ ! -e "$E2E_DIR/slow/new" ]
}
