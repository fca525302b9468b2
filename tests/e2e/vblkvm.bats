#!/usr/bin/env bats
#
# vblkvm: guests under KVM on vblkd's disks.  The bare-metal guest runs on any /dev/kvm, also on one
# that only interprets; Linux runs one level down, in a QEMU which emulates a processor of AMD.
#
# VBLKVM            the program, default $top_builddir/vblkvm
# VBLKVM_BARE       the bare-metal guest, default $top_builddir/tests/guest/bare/bare
# VBLKVM_REQUESTS   of each long run of it, default 100000; where KVM only interprets, 100000 of one
#                   run and 5000 of the others; with a VBLKD_WRAPPER 5000
# VBLKVM_SUITE      of Debian, with a newer kernel, default bookworm-backports
# E2E_SANITIZER     not empty: the programs have one, leave out what would take too long

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose
# shellcheck disable=SC2016 # for other shells

load ../lib/e2e

VBLKVM=${VBLKVM:-$top_builddir/vblkvm}
BARE=${VBLKVM_BARE:-$top_builddir/tests/guest/bare/bare}

setup() {
    [ -x "$VBLKVM" ] || skip "no vblkvm at $VBLKVM"
    need_tools python3
    e2e_setup
}

teardown() {
    e2e_teardown
}

need_kvm() {
    if ! [ -r /dev/kvm ] || ! [ -w /dev/kvm ]; then
        skip "no /dev/kvm"
    fi
    [ -e "$BARE" ] || skip "no bare-metal guest at $BARE"
}

# requests [WHERE_KVM_INTERPRETS]: a processor's own KVM does 100000 in seconds.
requests() {
    if [ -n "${VBLKVM_REQUESTS:-}" ]; then
        echo "$VBLKVM_REQUESTS"
    elif [ -n "${VBLKD_WRAPPER:-}" ]; then
        echo 5000
    elif [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; then
        echo 100000
    else
        echo "${1:-5000}"
    fi
}

vblkvm() {
    without_bats "$VBLKVM" --control "$E2E_DIR/control" "$@" </dev/null
}

# vm_start NAME ARGUMENT...: in the background; its output is NAME.log.
vm_start() {
    local name=$1

    shift
    process_start "$name" "$VBLKVM" --control "$E2E_DIR/control" "$@"
}

# bare_start NAME TRANSPORT QUEUES WORD...: the guest on vda, words of its command line behind.  It
# has no ACPI, so it is told where the first virtio-mmio disk is.  With packed=on the disk has to
# have such rings as well.
bare_start() {
    local name=$1 transport=$2 queues=$3 more=''

    shift 3
    [[ " $* " != *" packed=on "* ]] || more=,packed=on
    [[ $transport != mmio* ]] || set -- "$@" virtio_mmio.device=4K@0xc0000000:5
    vm_start "$name" --kernel "$BARE" --memory 64M --exit-stats \
        --disk "vda,transport=$transport,queues=$queues$more" \
        --append "transport=${transport/mmio-legacy/mmio} queues=$queues $*"
}

bare_ends() {
    wait_until "${2:-60}" process_ended "$1"
    grep -q 'BARE OK' "$E2E_DIR/$1.log"
    [ "$(process_status "$1")" -eq 0 ]
}

# word LOG NAME: the value of NAME=VALUE in the guest's last line.
word() {
    sed -n "s/.*BARE OK.* $2=\([0-9]*\).*/\1/p" "$E2E_DIR/$1.log"
}

# left LOG KIND...: how often the guest was left for that.
left() {
    local log=$1

    shift
    sed -n "s/^exits $* \([0-9]*\)$/\1/p" "$E2E_DIR/$log.log"
}

# bare_run TRANSPORT QUEUES [REQUESTS_WHERE_KVM_INTERPRETS]
# With messages nothing leaves the guest per request: only set-up and what it prints.
bare_run() {
    local count kicks interrupts

    need_kvm
    count=$(requests "${@:3}")
    start_vblkd
    add_disk vda 64M
    bare_start vm "$1" "$2" "requests=$count"
    bare_ends vm 900
    [ "$(word vm requests)" -ge "$count" ]
    read -r kicks interrupts < <(stat_of vda kicks interrupts)
    [ "$(left vm notify vda)" -eq 0 ]
    [ "$kicks" -ge "$(word vm kicks)" ] && [ "$kicks" -gt 0 ]
    [ "$(word vm interrupts)" -gt 0 ] && [ "$interrupts" -gt 0 ]
    if [ "$(word vm msix)" -eq 1 ]; then
        [ "$(left vm memory)" -lt 400 ]
        [ "$(left vm port)" -lt 2000 ]
    fi
}

@test "virtio-pci modern, one queue: no kick and no interrupt passes the launcher" {
    bare_run pci 1
}

@test "virtio-pci modern, two queues" {
    bare_run pci 2 100000
}

@test "virtio-pci legacy, one queue" {
    bare_run pci-legacy 1
}

@test "virtio-pci legacy, two queues" {
    bare_run pci-legacy 2
}

@test "virtio-mmio, one queue" {
    bare_run mmio 1
}

@test "virtio-mmio, two queues" {
    bare_run mmio 2
}

@test "virtio-mmio version 1" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm mmio-legacy 2 requests=2000
    bare_ends vm
    [ "$(left vm notify vda)" -eq 0 ]
}

