#!/usr/bin/env bats
#
# vblkbench: every workload against vblkd, data that is wrong, back-ends that are stuck or come
# back, and what it refuses.  Nothing here depends on how fast anything is.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

# shellcheck disable=SC2030,SC2031 # each test and `run` are subshells, on purpose

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}

setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    need_tools python3
    e2e_setup
}

teardown() {
    e2e_teardown
}

bench() {
    without_bats timeout "$(deadline 60)" "$VBLKBENCH" --control "$E2E_DIR/control" "$@" </dev/null
}

# bench_json EXPRESSION ARGUMENT...: runs, and EXPRESSION of the result `r` is true.
bench_json() {
    local expression=$1

    shift
    bench --json "$@" >"$E2E_DIR/result.json" || return
    cat "$E2E_DIR/result.json"
    python3 -c 'import json, sys
r = json.load(open(sys.argv[1]))
assert eval("(" + sys.argv[2] + ")"), sys.argv[2]' "$E2E_DIR/result.json" "$expression"
}

# bench_start ARGUMENT...: in the background; its output is bench.log.
bench_start() {
    process_start bench "$VBLKBENCH" --control "$E2E_DIR/control" "$@"
}

# bench_ends STATUS WORDS: and has said that.
bench_ends() {
    wait_until 30 process_ended bench
    cat "$E2E_DIR/bench.log"
    [ "$(process_status bench)" -eq "$1" ]
    grep -q -e "$2" "$E2E_DIR/bench.log"
}

# refused STATUS WORDS ARGUMENT...
refused() {
    local status_wanted=$1 words=$2

    shift 2
    run bench "$@"
    echo "$output"
    [ "$status" -eq "$status_wanted" ]
    [[ "$output" == *"$words"* ]]
}

@test "each workload runs, and the disk sees what was asked for" {
    local rw reads writes flushes

    start_vblkd
    add_disk vda 8M
    for rw in randread read randwrite write randrw flush; do
        bench_json "r['rw'] == '$rw' and r['all_requests'] > 0 and r['errors'] == 0" vda --rw "$rw" \
            --runtime 0.2 --allow-write
    done
    read -r reads writes flushes < <(stat_of vda requests.read.requests requests.write.requests \
        requests.flush.requests)
    [ "$reads" -gt 0 ]
    [ "$writes" -gt 0 ]
    [ "$flushes" -gt 0 ]
    [ "$(stat_of vda invalid)" -eq 0 ]
}

@test "what is counted by vblkbench is counted by the disk" {
    start_vblkd
    vblkctl add vda null:1G
    bench_json 'r["all_requests"] >= r["requests"] > 0' vda --runtime 0.5 --ramp 0.2 --queues 2
    [ "$(stat_of vda requests.read.requests)" -eq \
        "$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["all_requests"])' "$E2E_DIR/result.json")" ]
}

@test "latencies and rates fit each other" {
    start_vblkd
    vblkctl add vda null:1G,delay-ms=5
    bench_json '5e6 <= r["latency_ns"]["min"] <= r["latency_ns"]["p50"] <= r["latency_ns"]["p90"]
        <= r["latency_ns"]["p99"] <= r["latency_ns"]["p99_9"] <= r["latency_ns"]["max"]' \
        vda --runtime 0.5 --iodepth 4
    bench_json 'abs(r["iops"] * r["seconds"] - r["requests"]) < 1 and r["iops"] <= 4 / 0.005' \
        vda --runtime 0.5 --iodepth 4
    bench_json 'abs(r["bytes_per_second"] - r["iops"] * 512) < 1' vda --runtime 0.2 --bs 512
}

@test "a rate is not passed" {
    start_vblkd
    vblkctl add vda null:1G
    bench_json '1 <= r["all_requests"] <= r["seconds"] * 200 + 1' vda --rate 200 --runtime 0.5 --queues 2
    bench_json '1 <= r["all_requests"] <= r["seconds"] * 200 + 1' vda --rate 200 --runtime 0.5 --poll
}

