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

# misused TEXT ARGUMENT...: the same with 2, whether vblkctl or the daemon found it.
misused() {
    local text=$1

    shift
    run vblkctl "$@"
    if [ "$status" -ne 2 ] || [[ "$output" != *"$text"* ]]; then
        echo "$*: status $status, $output"
        return 1
    fi
    wait_until 5 same_as_before
}

@test "bad names" {
    local name

    for name in '' . .. .hidden -- a/b /etc/passwd 'a b' $'a\nb' 'ä' "$(printf 'x%.0s' {1..64})"; do
        misused name: add -- "$name" null:1G
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

@test "a control socket that one may not use" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to become another user"
    need_tools setpriv
    chmod 755 "$E2E_DIR"
    cp "$VBLKCTL" "$E2E_DIR/vblkctl"
    run without_bats setpriv --reuid 65534 --clear-groups "$E2E_DIR/vblkctl" \
        --control "$E2E_DIR/control" list
    [ "$status" -eq 1 ]
    [ "$output" = "vblkctl: cannot connect to $E2E_DIR/control: Permission denied;\
 run as the user that vblkd runs as, or as root" ]
}

@test "a symbolic link that leads nowhere" {
    ln -s "$E2E_DIR/target" "$E2E_DIR/link"
    refused "a symbolic link to $E2E_DIR/target, which is not there" add vda "$E2E_DIR/link"
    refused "a symbolic link to $E2E_DIR/target, which is not there" \
        add vda "$E2E_DIR/link" --create --size 1M
    [ ! -e "$E2E_DIR/target" ]
    touch "$E2E_DIR/target"
    refused "leave out --create" add vda "$E2E_DIR/link" --create --size 1M
    refused "it is empty; a loop device gets a file by losetup" \
        add vda "$E2E_DIR/link" --cache writeback
}

@test "an image that is immutable" {
    need_tools chattr
    local file

    file=$(image vda 1M)
    chattr +i "$file" 2>/dev/null || skip "cannot make a file immutable here"
    run without_bats "$VBLKCTL" --control "$E2E_DIR/control" add vda "$file" --cache writeback
    chattr -i "$file"
    [ "$status" -eq 1 ]
    [[ "$output" == *"immutable or append-only"*"chattr -ia"*"use --readonly" ]]
}

@test "a disk whose socket would be the control socket" {
    stop_vblkd
    process_start vblkd "$VBLKD" --control "$E2E_DIR/control.sock" --socket-dir "$E2E_DIR" \
        --state-dir "$E2E_DIR/state"
    wait_until 5 test -S "$E2E_DIR/control.sock"
    run without_bats "$VBLKCTL" --control "$E2E_DIR/control.sock" add control null:1M
    [ "$status" -eq 1 ]
    [[ "$output" == *"is the daemon's control socket; give the disk another name, or"* ]]
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
    ln -s "$file" "$E2E_DIR/my disk.img"
    refused "fuser -v '$E2E_DIR/my disk.img'" add vdb "$E2E_DIR/my disk.img"
}

@test "sizes that do not parse" {
    local size

    for size in '' 0 G -1 -1G 1.1G 1GG 10GB 4096B 10Q 0x10 1e3 ten '1 G' 99999999999999999999 16384P; do
        misused "null:$size" add vda "null:$size"
        misused --size: add vda "$E2E_DIR/new" --create --size "$size"
        misused --logical-block-size: add vda null:1G --logical-block-size "$size"
    done
    misused 'no option follows a comma; a null image has delay-ms=N, error=ERROR' add vda null:1G,
    misused 'has no such option, only delay-ms=N, error=ERROR' add vda null:1G,colour=red
    misused 'null: its size is missing: "" is no size, such as 10G' add vda null:,delay-ms=5
    misused 'has no such option' add vda null:1G,delay-ms
    misused 'has no such option' add vda null:1G,cache=none
    misused 'has no such option' add vda null:1G,delay_ms=1
    misused '"delay-ms=2": is given twice' add vda null:1G,delay-ms=1,delay-ms=2
    misused 'delay-ms: "-1" is no whole number' add vda null:1G,delay-ms=-1
    misused 'delay-ms: "soon" is no whole number' add vda null:1G,delay-ms=soon
    misused "vblkctl: delay-ms: 4000000 is out of range" add vda null:1G,delay-ms=4000000
    misused "vblkctl: the size of a null image: 1000 bytes are not" add vda null:1000
    misused '--socket: is empty' add vda null:1G --socket ''
    misused "null:1G has its size: leave out --size" add vda null:1G --size 2G
    misused "null:1G has its size: leave out --size" add vda null:1G --size 2G --create
    [ ! -e "$E2E_DIR/new" ]
}

