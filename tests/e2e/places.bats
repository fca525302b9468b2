#!/usr/bin/env bats
#
# Where a disk is: who may connect to its socket, and where its threads run.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

need_root() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
}

# as UID COMMAND...
as() {
    local uid=$1

    shift
    without_bats setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}

# rights PATH: mode, user and group.
rights() {
    stat -c '%a %u %g' "$1"
}

is_given() {
    [ "$(rights "$1")" = "$2" ]
}

# start_open: sockets are where others may go.
start_open() {
    chmod 711 "$E2E_DIR"
    start_vblkd --socket-dir "$E2E_DIR/run"
}

# probe_start NAME UID SOCKET: connects again and again, and counts how often it could.
probe_start() {
    process_start "$1" setpriv --reuid "$2" --regid "$2" --clear-groups "${E2E_PYTHON:-python3}" -c '
import signal, socket, sys, time
tries = taken = 0
def end(*_):
    print("tries", tries, "taken", taken, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
while True:
    with socket.socket(socket.AF_UNIX) as s:
        s.setblocking(False)
        tries += 1
        try:
            s.connect(sys.argv[1])
            taken += 1
            time.sleep(0.01)
        except OSError:
            time.sleep(0.0002)
' "$3"
}

# probe_end NAME: prints how often it could connect.
probe_end() {
    process_signal "$1" TERM
    wait_until 20 process_ended "$1"
    sed -n 's/^tries [1-9][0-9]* taken //p' "$E2E_DIR/$1.log"
}

@test "socket: its owner can connect and nobody else, whatever becomes of socket, directory and daemon" {
    local socket=$E2E_DIR/run/a/vda.sock i

    need_root
    umask 022
    start_open
    probe_start stranger 12346 "$socket"
    vblkctl add vda null:1G --socket "$socket" --socket-mode 600 --socket-owner 12345 --socket-group 0
    [ "$(rights "$socket")" = "600 12345 0" ]
    [ "$(rights "$E2E_DIR/run/a")" = "711 0 0" ]
    [ "$(rights "$socket.lock")" = "600 0 0" ]
    [ "$(field vda socket_mode socket_owner socket_group)" = "600 12345 0" ]
    run vblkctl show vda
    [[ "$output" =~ "socket owner:"\ +12345 ]]
    [[ "$output" =~ "socket group:"\ +"root (0)" ]]
    for i in 1 2 3; do
        rm "$socket"
        wait_until 10 is_given "$socket" "600 12345 0"
        mv "$E2E_DIR/run/a" "$E2E_DIR/run/a.$i"
        wait_until 10 is_given "$socket" "600 12345 0"
        kill_vblkd
        [ "$i" -ne 2 ] || rm -r "$E2E_DIR/run" # as a reboot does
        start_open
        wait_until 10 is_given "$socket" "600 12345 0"
    done
    [ "$(probe_end stranger)" = 0 ]
    probe_start owner 12345 "$socket"
    wait_until 10 vblkd_logged ") connected"
    [ "$(probe_end owner)" -gt 0 ]
    stop_vblkd
    [ ! -e "$socket" ]
}

@test "socket: a group has it by mode, and what is changed by hand lasts until the daemon ends" {
    local socket=$E2E_DIR/run/vda.sock

    need_root
    start_open
    vblkctl add vda null:1G --socket-mode 0660 --socket-group 12345
    [ "$(rights "$socket")" = "660 0 12345" ]
    probe_start member 12345 "$socket"
    wait_until 10 vblkd_logged ") connected"
    [ "$(probe_end member)" -gt 0 ]
    chown 12347 "$socket"
    chmod 606 "$socket"
    vblkctl show vda >/dev/null # by then it has been seen
    rm "$socket"
    wait_until 10 is_given "$socket" "606 12347 12345"
    stop_vblkd
    start_open
    [ "$(rights "$socket")" = "660 0 12345" ]
}

@test "socket: rights that are not to be had are refused before anything is made" {
    start_open
    for words in "--socket-mode 888" "--socket-mode 1777" "--socket-mode 00600" "--socket-mode u+w"; do
        # shellcheck disable=SC2086 # words
        run vblkctl add vda "$E2E_DIR/vda.img" --create --size 1M $words
        [ "$status" -eq 2 ]
        [[ "$output" == *"--socket-mode: "*"is no octal mode up to 0777, as 0660"* ]]
    done
    run vblkctl add vda null:1G --socket-owner no-such-user-here
    [ "$status" -eq 2 ]
    [[ "$output" == *'--socket-owner: there is no user "no-such-user-here" on this host'* ]]
    run vblkctl add vda null:1G --socket-group no-such-group-here
    [[ "$output" == *'--socket-group: there is no group "no-such-group-here" on this host'* ]]
    run vblkctl add vda null:1G --socket-owner 4294967295
    [[ "$output" == *"is out of range, 0 to 4294967294 are allowed"* ]]
    if [ ! -e /sys/fs/selinux ] && [ ! -e /sys/fs/smackfs ]; then
        run vblkctl add vda "$E2E_DIR/vda.img" --create --size 1M --socket-label x:y:z:s0
        [ "$status" -eq 1 ]
        [[ "$output" == *"vda: socket-label: this kernel runs without SELinux and Smack"* ]]
    fi
    run vblkctl add vda null:1G --socket "$E2E_DIR/elsewhere/vda.sock"
    [ "$status" -eq 1 ]
    [[ "$output" == *"cannot create $E2E_DIR/elsewhere/vda.sock.lock"*"the directory must exist"* ]]
    [ ! -e "$E2E_DIR/vda.img" ] && [ ! -e "$E2E_DIR/elsewhere" ]
    [ "$(vblkctl --json list | json_members disks)" = "[]" ]
}

@test "socket: a daemon that is not root's gives it to groups of its own, and to nobody else" {
    local socket=$E2E_DIR/run/vda.sock

    need_root
    chmod 711 "$E2E_DIR"
    mkdir "$E2E_DIR/own"
    chown 12345 "$E2E_DIR/own"
    cp "$VBLKD" "$E2E_DIR/vblkd"
    process_start vblkd setpriv --reuid 12345 --regid 12345 --groups 12345,23456 "$E2E_DIR/vblkd" \
        --control "$E2E_DIR/own/control" --socket-dir "$E2E_DIR/own/run" --state-dir "$E2E_DIR/own/state"
    ln -s own/control "$E2E_DIR/control"
    wait_until 20 vblkctl ping
    socket=$E2E_DIR/own/run/vda.sock
    run vblkctl add vda "$E2E_DIR/own/vda.img" --create --size 1M --socket-owner 0
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: vblkd runs as user 12345 and may not give its socket to user 0; "* ]]
    run vblkctl add vda "$E2E_DIR/own/vda.img" --create --size 1M --socket-group 34567
    [[ "$output" == *"may not give its socket to group 34567; name a group of that user"* ]]
    [ ! -e "$E2E_DIR/own/vda.img" ]
    vblkctl add vda "$E2E_DIR/own/vda.img" --create --size 1M --socket-owner 12345 \
        --socket-group 23456 --socket-mode 660
    [ "$(rights "$socket")" = "660 12345 23456" ]
    rm "$socket"
    wait_until 10 is_given "$socket" "660 12345 23456"
}

@test "socket: directories below the daemon's own are made, and come back as they were" {
    local run=$E2E_DIR/run i

    need_root
    start_open
    for i in {1..8}; do
        vblkctl add "vd$i" null:1G --socket "$run/g$((i % 2))/vd$i.sock"
    done
    chmod 750 "$run/g1"
    chown 0:12345 "$run/g1"
    vblkctl list # by then it has been seen
    mv "$run/g1" "$E2E_DIR/gone"
    for i in 1 3 5 7; do
        wait_until 10 test -S "$run/g1/vd$i.sock"
    done
    wait_until 10 is_given "$run/g1" "750 0 12345"
    [ "$(rights "$run/g0")" = "711 0 0" ]
    rm -rf "$run" || : # what is deleted one by one comes back amid it
    for i in {1..8}; do
        wait_until 20 test -S "$run/g$((i % 2))/vd$i.sock"
    done
    [ "$(vblkctl --json list | python3 -c '
import json, sys
print([disk["warnings"] for disk in json.load(sys.stdin)["disks"] if disk["warnings"]])')" = "[]" ]
}

# --- CPUs

# cpus_of DISK: where its threads may run, and those that help them, each list once.
# Workers of io_uring that are there when the CPUs change stay until they have been idle for 5 s.
cpus_of() {
    local task name

    for task in "/proc/$(cat "$E2E_DIR/vblkd.pid")"/task/*; do
        name=$(cat "$task/comm" 2>/dev/null) || continue
        if [ "${name%%/*}" = "$1" ] || { [ $# -eq 2 ] && [ "${name#iou-wrk-}" != "$name" ]; }; then
            sed -n 's/^Cpus_allowed_list:\t//p' "$task/status"
        fi
    done | sort -u | xargs
}

# cpus_there: those of this shell, which the daemon has as well.
cpus_there() {
    sed -n 's/^Cpus_allowed_list:\t//p' /proc/self/status
}

need_two_cpus() {
    local all

    all=$(nproc)
    [ "$all" -ge 2 ] || skip "needs two CPUs"
    first=$(taskset -pc $$ | sed 's/.*: //; s/[-,].*//')
    last=$(taskset -pc $$ | sed 's/.*[-, ]//')
}

@test "cpus: a disk's threads and their helpers run where they are told, at once and after a restart" {
    need_tools taskset
    need_two_cpus
    start_vblkd
    vblkctl add vda "$E2E_DIR/vda.img" --create --size 16M --threads 2 --cpus "$last" --cache writeback \
        --detect-zeroes on
    [ "$(cpus_of vda)" = "$last" ]
    "$VBLKBENCH" "$(socket_of vda)" --rw randwrite --queues 2 --runtime 0.3 --allow-write >/dev/null
    [ "$(cpus_of vda workers)" = "$last" ]
    vblkctl set vda cpus="$first" threads=4
    [ "$(cpus_of vda)" = "$first" ]
    [ "$(field vda cpus warnings)" = "$first []" ]
    vblkctl stop vda
    vblkctl set vda threads=3
    vblkctl start vda
    "$VBLKBENCH" "$(socket_of vda)" --rw randwrite --queues 4 --runtime 0.3 --allow-write >/dev/null
    [ "$(cpus_of vda)" = "$first" ]
    kill_vblkd
    start_vblkd
    [ "$(cpus_of vda)" = "$first" ]
    vblkctl add vdb null:1G
    [ "$(cpus_of vdb)" = "$(cpus_there)" ]
    vblkctl set vda cpus=all
    [ "$(cpus_of vda)" = "$(cpus_there)" ]
    [ "$(field vda cpus)" = all ]
}

@test "cpus: what is not there is refused with what is, and threads that were moved are told of" {
    need_tools taskset
    need_two_cpus
    VBLKD_WRAPPER="taskset -c $first ${VBLKD_WRAPPER:-}"
    start_vblkd
    run vblkctl add vda null:1G --cpus "$last"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--cpus: there is no CPU $last that vblkd may use; it may use $first"* ]]
    run vblkctl add vda null:1G --cpus 0-x
    [[ "$output" == *'--cpus: "0-x" is no list of CPUs, as 0-3,8'* ]]
    vblkctl add vda null:1G --cpus "$first"
    run vblkctl set vda cpus=8191
    [ "$status" -eq 1 ]
    [[ "$output" == *"cpus: there is no CPU 8191 that vblkd may use"* ]]
    [ "$(cpus_of vda)" = "$first" ]
    taskset -pc "$last" "$(field vda thread)" >/dev/null
    run vblkctl list
    [[ "$output" == *"its threads run on the CPUs $last and were to run on $first: "* ]]
    vblkctl set vda cpus="$first"
    [ "$(field vda warnings)" = "[]" ]
    kill_vblkd
    VBLKD_WRAPPER="taskset -c $last"
    start_vblkd # none of them is left to it
    vblkd_logged "warn: vda: none of its CPUs $first is there"
    [ "$(field vda state)" = running ]
}