# batches_of DISK: reads and writes of the first thread.
batches_of() {
    vblkctl --json stats "$1" | python3 -c 'import json, sys
first = json.load(sys.stdin)["batches"][0]
print(first["reads"], first["writes"])'
}

@test "how many requests go to the image at a time can be set, and stats tells" {
    start_vblkd
    vblkctl add vda null:1G,delay-ms=1
    bench vda --runtime 0.1
    [ "$(batches_of vda)" = "0 0" ] # such an image does its work in no call
    vblkctl set vda batch=3
    [ "$(batches_of vda)" = "3 3" ]
    [[ "$(vblkctl stats vda)" == *"thread 0: 3 reads at a time"*"thread 0: 3 writes at a time"* ]]
    vblkctl set vda batch=1
    [[ "$(vblkctl stats vda)" == *"thread 0: 1 read at a time"*"thread 0: 1 write at a time"* ]]
    run vblkctl set vda batch=129
    [ "$status" -ne 0 ]
    [[ "$output" == *"batch: 129 is out of range"* ]]
    vblkctl set vda batch=0
    [ "$(batches_of vda)" = "0 0" ]
}

# All that is shared with the disk, as the kernel sees it.
memory_is_huge() {
    awk '/memfd:vblkbench/ { ours = 1 }
        ours && $1 == "Size:" { size = $2 }
        ours && $1 == "ShmemPmdMapped:" { is_huge = size > 0 && size == $2; exit }
        END { exit !is_huge }' \
        "/proc/$(cat "$E2E_DIR/bench.pid")/smaps"
}

@test "memory is in huge pages when that is asked for" {
    start_vblkd
    vblkctl add vda null:1G
    run bench vda --huge-pages --runtime 0.1
    echo "$output"
    [[ "$output" != *"in huge pages: "* ]] || skip "$output"
    [ "$status" -eq 0 ]
    bench_json 'r["huge_pages"]' vda --huge-pages --bs 1M --queues 2 --runtime 0.1
    bench_json 'not r["huge_pages"]' vda --runtime 0.1
    bench_start vda --huge-pages --bs 128k --runtime 600
    wait_until 10 stat_reaches vda requests.read.requests 1000
    memory_is_huge
    process_signal bench TERM
    bench_ends 0 IOPS
}

@test "no huge pages where they are asked for are an error" {
    start_vblkd
    vblkctl add vda null:1G
    run python3 -c 'import ctypes, os, sys
PR_SET_THP_DISABLE = 41
assert ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])' "$VBLKBENCH" --control "$E2E_DIR/control" vda --huge-pages
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"shared memory in huge pages: Invalid argument; it takes Linux 6.1"* ]]
}

@test "rings as deep as can be, blocks of a sector, several queues" {
    start_vblkd
    add_disk vda 8M --queues 4
    bench_json 'r["all_requests"] > 0' vda --iodepth 256 --bs 512 --runtime 0.2
    bench_json 'r["all_requests"] > 0' vda --iodepth 128 --bs 512 --queues 4 --runtime 0.2
    bench_json 'r["all_requests"] > 0' vda --iodepth 3 --bs 1M --queues 3 --runtime 0.2
    [ "$(stat_of vda requests.read.errors invalid)" = "0 0" ]
}

@test "all data is right on several queues, polling and not" {
    start_vblkd
    add_disk vda 4M --queues 2
    bench_json 'r["verify"]["checked"] >= min(1024, r["all_requests"]) and r["verify"]["wrong"] == 0' \
        vda --verify --rw write --allow-write --queues 2 --runtime 1
    bench_json 'r["verify"]["checked"] > 0 and r["verify"]["wrong"] == 0' vda --verify \
        --rw randrw --bs 512 --allow-write --queues 2 --iodepth 128 --runtime 0.5
    bench_json 'r["verify"]["checked"] > 0 and r["verify"]["wrong"] == 0' vda --verify \
        --rw randwrite --bs 64k --allow-write --poll --runtime 0.5
}

