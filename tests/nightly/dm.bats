#!/usr/bin/env bats
#
# vblkd in a guest whose kernel has what hosts may lack: a device of the device mapper, of which a part
# fails until it is mended.  Nightly (scripts/check dm).

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
SECTORS=32768 # of the device; eight in the middle fail

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
    need_tools dmsetup mkfs.ext4
}

teardown() {
    e2e_teardown
}

# tools FILE: a file system with the programs, their libraries and the module.
tools() {
    local root=$E2E_DIR/tools module program

    mkdir -p "$root"/{bin,dev,proc,sys,tmp}
    module=$(find "$(dirname "$E2E_KERNEL")/lib/modules" -name 'dm-mod.ko*' -print -quit)
    case $module in
        *.ko) cp "$module" "$root/dm-mod.ko" ;;
        *.xz) xz -dc "$module" >"$root/dm-mod.ko" ;;
        *) skip "no module dm-mod in $(dirname "$E2E_KERNEL")" ;;
    esac
    for program in "$VBLKD" "$VBLKCTL" "$VBLKBENCH" "$(command -v dmsetup)"; do
        cp "$program" "$root/bin/"
        ldd "$program" | grep -o '/[^ ]*' | xargs -I '{}' cp -L --parents '{}' "$root"
    done
    truncate -s 128M "$1"
    mkfs.ext4 -q -F -d "$root" "$1"
}

# inside COMMAND: among the tools.
inside() {
    guest_run a "chroot /mnt $1"
}

inside_is() {
    inside "/bin/vblkctl --control /tmp/control --json show bad" | json_members iostatus | grep -qx "$1"
}

ctl() {
    inside "/bin/vblkctl --control /tmp/control $*"
}

# use_table TEXT: from now on.
use_table() {
    guest_run a "printf '$1' | chroot /mnt /bin/dmsetup load bad &&
        chroot /mnt /bin/dmsetup --noudevsync suspend bad &&
        chroot /mnt /bin/dmsetup --noudevsync resume bad"
}

write_all() {
    guest_bg a bench "exec chroot /mnt /bin/vblkbench /tmp/bad.sock --rw randrw --bs 64k --iodepth 16 \
        --queues 2 --runtime 8 --verify --allow-write"
}

@test "a device that fails is waited for until it is mended, or reported" {
    local half=$((SECTORS / 2)) broken whole

    broken="0 $half linear /dev/vdb 0\n$half 8 error\n"
    broken+="$((half + 8)) $((half - 8)) linear /dev/vdb $((half + 8))\n"
    whole="0 $SECTORS linear /dev/vdb 0\n"
    tools "$E2E_DIR/tools.img"
    guest_start a --smp 2 --memory 512M --drive "$E2E_DIR/tools.img" --drive "$(image medium 16M)"
    guest_run a "mount -t ext4 /dev/vda /mnt && insmod /mnt/dm-mod.ko"
    guest_run a "for dir in dev proc sys; do mount -o bind /\$dir /mnt/\$dir || exit; done"
    guest_run a "printf '$broken' | chroot /mnt /bin/dmsetup --noudevsync --noudevrules create bad"
    inside "/bin/dmsetup mknodes"
    guest_bg a vblkd "exec chroot /mnt /bin/vblkd --control /tmp/control --socket-dir /tmp --state-dir /tmp/state"
    wait_until 20 ctl ping
    ctl add bad /dev/mapper/bad --threads 2 --on-read-error stop --on-write-error stop
    write_all
    wait_until 60 inside_is failed
    use_table "$whole"
    ctl start bad
    guest_bg_wait a bench
    inside_is ok
    use_table "$broken"
    ctl set bad on-read-error=report on-write-error=report
    write_all
    run guest_bg_wait a bench
    [ "$status" -ne 0 ]
    inside_is ok
    guest_stop a
}
