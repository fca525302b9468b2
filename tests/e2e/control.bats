#!/usr/bin/env bats
#
# vblkctl and the life of vblkd, without a guest.

load ../lib/e2e

setup() {
    need_tools python3
    e2e_setup
}

teardown() {
    [ -z "${holder:-}" ] || exec {holder}>&-
    e2e_teardown
}

# hold DISK WRITES [MANNER]: a front-end that stays, with so many writes of 4096 bytes under way.
hold() {
    # shellcheck disable=SC2154 # e2e.bash sets it
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold in $top_builddir"
    process_start "hold-$1" "$top_builddir/tests/frontend-hold" "$(socket_of "$1")" "${@:2}"
    wait_until 5 grep -q ready "$E2E_DIR/hold-$1.log"
    wait_until 5 has_taken "$1" "$2"
}

# has_taken DISK WRITES: since its front-end is there; on a machine that is busy enough they are answered
# already when this is asked, unless the disk is one of add_endless.
has_taken() {
    local inflight answered

    answered=$(grep -c "^status" "$E2E_DIR/hold-$1.log") || true
    inflight=$(stat_of "$1" inflight)
    [ $((inflight + answered)) -ge "$2" ]
}

# hold_end DISK: the front-end goes; before another of its name, as the teardown ends the last one alone.
hold_end() {
    process_signal "hold-$1" KILL
    wait_until 5 process_ended "hold-$1"
}

# hold_done DISK WRITES: a front-end that does so many writes and goes.
hold_done() {
    process_start "hold-$1" "$top_builddir/tests/frontend-hold" "$(socket_of "$1")" "$2"
    wait_until 5 answered "$1" "$2"
    hold_end "$1"
}

# add_slow NAME [MS]: a disk whose requests take long enough to do something meanwhile.
add_slow() {
    vblkctl add "$1" "null:1G,delay-ms=$((${2:-1500} * E2E_PATIENCE))"
}

# add_endless NAME: a disk whose requests are in flight for longer than any test; only a daemon that is
# killed does not wait for them.
add_endless() {
    vblkctl add "$1" null:1G,delay-ms=3600000
}

# answered DISK N: the front-end of `hold` has N good answers.
answered() {
    [ "$(grep -c "^status 0" "$E2E_DIR/hold-$1.log")" -eq "$2" ]
}

# warns_of DISK CODE: `list` has such a warning.
warns_of() {
    vblkctl --json list | grep -q "\"name\":\"$1\".*\"code\":\"$2\""
}

state_is() {
    [ "$(field "$1" state)" = "$2" ]
}

is_moving() {
    [[ "$(field "$1" paused_by)" == *"change of threads"* ]]
}

# Has hang_thread.py the thread, or has it given up?
hang_decided() {
    process_ended hang || grep -q held "$E2E_DIR/hang.log"
}

fds_of_vblkd() {
    find "/proc/$(cat "$E2E_DIR/vblkd.pid")/fd" -type l | wc -l
}

# add_until_refused: disks d1, d2, ... until there is no room; the last answer is in $output.
add_until_refused() {
    local i

    for i in {1..60}; do
        run vblkctl add "d$i" null:1G
        [ "$status" -eq 0 ] || return 0
    done
    echo "60 disks, and no limit" >&2
    return 1
}

# refuses_to_start TEXT [OPTION...]: another daemon must end with status 1 and say TEXT.
refuses_to_start() {
    local text=$1

    shift
    # shellcheck disable=SC2086 # the wrapper is words
    run without_bats timeout "$(deadline 20)" ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/other" \
        --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state" "$@"
    [ "$status" -eq 1 ]
    [[ "$output" == *"$text"* ]]
}

# --- vblkctl