@test "virtio-mmio disks are announced by ACPI alone, so that no kernel finds one twice" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    vm_start vm --kernel "$BARE" --memory 64M --disk vda,transport=mmio --append transport=mmio
    wait_until 30 process_ended vm
    grep -q 'no virtio-mmio disk' "$E2E_DIR/vm.log"
}

@test "the interrupt line rises again for what came before it was acknowledged" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm pci 2 requests=3000 irq=intx
    bare_ends vm
    bare_start vm pci-legacy 1 requests=3000 irq=intx
    bare_ends vm
    [ "$(left vm notify vda)" -eq 0 ]
}

@test "a driver resets one queue after the other, and goes on" {
    local transport

    need_kvm
    start_vblkd
    add_disk vda 64M --queues 2
    for transport in pci mmio; do
        bare_start vm "$transport" 2 requests=2000 resets=9
        bare_ends vm
        [ "$(word vm requests)" -ge 2000 ]
    done
    bare_start vm pci 2 requests=1000 resets=9 irq=intx
    bare_ends vm
    [ "$(stat_of vda invalid)" -eq 0 ]
}

@test "packed rings by messages, by the line and by virtio-mmio, and a driver that resets its queues" {
    local words

    need_kvm
    start_vblkd
    add_disk vda 64M --queues 2 --threads 2
    for words in 'pci 2' 'pci 1 irq=intx' 'mmio 2'; do
        # shellcheck disable=SC2086 # words
        bare_start vm $words requests=3000 resets=3 packed=on
        bare_ends vm
        [ "$(word vm packed)" -eq 1 ]
        [ "$(word vm requests)" -ge 3000 ]
        [ "$(left vm notify vda)" -eq 0 ]
    done
    [ "$(stat_of vda invalid)" -eq 0 ]
}

@test "packed rings that are asked for and not there are an error, and else are not missed" {
    need_kvm
    start_vblkd
    add_disk vda 64M --packed off
    refused "vda: the back-end does not offer packed rings" --kernel "$BARE" --disk vda,packed=on
    bare_start vm pci 1 requests=100
    bare_ends vm
    [ "$(word vm packed)" -eq 0 ]
}

# killed_under_guest WORD...: the daemon, again and again, with two queues and two threads.
killed_under_guest() {
    local i

    need_kvm
    start_vblkd
    add_disk vda 64M --queues 2 --threads 2
    bare_start vm pci 2 requests=1000000000 timeout=60000 "$@"
    for ((i = 0; i < 4; i++)); do
        wait_until 20 stat_reaches vda requests.write.requests 10
        kill_vblkd
        start_vblkd
    done
    wait_until 20 stat_reaches vda requests.write.requests 10
    process_signal vm TERM
    wait_until 30 process_ended vm
    run grep 'BARE FAIL' "$E2E_DIR/vm.log"
    [ "$status" -eq 1 ]
    [ "$(grep -c 'vda: back' "$E2E_DIR/vm.log")" -eq 4 ]
}