@test "packed rings: all data is right on several queues and threads, polling and not" {
    start_vblkd
    add_disk vda 4M --queues 4 --threads 2
    bench_json 'r["packed"] and r["verify"]["checked"] > 0 and r["verify"]["wrong"] == 0' vda --packed \
        --verify --rw randrw --bs 512 --allow-write --queues 4 --iodepth 256 --runtime 1
    bench_json 'r["verify"]["checked"] > 0 and r["verify"]["wrong"] == 0' vda --packed --verify \
        --rw randwrite --bs 64k --allow-write --queues 3 --poll --runtime 0.5
    bench_json 'r["all_requests"] > 0' vda --packed --iodepth 1 --runtime 0.2
    [ "$(stat_of vda requests.read.errors invalid)" = "0 0" ]
}

@test "packed rings: the load goes on while threads change, and the disk stops and starts" {
    start_vblkd
    add_disk vda 4M --queues 4
    bench_start vda --packed --runtime 600 --rw randrw --verify --allow-write --queues 4
    wait_until 10 stat_reaches vda requests.read.requests 1
    for threads in 3 1 4 2; do
        vblkctl set vda threads=$threads
        vblkctl stop vda
        vblkctl start vda
    done
    process_signal bench INT
    bench_ends 0 'blocks, 0 wrong'
}

@test "packed rings are taken where they are offered, or it is said" {
    start_vblkd
    add_disk vda 1M --packed off
    refused 1 "vda: the back-end does not offer packed rings" vda --packed
    bench_json 'not r["packed"] and r["all_requests"] > 0' vda --runtime 0.1
}

bounced_more() {
    wait_until 20 stat_reaches vda bounced $(($(stat_of vda bounced) + 50))
}

@test "large requests go through huge pages where that is said, and all data is right" {
    local use

    start_vblkd
    add_disk vda 16M --queues 2 --huge-bounce off
    bench_start vda --runtime 600 --rw randrw --bs 64k --verify --allow-write --queues 2
    wait_until 10 stat_reaches vda requests.read.requests 100
    [ "$(stat_of vda bounced)" -eq 0 ]
    vblkctl set vda huge-bounce=on
    bounced_more
    vblkctl set vda threads=2
    bounced_more
    for use in off auto on; do
        vblkctl set vda huge-bounce=$use
    done
    vblkctl stop vda
    vblkctl start vda
    bounced_more
    stop_vblkd
    start_vblkd # its disks have their settings
    wait_until 20 grep -q 'vda: back' "$E2E_DIR/bench.log"
    bounced_more
    vblkctl set vda threads=1
    bounced_more
    [[ "$(vblkctl stats vda)" == *", through huge pages: "[1-9]* ]]
    [ "$(stat_of vda requests.read.errors requests.write.errors invalid)" = "0 0 0" ]
    process_signal bench INT
    bench_ends 0 'blocks, 0 wrong'
}

@test "small requests, and those of the page cache, do not go through huge pages" {
    start_vblkd
    add_disk vda 4M --huge-bounce on
    add_disk vdb 4M --huge-bounce on --cache writeback
    bench vda --rw randread --bs 4k --runtime 0.1 --iodepth 1
    bench vdb --rw randread --bs 128k --runtime 0.1
    [ "$(stat_of vda bounced)" -eq 0 ]
    [ "$(stat_of vdb bounced)" -eq 0 ]
}

@test "only the part that is named is touched" {
    start_vblkd
    head -c 4M /dev/zero | tr '\0' x >"$E2E_DIR/vda.img"
    vblkctl add vda "$E2E_DIR/vda.img"
    bench_json 'r["verify"]["checked"] == 4' vda --rw write --verify --allow-write --bs 64k \
        --offset 1M --size 256k --runtime 0.2
    [ "$(head -c 1M "$E2E_DIR/vda.img" | tr -d x | wc -c)" -eq 0 ]
    [ "$(tail -c +1310721 "$E2E_DIR/vda.img" | tr -d x | wc -c)" -eq 0 ]
    [ "$(head -c 1310720 "$E2E_DIR/vda.img" | tail -c 256k | tr -cd x | wc -c)" -lt 2000 ]
}

