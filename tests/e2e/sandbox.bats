#!/usr/bin/env bats
#
# What vblkd gives up before it serves anybody, as the kernel tells it.

load ../lib/e2e

setup() {
    e2e_setup
    [ -z "${VBLKD_WRAPPER:-}" ] || skip "not under a wrapper"
}

teardown() {
    e2e_teardown
}

has_seccomp() {
    [[ "$(vblkctl ping)" == *seccomp* && "$(vblkctl ping)" != *"not: seccomp"* ]]
}

# all_threads NAME VALUE: so says the status of each thread of vblkd that does not end meanwhile.
all_threads() {
    local status

    for status in /proc/"$(cat "$E2E_DIR/vblkd.pid")"/task/*/status; do
        grep -qsx "$1:[[:space:]]*$2" "$status" || {
            [ -e "$status" ] || continue
            grep "^Name:\|^$1:" "$status" >&2
            return 1
        }
    done
}

# None but those of daemon/sandbox_caps.c.
few_capabilities() {
    local cap

    while read -r cap; do
        [ $((0x$cap & ~0x20008401f)) -eq 0 ] || return 1
    done < <(sed -n 's/^Cap[PEB][a-z]*:[[:space:]]*//p' /proc/"$(cat "$E2E_DIR/vblkd.pid")"/task/*/status)
}

@test "sandbox: each thread has what the log and ping tell, whatever the engine" {
    local engine

    start_vblkd
    has_seccomp || skip "no seccomp here"
    vblkd_logged "sandbox: .*no new privileges, seccomp"
    for engine in aio auto io_uring; do
        truncate -s 16M "$E2E_DIR/$engine"
        vblkctl add "$engine" "$E2E_DIR/$engine" --cache writeback --engine "$engine" --threads 2
        without_bats timeout "$(deadline 60)" "${VBLKCTL%ctl}bench" "$E2E_DIR/$engine.sock" \
            --queues 2 --runtime 0.2
    done
    all_threads NoNewPrivs 1
    all_threads Seccomp 2
    few_capabilities
    stop_vblkd
}

@test "sandbox: off is off, on insists, and other words are usage errors" {
    start_vblkd --sandbox off
    [[ "$(vblkctl ping)" == *"sandbox: off"* ]]
    all_threads NoNewPrivs 0
    stop_vblkd

    start_vblkd
    has_seccomp || skip "no seccomp here"
    stop_vblkd
    start_vblkd --sandbox on
    all_threads Seccomp 2
    stop_vblkd

    run without_bats timeout "$(deadline 20)" "$VBLKD" --sandbox maybe
    [ "$status" -eq 2 ]
    [[ "$output" == *"--sandbox: \"maybe\" is none of on, off, auto"* ]]
}

@test "sandbox: on where it cannot be had is refused, and says what to do" {
    run without_bats timeout "$(deadline 60)" env LD_PRELOAD=vgpreload_core "$VBLKD" --sandbox on
    [ "$status" -eq 1 ]
    [[ "$output" == *"sandbox: not under valgrind; or --sandbox auto for what there is of it"* ]]
}

# --- --user: what follows takes root

as_nobody() {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    getent passwd nobody >/dev/null || skip "needs a user nobody"
    chmod 711 "$E2E_DIR" # the state directory is the user's
    start_vblkd --user nobody "$@"
}

