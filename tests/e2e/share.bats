#!/usr/bin/env bats
#
# Images that several disks have at once: those that share the same bytes.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

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

# refused TEXT ARGUMENT...
refused() {
    local expected=$1

    shift
    run vblkctl "$@"
    [ "$status" -ne 0 ]
    [[ "$output" == *"$expected"* ]] || { echo "$output" && false; }
}

# load_begins DISK OPTION...: a load that checks what it reads, until it is told to end.
load_begins() {
    # shellcheck disable=SC2154 # e2e.bash sets it
    process_start "load-$1" "$top_builddir/vblkbench" "$(socket_of "$1")" --allow-write --verify \
        --rw randrw --bs 8k --iodepth 8 --runtime 600 "${@:2}"
    wait_until 20 stat_reaches "$1" requests.write.requests 200
}

load_ends() {
    process_signal "load-$1" INT
    wait_until 20 process_ended "load-$1"
    [ "$(process_status "load-$1")" -eq 0 ] || { cat "$E2E_DIR/load-$1.log" && false; }
}

# qemu_takes FILE [OPTION]: QEMU has a guest's disk of it, until that does not run.
qemu_takes() {
    echo '{"execute": "qmp_capabilities"} {"execute": "quit"}' |
        timeout 60 qemu-system-x86_64 -S -nodefaults -display none -qmp stdio \
            -device "virtio-blk-pci,drive=d$2" -drive "if=none,id=d,format=raw,file=$1" >/dev/null 2>&1
}

@test "an image is shared by disks and QEMU, if all share it" {
    local file

    file=$(image vda 16M)
    start_vblkd
    vblkctl add vda "$file" --shareable --threads 2
    refused "image $file is in use by another disk or program that reads or writes it: vda, a disk of this vblkd" \
        add vdb "$file"
    refused "guests that share it by a cluster file system need --shareable, all of them" add vdb "$file"
    refused "image $file is in use by another disk or program that writes it: vda" add vdb "$file" --readonly
    refused "does not go with shareable and --cache writeback" \
        add vdb "$file" --shareable --incoming --cache writeback
    vblkctl add vdb "$file" --shareable
    vblkctl add vdc "$file" --shareable --readonly
    vblkctl show vda | grep -q "^shareable: *yes$"
    load_begins vda --size 8M
    load_begins vdb --offset 8M
    if type qemu-system-x86_64 >/dev/null 2>&1; then
        run qemu_takes "$file"
        [ "$status" -ne 0 ]
        qemu_takes "$file" ,share-rw=on
    fi
    load_ends vda
    load_ends vdb
    kill_vblkd
    start_vblkd
    for disk in vda vdb vdc; do
        [ "$(field "$disk" state image.shareable)" = "running True" ]
    done
    vblkctl remove vda
    vblkctl add vda "$file" --shareable
    vblkctl stop vdb
    vblkctl remove vda
    vblkctl remove vdc
    vblkctl add vda "$file"
    refused "the other one has to share it, too: --shareable, share-rw=on of QEMU" start vdb
    vblkctl remove vda
    vblkctl start vdb
}
