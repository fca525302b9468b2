#!/usr/bin/env bats
#
# Images that several disks have at once: those that share the same bytes, and ranges of one.

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

load ../lib/e2e

setup_file() {
    e2e_setup_file
}

setup() {
    e2e_setup
}

teardown() {
    local device

    e2e_end_vblkd || true
    while read -r device; do
        losetup --detach "$device" || true
    done < <(cat "$E2E_DIR/loops" 2>/dev/null)
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
    refused "vda: its image is shared, and others may use what would be cut" resize vda 8M --shrink
    [ "$(stat -c %s "$file")" -eq $((16 << 20)) ]
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

# sum_of FILE FIRST COUNT: of sectors.
sum_of() {
    dd if="$1" bs=512 skip="$2" count="$3" status=none | md5sum
}

@test "disks are ranges of one file, side by side, and nothing of it is in anybody's way" {
    local file before behind

    file=$E2E_DIR/both.img
    head -c 20M /dev/urandom >"$file"
    before=$(sum_of "$file" 0 2048)
    behind=$(sum_of "$file" 34816 6144)
    start_vblkd
    vblkctl add left "$file" --offset 1M --length 8M --threads 2
    vblkctl add right "$file" --offset 9M --length 8M
    [ "$(field left size image.offset image.length)" = "8388608 1048576 8388608" ]
    vblkctl show left | grep -q "^range: *8M from byte 1048576 of the image on$"
    refused "image $file (bytes 8388608 to 9437183 of it) is in use by another disk or program that reads or writes it: left" \
        add vda "$file" --offset 8M --length 1M
    refused "in use by another disk" add vda "$file"
    refused "in use by another disk" add vda "$file" --readonly
    refused "has 20971520 bytes, and the disk is bytes 18874368 to 23068671 of it" \
        add vda "$file" --offset 18M --length 4M
    refused "the disk begins at byte 20971520" add vda "$file" --offset 20M
    refused "is no multiple of 512" add vda "$file" --offset 1000
    refused "does not go with a new file" add vda "$E2E_DIR/new" --create --size 4M --offset 1M
    load_begins left
    load_begins right
    if type qemu-system-x86_64 >/dev/null 2>&1; then
        run qemu_takes "$file"
        [ "$status" -ne 0 ]
        run qemu_takes "$file" ,share-rw=on
        [ "$status" -ne 0 ]
    fi
    load_ends left
    load_ends right
    kill_vblkd
    start_vblkd
    for disk in left right; do
        [ "$(field "$disk" state size)" = "running 8388608" ]
        vblkctl stop "$disk"
        vblkctl start "$disk"
    done
    discards left
    discards right
    vblkctl add odd "$file" --offset 1536 --length 64K --readonly --cache writeback
    [ "$(field odd alignment_offset physical_block_size)" = "2560 4096" ]
    vblkctl remove odd
    vblkctl add first "$file" --offset 0 --length 1M --readonly
    vblkctl add rest "$file" --offset 17M --readonly
    [ "$(field rest size)" -eq $((3 << 20)) ]
    stop_vblkd
    [ "$(sum_of "$file" 0 2048)" = "$before" ]
    [ "$(sum_of "$file" 34816 6144)" = "$behind" ]
    [ "$(stat -c %s "$file")" -eq $((20 << 20)) ]
    truncate -s 16M "$file"
    start_vblkd
    [ "$(field left state)" = running ]
    [ "$(field right state)" = failed ]
    vblkctl list | grep -q "right: .*has 16777216 bytes, and the disk is bytes 9437184 to 17825791 of it"
    truncate -s 24M "$file"
    vblkctl start right
    [ "$(field right size)" -eq 8388608 ]
    vblkctl stop right
    cp --sparse=always "$file" "$E2E_DIR/copy.img"
    vblkctl replace right "$E2E_DIR/copy.img"
    vblkctl start right
    [ "$(field right size image.offset)" = "8388608 9437184" ]
    vblkctl eject right
    vblkctl insert right "$E2E_DIR/copy.img"
    [ "$(field right size image.offset image.length)" = "25165824 0 0" ]
}

# discards DISK: all of it, up to its edges.
discards() {
    without_bats timeout "$(deadline 20)" "$top_builddir/vblkbench" "$(socket_of "$1")" --allow-write --rw discard \
        --bs 64k --iodepth 4 --runtime 0.3
}

@test "ranges of a device are disks, and its mount is in the way of all" {
    local device

    [ "$(id -u)" -eq 0 ] || skip "needs root for loop devices"
    [ -e /dev/loop-control ] || skip "needs loop devices"
    device=$(losetup --find --show "$(image vda 8M)") || skip "no loop device"
    echo "$device" >"$E2E_DIR/loops"
    start_vblkd
    vblkctl add left "$device" --length 4M
    vblkctl add right "$device" --offset 4M
    [ "$(field right size)" -eq $((4 << 20)) ]
    refused "in use by another disk or program that reads or writes it: right, a disk of this vblkd" \
        add vda "$device" --offset 6M
    refused "in use by another disk" add vda "$E2E_DIR/vda.img" --length 1M
    kill_vblkd
    start_vblkd
    [ "$(field left state) $(field right state)" = "running running" ]
    vblkctl remove left
    vblkctl remove right
    vblkctl add vda "$device"
    refused "cannot claim image $device" add left "$device" --length 4M
}

# hold DISK: a front-end that sends one write and stays.
hold() {
    process_start "hold-$1" "$top_builddir/tests/frontend-hold" "$(socket_of "$1")" 1
}

# state_is DISK STATE
state_is() {
    [ "$(field "$1" state)" = "$2" ]
}

@test "a guest that is migrated here waits for its range, and not for those beside it" {
    local file

    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold"
    file=$(image both 4M)
    start_vblkd
    vblkctl add left "$file" --length 1M
    vblkctl add there "$file" --offset 1M --length 1M
    vblkctl add here "$file" --offset 1M --length 1M --incoming
    refused "has 4194304 bytes, and the disk is bytes" add vda "$file" --offset 4M --length 1M --incoming
    state_is here waiting
    hold here
    has_reason() { vblkctl list | grep -q "^here: .*in use by another disk or program that reads or writes it: there, a disk"; }
    wait_until 10 has_reason
    vblkctl remove there
    wait_until 10 state_is here running
    wait_until 10 grep -q "status 0" "$E2E_DIR/hold-here.log"
    state_is left running
    process_signal hold-here KILL
    wait_until 10 process_ended hold-here
}