@test "verify finds an image that was changed behind the disk's back" {
    local i

    start_vblkd
    add_disk vda 1M
    bench_start vda --rw randrw --verify --allow-write --iodepth 4 --runtime 600
    wait_until 10 stat_reaches vda requests.read.requests 2000
    for ((i = 0; i < 20; i++)); do
        dd if=/dev/zero of="$E2E_DIR/vda.img" bs=512k count=1 conv=notrunc oflag=direct status=none
    done
    process_signal bench INT
    bench_ends 1 'wrong data at offset [0-9]*: expected generation [0-9]*; seen zeros'
}

@test "verify finds that nothing was stored" {
    start_vblkd
    vblkctl add vda null:1M
    run bench vda --rw write --verify --runtime 0.2
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"wrong data at offset 0: expected generation"* ]]
    [[ "$output" == *"wrong"* ]]
}

@test "nothing is overwritten unless that is allowed" {
    local rw

    start_vblkd
    add_disk vda 1M
    for rw in randwrite write randrw discard; do
        refused 1 "add --allow-write" vda --rw "$rw" --runtime 0.1
    done
    refused 1 "add --allow-write" "$(socket_of vda)" --rw write --runtime 0.1
    [ "$(stat_of vda requests.write.requests)" -eq 0 ]
    vblkctl add void null:1M
    bench void --rw write --runtime 0.1
    refused 1 "add --allow-write" "$(socket_of void)" --rw write --runtime 0.1
}

@test "what the disk cannot do is refused" {
    start_vblkd
    add_disk vda 1M --readonly --queues 2
    add_disk vdb 1M --logical-block-size 4096
    refused 1 "vda: the disk is read-only" vda --rw write --allow-write
    refused 1 "vda: the disk has 2 queues, not 3" vda --queues 3
    refused 1 "vda: the disk ends at 1048576 bytes" vda --offset 1M
    refused 1 "vda: the disk ends at 1048576 bytes" vda --offset 512k --size 1M
    refused 1 "not even one block of 2097152 bytes" vda --bs 2M
    refused 1 "blocks have 4096 bytes" vdb --bs 512
    refused 1 "blocks have 4096 bytes" vdb --offset 512
    refused 1 "no disk" vdc
    refused 1 "$E2E_DIR/none.sock" "$E2E_DIR/none.sock"
}

@test "discard runs where the disk offers it" {
    start_vblkd
    add_disk vda 1M
    run bench vda --rw discard --allow-write --runtime 0.2
    echo "$output"
    if [ "$status" -eq 0 ]; then
        [ "$(stat_of vda requests.discard.requests)" -gt 0 ]
    else
        [[ "$output" == *"vda: the disk offers no discard"* ]]
    fi
}

@test "a disk has one front-end" {
    start_vblkd
    vblkctl add vda null:1M
    bench_start vda --runtime 600
    wait_until 10 stat_reaches vda requests.read.requests 1
    refused 1 "disk vda is taken by process $(cat "$E2E_DIR/bench.pid") (vblkbench)" vda
    process_signal bench TERM
    bench_ends 0 IOPS
}

@test "one run follows another at once" {
    local i

    start_vblkd
    vblkctl add vda null:1M
    for ((i = 0; i < 30; i++)); do
        bench vda --runtime 0.001 >/dev/null
    done
}

