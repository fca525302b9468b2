#!/usr/bin/env bats
#
# User Mode Linux as a front-end: its driver virtio_uml speaks vhost-user by itself, without KVM.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    need_tools linux.uml cpio debugfs e2fsck
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_teardown
}

# The guest of the other tests, with UML's module in the place of theirs.
uml_initramfs() {
    local module

    module=$(find /usr/lib/uml/modules -name virtio_blk.ko | head -n 1)
    [ -n "$module" ] || skip "no virtio_blk among the modules of linux.uml"
    mkdir -p "$E2E_DIR/uml/modules"
    cp "$module" "$E2E_DIR/uml/modules/"
    echo virtio_blk.ko >"$E2E_DIR/uml/modules/order"
    (cd "$E2E_DIR/uml" && find modules | cpio --quiet -o -H newc -R 0:0) |
        cat "$E2E_INITRAMFS" - >"$E2E_DIR/uml.initramfs"
}

# uml_start SOCKET...: a guest of that name, whose disks are in this order.
uml_start() {
    local socket disks=()

    cp "$(type -P true)" "$E2E_DIR/true"
    "$E2E_DIR/true" || skip "linux.uml may not map code in $E2E_DIR"
    uml_initramfs
    for socket in "$@"; do
        disks+=("virtio_uml.device=$socket:2")
    done
    TMPDIR=$E2E_DIR process_start uml "$E2E_GUEST/umlrun" "$E2E_DIR/uml.agent" linux.uml \
        "uml_dir=$E2E_DIR/" mem=256M "initrd=$E2E_DIR/uml.initramfs" con=null con0=null,fd:1 \
        ssl0=null,fd:1 console=ttyS0 quiet panic=-1 "${disks[@]}"
    wait_until 20 guest_listens uml
    guest_wait uml 120 || ! grep ptrace "$E2E_DIR/uml.log" || skip "linux.uml may not trace here"
    process_runs uml
}

# After it has halted, UML 6.1 may yet fall over its own timer (irq_enter_rcu, a panic): how it
# ends is no matter of ours.
uml_stop() {
    guest_run uml 'sync; poweroff -f' 20 2>/dev/null || true
    wait_until 20 process_ended uml
}

# sum_on_host DISK FILE: of a file in the file system on the disk's image.
sum_on_host() {
    e2fsck -fn "$E2E_DIR/$1.img" >/dev/null 2>&1 || return
    debugfs -R "dump $2 $E2E_DIR/dumped" "$E2E_DIR/$1.img" 2>/dev/null
    sha256sum "$E2E_DIR/dumped" | cut -d ' ' -f 1
}

@test "virtio_uml makes a file system and writes, through a stop and a start" {
    local sum

    add_disk vda 64M
    uml_start "$(socket_of vda)"
    guest_run uml 'mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt'
    # shellcheck disable=SC2016 # $i is the guest's
    guest_bg uml writer 'for i in $(seq 40); do
        dd if=/dev/urandom of=/mnt/part.$i bs=64k count=4 conv=fsync 2>/dev/null || exit 1; done'
    for _ in 1 2 3; do
        wait_until 20 stat_reaches vda kicks 1
        vblkctl stop vda
        vblkctl start vda
    done
    guest_bg_wait uml writer 120
    guest_run uml 'cat /mnt/part.* >/mnt/whole && sync'
    sum=$(guest_sha256 uml /mnt/whole)
    guest_run uml 'umount /mnt'
    guest_dmesg_clean uml
    uml_stop
    [ "$(sum_on_host vda /whole)" = "$sum" ]
}

# It resets a device by disabling its rings and nothing else.
@test "virtio_uml's driver may be unbound and bound again" {
    local sum

    add_disk vda 64M
    uml_start "$(socket_of vda)"
    guest_run uml 'mkfs.ext4 -q /dev/vda'
    for _ in 1 2 3; do
        guest_run uml 'mount -t ext4 /dev/vda /mnt && dd if=/dev/urandom of=/mnt/file bs=64k count=16 \
            2>/dev/null && umount /mnt'
        guest_run uml 'cd /sys/bus/virtio/drivers/virtio_blk && echo virtio0 >unbind &&
            echo virtio0 >bind'
    done
    guest_run uml 'mount -t ext4 /dev/vda /mnt'
    sum=$(guest_sha256 uml /mnt/file)
    guest_run uml 'umount /mnt'
    guest_dmesg_clean uml
    uml_stop
    [ "$(sum_on_host vda /file)" = "$sum" ]
}

@test "virtio_uml has two disks, one of them read-only" {
    add_disk vda 16M
    image vdb 16M >/dev/null
    echo content | dd of="$E2E_DIR/vdb.img" conv=notrunc status=none
    vblkctl add vdb "$E2E_DIR/vdb.img" --readonly --serial SECOND
    uml_start "$(socket_of vda)" "$(socket_of vdb)"
    [ "$(guest_run uml 'head -n 1 /dev/vdb')" = content ]
    [ "$(guest_run uml 'cat /sys/block/vdb/serial')" = SECOND ]
    run guest_run uml 'dd if=/dev/zero of=/dev/vdb bs=4k count=1 2>&1'
    [ "$status" -ne 0 ]
    guest_run uml 'dd if=/dev/zero of=/dev/vda bs=4k count=1 conv=fsync'
    uml_stop
}