@test "ctl: version, ping and shutdown" {
    start_vblkd
    run vblkctl version
    [ "$status" -eq 0 ]
    [[ "${lines[0]}" =~ ^vblkctl\ [0-9.]+$ ]]
    [[ "${lines[1]}" =~ ^vblkd\ [0-9.]+\ \(protocol\ 1 ]]
    vblkctl ping
    run vblkctl shutdown
    [ "$status" -eq 0 ]
    wait_until 5 process_ended vblkd
    [ "$(process_status vblkd)" -eq 0 ]
    run vblkctl ping
    [ "$status" -eq 3 ]
    [[ "$output" == *"$E2E_DIR/control"*"start one with"* ]]
}

@test "ctl: what is no socket is told, and not to start a vblkd on it" {
    start_vblkd
    touch "$E2E_DIR/file"
    for path in "$E2E_DIR" "$E2E_DIR/file"; do
        run without_bats "$VBLKCTL" --control "$path" list
        [ "$status" -eq 3 ]
        [ "$output" = "vblkctl: no vblkd answers on $path: it is no socket; name another by --control" ]
    done
    run without_bats "$VBLKCTL" --control "$E2E_DIR/file/control" list
    [ "$status" -eq 3 ]
    [[ "$output" == *": that is not in a directory; name another by --control" ]]
}

@test "ctl: shutdown is no success when what was changed last is lost" {
    start_vblkd
    add_disk vda 1M
    mkdir "$E2E_DIR/state/disks.json.new" # in the way
    run vblkctl stop vda
    [ "$status" -eq 1 ]
    run vblkctl shutdown
    [ "$status" -eq 1 ]
    [[ "$output" =~ ^"vblkctl: vblkd, process "[0-9]+", has ended, but what was changed last is lost: " ]]
    wait_until 5 process_ended vblkd
    [ "$(process_status vblkd)" -eq 1 ]
}

@test "ctl: shutdown is no success when the daemon is killed meanwhile, or gives up" {
    local signal

    for signal in KILL TERM; do
        start_vblkd
        add_endless vda
        hold vda 1
        process_start shutdown "$VBLKCTL" --control "$E2E_DIR/control" shutdown
        wait_until 5 grep -q "draining all disks" "$E2E_DIR/vblkd.log"
        process_signal vblkd "$signal"
        [ "$signal" = KILL ] || process_signal vblkd "$signal"
        wait_until 5 process_ended shutdown
        [ "$(process_status shutdown)" -eq 1 ]
        grep -q "has ended, but not in order; its log says why" "$E2E_DIR/shutdown.log"
        wait_until 5 process_ended vblkd
        hold_end vda
        rm -r "$E2E_DIR/state/disks.json"
    done
}

@test "ctl: the socket may be named by the environment, options may stand anywhere" {
    start_vblkd
    VBLK_CONTROL=$E2E_DIR/control without_bats "$VBLKCTL" ping
    without_bats "$VBLKCTL" ping --control "$E2E_DIR/control"
    vblkctl add vda --readonly null:1G --queues 2
    vblkctl add --serial S vdb --readonly null:1G
    [ "$(field vda readonly queues)" = "True 2" ]
    [ "$(field vdb readonly serial)" = "True S" ]
    vblkctl list --json | python3 -m json.tool >/dev/null
}

@test "ctl: help of every command, and usage errors end with 2 and a hint" {
    local command commands words

    commands=$("$VBLKCTL" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    [ "$(wc -w <<<"$commands")" -eq 16 ]
    for command in $commands; do
        run "$VBLKCTL" "$command" --help
        [ "$status" -eq 0 ]
        [[ "$output" == "Usage: vblkctl $command"* ]]
    done
    for words in "" "explode" "add" "add vda" "show" "list extra" "add vda null:1G extra" \
        "--explode" "list --explode" "stop vda --timeout" "stop vda --timeout soon" \
        "stop vda --timeout -1" "stats --count 2" "stats --interval 0" "add v null:1G --queues x"; do
        # shellcheck disable=SC2086 # words
        run vblkctl $words
        [ "$status" -eq 2 ]
        [[ "$output" == *"--help'"* ]]
    done
}

@test "ctl: options of vblkctl set parameters that the daemon has" {
    start_vblkd
    vblkctl ping
    python3 - "$E2E_DIR/control" "$VBLKCTL" <<'END'
import json, re, socket, subprocess, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"daemon.methods"}\n')
methods = {m["name"]: m for m in json.loads(sock.makefile().readline())["result"]["methods"]}

def names(params):
    for param in params:
        yield from names(param["members"]) if "members" in param else [param["name"]]

# Parameters that an operand or the client's own words stand for.
told_otherwise = {"name", "type", "path", "delay_ms", "error", "error_every"}
for command in "add remove list show stats start stop".split():
    text = subprocess.run([sys.argv[2], command, "--help"], capture_output=True, text=True).stdout
    options = set(re.findall(r"^  --([a-z0-9-]+)", text, re.M))
    options -= {"control", "json", "version", "help", "interval", "count", "shown", "empty"}
    options = {o.replace("-", "_") for o in options} - {"timeout"} | \
        ({"timeout_ms"} if "timeout" in options else set())
    params = set(names(methods["disk." + command]["params"])) - told_otherwise
    assert options == params, (command, options, params)
END
}

@test "ctl: add prints the socket and the lines for QEMU, the socket is private" {
    local file

    start_vblkd
    file=$(image vda 8M)
    run vblkctl add vda "$file"
    [ "$status" -eq 0 ]
    [[ "$output" == *"socket: $(socket_of vda)"* ]]
    [[ "$output" == *"-chardev socket,id=vda,path=$(socket_of vda),reconnect=1"* ]]
    [[ "$output" == *"-device vhost-user-blk-pci,chardev=vda"* ]]
    [[ "$output" == *"memory-backend-memfd"*"share=on"* ]]
    [ "$(stat -c %a "$(socket_of vda)")" = 600 ]
    [ "$(stat -c %a "$E2E_DIR/control")" = 600 ]
    run vblkctl add 1st null:1G --queue-size 64
    [[ "$output" == *"id=disk1st"*"queue-size=64"* ]]
}

@test "ctl: relative paths are the client's" {
    start_vblkd
    image vda 1M
    (cd "$E2E_DIR" && vblkctl add vda vda.img --socket here.sock)
    [ "$(field vda socket)" = "$E2E_DIR/here.sock" ]
    [ -S "$E2E_DIR/here.sock" ]
    vblkctl --json show vda | grep -q "\"path\":\"$E2E_DIR/vda.img\""
}

@test "ctl: add creates an image, sparse, of the size as people write it" {
    start_vblkd
    vblkctl add vda "$E2E_DIR/new.img" --create --size 1.5G
    [ "$(stat -c %s "$E2E_DIR/new.img")" -eq $((1536 << 20)) ]
    [ "$(stat -c %b "$E2E_DIR/new.img")" -lt 100 ]
    [ "$(field vda size)" -eq $((1536 << 20)) ]
    run vblkctl add vdb "$E2E_DIR/new.img" --create --size 1G
    [ "$status" -eq 1 ]
}

@test "ctl: list and show, for people and as JSON" {
    start_vblkd
    add_disk vda 10M
    vblkctl add vdb null:1T --readonly
    run vblkctl list
    [ "${#lines[@]}" -eq 3 ]
    [[ "${lines[0]}" =~ ^NAME\ +STATE\ +SIZE\ +CLIENT\ +QUEUES\ +IMAGE$ ]]
    [[ "${lines[1]}" =~ ^vda\ +running\ +10M\ +-\ +0/16\ +$E2E_DIR/vda.img$ ]]
    [[ "${lines[2]}" =~ ^vdb\ +running\ +1T\ +-\ +0/16\ +null ]]
    run vblkctl show vda
    [[ "$output" == *"size:           10M (10485760 bytes)"* ]]
    [[ "$output" == *"client:         none"* ]]
    [[ "$output" == *"blocks:         logical 512, physical "[1-9]* && "$output" != *"size 0"* ]]
    [ "$(field vda size state)" = "10485760 running" ]
}

@test "ctl: show names the front-end and its rings, list too" {
    start_vblkd
    add_disk vda 10M
    hold vda 0
    run vblkctl show vda
    [[ "$output" =~ client:\ +frontend-hold,\ process\ $(cat "$E2E_DIR/hold-vda.pid") ]]
    [[ "$output" == *"version_1"* ]]
    [[ "$output" =~ RING\ +SIZE\ +STATE ]]
    [[ "${lines[-1]}" =~ ^\ *0\ +128\ +running ]]
    run vblkctl list
    [[ "${lines[1]}" =~ frontend-hold/$(cat "$E2E_DIR/hold-vda.pid")\ +1/16 ]]
}

@test "ctl: list and show tell of a queue that is broken" {
    start_vblkd
    add_disk vda 10M
    hold vda 0 broken
    wait_until 5 state_is vda broken
    run vblkctl list
    [[ "${lines[1]}" =~ ^vda\ +broken ]]
    [[ "$output" == *"1 queue is broken"*"ring 0: a head lies past"*"a reset of the guest"* ]]
    run vblkctl show vda
    [[ "$output" == *"warning: "*"1 queue is broken"* ]]
    [ "$(field vda queues_broken)" -eq 1 ]
    process_signal hold-vda KILL
    wait_until 5 state_is vda running
}

@test "ctl: a daemon that was killed is told of by the next one" {
    start_vblkd
    kill_vblkd
    start_vblkd
    vblkd_logged "the one before was killed, or crashed: what it had in flight is tried again"
    stop_vblkd
    start_vblkd
    run grep "was killed" "$E2E_DIR/vblkd.log"
    [ "$status" -eq 1 ]
}

@test "ctl: list and show tell of a guest whose memory is not shared" {
    start_vblkd
    vblkctl add vda null:1G --threads 2
    hold vda 0 blind
    wait_until 5 warns_of vda memory_not_shared
    run vblkctl list
    [[ "${lines[1]}" =~ ^vda\ +running ]]
    [[ "$output" == *"probably not shared"*"share=on"* ]]
    wait_until 5 grep -q "ring 0: its driver kicks, but no request is seen" "$E2E_DIR/vblkd.log"
    hold_end vda
    hold vda 0
    run warns_of vda memory_not_shared
    [ "$status" -ne 0 ]
}

@test "ctl: stats count what a front-end did" {
    start_vblkd
    add_disk vda 10M
    hold vda 0
    hold_end vda
    process_start hold-vda "$top_builddir/tests/frontend-hold" "$(socket_of vda)" 5
    wait_until 5 stat_is vda requests.write.requests 5
    [ "$(stat_of vda requests.write.bytes requests.write.errors invalid)" = "20480 0 0" ]
    [ "$(stat_of vda inflight submitted merged | awk '{ print $1, $2 + $3 }')" = "0 5" ]
    run vblkctl stats vda
    [[ "$output" =~ write\ +5\ +20480\ +0 ]]
    [[ "$output" == *"requests per submission: "* ]]
}

@test "ctl: stats by the interval, a line each, and as JSON" {
    start_vblkd
    vblkctl add vda null:1G
    vblkctl add vdb null:1G
    run vblkctl stats --interval 0.05 --count 2
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 5 ]
    [[ "${lines[0]}" =~ ^DISK\ +r/s\ +w/s ]]
    [[ "${lines[1]}" == "vda "* ]] && [[ "${lines[4]}" == "vdb "* ]]
    run vblkctl --json stats vdb --interval 0.05 --count 3
    [ "${#lines[@]}" -eq 3 ]
    [[ "${lines[2]}" == '{"name":"vdb",'* ]]
    run vblkctl stats vda --interval 0.01 --count 21
    [ "$(grep -c ^DISK <<<"$output")" -eq 2 ]
}

@test "ctl: stats that go on end when nobody can read them" {
    local option

    start_vblkd
    vblkctl add vda null:1G
    for option in "" --json; do
        # shellcheck disable=SC2016,SC2086 # for the other shell; no option is no word
        run without_bats timeout "$(deadline 10)" sh -c '"$@" >/dev/full' sh \
            "$VBLKCTL" --control "$E2E_DIR/control" $option stats --interval 0.05
        [ "$status" -eq 1 ]
        [ "$output" = "vblkctl: cannot write the output" ]
    done
}