@test "a wrong command line is refused and changes nothing" {
    refused 2 "which disk?"
    refused 2 "which disk?" ""
    refused 2 'unexpected argument "b"' a b
    refused 2 "Try 'vblkbench --help'" vda --no-such-option
    refused 2 "--rw trim" vda --rw trim
    refused 2 "--bs 0" vda --bs 0
    refused 2 "--bs 1000" vda --bs 1000
    refused 2 "--bs 17M" vda --bs 17M
    refused 2 "--iodepth 0" vda --iodepth 0
    refused 2 "--iodepth 257" vda --iodepth 257
    refused 2 "--queues 65" vda --queues 65
    refused 2 "--runtime nan" vda --runtime nan
    refused 2 "--runtime -1" vda --runtime -1
    refused 2 "--runtime 0" vda --runtime 0
    refused 2 "--ramp x" vda --ramp x
    refused 2 "--rate 0" vda --rate 0
    refused 2 "--timeout 1h" vda --timeout 1h
    refused 2 "--offset 1" vda --offset 1
    refused 2 "--size 0" vda --size 0
    refused 2 "--verify" vda --verify
    refused 2 "--verify" vda --verify --rw discard
    refused 1 "$E2E_DIR/control" vda
}

@test "Ctrl-C ends early and prints the results so far" {
    start_vblkd
    vblkctl add vda null:1M
    bench_start vda --runtime 600 --json
    wait_until 10 stat_reaches vda requests.read.requests 1000
    process_signal bench INT
    bench_ends 0 '"interrupted":true'
    python3 -c 'import json, sys
assert json.load(open(sys.argv[1]))["requests"] > 0' "$E2E_DIR/bench.log"
}

@test "a stuck disk is an error, and named" {
    start_vblkd
    vblkctl add vda null:1M
    bench_start vda --runtime 600 --timeout 1
    wait_until 10 stat_reaches vda requests.read.requests 1
    vblkctl stop vda
    bench_ends 1 'vda: the back-end has answered nothing for 1 s, with 32 requests under way'
}

@test "the daemon leaves in order and comes back, the load goes on" {
    start_vblkd
    add_disk vda 4M --queues 2
    bench_start vda --runtime 600 --rw randrw --verify --allow-write --queues 2
    wait_until 10 stat_reaches vda requests.read.requests 1
    stop_vblkd
    start_vblkd
    wait_until 20 grep -q 'vda: back' "$E2E_DIR/bench.log"
    wait_until 10 stat_reaches vda requests.read.requests 1
    process_signal bench INT
    bench_ends 0 'the back-end came back 1 time'
    grep -q 'blocks, 0 wrong' "$E2E_DIR/bench.log"
}

# killed_under_load ARGUMENT...: and again, while the load waits for what was in flight.
killed_under_load() {
    local i

    start_vblkd
    add_disk vda 4M --queues 2 --threads 2
    bench_start vda --runtime 600 --rw randrw --verify --allow-write --queues 2 "$@"
    for ((i = 0; i < 4; i++)); do
        wait_until 20 stat_reaches vda requests.read.requests 1
        kill_vblkd
        start_vblkd
    done
    wait_until 20 stat_reaches vda requests.read.requests 1
    process_signal bench INT
    bench_ends 0 'the back-end came back 4 times'
    grep -q 'blocks, 0 wrong' "$E2E_DIR/bench.log"
}

@test "the daemon is killed, and no request is lost" {
    killed_under_load
}

@test "the daemon is killed, and no request of packed rings is lost" {
    killed_under_load --packed
}

@test "the daemon leaves in order and comes back, and packed rings go on" {
    start_vblkd
    add_disk vda 4M --queues 2
    bench_start vda --packed --runtime 600 --rw randrw --verify --allow-write --queues 2
    wait_until 10 stat_reaches vda requests.read.requests 1
    stop_vblkd
    start_vblkd
    wait_until 20 stat_reaches vda requests.read.requests 1
    process_signal bench INT
    bench_ends 0 'the back-end came back 1 time'
    grep -q 'blocks, 0 wrong' "$E2E_DIR/bench.log"
}

@test "a daemon that does not come back is an error" {
    start_vblkd
    vblkctl add vda null:1M
    bench_start vda --runtime 600 --timeout 1
    wait_until 10 stat_reaches vda requests.read.requests 1
    stop_vblkd
    bench_ends 1 'vda: the back-end has not come back for 1 s'
}

