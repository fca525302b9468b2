# shellcheck shell=bash
#
# Helpers of the end-to-end tests: a real vblkd, real QEMU guests, one private directory per test.
# A file loads this, then calls `e2e_setup_file` in setup_file, `e2e_setup` in setup and
# `e2e_teardown` in teardown.
#
# VBLKD, VBLKCTL     the programs, default $top_builddir/{vblkd,vblkctl}
# VBLKD_WRAPPER      words put before vblkd, such as `valgrind --error-exitcode=99`
# VBLKD_LOG_LEVEL    default debug
# E2E_PATIENCE       multiplies every deadline, default 1; for wrappers and busy machines
# E2E_DISK_OPTIONS   words given to each `vblkctl add`, such as `--poll-us 0`; a test's own win
# E2E_FILE_OPTIONS   the same, but for null images
# E2E_KEEP           not empty: keep the directory of a test
#
# All state is in files of $E2E_DIR, so everything works in the subshell of `run` as well.

E2E_TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
E2E_GUEST=$E2E_TESTS/guest
top_builddir=${top_builddir:-$(dirname "$E2E_TESTS")}
VBLKD=${VBLKD:-$top_builddir/vblkd}
VBLKCTL=${VBLKCTL:-$top_builddir/vblkctl}
E2E_PATIENCE=${E2E_PATIENCE:-1}
PATH=$PATH:/usr/sbin:/sbin

# Version managers put a script before python3 that looks for the real one each time, which takes
# longer than most of what it is asked.
if [ -z "${E2E_PYTHON:-}" ] && command -v python3 >/dev/null; then
    E2E_PYTHON=$(python3 -c 'import sys; print(sys.executable)')
    export E2E_PYTHON