@test "ctl: completion knows commands, options and disks" {
    start_vblkd
    vblkctl add vda null:1G
    vblkctl add vdb null:1G
    # shellcheck disable=SC2016 # for the other shell
    run env VBLK_CONTROL="$E2E_DIR/control" bash -c '
        . "$1"
        . "$2"
        complete_words _vblkctl "$3" vblkctl sta
        complete_words _vblkctl "$3" vblkctl stop --t
        complete_words _vblkctl "$3" vblkctl stop ""
        complete_words _vblkctl "$3" vblkctl add vdc null:1G --cache write
        complete_words _vblkctl "$3" vblkctl set vda poll
        complete_words _vblkctl "$3" vblkctl set vda engine = io_
        complete_words _vblkctl "$3" vblkctl set vda engine = aio poll
        complete_words _vblkctl "$3" vblkctl set vda poll-us=0 engine = aio ""
        complete_words _vblkctl "$3" vblkctl list ""' bash "$BATS_TEST_DIRNAME/../lib/complete.bash" \
        "$BATS_TEST_DIRNAME/../../cmd/vblkctl.bash" "$VBLKCTL"
    [ "${lines[0]}" = "stats start" ]
    [ "${lines[1]}" = "--timeout" ]
    [ "${lines[2]}" = "vda vdb" ]
    [ "${lines[3]}" = "writeback writethrough" ]
    [ "${lines[4]}" = "poll-us= poll-cpu=" ]
    [ "${lines[5]}" = "io_uring" ]
    [ "${lines[6]}" = "poll-us= poll-cpu=" ]
    [[ "${lines[7]}" == "poll-cpu= batch= huge-bounce= "*" on-read-error= on-write-error= "*" threads="* ]]
    [ "${#lines[@]}" -le 9 ]
}

# --- start, stop, remove

@test "disk: stop closes the image, start opens it; both twice do no harm" {
    local file

    start_vblkd
    file=$(image vda 1M)
    vblkctl add vda "$file"
    run vblkctl stop vda
    [ "$output" = "vda: stopped" ]
    state_is vda stopped
    run find "/proc/$(cat "$E2E_DIR/vblkd.pid")/fd" -lname "$file"
    [ -z "$output" ]
    run vblkctl stop vda
    [ "$status" -eq 0 ]
    [ "$output" = "vda: stopped, as it was before" ]
    vblkctl start vda
    state_is vda running
    run vblkctl start vda
    [ "$output" = "vda: running, as it was before" ]
}

@test "disk: the geometry is its partition table's when it was added, and stays so" {
    local file

    start_vblkd
    file=$(image vda 16M)
    # Of one partition: its last head is 7, its last sector 32; it has 255 sectors.
    printf '\200\0\1\0\203\7\40\3\1\0\0\0\377\0\0\0' | dd of="$file" bs=1 seek=446 conv=notrunc status=none
    printf '\125\252' | dd of="$file" bs=1 seek=510 conv=notrunc status=none
    vblkctl add vda "$file"
    vblkctl add vdb null:1G
    [ "$(field vda cylinders heads sectors)" = "128 8 32" ]
    [ "$(field vdb cylinders heads sectors)" = "2080 16 63" ]
    vblkctl show vda | grep -q "^geometry: *128 cylinders, 8 heads, 32 sectors a track$"
    truncate -s 0 "$file"
    truncate -s 16M "$file"
    vblkctl stop vda
    vblkctl start vda
    [ "$(field vda cylinders heads sectors)" = "128 8 32" ]
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    [ "$(field vda cylinders heads sectors)" = "128 8 32" ]
    [ "$(field vdb cylinders heads sectors)" = "2080 16 63" ]
}

@test "disk: a geometry that was asked for is what it has, over a kill as well" {
    start_vblkd
    vblkctl add vda null:1G --geometry 512,255,62
    [ "$(field vda geometry cylinders heads sectors)" = "512,255,62 512 255 62" ]
    vblkctl show vda | grep -q "^geometry: *512 cylinders, 255 heads, 62 sectors a track (asked for)$"
    process_signal vblkd KILL
    wait_until 10 process_ended vblkd
    start_vblkd
    [ "$(field vda geometry cylinders heads sectors)" = "512,255,62 512 255 62" ]
}

@test "disk: an image that has grown is larger after start, a smaller one is refused" {
    local file

    start_vblkd
    file=$(image vda 2M)
    vblkctl add vda "$file"
    vblkctl stop vda
    truncate -s 3M "$file"
    vblkctl start vda
    [ "$(field vda size)" -eq $((3 << 20)) ]
    vblkctl stop vda
    truncate -s 1M "$file"
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *1048576* ]]
    state_is vda stopped
    truncate -s 3M "$file"
    vblkctl start vda
}

@test "disk: stop waits for what is in flight" {
    start_vblkd
    add_slow vda
    hold vda 3
    vblkctl stop vda
    wait_until 5 answered vda 3
    [ "$(stat_of vda inflight requests.write.requests)" = "0 3" ]
}

@test "disk: a stop that takes too long says what it waits for, and goes on" {
    start_vblkd
    add_endless vda
    hold vda 17
    run vblkctl stop vda --timeout 0.05
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: still draining: 17 in flight, the oldest a write of 4096 bytes at "* ]]
    [[ "$output" =~ at\ offset\ [0-9]+,\ for\ [0-9]+\.[0-9]\ s ]]
    state_is vda stopping
    add_slow vdb
    hold vdb 17
    run vblkctl stop vdb --timeout 0
    wait_until 10 state_is vdb stopped
    wait_until 5 answered vdb 17
    kill_vblkd
}

@test "disk: start cancels a drain and tells who waited for it" {
    start_vblkd
    add_endless vda
    hold vda 1
    process_start stopper "$VBLKCTL" --control "$E2E_DIR/control" stop vda
    wait_until 5 state_is vda stopping
    vblkctl start vda
    wait_until 5 process_ended stopper
    [ "$(process_status stopper)" -eq 1 ]
    grep -q "started again" "$E2E_DIR/stopper.log"
    state_is vda running
    kill_vblkd
}

@test "disk: one that is slow holds up neither control nor another disk" {
    start_vblkd
    add_endless slow
    vblkctl add fast null:1G
    hold slow 4
    hold fast 0
    run vblkctl stop slow --timeout 0
    [ "$status" -eq 1 ]
    vblkctl list
    vblkctl stop fast
    vblkctl remove fast --force
    run vblkctl remove slow --force --timeout 0.05
    [ "$status" -eq 1 ]
    [[ "$output" == *"still draining: 4 in flight"*"the removal goes on"* ]]
    state_is slow removing
    process_signal vblkd TERM
    vblkd_logged "draining all disks"
    process_signal vblkd TERM
    wait_until 5 process_ended vblkd
    [ "$(process_status vblkd)" -eq 1 ]
    rm "$E2E_DIR/vblkd.pid" # it has ended as it should
}

@test "disk: a thread that hangs is named, and the others go on" {
    local tid

    start_vblkd
    add_disk vda 1M
    vblkctl add vdb null:1G
    tid=$(field vda thread)
    mkfifo "$E2E_DIR/hang.in"
    # shellcheck disable=SC2016 # for the other shell
    process_start hang sh -c 'exec python3 "$1" "$2" <"$3"' sh \
        "$BATS_TEST_DIRNAME/hang_thread.py" "$tid" "$E2E_DIR/hang.in"
    exec {holder}>"$E2E_DIR/hang.in"
    wait_until 5 hang_decided
    process_runs hang || skip "no ptrace here: $(cat "$E2E_DIR/hang.log")"
    run vblkctl list
    [ "$status" -eq 0 ]
    [[ "${lines[1]}" =~ ^vda\ +stuck ]]
    [[ "${lines[2]}" =~ ^vdb\ +running ]]
    run vblkctl show vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"vda: the disk's thread does not answer; it waits in epoll_"*" (state t, stopped by somebody else in /proc/"*"/task/$tid)" ]]
    vblkctl stop vdb
    run vblkctl stats
    [[ "$output" == *"vda: "*"does not answer"*"vdb: 0 in flight"* ]]
    exec {holder}>&-
    holder=
    wait_until 5 state_is vda running
}