@test "sizes and blocks that a disk cannot have" {
    truncate -s 1000 "$E2E_DIR/odd.img"
    misused "513 bytes" add vda null:513
    refused 1000 add vda "$E2E_DIR/odd.img"
    misused "not a power of two" add vda null:1G --logical-block-size 1000
    misused "--logical-block-size: 65536 is out of range" add vda null:1G --logical-block-size 64K
    misused "--size: is missing or 0, a new file needs it" add vda "$E2E_DIR/new" --create
    misused "--readonly: does not go with a new file" \
        add vda "$E2E_DIR/new" --create --size 1M --readonly
    misused "--incoming: does not go with a new file" \
        add vda "$E2E_DIR/new" --create --size 1M --incoming
    misused "--incoming: does not go with readonly" add vda "$E2E_DIR/new" --readonly --incoming
    misused "--incoming: goes with images of type" add vda null:1M --incoming
    misused "--size: 1000 bytes are not whole blocks of 512 bytes" \
        add vda "$E2E_DIR/new" --create --size 1000
    misused "--physical-block-size: 512 is below the logical block size, 4096" \
        add vda null:1G --logical-block-size 4K --physical-block-size 512
    misused "--size: goes with a new file only" add vda "$E2E_DIR/odd.img" --size 1M
    misused '--size: "0" is no size' add vda "$E2E_DIR/new" --create --size 0
    [ ! -e "$E2E_DIR/new" ]
}

@test "numbers and words out of range, each by name" {
    misused "--queues: 0" add vda null:1G --queues 0
    misused "--queues: 65" add vda null:1G --queues 65
    misused "--queue-size: 100" add vda null:1G --queue-size 100
    misused "--queue-size: 1" add vda null:1G --queue-size 1
    misused "--queue-size: 65536" add vda null:1G --queue-size 65536
    misused '--cache: "fast" is not allowed, must be one of "none", "directsync"' \
        add vda "$E2E_DIR/x" --cache fast
    misused "--poll-us: 1001 is out of range" add vda null:1G --poll-us 1001
    misused "--poll-cpu: 0 is out of range" add vda null:1G --poll-cpu 0
    misused '--engine: "native" is not allowed, must be one of "auto", "aio", "io_uring"' \
        add vda null:1G --engine native
    misused '--engine: "aio" goes with images of type "file" only' add vda null:1G --engine aio
    misused '--config-wce: "1" is not allowed, must be one of "off", "on"' \
        add vda null:1G --config-wce 1
    for geometry in 0,16,63 1024,16 1024,16,63,1 65536,16,63 1024,256,63 1024,16,256 " 1,1,1" 1,-1,1 "1,1,"; do
        misused "--geometry: \"$geometry\" is not cylinders,heads,sectors" \
            add vda null:1G --geometry "$geometry"
    done
    misused "--seg-max: 0 is out of range, 1 to 1024 are allowed" add vda null:1G --seg-max 0
    misused "--seg-max: 1025 is out of range" add vda null:1G --seg-max 1025
    misused "--seg-max: 100 do not fit into a queue of 64; up to 62 do" \
        add vda null:1G --seg-max 100 --queue-size 64
    misused '--size-max: "0" is no size' add vda null:1G --size-max 0
    misused "--size-max: 2048 bytes are less than a page" add vda null:1G --size-max 2048
    misused "--size-max: 4294967296 is out of range" add vda null:1G --size-max 4G
    misused "--size-max: 4100 bytes are not whole blocks of 512 bytes; the next that are: 4608" \
        add vda null:1G --size-max 4100
    misused "--serial: is 21 bytes long" add vda null:1G --serial 012345678901234567890
}

