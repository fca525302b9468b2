#!/usr/bin/env bats
#
# Power cuts: what a guest's file system did to its image is logged, and the image made as a cut at
# any point of the log might leave it.
#
# POWERCUT_POINTS   how many points, default 8; if it is said, other cache modes are tried as well
# POWERCUT_SYNCS    how many files the guest syncs meanwhile, default 8
# POWERCUT_SEED     default by the clock; it is printed

load ../lib/e2e

POINTS=${POWERCUT_POINTS:-8}
SYNCS=${POWERCUT_SYNCS:-8}

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
    need_tools mkfs.ext4 e2fsck debugfs
    SEED=${POWERCUT_SEED:-$(date +%s%N)}
    mkdir "$E2E_DIR/logs"
    export VBLKD_IO_LOG=$E2E_DIR/logs
    # Synced files, a file that is renamed over the last one, and what nobody has synced.
    # shellcheck disable=SC2016 # for the guest
    LOAD='disk=$1 dir=/tmp/$1 i=0
        mkdir -p $dir && mount -t ext4 -o commit=1 /dev/$disk $dir || exit 1
        (n=0
        while [ ! -e /tmp/stop ]; do
            n=$((n + 1)) d=$dir/noise$((n % 8))
            rm -rf $d; mkdir $d; seq $((n * 50)) >$d/a; cp $d/a $d/b; mv $d/b $d/c; : >$d/a; usleep 3000
        done) &
        while [ ! -e /tmp/stop ]; do
            i=$((i + 1)) file=f$i
            dd if=/dev/urandom of=$dir/$file bs=700 count=$((i * 7 % 50 + 1)) conv=fsync 2>/dev/null || exit 1
            set -- $(md5sum $dir/$file)
            echo "synced $disk $file $1" >/dev/ttyS0
            yes $i | head -n $((i * 13 % 900 + 1)) | dd of=$dir/next conv=fsync 2>/dev/null
            mv $dir/next $dir/current && sync
            echo "renamed $disk current $i" >/dev/ttyS0
        done
        wait; umount $dir'
}

teardown() {
    e2e_teardown
}

# disk_with NAME [OPTION...]: on a new file system, of which a copy stays.
disk_with() {
    local file

    file=$(image "$1" 24M)
    mkfs.ext4 -q -F -b 1024 -J size=4 -E lazy_itable_init=0,lazy_journal_init=0 "$file"
    cp --sparse=always "$file" "$E2E_DIR/$1.before"
    vblkctl add "$1" "$file" "${@:2}"
}

have_synced() {
    local disk

    for disk in "$@"; do
        [ "$("$E2E_TESTS/e2e/powercut.py" notes "$VBLKD_IO_LOG/$disk.iolog")" -ge $((2 * SYNCS)) ] || return
    done
}

# load_disks NAME...: in one guest.
load_disks() {
    local disk words=()

    for disk in "$@"; do
        words+=(--disk "$(socket_of "$disk"),queues=2")
    done
    guest_start a --smp 2 "${words[@]}"
    process_start notes "$E2E_TESTS/e2e/powercut.py" follow "$E2E_DIR/a.console" "$VBLKD_IO_LOG"
    for disk in "$@"; do # the guest calls them the same
        guest_bg a "$disk" "sh -c '$LOAD' load $disk"
    done
    wait_until 300 have_synced "$@"
    guest_run a "touch /tmp/stop"
    for disk in "$@"; do
        guest_bg_wait a "$disk"
    done
    process_signal notes TERM
    wait_until 20 process_ended notes
}

# check_disk NAME [--lost]
check_disk() {
    "$E2E_TESTS/e2e/powercut.py" check "$VBLKD_IO_LOG/$1.iolog" "$E2E_DIR/$1.before" "$POINTS" "$SEED" "${@:2}" >&3
}

@test "after a power cut all is there that the guest has synced, and the test finds it when it is not" {
    local disk disks=(vda)

    start_vblkd
    disk_with vda --cache none --threads 2
    disk_with vdb --cache unsafe --queues 2
    if [ -n "${POWERCUT_POINTS:-}" ]; then
        disk_with vdc --cache writeback --threads 2
        disk_with vdd --cache directsync --threads 2
        disk_with vde --cache writethrough --queues 2
        disks+=(vdc vdd vde)
        load_disks vda vdb vdc vdd vde
    else
        load_disks vda vdb
    fi
    for disk in "${disks[@]}"; do
        check_disk "$disk"
    done
    POINTS=1000 check_disk vdb --lost
}

# written DISK: by a driver that never flushes.
written() {
    # shellcheck disable=SC2154 # e2e.bash sets it
    without_bats timeout "$(deadline 30)" "$top_builddir/vblkbench" "$(socket_of "$1")" --allow-write \
        --rw randwrite --bs 4k --iodepth 8 --queues 2 --runtime 0.3
}

@test "what was not flushed is stable when the disk is stopped or removed, or ends with its daemon" {
    local disk

    start_vblkd
    add_disk vda 16M --cache writeback --threads 2
    add_disk vdb 16M --cache none --threads 2
    add_disk vdc 16M --cache writeback --threads 2
    for disk in vda vdb vdc; do
        written "$disk"
    done
    vblkctl stop vda
    vblkctl remove vdb
    stop_vblkd
    for disk in vda vdb vdc; do
        "$E2E_TESTS/e2e/powercut.py" closed "$VBLKD_IO_LOG/$disk.iolog" >&3
    done
}