@test "disk: remove is refused while a front-end is connected, unless forced" {
    start_vblkd
    add_disk vda 1M
    hold vda 0
    run vblkctl remove vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"in use by frontend-hold (pid $(cat "$E2E_DIR/hold-vda.pid"))"* ]]
    state_is vda running
    vblkctl remove vda --force
    run vblkctl show vda
    [ "$status" -eq 1 ]
    [ ! -e "$(socket_of vda)" ]
}

@test "disk: remove gives back name, socket, image and thread" {
    local before

    start_vblkd
    add_disk vda 1M
    vblkctl remove vda
    before=$(fds_of_vblkd)
    for _ in {1..20}; do
        vblkctl add vda "$E2E_DIR/vda.img" >/dev/null
        vblkctl remove vda
    done
    vblkctl ping
    [ "$(fds_of_vblkd)" -le $((before + 1)) ]
    run sh -c "ls $E2E_DIR/*.sock* 2>/dev/null"
    [ -z "$output" ]
}

# --- sockets whose files are deleted, as cleaners of temporary directories do

@test "socket: deleted while a front-end is connected it is made anew, and the front-end stays" {
    local socket

    start_vblkd
    add_slow vda 3000
    socket=$(socket_of vda)
    hold vda 3
    rm "$socket" "$socket.lock"
    wait_until 10 test -S "$socket"
    wait_until 5 test -e "$socket.lock"
    [ "$(stat -c %a "$socket")" = 600 ]
    vblkd_logged "warn: vda: its socket $socket had gone and was made anew"
    wait_until 10 answered vda 3
    hold_end vda
    hold vda 1
    [ "$(field vda listening warnings)" = "True []" ]
    stop_vblkd
    [ ! -e "$socket" ] && [ ! -e "$socket.lock" ]
}

@test "socket: deleted while none is connected it is made anew, with threads and after stop too" {
    local socket

    start_vblkd
    add_disk vda 1M --threads 2 --queues 2
    socket=$(socket_of vda)
    for _ in 1 2 3; do
        rm "$socket"
        wait_until 10 test -S "$socket"
    done
    vblkctl stop vda
    mv "$socket" "$socket.away"
    wait_until 10 test -S "$socket"
    vblkctl start vda
    hold vda 0
}

@test "socket: without its directory list and start say so, and it comes back with it" {
    local socket=$E2E_DIR/sub/vda.sock

    start_vblkd --socket-dir "$E2E_DIR/run"
    mkdir "$E2E_DIR/sub"
    vblkctl add vda null:1G --socket "$socket"
    mv "$E2E_DIR/sub" "$E2E_DIR/gone" # at once: what is deleted one by one comes back amid it
    wait_until 5 grep -q "error: vda: its socket has gone and cannot be made anew" "$E2E_DIR/vblkd.log"
    run vblkctl list
    [[ "$output" == *"vda: "*"the socket has gone, so no front-end can connect: "*"must exist"* ]]
    [ "$(field vda state listening)" = "running False" ]
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"its socket has gone and cannot be made anew"* ]]
    mkdir "$E2E_DIR/sub"
    vblkctl start vda
    [ -S "$socket" ]
    mv "$E2E_DIR/sub" "$E2E_DIR/gone-again"
    mkdir "$E2E_DIR/sub"
    wait_until 20 test -S "$socket"
    [ "$(field vda listening)" = True ]
}

@test "socket: made anew it has the mode that it was given, and what is put over it is told" {
    local socket

    start_vblkd
    vblkctl add vda null:1G
    socket=$(socket_of vda)
    chmod 666 "$socket" "$E2E_DIR/control"
    vblkctl show vda # by then it has been seen
    rm "$socket" "$E2E_DIR/control"
    wait_until 10 test -S "$socket"
    wait_until 10 test -S "$E2E_DIR/control"
    [ "$(stat -c %a "$socket" "$E2E_DIR/control" | tr '\n' ' ')" = "666 666 " ]
    echo mine >"$E2E_DIR/mine"
    mv -f "$E2E_DIR/mine" "$socket"
    vblkd_logged "error: vda: its socket has gone and cannot be made anew"
}

@test "socket: a disk starts while its socket cannot be made anew, for the guest that is connected" {
    local socket

    start_vblkd
    add_disk vda 1M
    socket=$(socket_of vda)
    hold vda 0
    echo mine >"$E2E_DIR/mine"
    vblkctl stop vda
    mv -f "$E2E_DIR/mine" "$socket"
    vblkctl start vda
    vblkd_logged "error: vda: its socket has gone and cannot be made anew"
    [ "$(field vda state listening)" = "running False" ]
    run vblkctl list
    [[ "$output" == *"vda: "*"the socket has gone"*"is there and is no socket"* ]]
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [ "$(cat "$socket")" = mine ]
    rm "$socket"
    wait_until 20 test -S "$socket"
    process_runs hold-vda
}

@test "socket: the control socket comes back, and without its lock a second daemon is refused" {
    start_vblkd
    add_disk vda 1M
    rm "$E2E_DIR/control"
    wait_until 10 test -S "$E2E_DIR/control"
    vblkctl ping
    rm "$E2E_DIR/control.lock" "$E2E_DIR/state/lock"
    refuses_to_start "$E2E_DIR/control: another process listens there" \
        --control "$E2E_DIR/control" --state-dir "$E2E_DIR/state2"
    refuses_to_start "state directory $E2E_DIR/state is in use by another vblkd"
    wait_until 10 test -e "$E2E_DIR/control.lock"
    vblkctl show vda
}

@test "socket: nobody waits at a control socket that was moved away" {
    start_vblkd
    mv "$E2E_DIR/control" "$E2E_DIR/moved"
    wait_until 10 test -S "$E2E_DIR/control"
    vblkctl ping
    run without_bats timeout "$(deadline 10)" "$VBLKCTL" --control "$E2E_DIR/moved" ping
    [ "$status" -eq 3 ]
    [[ "$output" == *refused* ]]
}

@test "socket: where no directory can be watched it is found by the clock" {
    need_tools unshare
    # shellcheck disable=SC2016 # for the other shell
    unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_inotify_instances' ||
        skip "no user namespace with limits of its own"
    # shellcheck disable=SC2016 # for the other shell
    process_start vblkd unshare --user --map-root-user sh -c \
        'echo 0 >/proc/sys/user/max_inotify_instances; exec "$0" "$@"' "$VBLKD" \
        --control "$E2E_DIR/control" --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    wait_until 20 vblkd_answers
    vblkctl add vda null:1G
    vblkd_logged "cannot watch the directories of sockets (inotify)"
    rm "$(socket_of vda)" "$E2E_DIR/control"
    wait_until 20 test -S "$(socket_of vda)"
    wait_until 20 test -S "$E2E_DIR/control"
}

# --- settings

@test "set: polling changes under a front-end, and all of it shows" {
    start_vblkd
    add_slow vda
    hold vda 3
    run vblkctl set vda poll-us=50 poll-cpu=25
    [ "$status" -eq 0 ]
    [[ "$output" == *"poll-us=50"*"poll-cpu=25"* ]]
    run vblkctl show vda
    [[ "$output" =~ polling:\ +up\ to\ 50\ us\ .*\ 25\ %\ of\ a\ core ]]
    vblkctl set vda poll-us=0
    [ "$(field vda poll_us poll_cpu)" = "0 25" ]
    run vblkctl show vda
    [[ "$output" =~ polling:\ +off ]]
    wait_until 5 answered vda 3
    [ "$(vblkctl --json set vda poll-us=0 | grep -o '"changed":[a-z]*')" = '"changed":false' ]
    [ "$(vblkctl --json set vda poll-us=1 | grep -o '"changed":[a-z]*')" = '"changed":true' ]
}

