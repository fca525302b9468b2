#!/usr/bin/env bats
#
# Images that are no raw disks: refused by name when they are added, and never looked at again.

load ../lib/e2e

setup() {
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_teardown
}

# refused TEXT ARGUMENT...: vblkctl ends with 1 and says TEXT.
refused() {
    ends_with 1 "$@"
}

ends_with() {
    local wanted=$1 text=$2

    shift 2
    run vblkctl "$@"
    if [ "$status" -ne "$wanted" ] || [[ "$output" != *"$text"* ]]; then
        echo "$*: status $status, $output"
        return 1
    fi
}

# looks_like NAME FORMAT [OPTIONS]: refused as NAME, on every way that add has.
looks_like() {
    local file=$E2E_DIR/$1.$2
    local quoted=$file

    qemu-img create -q -f "$2" ${3:+-o "$3"} "$file" 10M
    refused "image $file is in $1 format" add vda "$file"
    [[ $file != *" "* ]] || quoted="'$file'"
    refused "qemu-img convert -O raw $quoted NEW" add vda "$file" --cache writeback
    refused "--format raw" add vda "$file" --readonly
}

@test "images of other formats are refused by name" {
    need_tools qemu-img
    looks_like qcow qcow
    looks_like qcow2 qcow2
    looks_like qcow2 qcow2 compat=0.10
    looks_like QED qed
    looks_like VMDK vmdk
    looks_like VMDK vmdk subformat=monolithicFlat
    looks_like VDI vdi
    looks_like VHDX vhdx
    looks_like VHD vpc
    looks_like "VHD (fixed)" vpc subformat=fixed
    looks_like Parallels parallels
    [ "$(vblkctl --json list | json_members disks)" = '[]' ]
}

@test "an image that was converted is served" {
    need_tools qemu-img
    qemu-img create -q -f qcow2 "$E2E_DIR/vda.qcow2" 10M
    qemu-img convert -O raw "$E2E_DIR/vda.qcow2" "$E2E_DIR/vda.img"
    vblkctl add vda "$E2E_DIR/vda.img"
}

@test "a new qcow2 image is not called a raw one of odd size" {
    need_tools qemu-img
    qemu-img create -q -f qcow2 -o cluster_size=512,preallocation=off "$E2E_DIR/vda.img" 100
    truncate -s 200001 "$E2E_DIR/vda.img"
    refused "is in qcow2 format" add vda "$E2E_DIR/vda.img"
}

@test "a compressed image is refused" {
    local file=$E2E_DIR/vda.img

    need_tools gzip
    head -c 1M /dev/urandom | gzip >"$file"
    truncate -s 2M "$file"
    refused "image $file is compressed (gzip)" add vda "$file"
}

@test "with --format raw an image is what its bytes are, and stays so" {
    local file=$E2E_DIR/vda.img

    need_tools qemu-img
    qemu-img create -q -f qcow2 "$file" 10M
    truncate -s 1M "$file"
    vblkctl add vda "$file" --format raw
    vblkctl stop vda
    vblkctl start vda
    stop_vblkd
    start_vblkd
    [ "$(vblkctl --json show vda | json_members state image.format)" = "running raw" ]
}

@test "what a guest has written is not looked at" {
    local file

    file=$(image vda 1M)
    vblkctl add vda "$file"
    vblkctl stop vda
    printf 'QFI\xfb\0\0\0\3' | dd of="$file" conv=notrunc status=none
    vblkctl start vda
    stop_vblkd
    start_vblkd
    [ "$(vblkctl --json show vda | json_members state image.format)" = "running raw" ]
    vblkctl remove vda
    refused "is in qcow2 format" add vda "$file"
}

@test "a LUKS header is warned of when the disk is added, and served" {
    local file

    file=$(image vda 1M)
    printf 'LUKS\xba\xbe\0\2' | dd of="$file" conv=notrunc status=none
    run vblkctl add vda "$file"
    [ "$status" -eq 0 ]
    [[ "$output" == *"warning: the image begins with a LUKS header"* ]]
    vblkd_logged "warn: vda: the image begins with a LUKS header.*($file)"
    [ "$(vblkctl --json list | json_members disks | grep -c encrypted)" -eq 0 ]
    vblkctl remove vda
    run vblkctl add vda "$file" --format raw
    [[ "$output" != *warning* ]]
}

@test "formats that there are not" {
    ends_with 2 '--format: "qcow2" is not allowed, must be one of "raw"' \
        add vda "$(image vda 1M)" --format qcow2
    ends_with 2 '--format: goes with type "file" only' add vda null:1G --format raw
    vblkctl add vda "$E2E_DIR/new.img" --create --size 1M --format raw
}