@test "the daemon is killed under load, and the guest misses nothing" {
    killed_under_guest
}

@test "the daemon is killed under load of packed rings, and the guest misses nothing" {
    killed_under_guest packed=on
}

@test "stop and start under load: the guest just waits" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm pci 2 requests=6000
    for round in 1 2 3; do
        wait_until 30 stat_reaches vda kicks $((round * 50))
        vblkctl stop vda
        [ "$(stat_of vda inflight)" -eq 0 ]
        vblkctl start vda
    done
    bare_ends vm
}

@test "a daemon's restart takes no guest along" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm pci 2 requests=6000 resize=262144
    wait_until 30 stat_reaches vda kicks 50
    stop_vblkd
    start_vblkd
    wait_until 30 grep -q 'vda: back' "$E2E_DIR/vm.log"
    vblkctl stop vda
    truncate -s 128M "$E2E_DIR/vda.img"
    vblkctl start vda
    bare_ends vm
}

@test "a guest's end takes no disk along" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm pci 1 requests=100000000
    wait_until 30 stat_reaches vda kicks 20
    process_signal vm KILL
    wait_until 5 process_ended vm
    bare_start vm pci 1 requests=500
    bare_ends vm
}

@test "a disk that grows is seen" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    bare_start vm pci 1 requests=500 resize=262144
    wait_until 30 stat_reaches vda kicks 20
    vblkctl stop vda
    truncate -s 128M "$E2E_DIR/vda.img"
    vblkctl start vda
    bare_ends vm
}

# --- ways to end

# code_image FILE BYTE...: a bzImage whose 64-bit entry is these bytes.
code_image() {
    python3 - "$@" <<'END'
import struct, sys
image = bytearray(0x400 + 0x200) + bytes(int(b, 16) for b in sys.argv[2:]) + bytes(0x4000)
image[0x1f1] = 1
struct.pack_into("<H", image, 0x1fe, 0xaa55)
image[0x200:0x202] = b"\xeb\x66"
struct.pack_into("<4sH", image, 0x202, b"HdrS", 0x020f)
image[0x211] = 1
struct.pack_into("<I", image, 0x214, 0x100000)
struct.pack_into("<I", image, 0x22c, 0x7fffffff)
struct.pack_into("<H", image, 0x236, 1)
struct.pack_into("<I", image, 0x238, 255)
struct.pack_into("<QI", image, 0x258, 0x100000, 0x10000)
open(sys.argv[1], "wb").write(image)
END
}

@test "power off and reset end with status 0, a triple fault says what it is" {
    need_kvm
    code_image "$E2E_DIR/off" 66 ba 04 06 66 b8 00 20 66 ef f4
    run vblkvm --kernel "$E2E_DIR/off"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    code_image "$E2E_DIR/keyboard" b0 fe e6 64 f4
    run vblkvm --kernel "$E2E_DIR/keyboard"
    [ "$status" -eq 0 ]
    code_image "$E2E_DIR/cf9" 66 ba f9 0c b0 06 ee f4
    run vblkvm --kernel "$E2E_DIR/cf9"
    [ "$status" -eq 0 ]
    code_image "$E2E_DIR/fault" 0f 0b
    run vblkvm --kernel "$E2E_DIR/fault"
    [ "$status" -eq 1 ]
    [[ $output == *"triple fault"* ]] || [[ $output == *"cannot go on"* ]]
}

# KVM cuts it at the page: one byte before the window, seven in it.
@test "8 bytes that begin before the bus's configuration are read and written" {
    need_kvm
    code_image "$E2E_DIR/edge" 48 a1 ff ff ff c7 00 00 00 00 48 a3 ff ff ff c7 00 00 00 00 \
        66 ba 04 06 66 b8 00 20 66 ef f4
    run vblkvm --kernel "$E2E_DIR/edge"
    echo "$output"
    [ "$status" -eq 0 ] && [ -z "$output" ]
}