@test "set: a disk that may not poll does not, one that may does" {
    start_vblkd
    vblkctl add vda null:1G --poll-us 0
    hold vda 0
    hold_end vda
    hold_done vda 40
    [ "$(stat_of vda poll_hits poll_misses poll_time_ns)" = "0 0 0" ]
    vblkctl set vda poll-us=1000
    hold_done vda 40
    wait_until 5 stat_reaches vda poll_time_ns 1
    run vblkctl stats vda
    [[ "$output" =~ polls:\ [0-9]+\ found\ work,\ [0-9]+\ found\ none,\ in\ [0-9.]+\ ms ]]
    run vblkctl stats vda --interval 0.05 --count 1
    [[ "${lines[0]}" =~ poll%$ ]]
}

@test "set: the engine changes while the image is closed, and show tells which one runs" {
    start_vblkd
    add_disk vda 1M --engine auto
    run vblkctl show vda
    [[ "$output" =~ engine:\ +(aio|io_uring|threads)\ \(chosen\ by\ auto:\ .+\) ]]
    run vblkctl set vda engine=aio
    [ "$status" -eq 1 ]
    [[ "$output" == *"while the image is open; first 'vblkctl --control $E2E_DIR/control stop vda',\
 afterwards 'vblkctl --control $E2E_DIR/control start vda'" ]]
    # Where the environment says it, the command works as it is.
    export VBLK_CONTROL=$E2E_DIR/control
    run without_bats "$VBLKCTL" set vda engine=aio
    [ "$status" -eq 1 ]
    [[ "$output" == *"; first 'vblkctl stop vda', afterwards 'vblkctl start vda'" ]]
    unset VBLK_CONTROL
    ln -s "$E2E_DIR" "$E2E_DIR/my daemon"
    run without_bats "$VBLKCTL" --control="$E2E_DIR/my daemon/control" set vda engine=aio
    [ "$status" -eq 1 ]
    [[ "$output" == *"; first 'vblkctl --control '$E2E_DIR/my daemon/control' stop vda', "* ]]
    # What is of a path stays as it is.
    mkdir "$E2E_DIR/vblkctl stop me"
    printf 'QFI\373\0\0\0\3' >"$E2E_DIR/vblkctl stop me/q.img"
    truncate -s 1M "$E2E_DIR/vblkctl stop me/q.img"
    run vblkctl add vdq "$E2E_DIR/vblkctl stop me/q.img"
    [ "$status" -eq 1 ]
    [[ "$output" == *"qemu-img convert -O raw '$E2E_DIR/vblkctl stop me/q.img' NEW"* ]]
    vblkctl stop vda
    run vblkctl set vda engine=aio
    [ "$status" -eq 0 ]
    [[ "$output" == *"engine=aio"* ]]
    run vblkctl show vda
    [[ "$output" =~ engine:\ +aio,\ when\ the\ image\ is\ open ]]
    vblkctl start vda
    run vblkctl show vda
    [[ "$output" =~ engine:\ +aio\ \(asked\ for\) ]]
    [[ "$(field vda engine image)" == "aio "*"'engine': 'aio'"* ]]
}

@test "where the kernel refuses io_uring, another engine serves the disk, and show says why" {
    local wrapper="python3 $BATS_TEST_DIRNAME/no_io_uring.py"

    $wrapper true || skip "no seccomp"
    VBLKD_WRAPPER=$wrapper start_vblkd
    add_disk vda 4M --cache writeback --engine auto
    run vblkctl show vda
    if [ "$(stat --file-system --format %T "$E2E_DIR")" = tmpfs ]; then
        [[ "$output" =~ engine:\ +aio\ \(chosen\ by\ auto:\ .*tmpfs\) ]]
    else
        [[ "$output" =~ engine:\ +threads\ \(chosen\ by\ auto:\ .*io_uring.*\) ]]
    fi
    add_disk vdb 4M --cache none --engine auto || skip "no O_DIRECT"
    run vblkctl show vdb
    [[ "$output" =~ engine:\ +aio\ \(chosen\ by\ auto:\ .*O_DIRECT.*\) ]]
    if add_disk vdc 4M --cache writeback --engine io_uring; then
        run vblkctl show vdc
        [[ "$output" =~ engine:\ +aio\ \(io_uring\ was\ asked\ for:\ .*not\ permitted\) ]]
        vblkd_logged "warn: image .*refuses io_uring"
    fi
}

@test "set: an engine that cannot be had is told at once or at start, and can be set back" {
    start_vblkd
    add_disk vda 1M
    vblkctl stop vda
    run vblkctl set vda engine=io_uring
    if [ "$status" -ne 0 ]; then
        [[ "$output" == *"vblkd is built without io_uring; use engine auto or aio" ]]
    fi
    if ! vblkctl start vda; then
        state_is vda stopped
        vblkctl set vda engine=auto
        vblkctl start vda
    fi
    state_is vda running
}

@test "set: without a pair the settings are printed, in the form in which they are set" {
    local settings

    start_vblkd
    add_disk vda 1M --engine aio --poll-us 3 --poll-cpu 4 --huge-bounce off
    settings=$(vblkctl set vda)
    [[ "$settings" == $'poll-us=3\npoll-cpu=4\nbatch=0\nhuge-bounce=off\ndetect-zeroes=off\n'* ]]
    [[ "$settings" == *$'\non-read-error=report\non-write-error=enospc\n'*$'\nengine=aio\nthreads=1'* ]]
    # shellcheck disable=SC2086 # pairs are words
    [ "$(vblkctl set vda $settings)" = "$settings" ]
    vblkctl --json set vda | grep -q '"engine":"aio"'
}

@test "set: settings outlast stop, start and the daemon" {
    start_vblkd
    add_disk vda 1M
    vblkctl add vdb null:1G --poll-us 7
    vblkctl set vda poll-us=0
    vblkctl stop vda
    vblkctl set vda engine=aio poll-cpu=9
    kill_vblkd
    start_vblkd
    [ "$(field vda state poll_us poll_cpu engine)" = "stopped 0 9 aio" ]
    [ "$(field vdb state poll_us poll_cpu engine)" = "running 7 100 auto" ]
    vblkctl start vda
    stop_vblkd
    start_vblkd
    [ "$(field vda state poll_us poll_cpu engine)" = "running 0 9 aio" ]
}

@test "set: at the same time as remove, each is carried out or refused by name" {
    start_vblkd
    for _ in {1..8}; do
        vblkctl add vda null:1G >/dev/null
        process_start setter "$VBLKCTL" --control "$E2E_DIR/control" set vda poll-us=5
        vblkctl remove vda
        wait_until 5 process_ended setter
        if [ "$(process_status setter)" -ne 0 ]; then
            grep -qE 'no disk is named "vda"|vda: (the disk is being removed|no such disk)' \
                "$E2E_DIR/setter.log"
        fi
    done
    run vblkctl list
    [ "${#lines[@]}" -eq 1 ]
}

# --- the daemon

@test "daemon: ends in order with front-ends connected, what is in flight is answered" {
    start_vblkd
    add_slow vda
    add_disk vdb 1M
    hold vda 5
    hold vdb 0
    stop_vblkd
    wait_until 5 answered vda 5
    [ ! -e "$E2E_DIR/control" ]
    [ ! -e "$(socket_of vda)" ]
}

@test "daemon: it ends well just after a removal, and whoever asks for the disk then gets an answer" {
    local i k

    need_tools socat
    for ((i = 0; i < 10; i++)); do
        start_vblkd
        vblkctl add vda null:1G --threads 8
        {
            echo '{"jsonrpc":"2.0","id":1,"method":"disk.remove","params":{"name":"vda"}}'
            for ((k = 2; k < 40; k++)); do
                echo '{"jsonrpc":"2.0","id":'$k',"method":"disk.show","params":{"name":"vda"}}'
            done
            echo '{"jsonrpc":"2.0","id":40,"method":"daemon.shutdown"}'
        } | socat -t "$(deadline 20)" - "UNIX:$E2E_DIR/control" >"$E2E_DIR/answers"
        [ "$(grep -c '"id":' "$E2E_DIR/answers")" -ge 39 ]
        wait_until 5 process_ended vblkd
        [ "$(process_status vblkd)" -eq 0 ]
    done
}

