#!/usr/bin/env bats
#
# What cannot be served is refused with a clear sentence, and leaves the daemon as it was.

load ../lib/e2e

setup() {
    need_tools python3
    e2e_setup
    start_vblkd
    before=$(snapshot)
}

teardown() {
    e2e_teardown
}

# What a refused request must not change: disks, files, fds and threads.
snapshot() {
    local pid

    pid=$(cat "$E2E_DIR/vblkd.pid")
    vblkctl --json list
    # The writer of the state file and the disks are all the threads there are.
    find "$E2E_DIR" -maxdepth 1 -name '*.sock*' | sort
    find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l
    [ ! -e "$E2E_DIR/state/disks.json" ] || cat "$E2E_DIR/state/disks.json"
}

same_as_before() {
    [ "$(snapshot)" = "$before" ]
}

# refused TEXT ARGUMENT...: vblkctl ends with 1 and says TEXT, and nothing has changed.
refused() {
    local text=$1

    shift
    run vblkctl "$@"
    if [ "$status" -ne 1 ] || [[ "$output" != *"$text"* ]]; then
        echo "$*: status $status, $output"
        return 1
    fi
    wait_until 5 same_as_before
}

# misused TEXT ARGUMENT...: the same with 2, decided by vblkctl itself.
misused() {
    local text=$1

    shift
    run vblkctl "$@"
    if [ "$status" -ne 2 ] || [[ "$output" != *"$text"* ]]; then
        echo "$*: status $status, $output"
        return 1
    fi
    same_as_before
}

@test "bad names" {
    local name

    for name in '' . .. .hidden -- a/b /etc/passwd 'a b' $'a\nb' 'ä' "$(printf 'x%.0s' {1..64})"; do
        refused name: add -- "$name" null:1G
    done
    vblkctl add "$(printf 'x%.0s' {1..60})" null:1G
}

@test "names that are taken, names that nobody has" {
    vblkctl add vda null:1G
    before=$(snapshot)
    refused "already" add vda null:1G
    refused '"vdz"' show vdz
    refused '"vdz"' stats vdz
    refused '"vdz"' start vdz
    refused '"vdz"' stop vdz
    refused '"vdz"' remove vdz
    refused '"vdz"' remove vdz --force
    refused '"vdz"' set vdz
    refused '"vdz"' set vdz engine=auto
}

@test "images that are missing, unreadable or no image at all" {
    mkdir "$E2E_DIR/dir"
    mkfifo "$E2E_DIR/fifo"
    : >"$E2E_DIR/empty"
    ln -s loop "$E2E_DIR/loop"
    refused "$E2E_DIR/none" add vda "$E2E_DIR/none"
    refused "$E2E_DIR/none/img" add vda "$E2E_DIR/none/img" --create --size 1M
    refused "$E2E_DIR/dir" add vda "$E2E_DIR/dir"
    refused "$E2E_DIR/fifo" add vda "$E2E_DIR/fifo"
    refused "is empty" add vda "$E2E_DIR/empty"
    refused "$E2E_DIR/loop" add vda "$E2E_DIR/loop"
    refused /dev/null add vda /dev/null
    refused /dev/zero add vda /dev/zero
    refused "$E2E_DIR/control" add vda "$E2E_DIR/control"
    misused IMAGE add vda ''
}

@test "an image that the daemon may not read" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to become another user"
    need_tools setpriv
    stop_vblkd
    image vda 1M
    chmod 600 "$E2E_DIR/vda.img"
    chmod 755 "$E2E_DIR"
    rm -rf "$E2E_DIR/state"
    mkdir "$E2E_DIR/user"
    cp "$VBLKD" "$E2E_DIR/user"
    chown -R 65534 "$E2E_DIR/user"
    process_start vblkd setpriv --reuid 65534 --clear-groups "$E2E_DIR/user/vblkd" \
        --control "$E2E_DIR/user/control" --socket-dir "$E2E_DIR/user" \
        --state-dir "$E2E_DIR/user/state"
    wait_until 5 test -S "$E2E_DIR/user/control"
    run without_bats "$VBLKCTL" --control "$E2E_DIR/user/control" add vda "$E2E_DIR/vda.img"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$E2E_DIR/vda.img"*"Permission denied"* ]]
}