@test "the terminal is restored, however it ends" {
    need_kvm
    code_image "$E2E_DIR/loop" eb fe
    code_image "$E2E_DIR/off" 66 ba 04 06 66 b8 00 20 66 ef f4
    start_vblkd
    vblkctl add vda null:64M,delay-ms=60000
    without_bats python3 "$E2E_TESTS/e2e/vblkvm_terminal.py" "$VBLKVM" "$E2E_DIR/loop" \
        "$E2E_DIR/off" "$VBLKCTL --control $E2E_DIR/control --json stats vda" --kernel "$BARE" --memory 64M --control "$E2E_DIR/control" --disk vda \
        --append "timeout=600000"
    kill_vblkd
}

# A guest with a request that is not answered for a minute.  Who runs the tests may have signals
# ignored, as nohup and a shell's background do.
hung_guest() {
    need_kvm
    start_vblkd
    vblkctl add vda null:64M,delay-ms=60000
    process_start vm env --default-signal=HUP,INT "$VBLKVM" --control "$E2E_DIR/control" \
        --kernel "$BARE" --memory 64M --disk vda --append "timeout=600000"
    wait_until 30 stat_reaches vda inflight 1
}

@test "a disk that does not answer: the user is told, and a second signal gives up" {
    hung_guest
    process_signal vm TERM
    wait_until 10 grep -q 'waiting for the requests in flight of vda; another signal gives up' \
        "$E2E_DIR/vm.log"
    process_runs vm
    process_signal vm HUP
    wait_until 5 process_ended vm
    [ "$(process_status vm)" -eq 1 ]
    grep -q '^vblkvm: ended by signal TERM; gave up waiting for the requests in flight of vda$' \
        "$E2E_DIR/vm.log"
    kill_vblkd
}

@test "two signals at once need not wait to be told" {
    hung_guest
    process_signal vm TERM
    process_signal vm HUP
    wait_until 5 process_ended vm
    [ "$(process_status vm)" -eq 1 ]
    grep -q 'ended by signal [A-Z]*; gave up' "$E2E_DIR/vm.log"
    kill_vblkd
}

@test "under nohup it outlives the terminal" {
    need_kvm
    code_image "$E2E_DIR/loop" eb fe
    process_start vm nohup "$VBLKVM" --kernel "$E2E_DIR/loop" --memory 16M \
        --console "$E2E_DIR/console"
    wait_until 10 test -e "$E2E_DIR/console"
    process_signal vm HUP
    process_signal vm TERM
    wait_until 10 process_ended vm
    grep -q 'ended by signal TERM$' "$E2E_DIR/vm.log"
}

@test "a console can be a file" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    run vblkvm --kernel "$BARE" --memory 64M --disk vda --append 'requests=100' \
        --console "$E2E_DIR/console"
    [ "$status" -eq 0 ] && [ -z "$output" ]
    grep -q 'BARE OK' "$E2E_DIR/console"
}

# --- bad input

# refused TEXT ARGUMENT...: one line that says TEXT, with one hint at most, status 1.
refused() {
    local text=$1

    shift
    run vblkvm "$@"
    echo "$output"
    [ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ] && [[ $output == "vblkvm: "*"$text"* ]] &&
        [[ $output != *";"*";"* ]]
}

@test "what is no kernel is refused" {
    need_kvm
    : >"$E2E_DIR/empty"
    refused "No such file" --kernel "$E2E_DIR/none"
    refused "too short" --kernel "$E2E_DIR/empty"
    refused "is not a bzImage" --kernel "$VBLKVM"
    refused "is a directory, not a regular file" --kernel "$E2E_DIR"
    mkfifo "$E2E_DIR/fifo"
    refused "is a FIFO, not a regular file" --kernel "$E2E_DIR/fifo"
    refused "is a FIFO, not a regular file" --kernel "$BARE" --initrd "$E2E_DIR/fifo"
    refused "No such file" --kernel "$BARE" --initrd "$E2E_DIR/none"
    refused "command line" --kernel "$BARE" --append "$(printf '%3000s' x)"
}