# The child of vblkd, which is in the same directory of /proc.
broker() {
    cat /proc/"$(cat "$E2E_DIR/vblkd.pid")"/task/*/children | tr -d ' '
}

# In a directory that root alone may enter.
root_image() {
    mkdir -p "$E2E_DIR/root"
    chmod 700 "$E2E_DIR/root"
    truncate -s "${2:-8M}" "$E2E_DIR/root/$1"
    chmod 600 "$E2E_DIR/root/$1"
    echo "$E2E_DIR/root/$1"
}

# bench DISK|SOCKET [OPTION...]
bench() {
    local socket=$1

    [[ "$socket" == /* ]] || socket=$(socket_of "$1")
    without_bats timeout "$(deadline 60)" "${VBLKCTL%ctl}bench" "$socket" --runtime 0.2 "${@:2}"
}

has_owner_and_mode() {
    [ "$(stat -c '%U %a' "$1")" = "$2" ]
}

is_gone() {
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}

@test "user: guests are served without a right, of images that root alone may open" {
    local uid

    as_nobody
    uid=$(id -u nobody)
    vblkctl add vda "$(root_image a)" --threads 2
    vblkctl add vdb "$E2E_DIR/root/new" --create --size 8M --engine io_uring
    bench vda --queues 2 --rw randwrite --allow-write
    bench vdb
    all_threads Uid "\\(${uid}[[:space:]]*\\)*"
    all_threads CapPrm 0000000000000000
    all_threads CapEff 0000000000000000
    grep -q "^Uid:[[:space:]]*0[[:space:]]" /proc/"$(broker)"/status
    [[ "$(vblkctl ping)" == *"sandbox: user nobody, no capabilities"* ]]
    [ "$(stat -c %U "$E2E_DIR/control" "$(socket_of vda)" "$E2E_DIR/state/disks.json" | sort -u)" = nobody ]
    stop_vblkd
}

@test "user: all that vblkctl can do, and what comes back after restart and kill" {
    as_nobody
    vblkctl add vda "$(root_image a)"
    vblkctl stop vda
    vblkctl start vda
    vblkctl resize vda 16M
    vblkctl set vda threads=2 poll-us=0
    cp "$E2E_DIR/root/a" "$E2E_DIR/root/b"
    vblkctl replace vda "$E2E_DIR/root/b" --force
    vblkctl list | grep -q "root/b"
    vblkctl add vdb "$(root_image c)" --socket "$E2E_DIR/below/vdb.sock" --socket-owner daemon --socket-mode 0660
    [ "$(stat -c '%U %a' "$E2E_DIR/below/vdb.sock")" = "daemon 660" ]
    mv "$E2E_DIR/below" "$E2E_DIR/gone" # at once: what rm leaves for a moment is filled anew
    rm -r "$E2E_DIR/gone"
    wait_until 10 has_owner_and_mode "$E2E_DIR/below/vdb.sock" "daemon 660"
    run vblkctl add vdc "$E2E_DIR/root/b"
    [[ "$output" == *"is in use by"*"vda, a disk of this vblkd"* ]]
    stop_vblkd
    [ ! -e "$(socket_of vda)" ]

    as_nobody
    bench vda
    kill_vblkd
    as_nobody
    bench vda
    bench "$E2E_DIR/below/vdb.sock"
    vblkctl remove vdb
    vblkctl remove vda
    stop_vblkd
    [ -z "$(find "$E2E_DIR" -name '*.sock*')" ]
}

@test "user: who holds an image is told, though he is another user's" {
    as_nobody
    mkdir "$E2E_DIR/other"
    process_start other "$VBLKD" --control "$E2E_DIR/other/control" --socket-dir "$E2E_DIR/other" \
        --state-dir "$E2E_DIR/other/state"
    wait_until 20 "$VBLKCTL" --control "$E2E_DIR/other/control" ping
    "$VBLKCTL" --control "$E2E_DIR/other/control" add vda "$(root_image a)"
    run vblkctl add vda "$E2E_DIR/root/a"
    [ "$status" -eq 1 ]
    [[ "$output" == *"is in use by"*": vblkd (pid $(cat "$E2E_DIR/other.pid"))"* ]]
    process_signal other TERM
    wait_until 20 process_ended other
    stop_vblkd
}

@test "user: the broker ends with the daemon, however that ends" {
    local pid

    as_nobody
    pid=$(broker)
    kill_vblkd
    wait_until 10 is_gone "$pid"
    as_nobody
    pid=$(broker)
    kill -TERM "$pid" # as an init system does, to all of a service
    kill -INT "$pid"
    vblkctl add vda "$(root_image a)"
    stop_vblkd
    wait_until 10 is_gone "$pid"
}

@test "user: without the broker disks run, and what takes it is refused with a sentence" {
    as_nobody
    vblkctl add vda "$(root_image a)"
    kill -9 "$(broker)"
    wait_until 10 is_gone "$(broker)"
    run vblkctl add vdb "$(root_image b)"
    [ "$status" -eq 1 ]
    [[ "$output" == *"has ended"* ]]
    vblkd_logged "the broker has ended: disks that run go on"
    bench vda
    vblkctl set vda threads=2
    bench vda
    stop_vblkd
}

@test "user: what a vblkd of root has is not given away by a second one" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    getent passwd nobody >/dev/null || skip "needs a user nobody"
    start_vblkd
    vblkctl add vda null:1G
    run without_bats timeout "$(deadline 20)" "$VBLKD" --user nobody --control "$E2E_DIR/control" \
        --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    [ "$status" -eq 1 ]
    [[ "$output" == *"state directory $E2E_DIR/state is in use by another vblkd, process $(cat "$E2E_DIR/vblkd.pid")"* ]]
    [ "$(stat -c %U "$E2E_DIR"/state "$E2E_DIR"/state/* | sort -u)" = root ]
    vblkctl add vdb null:1G
    stop_vblkd
}

@test "user: root's vblkd may run in between, and its disks are there afterwards" {
    local owner

    as_nobody
    vblkctl add vda null:1G
    stop_vblkd
    for owner in nobody root; do
        chown "$owner" "$E2E_DIR/state"
        start_vblkd
        vblkctl add "$owner" null:1G
        touch "$E2E_DIR/state/other"
        stop_vblkd
        [ "$(stat -c %U "$E2E_DIR/state/disks.json")" = root ]
        as_nobody
        vblkctl remove "$owner"
        [ "$(cd "$E2E_DIR/state" && stat -c %U . disks.json lock | sort -u)" = nobody ]
        [ "$(stat -c %U "$E2E_DIR/state/other")" = root ] # as it was named by mistake, perhaps
        stop_vblkd
    done
}

@test "user: images lie where --image-dir says, whatever a name looks like" {
    local name

    mkdir -p "$E2E_DIR/images" "$E2E_DIR/root"
    as_nobody --image-dir "$E2E_DIR/images"
    truncate -s 8M "$E2E_DIR/images/a" "$E2E_DIR/root/b"
    ln -s "$E2E_DIR/root/b" "$E2E_DIR/images/leads-out"
    ln -s "$E2E_DIR/images/a" "$E2E_DIR/root/leads-in"
    vblkctl add vda "$E2E_DIR/root/leads-in"
    for name in "$E2E_DIR/root/b" "$E2E_DIR/images/leads-out" "$E2E_DIR/images/../root/b" /etc/passwd; do
        run vblkctl add vdb "$name" --readonly
        [ "$status" -eq 1 ]
        [[ "$output" == *"at none of the places where images may be; see --image-dir of vblkd"* ]]
    done
    run vblkctl add vdb "$E2E_DIR/root/c" --create --size 1M
    [[ "$output" == *"at none of the places where images may be"* ]]
    [ ! -e "$E2E_DIR/root/c" ]
    vblkctl add vdb "$E2E_DIR/images/c" --create --size 1M
    stop_vblkd
}

@test "user: sockets lie below --socket-dir alone, as a name there is no proof" {
    local name place="$E2E_DIR/sockets"

    mkdir "$E2E_DIR/elsewhere" "$place"
    ln -s "$E2E_DIR/elsewhere" "$place/leads-out"
    as_nobody --socket-dir "$place"
    for name in elsewhere/vda.sock sockets/leads-out/vda.sock; do
        run vblkctl add vda null:1G --socket "$E2E_DIR/$name"
        [ "$status" -eq 1 ]
        vblkd_logged "with --user, sockets lie below --socket-dir alone, and $E2E_DIR/$name.lock does not"
    done
    [ -z "$(ls "$E2E_DIR/elsewhere")" ]
    vblkctl add vda null:1G --socket "$place/a/b/vda.sock"
    [ "$(stat -c '%U %a' "$place/a" "$place/a/b" | sort -u)" = "root 711" ]
    stop_vblkd

    ln -s "$place" "$E2E_DIR/by-link" # which is how /var/run is written
    as_nobody --socket-dir "$E2E_DIR/by-link"
    vblkctl add vdb null:1G
    bench "$E2E_DIR/by-link/vdb.sock"
    stop_vblkd
}

# What it is told there it would do, as root.
@test "user: root takes no disks over from who listens as another user" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv python3
    chmod 777 "$E2E_DIR"
    process_start fake setpriv --reuid 54322 --regid 54322 --clear-groups python3 -c '
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + ".new")
s.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
print("question:", s.accept()[0].recv(4096), flush=True)' "$E2E_DIR/fake.sock"
    wait_until 20 test -S "$E2E_DIR/fake.sock"
    run without_bats timeout "$(deadline 60)" "$VBLKD" --take-over "$E2E_DIR/fake.sock"
    [ "$status" -eq 1 ]
    [[ "$output" == *"who listens at $E2E_DIR/fake.sock runs as user 54322, and the new vblkd as user 0: upgrade it as that user"* ]]
    wait_until 20 process_ended fake
    grep -qx "question: b''" "$E2E_DIR/fake.log" # and asks it nothing
}

@test "user: what cannot be is refused before anything is made" {
    run without_bats timeout "$(deadline 20)" "$VBLKD" --user no-such-user-here
    [ "$status" -eq 2 ]
    [[ "$output" == *'--user: there is no user "no-such-user-here"'* ]]
    run without_bats timeout "$(deadline 20)" "$VBLKD" --image-dir /
    [[ "$output" == *"--image-dir goes with --user"* ]]
    run without_bats timeout "$(deadline 20)" "$VBLKD" --group 0
    [[ "$output" == *"--group goes with --user"* ]]
}