@test "daemon: a request under way is answered while the daemon ends" {
    start_vblkd
    add_endless vda
    hold vda 1
    add_endless vdb
    hold vdb 1
    process_start stopper "$VBLKCTL" --control "$E2E_DIR/control" stop vda
    wait_until 5 state_is vda stopping
    process_start setter "$VBLKCTL" --control "$E2E_DIR/control" set vdb threads=2
    wait_until 2 is_moving vdb
    process_signal vblkd TERM
    wait_until 5 process_ended stopper
    grep -q "vda: the daemon is ending; started again, it runs the disk" "$E2E_DIR/stopper.log"
    wait_until 5 process_ended setter
    grep -q "vdb: the daemon is ending, nothing is changed" "$E2E_DIR/setter.log"
    kill_vblkd
    start_vblkd
    state_is vda running
}

@test "daemon: signals that mean the end end it in order, however often the system sends them" {
    local signal

    for signal in INT QUIT PWR XCPU; do
        # Who runs the tests may have them ignored, and what is ignored stays so.
        VBLKD_WRAPPER="env --default-signal=$signal ${VBLKD_WRAPPER:-}" start_vblkd
        add_slow vda 4000
        hold vda 3
        process_signal vblkd "$signal"
        wait_until 5 grep -q "draining all disks" "$E2E_DIR/vblkd.log"
        [[ "$signal" != [PX]* ]] || process_signal vblkd "$signal" || process_ended vblkd
        wait_until 20 process_ended vblkd
        [ "$(process_status vblkd)" -eq 0 ]
        wait_until 5 answered vda 3
        hold_end vda
        rm "$E2E_DIR/state/disks.json"
    done
}

@test "daemon: other signals do nothing to it, and what was ignored stays so" {
    local signal

    VBLKD_WRAPPER="env --ignore-signal=INT,QUIT ${VBLKD_WRAPPER:-}" start_vblkd
    add_slow vda
    hold vda 3
    for signal in HUP USR1 USR2 PIPE ALRM VTALRM PROF IO STKFLT XFSZ TTIN TTOU INT QUIT \
        RTMIN RTMIN+1 RTMAX; do
        process_signal vblkd "$signal"
        vblkctl ping
    done
    wait_until 5 answered vda 3
    stop_vblkd
    run grep -c "draining all disks" "$E2E_DIR/vblkd.log"
    [ "$output" -eq 1 ]
}

@test "daemon: a signal after vblkctl shutdown is the first one" {
    start_vblkd
    add_slow vda 6000
    hold vda 3
    process_start shutdown "$VBLKCTL" --control "$E2E_DIR/control" shutdown
    wait_until 5 grep -q "draining all disks" "$E2E_DIR/vblkd.log"
    stop_vblkd
    wait_until 5 answered vda 3
    wait_until 5 process_ended shutdown
    [ "$(process_status shutdown)" -eq 0 ]
}

@test "daemon: at the limit of open files it says what to raise, and control goes on" {
    local disks

    need_tools prlimit
    VBLKD_WRAPPER="prlimit --nofile=150:200 ${VBLKD_WRAPPER:-}" start_vblkd
    vblkd_logged "at most 200 open files"
    add_until_refused
    [ "$status" -eq 1 ]
    [[ "$output" =~ "no room for one more disk: "[0-9]+" of 200 files are open; raise the limit" ]]
    [[ "$output" == *"LimitNOFILE="* ]]
    disks=$(vblkctl --json list | grep -o '"name":' | wc -l)
    [ "$disks" -gt 5 ]
    vblkctl remove d1
    vblkctl add e1 null:1G
    stop_vblkd
    VBLKD_WRAPPER="prlimit --nofile=150:200 ${VBLKD_WRAPPER:-}" start_vblkd
    [ "$(vblkctl --json list | grep -o '"state":"running"' | wc -l)" -eq "$disks" ]
}

@test "daemon: it does not start without files for all disks and for control" {
    local i limit

    need_tools prlimit
    start_vblkd
    for i in {1..20}; do
        vblkctl add "d$i" null:1G >/dev/null
    done
    stop_vblkd
    for limit in 160 210 230; do
        VBLKD_WRAPPER="prlimit --nofile=$limit ${VBLKD_WRAPPER:-}" refuses_to_start \
            "no room for 20 disks: they need "
        [[ "$output" == *"open files, and $limit are allowed; raise the limit"* ]]
    done
    VBLKD_WRAPPER="prlimit --nofile=260 ${VBLKD_WRAPPER:-}" start_vblkd
    [ "$(vblkctl --json list | grep -o '"state":"running"' | wc -l)" -eq 20 ]
}

# take_all_files: front-ends and bare connections to disks d1, d2, ... until vblkd has no fd left.
take_all_files() {
    local i

    for i in {1..6}; do
        process_start "hold-d$i" "$top_builddir/tests/frontend-hold" "$(socket_of "d$i")" 0
        wait_until 5 test -s "$E2E_DIR/hold-d$i.log" # it is ready, or was refused
    done
    # shellcheck disable=SC2016 # for python
    process_start takers python3 -c '
import socket, sys, time
held = []
for path in sys.argv[1:]:
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(path)
print("connected", flush=True)
time.sleep(600)' "$E2E_DIR"/d*.sock
    wait_until 5 grep -q connected "$E2E_DIR/takers.log"
}

has_all_files() {
    [ "$(fds_of_vblkd)" -ge "$1" ]
}

@test "daemon: with no file descriptor left it still does what vblkctl says, and ends in order" {
    need_tools prlimit
    [ -x "$top_builddir/tests/frontend-hold" ] || skip "no tests/frontend-hold"
    VBLKD_WRAPPER="prlimit --nofile=180 ${VBLKD_WRAPPER:-}" start_vblkd
    add_until_refused
    take_all_files
    # A front-end that was refused leaves some; with ThreadSanitizer porters take of the same ones.
    wait_until 5 has_all_files "$((180 - ${E2E_SANITIZER:+20}+0))"
    vblkctl ping
    vblkctl list
    process_signal takers KILL
    vblkctl remove d1 --force
    vblkctl ping
    stop_vblkd
}

@test "daemon: at the limit of threads it says what to raise, and control goes on" {
    [ "$(id -u)" -eq 0 ] || skip "needs root to become another user"
    need_tools prlimit setpriv
    mkdir "$E2E_DIR/user"
    cp "$VBLKD" "$E2E_DIR/user"
    chown -R 61234 "$E2E_DIR"
    process_start vblkd setpriv --reuid 61234 --clear-groups prlimit --nproc=12 \
        "$E2E_DIR/user/vblkd" --control "$E2E_DIR/control" --socket-dir "$E2E_DIR/user" \
        --state-dir "$E2E_DIR/user/state"
    wait_until 5 vblkctl ping
    add_until_refused
    [ "$status" -eq 1 ]
    [[ "$output" == *"no thread"*": "*"raise the limit of threads: TasksMax="* ]]
    vblkctl remove d1
    vblkctl add e1 null:1G
}

@test "daemon: without threads for all disks it ends in order" {
    local i

    [ "$(id -u)" -eq 0 ] || skip "needs root to become another user"
    need_tools prlimit setpriv
    mkdir "$E2E_DIR/user"
    cp "$VBLKD" "$E2E_DIR/user"
    start_vblkd
    for i in {1..12}; do
        vblkctl add "d$i" null:1G >/dev/null
    done
    stop_vblkd
    chown -R 61235 "$E2E_DIR"
    process_start vblkd setpriv --reuid 61235 --clear-groups prlimit --nproc=10 \
        "$E2E_DIR/user/vblkd" --control "$E2E_DIR/control" --socket-dir "$E2E_DIR" \
        --state-dir "$E2E_DIR/state"
    wait_until 10 process_ended vblkd
    [ "$(process_status vblkd)" -eq 1 ]
    grep -q "no thread: .*raise the limit of threads: TasksMax=" "$E2E_DIR/vblkd.log"
    grep -q "d1: closed" "$E2E_DIR/vblkd.log"
    [ ! -e "$(socket_of d1)" ]
    rm "$E2E_DIR/vblkd.pid" # it has ended as it should
    grep -q '"d12"' "$E2E_DIR/state/disks.json"
}