@test "more memory than the processors reach, or the host has, is refused with a sentence" {
    need_kvm
    [ -z "${E2E_SANITIZER:-}" ] || skip "a sanitizer takes more than the limit"
    run bash -c 'ulimit -v 1000000 && exec "$@"' - "$VBLKVM" --kernel "$BARE" --memory 8T </dev/null
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot give the guest 8T of memory: "*"; give less by --memory" ]]
}

@test "too little memory is refused with how much it takes" {
    need_kvm
    truncate -s 64M "$E2E_DIR/initrd"
    refused "give at least --memory" --kernel "$BARE" --initrd "$E2E_DIR/initrd" --memory 64M
    refused "give at least --memory" --kernel "$BARE" --initrd "$E2E_DIR/initrd" --memory 2M
}

@test "a disk that is not there, or not free, is refused" {
    need_kvm
    refused "no vblkd answers on $E2E_DIR/control" --kernel "$BARE" --disk vda
    [[ $output == *"vblkd --control $E2E_DIR/control"*"other"*"--control"* ]]
    start_vblkd
    add_disk vda 64M
    refused 'no disk is named "vdx"' --kernel "$BARE" --disk vdx
    [[ $output == *"see vblkctl --control $E2E_DIR/control list" ]]
    refused "cannot connect to $E2E_DIR/none.sock" --kernel "$BARE" --disk "$E2E_DIR/none.sock"
    [[ $output == *"start the back-end"* ]]
    refused "queues" --kernel "$BARE" --disk vda,queues=64
    bare_start vm pci 1 requests=100000000
    wait_until 30 stat_reaches vda kicks 1
    refused "is taken by process" --kernel "$BARE" --disk vda
    refused "closed the connection" --kernel "$BARE" --disk "$(socket_of vda)"
    [[ $output == *"another front-end"* ]]
    process_signal vm TERM
    wait_until 10 process_ended vm
    [ "$(process_status vm)" -eq 1 ]
    grep -q 'ended by signal TERM' "$E2E_DIR/vm.log"
    # All that was refused has let go.
    vblkctl --json show vda | python3 -c 'import json, sys; assert not json.load(sys.stdin)["client"]'
}

@test "a back-end that goes away or hangs at the start is refused" {
    need_kvm
    start_vblkd
    add_disk vda 64M
    kill_vblkd
    refused "cannot connect to $E2E_DIR/vda.sock" --kernel "$BARE" --disk "$(socket_of vda)"
    [[ $output == *"start the back-end"* ]]
    refused "no vblkd answers" --kernel "$BARE" --disk vda
    start_vblkd
    process_signal vblkd STOP
    refused "no answer to GET_FEATURES within 5000 ms" --kernel "$BARE" --disk "$(socket_of vda)"
    [[ $output == *"may hang"* ]]
    process_signal vblkd CONT
}

# As root is to files of others, without what makes it root.
setpriv_vblkvm() {
    setpriv --bounding-set=-dac_override,-dac_read_search "$PROGRAM" "$@"
}

@test "a socket that is not ours to use is refused" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_kvm
    need_tools setpriv
    start_vblkd
    add_disk vda 64M
    chown 65534 "$(socket_of vda)"
    export PROGRAM=$VBLKVM
    VBLKVM=setpriv_vblkvm
    refused "Permission denied" --kernel "$BARE" --disk "$(socket_of vda)"
    [[ $output == *"user"* ]]
}

@test "wrong options are explained" {
    local bad

    for bad in '--kernel' '--memory 1' '--memory 12Q' '--memory 1P' '--memory 8193G' '--cpus 0' '--cpus 65' '--disk ,queues=1' \
        '--disk a,queues=0' '--disk a,transport=isa' '--disk a,b=c' '--disk a,packed=maybe' \
        '--disk a,packed=on,transport=pci-legacy' '--disk a,transport=mmio-legacy,packed=on' 'word'; do
        # shellcheck disable=SC2086 # words
        run vblkvm --kernel x $bad
        [ "$status" -eq 2 ]
        [ -n "$output" ]
    done
    run vblkvm
    [ "$status" -eq 2 ] && [[ $output == *"--kernel is missing"* ]]
}