@test "an image that is in use, by its own name and by others" {
    local file

    file=$(image vda 1M)
    ln "$file" "$E2E_DIR/hard"
    ln -s "$file" "$E2E_DIR/soft"
    vblkctl add vda "$file"
    before=$(snapshot)
    refused "in use" add vdb "$file"
    refused "in use" add vdb "$E2E_DIR/hard"
    refused "in use" add vdb "$E2E_DIR/soft"
    refused "in use" add vdb "$file" --readonly
}

@test "sizes that do not parse" {
    local size

    for size in '' G -1 -1G 1.1G 1GG 10Q 0x10 1e3 ten '1 G' 99999999999999999999 16384P; do
        misused "null:$size" add vda "null:$size"
        misused --size: add vda "$E2E_DIR/new" --create --size "$size"
        misused --logical-block-size: add vda null:1G --logical-block-size "$size"
    done
    misused "colour=red" add vda null:1G,colour=red
    misused milliseconds add vda null:1G,delay-ms=soon
    misused --size add vda null:1G --size 2G
    [ ! -e "$E2E_DIR/new" ]
}

@test "sizes and blocks that a disk cannot have" {
    truncate -s 1000 "$E2E_DIR/odd.img"
    refused "513 bytes" add vda null:513
    refused 1000 add vda "$E2E_DIR/odd.img"
    misused '"0" is no size' add vda null:0
    refused "not a power of two" add vda null:1G --logical-block-size 1000
    refused "--logical-block-size: 65536 is out of range" add vda null:1G --logical-block-size 64K
    refused block add vda null:1G --logical-block-size 4K --physical-block-size 512
    refused "--size: is missing" add vda "$E2E_DIR/new" --create
    refused "--size: goes with create only" add vda "$E2E_DIR/odd.img" --size 1M
    refused "--size: is missing" add vda "$E2E_DIR/new" --create --size 0
    [ ! -e "$E2E_DIR/new" ]
}

@test "numbers and words out of range, each by name" {
    refused "--queues: 0" add vda null:1G --queues 0
    refused "--queues: 65" add vda null:1G --queues 65
    refused "--queue-size: 100" add vda null:1G --queue-size 100
    refused "--queue-size: 2048" add vda null:1G --queue-size 2048
    refused '--cache: "unsafe" is not allowed, must be one of "none", "directsync"' \
        add vda "$E2E_DIR/x" --cache unsafe
    refused "--poll-us: 1001 is out of range" add vda null:1G --poll-us 1001
    refused "--poll-cpu: 0 is out of range" add vda null:1G --poll-cpu 0
    refused '--engine: "native" is not allowed, must be one of "auto", "aio", "io_uring"' \
        add vda null:1G --engine native
    refused '--engine: "aio" goes with images of type "file" only' add vda null:1G --engine aio
    refused "--serial: is 21 bytes long" add vda null:1G --serial 012345678901234567890
}

