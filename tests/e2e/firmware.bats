#!/usr/bin/env bats
#
# SeaBIOS has a virtio driver of its own, which polls and uses small rings; and the legacy
# interface, where the guest's own page layout and byte order rules apply.

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# boot_image NAME: FAT with syslinux, kernel and initramfs; mtools, as a loop mount needs root.
# Without a partition table: a master boot record makes way for the next boot sector at the same
# address.  Emulating QEMU does not see vblkd write there and would run the old translation.
boot_image() {
    local file

    file=$(image "$1" 128M)
    mkfs.fat -F 32 "$file" >/dev/null
    syslinux --install "$file"
    printf '%s\n' 'DEFAULT linux' 'LABEL linux' 'KERNEL vmlinuz' 'INITRD initrd' \
        "APPEND $(guest_kernel_options) booted-from=$1" >"$E2E_DIR/syslinux.cfg"
    mcopy -i "$file" "$E2E_DIR/syslinux.cfg" ::syslinux.cfg
    mcopy -i "$file" "$(dirname "$E2E_KERNEL")/vmlinuz" ::vmlinuz
    mcopy -i "$file" "$E2E_INITRAMFS" ::initrd
}

# boots_from_disk INTERFACE
boots_from_disk() {
    local loaded

    need_tools syslinux mcopy mkfs.fat
    boot_image vda
    start_vblkd
    vblkctl add vda "$E2E_DIR/vda.img"
    guest_start a --firmware --disk "$(socket_of vda),$1,bootindex=1"
    guest_run a 'cat /proc/cmdline' | grep 'booted-from=vda'
    loaded=$(stat -c %s "$(dirname "$E2E_KERNEL")/vmlinuz")
    [ "$(stat_of vda requests.read.bytes)" -gt "$loaded" ]
    guest_run a 'blkverify write --offset 120M --size 4M /dev/vda'
    guest_run a 'blkverify verify --offset 120M --size 4M /dev/vda'
    guest_dmesg_clean a
}

# linux_cycle INTERFACE: make a file system, fill it, check it, and count blocks by their stamps.
linux_cycle() {
    start_vblkd
    add_disk vda 64M
    guest_start a --disk "$(socket_of vda),$1"
    guest_run a 'blkverify write /dev/vda && blkverify verify /dev/vda'
    guest_run a 'mkfs.ext4 -q /dev/vda && mount -t ext4 /dev/vda /mnt'
    guest_run a 'dd if=/dev/urandom of=/mnt/file bs=1M count=8 2>/dev/null'
    sum=$(guest_sha256 a /mnt/file)
    guest_run a sync
    guest_reboot a
    guest_run a 'mount -t ext4 /dev/vda /mnt'
    [ "$(guest_sha256 a /mnt/file)" = "$sum" ]
    guest_run a 'umount /mnt && e2fsck -f -n /dev/vda'
    guest_dmesg_clean a
    guest_stop a
}

@test "SeaBIOS boots a guest from a modern disk" {
    boots_from_disk modern
}

@test "SeaBIOS boots a guest from a legacy disk" {
    boots_from_disk legacy
}

@test "Linux uses a disk by the legacy interface" {
    linux_cycle legacy
}

@test "Linux uses a disk by the modern interface" {
    linux_cycle modern
}