@test "without /dev/kvm it says what to do" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    unshare --mount true 2>/dev/null || skip "cannot unshare mounts"
    cp "$VBLKVM" "$E2E_DIR/vblkvm"
    run unshare --mount sh -c 'mount -t tmpfs none /dev && exec "$1" --kernel x' - "$VBLKVM"
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot open /dev/kvm"*"kvm_intel"* ]]
    need_kvm
    need_tools setpriv
    [ "$(stat -c %a /dev/kvm)" = 600 ] || skip "everybody may use /dev/kvm"
    chmod 755 "$E2E_DIR"
    run setpriv --reuid=65534 --clear-groups "$E2E_DIR/vblkvm" --kernel x
    echo "$output"
    [ "$status" -eq 1 ]
    [[ $output == *"cannot open /dev/kvm: Permission denied"*"group kvm"* ]]
}

# --- Linux, one level down

inner_says() {
    guest_run outer "grep -q -e '^nested: $1' -e '^nested: failed' /run/console ||
        { [ -s /run/vm.pid ] && ! kill -0 \$(cat /run/vm.pid); }"
}

# inner_reaches TEXT SECONDS
inner_reaches() {
    wait_until "$2" inner_says "$1"
    guest_run outer "cat /run/console.err; tail -n 15 /run/console; grep -q '^nested: $1' /run/console"
}

outer_ctl() {
    guest_run outer "vblkctl --control /run/control $*"
}

outer_stat_reaches() {
    local value

    value=$(outer_ctl --json stats "$1" | json_members "$2") && [ "$value" -ge "$3" ]
}

# The disks of the inner guest lie on the host: two files in a file system on the outer guest's
# vda, and its vdb as it is.  Nothing of the outer guest's page cache is between.
#
# One processor outside, which runs the two inside in turn: with two, QEMU 7.2 at times goes on
# with what it translated of code that the other processor has patched since, and a kernel, of
# either guest, dies of a breakpoint that is no longer there.  It also loses the flags at
# cmpxchg16b, which Linux 6.12 allocates memory with.
outer_start() {
    mkfs.ext4 -q "$(image outer 64M)"
    E2E_INITRAMFS=$E2E_DIR/nested guest_start outer --cpu EPYC,-cx16 --memory 1G \
        --drive "$E2E_DIR/outer.img" --drive "$(image vdb 16M)"
    guest_run outer 'cd /nested/modules && while read -r m; do insmod $m || exit 1; done <order
        mkdir /disks /run/state && mount -t ext4 /dev/vda /disks
        truncate -s 16M /disks/vda.img; truncate -s 4M /disks/vdc.img; mkfifo /run/keys'
    guest_bg outer daemon \
        'exec vblkd --control /run/control --socket-dir /run --state-dir /run/state'
    wait_until 120 outer_ctl ping
    outer_ctl add vda /disks/vda.img
    outer_ctl add vdb /dev/vdb
    outer_ctl add vdc /disks/vdc.img
}

inner_start() {
    guest_bg outer inner "echo \$\$ >/run/vm.pid; exec vblkvm --control /run/control \
        --kernel /nested/vmlinuz --initrd /nested/initramfs --memory 256M --cpus 2 \
        --disk vda --disk vdb,transport=pci-legacy --disk vdc,transport=mmio --exit-stats \
        --append '$(guest_kernel_options) rdinit=/bin/nested -- 65536' \
        <>/run/keys >/run/console 2>/run/console.err"
    inner_reaches "booted .* cpus=2 vda=modern vdb=legacy vdc=mmio-modern" 400
}

# Twice, and the load is under way before and after each.  Twenty writes are four files, with a
# process or two for each; a machine that only emulates has taken half a minute for those.
outer_stops_under_load() {
    local disk writes

    for disk in vda vdb vda vdb; do
        writes=$(outer_ctl --json stats "$disk" | json_members requests.write.requests)
        wait_until 400 outer_stat_reaches "$disk" requests.write.requests $((writes + 20))
        outer_ctl stop "$disk"
        [ "$(outer_ctl --json stats "$disk" | json_members inflight)" -eq 0 ]
        writes=$(outer_ctl --json stats "$disk" | json_members requests.write.requests)
        outer_ctl start "$disk"
        wait_until 400 outer_stat_reaches "$disk" requests.write.requests $((writes + 20))
    done
}