@test "other back-ends are loaded as well" {
    need_tools qemu-storage-daemon
    image vda 4M
    process_start qsd qemu-storage-daemon \
        --blockdev "driver=file,node-name=vda,filename=$E2E_DIR/vda.img,discard=unmap" \
        --export "vhost-user-blk,id=vda,node-name=vda,writable=on,num-queues=2,addr.type=unix,addr.path=$(socket_of qsd)"
    wait_until 10 test -S "$(socket_of qsd)"
    bench_json 'r["verify"]["checked"] > 0 and r["verify"]["wrong"] == 0' "$(socket_of qsd)" \
        --rw randrw --queues 2 --verify --allow-write --runtime 0.5
    bench_json 'r["all_requests"] > 0' "$(socket_of qsd)" --iodepth 128 --poll --runtime 0.2
    bench_json 'r["all_requests"] > 0' "$(socket_of qsd)" --rw discard --allow-write --runtime 0.2
    bench_json 'r["all_requests"] > 0' "$(socket_of qsd)" --rw flush --runtime 0.2
    refused 1 "does not offer packed rings and an in-flight region for them; leave out --packed" \
        "$(socket_of qsd)" --packed
}

# --- tests/bench/compare

compare() {
    TMPDIR=$E2E_DIR without_bats timeout "$(deadline 120)" "$E2E_TESTS/bench/compare" --builddir "$top_builddir" \
        --dir "$E2E_DIR" --size 4 --rounds 2 --runtime 0.1 "$@" </dev/null
}

@test "comparison: each round of each server is a line, and nothing is left behind" {
    compare --json --image-kinds file,null --servers '^(vblkd|the image)$' --workload 'depth (1|32)$' \
        >"$E2E_DIR/lines"
    cat "$E2E_DIR/lines"
    python3 -c '
import json, shutil, sys
seen = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    assert r["iops"] > 0 and r["p50_us"] <= r["p99_us"] and r["cpu_us"] > 0, line
    seen.setdefault((r["image"], r["server"], r["workload"]), []).append(r["round"])
servers = 3 if shutil.which("fio") else 2
assert len(seen) == servers * 3, seen.keys()
assert all(rounds == [0, 1] for rounds in seen.values()), seen' "$E2E_DIR/lines"
    [ -z "$(find "$E2E_DIR" -name 'vblk-bench.*')" ]
}

@test "comparison: tables for people, Markdown and manual pages" {
    local words=(--image-kinds null --servers vblkd$ --workload 'depth 128')

    run compare "${words[@]}"
    echo "$output"
    [ "$status" -eq 0 ]
    grep -Eq '^  vblkd +[0-9]+ +- +- ' <<<"$output"
    [[ "$output" != *"huge pages"* ]]
    run compare --markdown "${words[@]}"
    grep -Eq '^\| randread 4k, depth 128 \| vblkd \| [0-9]+ \| - \| - \|' <<<"$output"
    { echo '=pod' && echo && compare --pod "${words[@]}"; } >"$E2E_DIR/table.pod"
    if command -v podchecker >/dev/null; then
        podchecker "$E2E_DIR/table.pod"
    fi
    grep -Eq '^    vblkd +[0-9]+ +- +- ' "$E2E_DIR/table.pod"
    grep -q -- '^  make bench BENCH_FLAGS=' "$E2E_DIR/table.pod"
}

@test "comparison: other back-ends by a command, and what cannot serve is said" {
    need_tools qemu-storage-daemon
    run compare --image-kinds file --servers 'other|broken' --workload 'depth 128' \
        --server "broken=false {socket} {image}" \
        --server "other=qemu-storage-daemon --blockdev driver=file,node-name=d,filename={image} \
--export vhost-user-blk,id=d,node-name=d,writable=on,addr.type=unix,addr.path={socket}"
    echo "$output"
    [ "$status" -eq 0 ]
    grep -q 'broken cannot serve file: it ended with status 1' <<<"$output"
    grep -Eq '^  other +[0-9]+ ' <<<"$output"
}