@test "topology that a guest cannot be told" {
    local device option

    for option in --alignment-offset --min-io --opt-io; do
        misused "$option: \"0\" is no size" add vda null:1G "$option" 0
        misused "$option: 1000 bytes are not whole blocks of 512 bytes; the next that are: 1024" \
            add vda null:1G "$option" 1000
    done
    misused "--alignment-offset: 8388608 is out of range, 0 to 8355840 are allowed" \
        add vda null:1G --alignment-offset 8M
    misused "--min-io: 4294967296 is out of range" add vda null:1G --min-io 4G
    misused "--opt-io: 4294967296 is out of range" add vda null:1G --opt-io 4G
    device=$(image vda 1M)
    refused "image $device: the smallest I/O size 2048 has to be whole logical blocks of 512, from the physical block size 4096 to 33553920; use another --min-io" \
        add vda "$device" --min-io 2K
    refused "image $device: the alignment offset 4096 has to be whole logical blocks of 512, below the physical block size 4096, and 3584 at most" \
        add vda "$device" --alignment-offset 4K
    misused "--opt-io: 6144 bytes are not whole blocks of 4096 bytes; the next that are: 8192" \
        add vda "$device" --opt-io 6K --logical-block-size 4K
    vblkctl add vda "$device" --min-io 64K --opt-io 1M --alignment-offset 3584
    [ "$(field vda alignment_offset min_io_size opt_io_size)" = "3584 65536 1048576" ]
    before=$(snapshot)
    misused "--min-io: does not go with" add vdb null:1M --min-io 64K \
        --as-shown "$(vblkctl show vda --shown)"
}

@test "limits of discards and zeroes that no disk can have, each by name" {
    local option

    for option in --discard-granularity --max-discard --max-write-zeroes; do
        misused "$option: \"0\" is no size" add vda null:1G "$option" 0
        misused "$option: 1000 bytes are not whole blocks of 512 bytes; the next that are: 1024" \
            add vda null:1G "$option" 1000
        misused "$option: 6144 bytes are not whole blocks of 4096 bytes" \
            add vda null:1G "$option" 6K --logical-block-size 4096
        misused "$option: does not go with --readonly" add vda null:1G --readonly "$option" 1M
    done
    misused "--discard-granularity: 4294967296 is out of range" add vda null:1G --discard-granularity 4G
    for option in --max-discard --max-write-zeroes; do
        misused "$option: 2199023255552 is out of range, 0 to 2199023255040 are allowed" \
            add vda null:1G "$option" 2T
        misused "$option-segments: 0 is out of range" add vda null:1G "$option-segments" 0
        misused "$option-segments: 16385 is out of range" add vda null:1G "$option-segments" 16385
    done
    misused "--max-discard: 65536 bytes are less than the 1048576 that a discard gives back together" \
        add vda null:1G --max-discard 64K --discard-granularity 1M
    for option in --max-discard=2M --discard-granularity=1M --max-discard-segments=1; do
        misused "${option%=*}: does not go with --discard off, as the guest is offered none" \
            add vda null:1G "$option" --discard off
    done
    for option in --max-write-zeroes=1M --max-write-zeroes-segments=1; do
        misused "${option%=*}: does not go with --write-zeroes off, as the guest is offered none" \
            add vda null:1G "$option" --write-zeroes off
    done
    vblkctl add vda null:1G --max-discard 2199023255040 --max-write-zeroes 512 --discard-granularity 2G
}