@test "daemon: fifty disks come, come back after a restart, and go" {
    local before i

    start_vblkd
    vblkctl ping
    before=$(fds_of_vblkd)
    for i in {1..50}; do
        if [ $((i % 5)) -eq 0 ]; then
            add_disk "d$i" 1M >/dev/null
        else
            vblkctl add "d$i" null:1G --poll-us "$i" >/dev/null
        fi
    done
    stop_vblkd
    start_vblkd
    [ "$(vblkctl --json list | grep -o '"state":"running"' | wc -l)" -eq 50 ]
    [ "$(field d49 state poll_us)" = "running 49" ]
    [ "$(vblkctl list | awk 'NR == 51 { print $1 }')" = d50 ]
    for i in {1..50}; do
        vblkctl remove "d$i" >/dev/null
    done
    vblkctl ping
    [ "$(fds_of_vblkd)" -le $((before + 1)) ]
    grep -q '"disks":\[' "$E2E_DIR/state/disks.json"
    run grep -c '"name"' "$E2E_DIR/state/disks.json"
    [ "$output" -eq 0 ]
}

@test "daemon: a second one on the same control socket or state directory is refused" {
    start_vblkd
    refuses_to_start "$E2E_DIR/control" --control "$E2E_DIR/control" --state-dir "$E2E_DIR/state2"
    refuses_to_start "state directory $E2E_DIR/state is in use by another vblkd, process"
    vblkctl ping
}

@test "daemon: killed, its sockets are taken over and its disks come back" {
    start_vblkd
    add_disk vda 3M --readonly --serial ABC --queues 3
    vblkctl add vdb null:1G,delay-ms=7 --queue-size 64 --logical-block-size 4K
    vblkctl add vdc null:1G
    vblkctl stop vda
    vblkctl remove vdc
    kill_vblkd
    [ -S "$E2E_DIR/control" ] && [ -S "$(socket_of vdb)" ]
    start_vblkd
    [ "$(field vda state size readonly serial queues)" = "stopped 3145728 True ABC 3" ]
    [ "$(field vdb state queue_size logical_block_size)" = "running 64 4096" ]
    run vblkctl show vdc
    [ "$status" -eq 1 ]
    vblkctl start vda
    stop_vblkd
    start_vblkd
    state_is vda running
}

@test "daemon: a disk whose image is gone exists, says why, and start tries again" {
    start_vblkd
    add_disk vda 3M
    stop_vblkd
    mv "$E2E_DIR/vda.img" "$E2E_DIR/elsewhere"
    start_vblkd
    [ "$(field vda state size)" = "failed 3145728" ]
    [ -S "$(socket_of vda)" ]
    run vblkctl list
    [[ "${lines[1]}" =~ ^vda\ +failed ]]
    [[ "$output" == *"No such file"* ]]
    run vblkctl start vda
    [ "$status" -eq 1 ]
    [[ "$output" == *"$E2E_DIR/vda.img"*"put it back, or a symbolic link to where it is now; if it was moved: vblkctl --control $E2E_DIR/control replace vda IMAGE" ]]
    mv "$E2E_DIR/elsewhere" "$E2E_DIR/vda.img"
    vblkctl start vda
    state_is vda running
}

# is_unsaved WHAT...: does this command of vblkctl warn that the table of disks is not saved?
is_unsaved() {
    vblkctl "$@" | grep -q "cannot write $E2E_DIR/state/disks.json: .*does not outlast vblkd"
}

is_saved() {
    ! is_unsaved "$@"
}

@test "daemon: while the state file cannot be written all say so, and it is written when it can be" {
    start_vblkd
    add_disk vda 1M
    add_disk vdb 1M
    mkdir "$E2E_DIR/state/disks.json.new" # in the way
    for _ in 1 2; do
        run vblkctl stop vda
        [ "$status" -eq 1 ]
        [[ "$output" == *"vda: it was done, but it will be as it was before when vblkd is started again: "* ]]
        [[ "$output" == *"cannot write $E2E_DIR/state/disks.json: Is a directory"* ]]
    done
    run vblkctl remove vdb
    [ "$status" -eq 1 ]
    [[ "$output" == *"vdb: it was done, but the disk will be there again when vblkd is started again"* ]]
    is_unsaved list
    is_unsaved show vda
    is_unsaved ping
    vblkd_logged "error: .*disks.json: Is a directory"
    run grep -c "error: .*disks.json: Is a directory" "$E2E_DIR/vblkd.log"
    [ "$output" -eq 1 ]
    rmdir "$E2E_DIR/state/disks.json.new"
    wait_until 60 is_saved list
    vblkd_logged "disks.json is written again"
    kill_vblkd
    start_vblkd
    state_is vda stopped
    run vblkctl show vdb
    [ "$status" -eq 1 ]
}

@test "daemon: an end at which the state file cannot be written has status 1" {
    start_vblkd
    add_disk vda 1M
    mkdir "$E2E_DIR/state/disks.json.new"
    run vblkctl stop vda
    [ "$status" -eq 1 ]
    stop_vblkd 1
    grep -q "error: daemon: what was changed last is lost: .*disks.json: Is a directory" \
        "$E2E_DIR/vblkd.log"
    rm "$E2E_DIR/vblkd.pid" # it has ended as it should
}

is_rewritten() {
    ! grep -q '"boot":"another"' "$E2E_DIR/state/disks.json"
}

@test "daemon: what it writes by itself after a reboot of the host is nobody's loss" {
    start_vblkd
    add_disk vda 1M
    add_disk vdb 1M
    stop_vblkd
    sed -i 's/"boot":"[^"]*"/"boot":"another"/' "$E2E_DIR/state/disks.json"
    mkdir "$E2E_DIR/state/disks.json.new"
    start_vblkd
    wait_until 5 is_unsaved ping
    vblkd_logged "disks.json"
    run grep -E "disks.json|it was done" "$E2E_DIR/vblkd.log"
    [ "${#lines[@]}" -eq 1 ]
    stop_vblkd
    rmdir "$E2E_DIR/state/disks.json.new"
    start_vblkd
    wait_until 5 is_rewritten
}

@test "daemon: a socket directory that JSON cannot carry is refused before anything is made" {
    local dir=$E2E_DIR/$'d\xff'

    run without_bats timeout "$(deadline 20)" "$VBLKD" --control "$E2E_DIR/control" --socket-dir "$dir" \
        --state-dir "$E2E_DIR/state"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--socket-dir: "*" is not UTF-8"* ]]
    [ ! -e "$dir" ] && [ ! -e "$E2E_DIR/control" ]
}

@test "daemon: a damaged or newer state file is refused and left alone" {
    local text

    for text in '' '{"version": 1, "disks": [' 'garbage' '{"version": 3, "disks": []}' \
        '{"version": 1, "disks": [{"config": {"name": "../x"}}]}' \
        '{"version":1,"disks":[{"config":{"name":"vda","image":{"type":"null","size":1048576},
          "serial":"vda","queues":16,"queue_size":1024,"socket":"/nowhere/vda.sock"},"stopped":false,
          "geometry":{"size":1048576,"logical_block_size":512,"physical_block_size":512}}]}'; do
        printf %s "$text" >"$E2E_DIR/state/disks.json"
        refuses_to_start "$E2E_DIR/state/disks.json"
        [ "$(cat "$E2E_DIR/state/disks.json")" = "$text" ]
        [ ! -e "$E2E_DIR/other" ]
    done
}