@test "comparison: another build of qemu-storage-daemon, and the versions of all" {
    need_tools qemu-storage-daemon
    cat >"$E2E_DIR/qsd" <<'EOF'
#!/bin/sh
[ "$1" != --version ] || { echo "qemu-storage-daemon version 99.1.2 (its 7th build)"; exit; }
exec qemu-storage-daemon "$@"
EOF
    chmod +x "$E2E_DIR/qsd"
    run compare --qsd "$E2E_DIR/qsd" --image-kinds null --servers 'null-co|vblkd$' \
        --workload 'depth 128'
    echo "$output"
    [ "$status" -eq 0 ]
    grep -Eq '^Made on .*, vblkd [0-9.]+, qemu-storage-daemon 99\.1\.2, with ' <<<"$output"
    grep -Eq '^  qsd, null-co +[0-9]+ ' <<<"$output"
}

@test "comparison: a build of qemu-storage-daemon that is none is refused" {
    run compare --qsd "$E2E_DIR/none"
    echo "$output"
    [ "$status" -eq 2 ]
    [[ "$output" == *"--qsd: $E2E_DIR/none: no such program"* ]]
    run compare --qsd false --servers qsd
    echo "$output"
    [ "$status" -eq 1 ]
    [[ "$output" == *"false --version is not that of qemu-storage-daemon: "* ]]
}

@test "comparison: another build of vblkd, twice, is what this one is compared with" {
    run compare --base "$top_builddir" --image-kinds null --servers '^(vblkd|base)' \
        --workload '4k, depth 32$' --rounds 1 --runtime 0.2
    [ "$status" -eq 0 ]
    [[ "$output" == *" base "*"p50"* ]]
    [[ "$output" != *qsd* ]]
    grep -qE '^  vblkd +[0-9]+ +- +[0-9]+\.[0-9]{2} ' <<<"$output"
    grep -qE '^  base +[0-9]+ +- +- ' <<<"$output"
    grep -qE '^  base again +[0-9]+ +- +[0-9]+\.[0-9]{2} ' <<<"$output"
    run compare --base "$E2E_DIR"
    [ "$status" -eq 2 ]
    [[ "$output" == *"$E2E_DIR/vblkd: no such program"* ]]
}

@test "comparison: with huge pages, and the head says so" {
    run compare --huge-pages --image-kinds null --servers 'vblkd$' --workload 'depth 128'
    echo "$output"
    [[ "$output" != *"in huge pages: "* ]] || skip "$output"
    [ "$status" -eq 0 ]
    grep -q "^Made on .*, vblkbench's memory in huge pages, with " <<<"$output"
    grep -Eq '^  vblkd +[0-9]+ ' <<<"$output"
}

comparison_runs() {
    grep -q '"server": "vblkd"' "$E2E_DIR/compare.log"
}

@test "comparison: ends in order by a signal" {
    process_start compare env TMPDIR="$E2E_DIR" "$E2E_TESTS/bench/compare" --builddir "$top_builddir" --dir "$E2E_DIR" \
        --size 4 --rounds 1000 --runtime 0.1 --json --image-kinds file --servers vblkd$
    wait_until 30 comparison_runs
    process_signal compare TERM
    wait_until 30 process_ended compare
    [ "$(process_status compare)" -eq 143 ]
    [ -z "$(find "$E2E_DIR" -name 'vblk-bench.*')" ]
    run pgrep -f "$E2E_DIR/vblk-bench"
    [ "$status" -eq 1 ]
}

@test "comparison: a wrong command line is refused" {
    local words

    for words in "--rounds 0" "--runtime 0" "--image-kinds tape" "--cpus 1" "--workload nothing" \
        "--servers nobody" "--server x=y" "--json --pod"; do
        # shellcheck disable=SC2086 # words
        run compare $words
        echo "$words: $output"
        [ "$status" -ne 0 ]
    done
}