@test "settings that there are not, or that a disk cannot have" {
    add_disk vda 1M
    vblkctl add vdb null:1G
    before=$(snapshot)
    misused "NAME is missing" set
    misused '"engine" is not of the form KEY=VALUE; there are poll-us=N, ' set vda engine
    misused '"pol-us=9" is no setting; did you mean poll-us=N?' set vda pol-us=9
    misused 'vda: serial is fixed at add: remove the disk, then add it with --serial B' set vda serial=B
    misused 'serial is fixed at add: remove the disk, then add it with --serial TEXT' set vda --serial B
    misused 'vda: size is fixed at add: remove the disk, then add it with --size 2M' set vda size=2M
    misused '"speed=9" is no setting; there are poll-us=N, poll-cpu=N, batch=N, huge-bounce=WHEN' \
        set vda speed=9
    misused '"poll_us=9" is no setting' set vda poll_us=9
    misused 'detect-zeroes: "yes" is not allowed, must be one of "off", "on", "unmap"' \
        set vda detect-zeroes=yes
    misused 'vda: config-wce is fixed at add: ' set vda config-wce=off
    misused '"=aio" is no setting' set vda =aio
    misused 'engine: "" is no value for it; ENGINE: ' set vda engine=
    misused "engine: is given twice" set vda engine=auto engine=auto
    misused 'poll-us: "-1" is no value for it; N: ' set vda poll-us=-1
    misused 'poll-us: "50us" is no value for it; N: ' set vda poll-us=50us
    misused 'poll-us: "1e2" is no value for it; N: ' set vda engine=auto poll-us=1e2
    misused 'poll-cpu: "99999999999999999999" is no value for it; N: ' \
        set vda poll-cpu=99999999999999999999
    misused 'vblkctl: poll-us: 1001 is out of range, 0 to 1000 are allowed' set vda poll-us=1001
    misused 'vblkctl: poll-cpu: 0 is out of range, 1 to 100 are allowed' set vda poll-cpu=0
    misused 'poll-cpu: 101 is out of range' set vda poll-us=7 poll-cpu=101
    misused 'threads: 0 is out of range, 1 to 16 are allowed' set vda threads=0
    misused 'threads: 17 is out of range' set vda poll-us=7 threads=17
    misused "group: \"a b\" has other characters" set vda poll-us=7 group="a b"
    misused 'cpus: "any" is no list of CPUs' set vda cpus=any
    misused 'queue-threads: "0,x" is no list of threads' set vda queue-threads=0,x
    refused 'queue-threads: queue 1 is to be served by thread 1' set vda queue-threads=0,1
    refused "first 'vblkctl --control $E2E_DIR/control stop vda'" set vda threads=2 engine=aio
    misused 'engine: "AIO" is not allowed, must be one of "auto", "aio"' set vda engine=AIO
    misused 'engine: "a=b" is not allowed' set vda engine=a=b
    refused "first 'vblkctl --control $E2E_DIR/control stop vda'" set vda engine=aio
    refused "first 'vblkctl --control $E2E_DIR/control stop vda'" set vda poll-us=7 engine=aio
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
    misused socket: add vda null:1G --socket "$deep"
    refused none/x.sock add vda null:1G --socket "$E2E_DIR-none/x.sock"
    refused "$E2E_DIR/file" add vda null:1G --socket "$E2E_DIR/file"
    [ "$(cat "$E2E_DIR/file")" = precious ]
}

@test "a refused create leaves no image behind, and overwrites none" {
    local file

    file=$(image vda 1M)
    refused "$file" add vda "$file" --create --size 1M
    refused none/x.sock add vda "$E2E_DIR/new" --create --size 1M --socket "$E2E_DIR-none/x.sock"
    [ ! -e "$E2E_DIR/new" ]
    [ "$(stat -c %s "$file")" -eq 1048576 ]
}

@test "a state directory that cannot be written is told, and forgotten when it can again" {
    local file

    mkdir "$E2E_DIR/state/disks.json.new"
    run vblkctl add vda null:1G
    [ "$status" -eq 1 ]
    [[ "$output" == *"it was done, but"*"disks.json"* ]]
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
