#!/usr/bin/env bats
#
# The project's own front-end and drivers against a real vblkd: in one process (client_load.c),
# and in the bare-metal guest under QEMU.

load ../lib/e2e

CLIENT_LOAD=${CLIENT_LOAD:-$top_builddir/tests/client-load}
BARE=${BARE:-$top_builddir/tests/guest/bare/bare}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# load_start DISK QUEUES SECONDS RETURNS
load_start() {
    local disk=$1

    [ -x "$CLIENT_LOAD" ] || skip "no client-load at $CLIENT_LOAD"
    shift
    process_start load "$CLIENT_LOAD" "$(socket_of "$disk")" "$@"
    wait_until 10 grep -q '^CLIENT' "$E2E_DIR/load.log"
}

load_ended_well() {
    wait_until 30 process_ended load
    cat "$E2E_DIR/load.log"
    grep -q '^CLIENT OK' "$E2E_DIR/load.log"
}

# bare_runs DISK QUEUES DEVICE-PROPERTY WORD...: the guest, until it powers off.
bare_runs() {
    local disk=$1 queues=$2 property=$3

    [ -f "$BARE" ] || skip "no bare-metal guest at $BARE"
    need_tools qemu-system-x86_64
    shift 3
    run timeout "$(deadline 120)" qemu-system-x86_64 -nodefaults -no-user-config -display none \
        -machine pc,accel=tcg,memory-backend=mem -m 64M \
        -object memory-backend-memfd,id=mem,size=64M,share=on \
        -chardev "socket,id=disk,path=$(socket_of "$disk")" \
        -device "vhost-user-blk-pci,chardev=disk,num-queues=$queues,$property" \
        -serial stdio -no-reboot -kernel "$BARE" -append "queues=$queues $*" </dev/null
    echo "$output"
    grep -q '^BARE OK' <<<"$output"
}

@test "front-end and driver keep a disk busy on two rings" {
    start_vblkd
    add_disk vda 16M --queues 2
    load_start vda 2 1 0
    load_ended_well
    [ "$(stat_of vda requests.write.errors requests.read.errors invalid)" = "0 0 0" ]
}

@test "daemon leaves in order and returns under load, the front-end waits" {
    start_vblkd
    add_disk vda 16M --queues 2
    load_start vda 2 1 2
    stop_vblkd
    start_vblkd
    wait_until 20 stat_reaches vda requests.write.requests 100
    stop_vblkd
    start_vblkd
    load_ended_well
    grep -q 'reconnects=2' "$E2E_DIR/load.log"
}

# load_outlives KILLS [packed]
load_outlives() {
    local i

    start_vblkd
    add_disk vda 16M --queues 2
    load_start vda 2 1 "$@"
    for ((i = 0; i < $1; i++)); do
        wait_until 20 stat_reaches vda requests.write.requests 100
        kill_vblkd
        start_vblkd
    done
    load_ended_well
    grep -q "reconnects=$1" "$E2E_DIR/load.log"
}

@test "daemon is killed under load, the front-end loses no request" {
    load_outlives 3
}

@test "daemon is killed under load, the front-end loses no request of packed rings" {
    load_outlives 3 packed
}

@test "an image that has grown reaches the front-end" {
    start_vblkd
    add_disk vda 16M
    load_start vda 1 600 0
    vblkctl stop vda
    truncate -s 32M "$E2E_DIR/vda.img"
    vblkctl start vda
    wait_until 20 grep -q '^CLIENT SECTORS 65536' "$E2E_DIR/load.log"
    process_signal load TERM
    load_ended_well
    grep -q 'sectors=65536' "$E2E_DIR/load.log"
}

@test "bare-metal guest: virtio-pci modern, MSI-X, two queues" {
    start_vblkd
    add_disk vda 16M --queues 2
    bare_runs vda 2 disable-legacy=on transport=pci requests=20000
}

@test "bare-metal guest: virtio-pci modern, INTx" {
    start_vblkd
    add_disk vda 16M
    bare_runs vda 1 disable-legacy=on transport=pci irq=intx requests=20000
}

@test "bare-metal guest: packed rings, by messages and by the line" {
    start_vblkd
    add_disk vda 16M --queues 2
    bare_runs vda 2 disable-legacy=on,packed=on transport=pci packed=on requests=20000
    bare_runs vda 1 disable-legacy=on,packed=on transport=pci packed=on irq=intx requests=5000
}

@test "bare-metal guest: virtio-pci legacy, MSI-X, two queues" {
    start_vblkd
    add_disk vda 16M --queues 2
    bare_runs vda 2 disable-modern=on transport=pci-legacy requests=20000
}

@test "bare-metal guest: virtio-pci legacy, INTx" {
    start_vblkd
    add_disk vda 16M
    bare_runs vda 1 disable-modern=on transport=pci-legacy irq=intx requests=20000
}