@test "settings that there are not, or that a disk cannot have" {
    add_disk vda 1M
    vblkctl add vdb null:1G
    before=$(snapshot)
    misused "NAME is missing" set
    misused '"engine" is not of the form KEY=VALUE; there are poll-us=N, ' set vda engine
    misused '"speed=9" is no setting; there are poll-us=N, poll-cpu=N, engine=ENGINE' \
        set vda speed=9
    misused '"poll_us=9" is no setting' set vda poll_us=9
    misused '"=aio" is no setting' set vda =aio
    misused 'engine: "" is no value for it; ENGINE: ' set vda engine=
    misused "engine: is given twice" set vda engine=auto engine=auto
    misused 'poll-us: "-1" is no value for it; N: ' set vda poll-us=-1
    misused 'poll-us: "50us" is no value for it; N: ' set vda poll-us=50us
    misused 'poll-us: "1e2" is no value for it; N: ' set vda engine=auto poll-us=1e2
    misused 'poll-cpu: "99999999999999999999" is no value for it; N: ' \
        set vda poll-cpu=99999999999999999999
    refused 'vblkctl: poll-us: 1001 is out of range, 0 to 1000 are allowed' set vda poll-us=1001
    refused 'vblkctl: poll-cpu: 0 is out of range, 1 to 100 are allowed' set vda poll-cpu=0
    refused 'poll-cpu: 101 is out of range' set vda poll-us=7 poll-cpu=101
    refused 'threads: 0 is out of range, 1 to 16 are allowed' set vda threads=0
    refused 'threads: 17 is out of range' set vda poll-us=7 threads=17
    refused "first 'vblkctl stop vda'" set vda threads=2 engine=aio
    refused 'engine: "AIO" is not allowed, must be one of "auto", "aio"' set vda engine=AIO
    refused 'engine: "a=b" is not allowed' set vda engine=a=b
    refused "first 'vblkctl stop vda'" set vda engine=aio
    refused "first 'vblkctl stop vda'" set vda poll-us=7 engine=aio
    refused 'goes with images of type "file" only' set vdb engine=io_uring
    refused 'goes with images of type "file" only' set vdb poll-cpu=7 engine=io_uring
}

@test "two disks on one socket path" {
    vblkctl add vda null:1G --socket "$E2E_DIR/one.sock"
    before=$(snapshot)
    refused "belongs to the disk vda" add vdb null:1G --socket "$E2E_DIR/one.sock"
    refused one.sock add vdb null:1G --socket "$E2E_DIR/state/../one.sock"
    refused "control socket" add vdb null:1G --socket "$E2E_DIR/control"
}

@test "socket paths that cannot be: too long, no directory, not a socket" {
    local deep

    deep=$E2E_DIR/$(printf 'd%.0s' {1..100})
    echo precious >"$E2E_DIR/file"
    refused socket: add vda null:1G --socket "$deep"
    refused none/x.sock add vda null:1G --socket "$E2E_DIR/none/x.sock"
    refused "$E2E_DIR/file" add vda null:1G --socket "$E2E_DIR/file"
    [ "$(cat "$E2E_DIR/file")" = precious ]
}

@test "a refused create leaves no image behind, and overwrites none" {
    local file

    file=$(image vda 1M)
    refused "$file" add vda "$file" --create --size 1M
    refused none/x.sock add vda "$E2E_DIR/new" --create --size 1M --socket "$E2E_DIR/none/x.sock"
    [ ! -e "$E2E_DIR/new" ]
    [ "$(stat -c %s "$file")" -eq 1048576 ]
}

@test "a state directory that cannot be written is told, and forgotten when it can again" {
    local file

    mkdir "$E2E_DIR/state/disks.json.new"
    run vblkctl add vda null:1G
    [ "$status" -eq 1 ]
    [[ "$output" == *"will not outlast the daemon"*"disks.json"* ]]
    rmdir "$E2E_DIR/state/disks.json.new"
    vblkctl add vdb null:1G
    kill_vblkd
    start_vblkd
    vblkctl show vda
    vblkctl show vdb
}

@test "who answers on the control socket is no vblkd, or nobody" {
    stop_vblkd
    : >"$E2E_DIR/control"
    run vblkctl ping
    [ "$status" -eq 3 ]
    rm "$E2E_DIR/control"
    process_start fake python3 -c '
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[1])
sock.listen()
for answer in sys.argv[2:]:
    peer = sock.accept()[0]
    peer.recv(1000)
    peer.sendall(answer.encode())
    peer.close()' "$E2E_DIR/control" $'HTTP/1.1 400 Bad Request\n' '' $'{"jsonrpc":"2.0","id":9}\n'
    wait_until 5 test -S "$E2E_DIR/control"
    run vblkctl ping
    [ "$status" -eq 1 ]
    [[ "$output" == *"does not speak as vblkd does"* ]]
    run vblkctl ping
    [ "$status" -eq 3 ]
    run vblkctl ping
    [ "$status" -eq 1 ]
}