@test "daemon: tells the service manager when it is ready and when it ends" {
    local name

    for name in "$E2E_DIR/notify" "@vblk-test-$$-$RANDOM"; do
        rm -f "$E2E_DIR"/notified "$E2E_DIR"/notify
        process_start manager python3 -c '
import os, socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(sys.argv[1].replace("@", "\0"))
open(sys.argv[2], "w").close()
for _ in range(2):
    print(sock.recv(100).decode(), flush=True)' "$name" "$E2E_DIR/notified"
        wait_until 5 test -e "$E2E_DIR/notified"
        NOTIFY_SOCKET=$name start_vblkd
        wait_until 5 grep -q READY=1 "$E2E_DIR/manager.log"
        stop_vblkd
        wait_until 5 process_ended manager
        grep -q STOPPING=1 "$E2E_DIR/manager.log"
    done
}

@test "daemon: options that it does not know are usage errors" {
    local words

    for words in --explode extra "--log-level loud" "--control="; do
        # shellcheck disable=SC2086 # words
        run without_bats timeout "$(deadline 20)" "$VBLKD" $words
        [ "$status" -eq 2 ]
        [[ "$output" == *"--help'"* ]]
    done
    run "$VBLKD" --help
    [ "$status" -eq 0 ]
    run "$VBLKD" --version
    [[ "$output" =~ ^vblkd\ [0-9] ]]
}

@test "daemon: makes its directories, and other users keep out" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
    # shellcheck disable=SC2086 # the wrapper is words
    process_start vblkd ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/run/a/control" \
        --socket-dir "$E2E_DIR/run/b" --state-dir "$E2E_DIR/lib/state"
    wait_until 5 test -S "$E2E_DIR/run/a/control"
    [ "$(stat -c %a "$E2E_DIR/run/a" "$E2E_DIR/run/b" "$E2E_DIR/lib/state" | xargs)" = "700 711 700" ]
    chmod 755 "$E2E_DIR" "$E2E_DIR/run" "$E2E_DIR/run/a"
    chmod 666 "$E2E_DIR/run/a/control"
    cp "$VBLKCTL" "$E2E_DIR/run/vblkctl"
    run setpriv --reuid 65534 --clear-groups "$E2E_DIR/run/vblkctl" \
        --control "$E2E_DIR/run/a/control" ping
    [ "$status" -eq 1 ]
    [[ "$output" == *"this user may not connect: only root and the daemon's own user may, and those"* ]]
    without_bats "$VBLKCTL" --control "$E2E_DIR/run/a/control" ping
}

# as_user UID GID[,GID...] ARGUMENT...: vblkctl by somebody else.
as_user() {
    run setpriv --reuid "$1" --regid "${2%%,*}" --groups "$2" "$E2E_DIR/vblkctl" --control "$E2E_DIR/open/control" "${@:3}"
}

@test "daemon: users and groups that are named may do what they are named for" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
    chmod 711 "$E2E_DIR"
    cp "$VBLKCTL" "$E2E_DIR/vblkctl"
    # shellcheck disable=SC2086 # the wrapper is words
    process_start vblkd ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/open/control" --socket-dir "$E2E_DIR" \
        --state-dir "$E2E_DIR/state" --allow-user 54321,54322:read --allow-group 54323 --allow-group 54324:read
    wait_until 20 test -S "$E2E_DIR/open/control"
    [ "$(stat -c %a "$E2E_DIR/open" "$E2E_DIR/open/control" | xargs)" = "711 666" ]
    as_user 54321 54321 add vda null:1G
    [ "$status" -eq 0 ]
    as_user 60000 60000,54323 set vda poll-us=0
    [ "$status" -eq 0 ]
    for who in "54322 54322" "60000 54324" "60000 60000,54324"; do
        for command in ping version list "show vda" "stats vda" stats; do
            # shellcheck disable=SC2086 # words
            as_user $who $command
            [ "$status" -eq 0 ]
        done
        for command in "add vdb null:1G" "remove vda" "stop vda" "start vda" "set vda poll-us=1" "resize vda 2G" \
            "replace vda null:1G" "eject vda" "insert vda null:1G" shutdown; do
            # shellcheck disable=SC2086 # words
            as_user $who $command
            [ "$status" -eq 1 ]
            [[ "$output" == *"this user may only read (list, show, stats)"* ]]
        done
    done
    as_user 60000 60000 list
    [ "$status" -eq 1 ]
    [[ "$output" == *"this user may not connect"* ]]
    [ "$(without_bats "$VBLKCTL" --control "$E2E_DIR/open/control" --json show vda | json_members state)" = running ]
    as_user 54321 54321 shutdown
    [ "$status" -eq 0 ]
    wait_until 20 process_ended vblkd
}

@test "daemon: who may do less leaves room for those who may do more" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    chmod 711 "$E2E_DIR"
    start_vblkd --allow-user 54321,54322:read
    python3 "$BATS_TEST_DIRNAME/crowd.py" "$E2E_DIR/control" 54321 54322
}

@test "daemon: who is to be allowed has to be there" {
    usage_error() {
        run "$VBLKD" "${@:2}"
        [ "$status" -eq 2 ]
        [[ "$output" == *"vblkd: $1"* ]]
    }

    usage_error '--allow-user: there is no user "nobody-of-that-name" on this host' --allow-user root,nobody-of-that-name
    usage_error '--allow-group: there is no group "none-of-that-name" on this host' --allow-group none-of-that-name:read
    usage_error '--allow-user: "root:write": give names or numbers, each alone or with :read' --allow-user root:write
    usage_error '--allow-user: "": give names or numbers' --allow-user ""
    usage_error '--allow-group: "4294967295" is no number from 0 to 4294967294' --allow-group 4294967295
}

@test "disk: stop and remove with no time only begin it" {
    start_vblkd
    add_disk vda 1M
    run vblkctl stop vda --timeout 0
    [ "$status" -eq 1 ]
    [[ "$output" == *"the stop goes on"* ]]
    wait_until 5 state_is vda stopped
    vblkctl start vda
    run vblkctl remove vda --timeout 0
    [ "$status" -eq 1 ]
    [[ "$output" == *"the removal goes on"* ]]
    wait_until 5 test ! -e "$(socket_of vda)"
    vblkctl add vdb null:1M
    vblkctl stop vdb --timeout 0
}

@test "an ordinary user without XDG_RUNTIME_DIR is told to name a place, with one status" {
    local program

    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
    chmod 755 "$E2E_DIR"
    cp "$VBLKD" "$VBLKCTL" "$E2E_DIR"
    for program in vblkd "vblkctl list"; do
        # shellcheck disable=SC2086 # words
        run without_bats setpriv --reuid 65534 --clear-groups \
            env -u XDG_RUNTIME_DIR -u VBLK_CONTROL "$E2E_DIR/"$program
        [ "$status" -eq 2 ]
        [[ "$output" == *"XDG_RUNTIME_DIR is not set, so there is no default for sockets; name "*"--control"* ]]
    done
}

@test "daemon: an ordinary user has it under XDG directories" {
    [ "$(id -u)" -eq 0 ] || skip "needs root"
    need_tools setpriv
    chmod 755 "$E2E_DIR"
    mkdir "$E2E_DIR/home"
    cp "$VBLKD" "$VBLKCTL" "$E2E_DIR/home"
    chown -R 65534 "$E2E_DIR/home"
    process_start vblkd setpriv --reuid 65534 --clear-groups env -u XDG_STATE_HOME \
        HOME="$E2E_DIR/home" XDG_RUNTIME_DIR="$E2E_DIR/home" "$E2E_DIR/home/vblkd"
    wait_until 5 test -S "$E2E_DIR/home/vblk/control.sock"
    wait_until 5 test -e "$E2E_DIR/home/.local/state/vblk/lock"
    setpriv --reuid 65534 --clear-groups env XDG_RUNTIME_DIR="$E2E_DIR/home" \
        "$E2E_DIR/home/vblkctl" ping
}
