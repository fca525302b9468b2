#!/usr/bin/env bats
#
# What of disks outlasts the daemon, and what becomes of one whose image is not there when it comes back.

load ../lib/e2e

setup() {
    e2e_setup
}

teardown() {
    [ ! -e "$E2E_DIR/mounted" ] || umount "$E2E_DIR/mnt" || true
    e2e_teardown
}

state_is() {
    [ "$(field "$1" state)" = "$2" ]
}

# capacity_of DISK: bytes, as a front-end reads them.
capacity_of() {
    python3 - "$(socket_of "$1")" <<'PYTHON'
import socket, struct, sys

def ask(request, payload=b''):
    sock.sendall(struct.pack('<3I', request, 1, len(payload)) + payload)

sock = socket.socket(socket.AF_UNIX)
sock.settimeout(20)
sock.connect(sys.argv[1])
ask(16, struct.pack('<Q', 1 << 9))
ask(24, struct.pack('<3I', 0, 60, 0) + bytes(60))
answer = sock.recv(84, socket.MSG_WAITALL)
print(struct.unpack_from('<Q', answer, 24)[0] * 512)
PYTHON
}

# hold DISK: a front-end that sends one write and stays.
hold() {
    # shellcheck disable=SC2154 # e2e.bash sets it
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    process_start hold "$top_builddir/tests/frontend-hold" "$(socket_of "$1")" 1
    wait_until 10 grep -q ready "$E2E_DIR/hold.log"
}

is_answered() {
    grep -q "^status 0" "$E2E_DIR/hold.log"
}

# mount_late: what a boot does once the daemon runs.
mount_late() {
    mount -t tmpfs none "$E2E_DIR/mnt"
    touch "$E2E_DIR/mounted"
}

@test "state: an image whose file system is mounted late is taken by itself, and nothing is made in its place" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    mkdir "$E2E_DIR/mnt"
    mount_late || skip "cannot mount"
    truncate -s 3M "$E2E_DIR/mnt/vda.img"
    start_vblkd
    vblkctl add vda "$E2E_DIR/mnt/vda.img"
    stop_vblkd
    umount "$E2E_DIR/mnt"
    rm "$E2E_DIR/mounted"
    # What a reboot does to the table: it was written in another boot.
    sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$E2E_DIR/state/disks.json"
    start_vblkd
    state_is vda failed
    [[ "$(field vda reason)" == *"No such file"*"it is tried again by itself" ]]
    [ "$(capacity_of vda)" -eq 3145728 ]
    hold vda
    [ -z "$(ls "$E2E_DIR/mnt")" ]
    mount_late
    truncate -s 3M "$E2E_DIR/mnt/vda.img"
    wait_until 20 is_answered
    state_is vda running
    [ "$(grep -c 'error: vda: ' "$E2E_DIR/vblkd.log")" -eq 1 ]
    stop_vblkd
    start_vblkd
    state_is vda running
}

@test "state: a disk without its image shows its guest the size that it has, whatever it waits for" {
    start_vblkd
    truncate -s 2M "$E2E_DIR/vda.img" "$E2E_DIR/vdb.img" "$E2E_DIR/vdc.img"
    vblkctl add vda "$E2E_DIR/vda.img"
    vblkctl add vdb "$E2E_DIR/vdb.img"
    vblkctl stop vdb
    vblkctl add vdc "$E2E_DIR/vdc.img" --incoming
    vblkctl add vdd --empty
    stop_vblkd
    rm "$E2E_DIR"/vd?.img
    start_vblkd
    state_is vda failed
    state_is vdb stopped
    state_is vdc waiting
    [ "$(capacity_of vda)" -eq 2097152 ]
    [ "$(capacity_of vdb)" -eq 2097152 ]
    [ "$(capacity_of vdc)" -eq 2097152 ]
    [ "$(capacity_of vdd)" -eq 0 ]
}

@test "state: a disk with --no-persist is in no state file, is shown as such, and is gone after a restart" {
    start_vblkd
    vblkctl add vda null:1G
    vblkctl add vdb null:1G --no-persist
    [ "$(field vda no_persist)" = False ]
    [ "$(field vdb no_persist)" = True ]
    run vblkctl show vdb
    [[ "$output" =~ "no persist:"\ +yes ]]
    run vblkctl set vdb no-persist=off
    [ "$status" -eq 2 ]
    run grep -c vdb "$E2E_DIR/state/disks.json"
    [ "$output" = 0 ]
    vblkctl set vdb poll-us=0
    vblkctl stop vdb
    vblkctl start vdb
    kill_vblkd
    start_vblkd
    state_is vda running
    run vblkctl show vdb
    [ "$status" -eq 1 ]
    vblkctl add vdb null:1G --no-persist
    stop_vblkd
    start_vblkd
    state_is vda running
    run vblkctl show vdb
    [ "$status" -eq 1 ]
}

@test "state: a file of another version is refused with what to do, and stays as it is" {
    local file=$E2E_DIR/state/disks.json before

    start_vblkd
    vblkctl add vda null:1G
    stop_vblkd
    before=$(sed 's/"version":2/"version":3/' "$file")
    echo "$before" >"$file"
    run timeout 20 "$VBLKD" --control "$E2E_DIR/control" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    [ "$status" -eq 1 ]
    [[ "$output" == *"was written by a newer vblkd: it has version 3, and this one knows none after 2; start that one"* ]]
    [ "$(cat "$file")" = "$before" ]
    # As of the version before, which has none of the new members.
    sed -i 's/"version":3/"version":1/; s/"no_persist":false,//' "$file"
    start_vblkd
    state_is vda running
    vblkctl add vdb null:1G
    grep -q '"version":1' "$file.1"
    grep -q '"version":2' "$file"
}

@test "state: counters and limits outlast an end in order; after a kill they go on from the last one" {
    start_vblkd
    vblkctl add vda null:1G --iops 100000
    vblkctl add vdb null:1G
    hold vda
    wait_until 10 is_answered
    vblkctl set vda bps=1G
    [ "$(stat_of vda requests.write.requests requests.write.bytes)" = "1 4096" ]
    stop_vblkd
    process_signal hold TERM
    wait_until 10 process_ended hold
    start_vblkd
    [ "$(stat_of vda requests.write.requests requests.write.bytes inflight)" = "1 4096 0" ]
    [ "$(field vda iops bps)" = "100000 1073741824" ]
    hold vda
    wait_until 10 is_answered
    [ "$(stat_of vda requests.write.requests)" -eq 2 ]
    [ "$(stat_of vdb requests.write.requests)" -eq 0 ]
    vblkctl set vda bps=2G
    kill_vblkd
    start_vblkd
    [ "$(stat_of vda requests.write.requests)" -eq 1 ]
    [ "$(field vda iops bps)" = "100000 2147483648" ]
    process_signal hold KILL
    wait_until 10 process_ended hold
    vblkctl remove vda --force
    vblkctl add vda null:1G
    stop_vblkd
    start_vblkd
    [ "$(stat_of vda requests.write.requests)" -eq 0 ]
}