outer_stop() {
    guest_bg_wait outer inner 200
    guest_run outer 'cat /run/console.err; tr -d "\r" </run/console' >"$E2E_DIR/inner"
    guest_bg_signal outer daemon TERM
    guest_bg_wait outer daemon 200
    guest_run outer 'umount /disks'
    guest_dmesg_clean outer
    guest_stop outer
}

# sums_hold DIRECTORY: of its files, as the inner guest told them; eleven in all.
sums_hold() {
    local sums=$1/told

    sed -n 's/^nested: sum \([0-9a-f]\{64\}\) /\1  /p' "$E2E_DIR/inner" >"$sums"
    [ "$(wc -l <"$sums")" -eq 11 ]
    (cd "$1" && sha256sum -c told)
}

# Everything that the inner guest wrote, found from out here, with no kernel of a guest between.
images_hold() {
    local verify=$E2E_DIR/blkverify files=$E2E_DIR/files

    "${CC:-gcc}" -O2 -pthread -o "$verify" "$E2E_GUEST/blkverify.c"
    e2fsck -fn "$E2E_DIR/outer.img"
    debugfs -R "dump /vda.img $E2E_DIR/vda.img" "$E2E_DIR/outer.img"
    debugfs -R "dump /vdc.img $E2E_DIR/vdc.img" "$E2E_DIR/outer.img"
    [ "$(stat -c %s "$E2E_DIR/vda.img")" -eq $((32 << 20)) ]
    e2fsck -fn "$E2E_DIR/vda.img"
    mkdir "$files"
    debugfs -R "rdump / $files" "$E2E_DIR/vda.img"
    head -c 4M "$E2E_DIR/vdb.img" >"$files/vdb"
    sums_hold "$files"
    "$verify" verify --buffered --generation 0 --size 4M "$E2E_DIR/vdb.img"
    "$verify" verify --buffered --generation 7 --offset 8M --size 4M "$E2E_DIR/vdb.img"
    "$verify" verify --buffered --generation 3 --size 4M "$E2E_DIR/vdc.img"
}

# nested_run KERNELDIR INITRAMFS
nested_run() {
    "$E2E_GUEST/mknested" "$1" "$2" "$top_builddir" "$E2E_DIR/nested"
    outer_start
    inner_start
    inner_reaches "loading" 400
    outer_stops_under_load
    guest_run outer 'echo enough >/run/keys'
    inner_reaches "loaded .* errors 0" 400
    inner_reaches "files survived the load" 400
    outer_ctl stop vda
    guest_run outer 'truncate -s 32M /disks/vda.img'
    outer_ctl start vda
    inner_reaches "resized" 400
    inner_reaches "done" 400
    outer_stop
    [ "$(grep -c '^exits notify vd[abc] 0' "$E2E_DIR/inner")" -eq 3 ]
    images_hold
}

need_emulator() {
    [ -z "${E2E_SANITIZER:-}" ] || skip "an emulated machine in another, with a sanitizer"
    need_tools qemu-system-x86_64 busybox cpio modinfo ldd debugfs e2fsck mkfs.ext4 "${CC:-gcc}"
}

@test "Debian's kernel under KVM, one level down: modern, legacy and mmio, stop under load, a disk that grows" {
    need_emulator
    e2e_setup_file
    nested_run "$("$E2E_GUEST/fetch-kernel")" "$E2E_INITRAMFS"
}

# The same with a newer kernel inside and outside, where one can be had.
@test "the kernel of ${VBLKVM_SUITE:-bookworm-backports} under KVM, one level down" {
    local kernel

    need_emulator
    kernel=$(VBLK_KERNEL_SUITE=${VBLKVM_SUITE:-bookworm-backports} "$E2E_GUEST/fetch-kernel") ||
        skip "no kernel of ${VBLKVM_SUITE:-bookworm-backports}"
    export E2E_KERNEL=$kernel/vmlinuz
    "$E2E_GUEST/mkinitramfs" "$kernel" "$E2E_DIR/base"
    nested_run "$kernel" "$E2E_DIR/base"
}
