#!/usr/bin/env bats
#
# How many requests go to an image at a time, learned and set, across what happens to a disk under
# load meanwhile.
#
# VBLKBENCH    the program, default $top_builddir/vblkbench

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
FRONTEND_TESTS=${FRONTEND_TESTS:-$top_builddir/tests/frontend-tests}

# Memory does its work within the call, so nothing is to be learned of it.
setup() {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    if [ "$(stat -f -c %T "${TMPDIR:-/tmp}")" = tmpfs ]; then
        export TMPDIR=$top_builddir
    fi
    e2e_setup
}

teardown() {
    e2e_teardown
}

# add_full_disk [OPTION...]: vda on a file without holes, which would be read within the call.
add_full_disk() {
    dd if=/dev/zero of="$E2E_DIR/vda.img" bs=1M count=8 conv=fsync status=none
    vblkctl add vda "$E2E_DIR/vda.img" --queues 2 "$@"
}

# load_start OPTION...: until load_ends.
load_start() {
    process_start load "$VBLKBENCH" "$(socket_of vda)" --queues 2 --iodepth 8 --runtime 600 "$@"
    continues
    image_goes_on
}

load_ends() {
    process_signal load INT
    wait_until 20 process_ended load
    cat "$E2E_DIR/load.log"
    [ "$(process_status load)" -eq 0 ]
}

# counts MEMBER...: of the JSON of stats, from one reading.  By sed, as there are many, under load.
counts() {
    local json member

    json=$(vblkctl --json stats vda) || return
    for member; do
        sed -E "s/.*\"$member\":([0-9]+).*/\1/" <<<"$json"
    done | xargs
}

# count_reaches MEMBER N: for wait_until.
count_reaches() {
    [ "$(counts "$1")" -ge "$2" ]
}

# More goes to the image from now on.
continues() {
    wait_until 20 count_reaches submitted $(($(counts submitted) + 100))
}

# An image that ends requests within the call has none in flight whenever one looks.
image_goes_on() {
    local i

    for ((i = 0; i < 50; i++)); do
        [ "$(counts inflight)" -eq 0 ] || return 0
    done
    skip "files in $E2E_DIR end their requests within the call"
}

# sizes: those of each thread, reads and writes, as "4 2, 4 1".
sizes() {
    vblkctl --json stats vda | sed -E 's/.*"batches":\[([^]]*)\].*/\1/
        s/\{"reads":([0-9]+),"writes":([0-9]+)\}/\1 \2/g; s/,/, /g'
}

# sizes_are PATTERN: which is one of a whole line.
sizes_are() {
    sizes | grep -qxE "$1"
}

power='(1|2|4|8|16|32)'
both="$power $power"

# as_set BATCH THREADS: the sizes are these, or learned by each thread.
as_set() {
    local one=$both

    [ "$1" -eq 0 ] || one="$1 $1"
    if [ "$2" -eq 2 ]; then
        one="$one, $one"
    fi
    wait_until 20 sizes_are "$one"
}

# never_more_than N: operations with one call, for a while; what the kernel has not taken at once aside.
never_more_than() {
    local calls operations calls_then operations_then

    read -r calls operations < <(counts submissions submitted)
    wait_until 20 count_reaches submissions $((calls + 100))
    read -r calls_then operations_then < <(counts submissions submitted)
    [ $((operations_then - operations)) -le $(($1 * (calls_then - calls) + 8)) ]
}

@test "reads and writes are learned apart; a size that is set holds at once, and 0 learns again" {
    local engine

    start_vblkd
    for engine in aio io_uring; do
        add_full_disk --engine "$engine" || [ "$engine" = io_uring ] || return
        vblkctl show vda || continue # vblkd is built without it
        sizes_are "0 0"
        load_start --rw randread
        wait_until 20 sizes_are "$power 0"
        vblkctl set vda batch=3
        sizes_are "3 3"
        never_more_than 3
        vblkctl set vda batch=1
        sizes_are "1 1"
        never_more_than 1
        vblkctl set vda batch=0
        wait_until 20 sizes_are "$power 0"
        load_ends
        load_start --rw randrw --allow-write
        wait_until 20 sizes_are "$both"
        load_ends
        sizes_are "$both" # the next front-end has the same image
        vblkctl stop vda
        vblkctl start vda
        sizes_are "0 0" # it may be another one
        vblkctl remove vda
    done
}

# Each load checks what it reads: wrong data would end it.
@test "a size that is set, and learning, outlast threads, stop and start under load, and a kill" {
    local batch

    start_vblkd
    add_full_disk
    for batch in 3 0; do
        load_start --rw randrw --verify --allow-write
        vblkctl set vda batch=$batch
        as_set $batch 1
        vblkctl set vda threads=2
        as_set $batch 2
        vblkctl set vda threads=1
        as_set $batch 1
        vblkctl stop vda
        vblkctl start vda
        continues
        as_set $batch 1
        process_runs load
        kill_vblkd
        process_signal load KILL
        start_vblkd
        sizes_are "$batch $batch" # what was learned starts anew
    done
    load_start --rw randrw --verify --allow-write
    as_set 0 1
    load_ends
    grep -q 'blocks, 0 wrong' "$E2E_DIR/load.log"
}

@test "memory goes and comes under load while sizes are set, and learned" {
    local i

    [ -x "$FRONTEND_TESTS" ] || skip "no frontend-tests at $FRONTEND_TESTS"
    start_vblkd
    add_full_disk --threads 2
    process_start memory "$FRONTEND_TESTS" --socket "$(socket_of vda)" memory_goes
    for ((i = 0; ; i++)); do
        ! process_ended memory || break
        vblkctl set vda batch=$((i % 4))
        sizes >/dev/null
    done
    cat "$E2E_DIR/memory.log"
    [ "$(process_status memory)" -eq 0 ]
    [ "$(counts inflight invalid)" = "0 0" ]
    process_runs vblkd
}