fi
[ -z "${E2E_PYTHON:-}" ] || PATH=${E2E_PYTHON%/*}:$PATH

# 3 is the output of bats; who keeps it open longer than the test makes bats hang.
without_bats() {
    "$@" 3>&-
}

deadline() {
    echo $((${1:-30} * E2E_PATIENCE))
}

# wait_until SECONDS COMMAND...: until COMMAND is true; 1 when the time passed, which is 20 s at
# least: what comes at once may come late on a busy machine.
wait_until() {
    local end=$((SECONDS + 1 + $(deadline $(($1 > 20 ? $1 : 20)))))

    shift
    until "$@" 2>/dev/null; do
        if [ "$SECONDS" -ge "$end" ]; then
            echo "never true: $*" >&2
            "$@"
            return 1
        fi
        sleep 0.02
    done
}

need_tools() {
    local tool

    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "needs $tool"
    done
}

# The reason to skip is kept for e2e_setup: in setup_file bats 1.8 takes a skip for a failure.
e2e_setup_file() {
    local image tool

    for tool in qemu-system-x86_64 python3 busybox cpio modinfo ldd "${CC:-gcc}"; do
        command -v "$tool" >/dev/null || export E2E_SKIP="needs $tool"
    done
    [ -z "${E2E_SKIP:-}" ] || return 0
    if ! image=$("$E2E_GUEST/prepare" 2>&1); then
        export E2E_SKIP="no guest: ${image##*$'\n'}"
        return 0
    fi
    E2E_KERNEL=$(sed -n 1p <<<"$image")
    E2E_INITRAMFS=$(sed -n 2p <<<"$image")
    export E2E_KERNEL E2E_INITRAMFS
}

e2e_setup() {
    [ -z "${E2E_SKIP:-}" ] || skip "$E2E_SKIP"
    # Not below BATS_TEST_TMPDIR: a socket's path ends at 107 bytes.
    E2E_DIR=$(mktemp -d "${TMPDIR:-/tmp}/vblk.XXXXXX")
    if [ "${#E2E_DIR}" -gt 80 ]; then
        rmdir "$E2E_DIR"
        E2E_DIR=$(mktemp -d /tmp/vblk.XXXXXX)
    fi
    mkdir "$E2E_DIR/state"
}

# --- processes: $E2E_DIR/NAME.pid while it was ever started, NAME.status once it has ended

process_supervise() {
    local base=$E2E_DIR/$1

    shift
    "$@" >"$base.log" 2>&1 </dev/null &
    echo $! >"$base.pid"
    # The shell would report a death by signal on standard error.
    { wait $! && echo 0 >"$base.status" || echo $? >"$base.status"; } 2>/dev/null
}

# The one before of that name has been told to end, and its status must not be taken for the next one's.
process_start() {
    [ ! -e "$E2E_DIR/$1.pid" ] || wait_until 20 process_ended "$1"
    rm -f "$E2E_DIR/$1".{pid,status}
    without_bats process_supervise "$@" &
    wait_until 5 test -s "$E2E_DIR/$1.pid"
}

process_runs() {
    [ -s "$E2E_DIR/$1.pid" ] && [ ! -e "$E2E_DIR/$1.status" ]
}

process_signal() {
    kill -"$2" "$(cat "$E2E_DIR/$1.pid")"
}

process_ended() {
    [ -s "$E2E_DIR/$1.status" ]
}

process_status() {
    cat "$E2E_DIR/$1.status"
}

# --- vblkd

# A daemon which hangs shall fail its test, with 124, and not stop the whole run.
vblkctl() {
    local options=${E2E_DISK_OPTIONS:-}

    if [ "$1" = add ]; then
        shift
        [[ " $*" == *" null:"* ]] || options+=" ${E2E_FILE_OPTIONS:-}"
        # shellcheck disable=SC2086 # the options are words
        set -- add $options "$@"
    fi
    without_bats timeout "$(deadline 60)" "$VBLKCTL" --control "$E2E_DIR/control" "$@"
}

vblkd_answers() {
    process_ended vblkd || vblkctl ping >/dev/null 2>&1
}

start_vblkd() {
    if [ ! -x "$VBLKD" ] || [ ! -x "$VBLKCTL" ]; then
        skip "no vblkd at $VBLKD (VBLKD, VBLKCTL or top_builddir)"
    fi
    [ ! -e "$E2E_DIR/vblkd.log" ] || cat "$E2E_DIR/vblkd.log" >>"$E2E_DIR/vblkd.log.before"
    # shellcheck disable=SC2086 # the wrapper is words
    process_start vblkd ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/control" \
        --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state" \
        --log-level "${VBLKD_LOG_LEVEL:-debug}" "$@"
    wait_until 20 vblkd_answers
    process_runs vblkd
}

# stop_vblkd [STATUS]: orderly stop, which shall end with STATUS, 0 unless told otherwise.
# shellcheck disable=SC2120 # the argument is for tests
stop_vblkd() {
    process_signal vblkd TERM
    wait_until 20 process_ended vblkd
    [ "$(process_status vblkd)" -eq "${1:-0}" ]
}

kill_vblkd() {
    process_signal vblkd KILL
    wait_until 5 process_ended vblkd
}

# second_vblkd: in the same directories, while the first one's process may still be there.
second_vblkd() {
    # shellcheck disable=SC2086 # the wrapper is words
    process_start second ${VBLKD_WRAPPER:-} "$VBLKD" --control "$E2E_DIR/control" \
        --socket-dir "$E2E_DIR" --state-dir "$E2E_DIR/state"
    wait_until 20 vblkctl ping
    process_runs second
}

# vblkd_logged PATTERN: it is in the log, or comes soon, as a thread of its own writes it.
vblkd_logged() {
    wait_until 5 grep -q -e "$1" "$E2E_DIR/vblkd.log"
}

# image NAME SIZE: a sparse raw file of zeros; prints its path.
image() {
    truncate -s "$2" "$E2E_DIR/$1.img"
    echo "$E2E_DIR/$1.img"
}

# add_disk NAME SIZE [OPTION...]: an image and a disk on it.
add_disk() {
    local name=$1 file

    file=$(image "$name" "$2")
    shift 2
    vblkctl add "$name" "$file" "$@"
}

socket_of() {
    echo "$E2E_DIR/$1.sock"
}

# json_members NAME...: of the object on standard input, dots descend, in one line.
json_members() {
    python3 -c '
import functools, json, sys
object = json.load(sys.stdin)
print(*[functools.reduce(lambda d, k: d[k], name.split("."), object) for name in sys.argv[1:]])
' "$@"
}

# field DISK NAME...: members of `show`.
field() {
    local disk=$1

    shift
    vblkctl --json show "$disk" | json_members "$@"
}

# stat_of DISK FIELD...: members of `stats`, from one reading.
stat_of() {
    local disk=$1 json

    shift
    json=$(vblkctl --json stats "$disk") || return
    json_members "$@" <<<"$json"
}

# stat_is DISK FIELD N
stat_is() {
    [ "$(stat_of "$1" "$2")" -eq "$3" ]
}

# stat_reaches DISK FIELD VALUE: for wait_until.
stat_reaches() {
    local value

    value=$(stat_of "$1" "$2") && [ "$value" -ge "$3" ]
}

# --- guests

accelerator() {
    # Some hosts have a /dev/kvm which cannot run Linux; the module tells the real one.
    if [ -w /dev/kvm ] && { [ -d /sys/module/kvm_intel ] || [ -d /sys/module/kvm_amd ]; }; then
        echo kvm
    else
        echo tcg
    fi
}

# disk_arguments NUMBER SOCKET[,queues=N][,modern|legacy][,PROPERTY=VALUE...]: words for QEMU.
disk_arguments() {
    local words word device=vhost-user-blk-pci,chardev=disk$1

    IFS=, read -ra words <<<"$2"
    for word in "${words[@]:1}"; do
        case $word in
            queues=*) device+=,num-queues=${word#*=} ;;
            modern) device+=,disable-legacy=on,disable-modern=off ;;
            legacy) device+=,disable-legacy=off,disable-modern=on ;;
            *) device+=,$word ;;
        esac
    done
    [[ $device == *num-queues* ]] || device+=,num-queues=1
    printf '%s\n' -chardev "socket,id=disk$1,path=${words[0]},reconnect=1" -device "$device"
}

# guest_start NAME [--disk SOCKET,...]... [--drive FILE]... [--smp N] [--memory M] [--append TEXT]
#                  [--machine M] [--cpu MODEL] [--firmware] [--no-wait] [--qemu WORD]...
# --drive is a disk that QEMU itself serves.
# --cpu emulates that model, whatever the host has.
# --firmware boots from the disks instead of the kernel which QEMU loads.
guest_start() {
    local name=$1 smp=1 memory=256M append='' machine=pc disks=0 waits=1 firmware='' cpu=qemu64
    local arguments=() words accel emulated=''

    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --disk)
                mapfile -t words < <(disk_arguments "$disks" "$2")
                arguments+=("${words[@]}")
                disks=$((disks + 1))
                shift
                ;;
            --drive)
                arguments+=(-blockdev "driver=file,filename=$2,node-name=disk$disks"
                    -device "virtio-blk-pci,drive=disk$disks")
                disks=$((disks + 1))
                shift
                ;;
            --smp) smp=$2 && shift ;;
            --memory) memory=$2 && shift ;;
            --append) append=$2 && shift ;;
            --machine) machine=$2 && shift ;;
            --cpu) emulated=$2 && shift ;;
            --firmware) firmware=1 ;;
            --qemu) arguments+=("$2") && shift ;;
            --no-wait) waits='' ;;
            *) echo "guest_start: $1?" >&2 && return 2 ;;
        esac
        shift
    done
    accel=$(accelerator)
    [ "$accel" = tcg ] || cpu=host
    [ -z "$emulated" ] || accel=tcg cpu=$emulated
    if [ -z "$firmware" ]; then
        arguments+=(-kernel "$E2E_KERNEL" -initrd "$E2E_INITRAMFS"
            -append "$(guest_kernel_options) $append")
    fi
    rm -f "$E2E_DIR/$name.agent"
    process_start "$name" qemu-system-x86_64 -nodefaults -no-user-config -display none \
        -machine "$machine,memory-backend=mem" -accel "$accel" -cpu "$cpu" \
        -smp "$smp" -m "$memory" \
        -object "memory-backend-memfd,id=mem,size=$memory,share=on" \
        -chardev "file,id=console,path=$E2E_DIR/$name.console" -serial chardev:console \
        -chardev "socket,id=agent,path=$E2E_DIR/$name.agent,server=on,wait=off" \
        -serial chardev:agent "${arguments[@]}"
    wait_until 20 guest_listens "$name"
    [ -z "$waits" ] || guest_wait "$name" 120
}

# Measured on two emulated cores: each of these saves 0.1 s to 0.3 s of about 2 s.
#
# A kernel on a busy host may find that the counter which it takes the time from is ten times slower
# than it is: it compares it with a timer of 10 ms, and looks late at when that began.  Then its
# clocks run ten times too fast, and it complains of being stuck after two seconds of ours.
guest_kernel_options() {
    local khz

    khz=$("$E2E_GUEST/tsc-khz" 2>/dev/null) || khz=''
    echo "console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check" \
        "cryptomgr.notests${khz:+ tsc_early_khz=$khz}"
}

guest_listens() {
    process_ended "$1" || [ -S "$E2E_DIR/$1.agent" ]
}

guest_talk() {
    local name=$1 seconds=$2

    shift 2
    without_bats "$E2E_GUEST/agentctl" "$E2E_DIR/$name.agent" "$(deadline "$seconds")" "$@"
}

# guest_wait NAME [SECONDS]: until the agent answers.
guest_wait() {
    guest_talk "$1" "${2:-120}" wait
}

# guest_run NAME COMMAND [SECONDS]: its output, error and status; 124 when the time passed.
guest_run() {
    guest_talk "$1" "${3:-120}" run "$2"
}

# guest_bg NAME TAG COMMAND: runs on in the guest.  Starts with `exec` what takes signals.
guest_bg() {
    guest_run "$1" "task start $2 $(printf %q "$3")"
}

guest_bg_signal() {
    guest_run "$1" "task signal $2 $3"
}

# guest_bg_wait NAME TAG [SECONDS]: the output and status of what guest_bg started.
guest_bg_wait() {
    guest_run "$1" "task wait $2" "${3:-120}"
}

guest_reboot() {
    guest_talk "$1" "${2:-120}" reboot
}

guest_stop() {
    # The line closes before the answer, which is no failure here.
    guest_run "$1" 'umount -a -r 2>/dev/null; sync; poweroff -f' 60 2>/dev/null || true
    wait_until 20 process_ended "$1"
    [ "$(process_status "$1")" -eq 0 ]
}

guest_kill() {
    process_signal "$1" KILL
    wait_until 5 process_ended "$1"
}

# shellcheck disable=SC2016 # $? is the guest's
guest_dmesg_clean() {
    guest_run "$1" '! dmesg | grep -E "I/O error|blk_update_request|blocked for more than"'
}

# guest_sha256 NAME FILE: the bare sum, computed in the guest.
guest_sha256() {
    guest_run "$1" "sha256sum '$2' | cut -d ' ' -f 1"
}

# --- teardown

# The daemon's first: where a report is cut, it is at its end.
e2e_show() {
    local file shown=" "

    for file in "$E2E_DIR"/vblkd.log{,.before} "$E2E_DIR"/*.log{.before,} "$E2E_DIR"/*.console; do
        [[ -s $file && $shown != *" $file "* ]] || continue
        shown+="$file "
        echo "--- $(basename "$file"), the last lines:"
        tail -n 60 "$file"
    done
    for file in "$E2E_DIR"/*.status; do
        [ ! -e "$file" ] || echo "--- $(basename "$file"): $(cat "$file")"
    done
}

# A daemon which a test left running has to end in order, whatever was done to it.
e2e_end_vblkd() {
    if process_runs vblkd; then
        # shellcheck disable=SC2119 # no argument means status 0
        stop_vblkd || {
            echo "vblkd did not end in order: $(cat "$E2E_DIR/vblkd.status" 2>/dev/null)"
            return 1
        }
    fi
}

e2e_end_rest() {
    local file name

    for file in "$E2E_DIR"/*.pid; do
        [ -e "$file" ] || continue
        name=$(basename "$file" .pid)
        process_ended "$name" || process_signal "$name" KILL
        wait_until 5 process_ended "$name" || true
    done
}

e2e_teardown() {
    local status=0 passed=${BATS_TEST_COMPLETED:-}${BATS_TEST_SKIPPED:-}

    [ -d "${E2E_DIR:-}" ] || return 0
    e2e_end_vblkd || status=1
    e2e_end_rest
    if [ "$status" -ne 0 ] || [ -z "$passed" ]; then
        e2e_show
    fi
    [ -n "${E2E_KEEP:-}" ] || rm -rf "$E2E_DIR"
    return "$status"
}
