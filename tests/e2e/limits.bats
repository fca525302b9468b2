#!/usr/bin/env bats
#
# Limits of requests and bytes, of a disk and of a group: what is served is what they say, whatever
# the threads, and nothing waits for a backlog but the guest.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    need_tools python3
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_teardown
}

# load DISK [ARGUMENT]...: a front-end that is at work when this returns.
load_disk() {
    local disk=$1

    shift
    process_start "bench-$disk" "$VBLKBENCH" "$(socket_of "$disk")" --runtime 100 --allow-write "$@"
    wait_until 10 test -n "$(field "$disk" client)"
    wait_until 10 is_loaded "$disk"
}

is_loaded() {
    local counts

    # shellcheck disable=SC2207 # numbers
    counts=($(stat_of "$1" requests.read.requests requests.write.requests throttled))
    [ $((counts[0] + counts[1] + counts[2])) -ge 2 ]
}

unload() {
    process_signal "bench-$1" KILL
    wait_until 10 process_ended "bench-$1"
}

# served FIELD DISK...: a second of these disks, when what may go at once has gone, in numbers a second.
served() {
    sleep 0.3
    vblkctl --json stats >"$E2E_DIR/before"
    sleep 1
    vblkctl --json stats >"$E2E_DIR/after"
    python3 - "$E2E_DIR/before" "$E2E_DIR/after" "$@" <<'END'
import json, sys
before, after = ({disk["name"]: disk for disk in json.load(open(path))["disks"]}
                 for path in sys.argv[1:3])
for name in sys.argv[4:]:
    a, b = before[name], after[name]
    count = sum(b["requests"][way][sys.argv[3]] - a["requests"][way][sys.argv[3]]
                for way in ("read", "write"))
    print(round(count * 1e9 / (b["time_ns"] - a["time_ns"])))
END
}

# about NUMBER WANTED PERCENT
about() {
    echo "$1, wanted $2"
    [ "$1" -ge $(($2 * (100 - $3) / 100)) ] && [ "$1" -le $(($2 * (100 + $3) / 100)) ]
}

# keeps FIELD WANTED DISK: on a machine that is busy a second may not tell.
keeps() {
    for _ in 1 2 3 4; do
        ! about "$(served "$1" "$3")" "$2" 6 || return 0
    done
    return 1
}

# together WANTED: vda and vdb.
together() {
    local shares

    for _ in 1 2 3 4; do
        # shellcheck disable=SC2207 # numbers
        shares=($(served requests vda vdb))
        ! about $((shares[0] + shares[1])) "$1" 8 || return 0
    done
    return 1
}

waiting() {
    [ "$(stat_of "$1" throttled)" -ge "$2" ]
}

@test "requests and bytes a second are what was asked for, with one thread and with four" {
    vblkctl add vda null:1G --iops 1000
    vblkctl add vdb null:1G --bps 20M --threads 4 --queues 4
    load_disk vda
    load_disk vdb --queues 4 --bs 16k
    keeps requests 1000 vda
    keeps bytes $((20 << 20)) vdb
    vblkctl show vda | grep -q "^limit: *1000 requests a second$"
    vblkctl stats vda | grep -q "^throttled: "
    vblkctl set vda iops=0 bps-read=8M threads=2
    vblkctl set vdb bps=0 iops=20000 iops-size=4k # each request is four
    keeps bytes $((8 << 20)) vda
    keeps requests 5000 vdb
}

@test "a burst is as long as it may be" {
    vblkctl add vda null:1G --iops 100 --iops-max 2000 --iops-max-length 30
    load_disk vda
    keeps requests 2000 vda
    vblkctl set vda iops-max=0 iops-max-length=1
    keeps requests 100 vda
}

@test "writes that wait do not stop reads, and what waits is not in flight" {
    vblkctl add vda null:1G --iops-write 1
    load_disk vda --rw randrw --iodepth 64
    wait_until 10 waiting vda 60 # the whole depth is writes by now
    [ "$(stat_of vda requests.read.requests)" -ge 20 ]
    [ "$(stat_of vda requests.write.requests)" -le 10 ]
    stat_is vda inflight 0
    [ "$(field vda oldest)" = None ]
}

@test "the same values set again change nothing for what waits; other ones count at once" {
    vblkctl add vda null:1G --iops 5
    load_disk vda
    wait_until 5 waiting vda 1
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(vblkctl --json set vda iops=5 | json_members changed)" = False ]
    done
    [ "$(stat_of vda requests.read.requests)" -le 50 ] # 5 a second
    vblkctl set vda iops=0
    wait_until 5 stat_reaches vda requests.read.requests 1000
    stat_is vda throttled 0
}

@test "stop, start, other threads and removal wait for no backlog, and lose none" {
    local begin=$SECONDS done_before

    vblkctl add vda null:1G --iops-write 1 --queues 4
    load_disk vda --rw randwrite --queues 4 --iodepth 32
    wait_until 10 waiting vda 120
    done_before=$(stat_of vda requests.write.requests)
    vblkctl stop vda
    stat_is vda throttled 0
    [ "$(stat_of vda requests.write.requests)" -ge $((done_before + 100)) ]
    vblkctl start vda
    wait_until 10 waiting vda 100
    vblkctl set vda threads=4
    wait_until 10 waiting vda 100
    [ "$(stat_of vda requests.write.errors)" -eq 0 ]
    vblkctl set vda iops-write=0 iops=1
    wait_until 10 waiting vda 1
    vblkctl stop vda
    vblkctl start vda
    wait_until 10 waiting vda 1
    vblkctl remove --force vda
    [ $((SECONDS - begin)) -le 15 ]
}

@test "the disks of a group share one limit in equal parts, and what was set outlives the daemon" {
    local shares

    vblkctl add vda null:1G --group g --iops 2000
    vblkctl add vdb null:1G --group g --threads 2 --queues 2
    run vblkctl add vdc null:1G --group g --iops 1
    [ "$status" -ne 0 ]
    [[ "$output" == *"group: g has limits already"* ]]
    load_disk vda --iodepth 64
    load_disk vdb --queues 2 --iodepth 2
    for _ in 1 2 3; do
        # shellcheck disable=SC2207 # numbers
        shares=($(served requests vda vdb))
        about $((shares[0] + shares[1])) 2000 6 && about "${shares[1]}" 1000 15 && break
    done
    about "${shares[1]}" 1000 15
    vblkctl set vdb iops=400
    [ "$(field vda iops group)" = "400 g" ]
    together 400
    kill_vblkd
    start_vblkd
    [ "$(field vda iops group)" = "400 g" ]
    [ "$(field vdb iops group)" = "400 g" ]
    vblkctl set vda group=none
    vblkctl set vdb iops=7
    [ "$(field vda iops group)" = "400 none" ]
}
