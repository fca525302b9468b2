#!/usr/bin/env bats
#
# Command lines of all programs: what is wrong with one is said, and the exit status is 2.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
VBLKVM=${VBLKVM:-$top_builddir/vblkvm}

setup() {
    e2e_setup
}

teardown() {
    e2e_teardown
}

# gives STATUS TEXT COMMAND...: on standard error, and nothing on standard output.
gives() {
    local wanted=$1 text=$2 status=0 said

    shift 2
    said=$(without_bats timeout "$(deadline 20)" "$@" 2>&1 >"$E2E_DIR/stdout") || status=$?
    if [ "$status" -ne "$wanted" ] || [[ $said != *"$text"* ]] || [ -s "$E2E_DIR/stdout" ]; then
        echo "$*: status $status, $said"
        cat "$E2E_DIR/stdout"
        return 1
    fi
}

# options_of COMMAND...: the names of its options.
options_of() {
    "$@" --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p'
}

# no_beginnings COMMAND...: an option's name less a letter is no option.
no_beginnings() {
    local option options short count=0

    cd "$E2E_DIR" || return
    options=$(options_of "$@")
    for option in $options; do
        short=${option%?}
        if ! grep -qxFe "$short" <<<"$options"; then
            gives 2 "unknown option $short" "$@" "$short" 2
            count=$((count + 1))
        fi
    done
    [ "$count" -gt 3 ]
}

@test "no program takes the beginning of an option's name for the option" {
    no_beginnings "$VBLKD"
    no_beginnings "$VBLKCTL"
    no_beginnings "$VBLKCTL" add
    no_beginnings "$VBLKCTL" remove
    [ ! -x "$VBLKBENCH" ] || no_beginnings "$VBLKBENCH"
    [ ! -x "$VBLKVM" ] || no_beginnings "$VBLKVM"
}

@test "what was likely meant is told" {
    gives 2 "unknown option --for; did you mean --force?" "$VBLKCTL" remove vda --for
    gives 2 "unknown option --sise; did you mean --size?" "$VBLKCTL" add vda x --sise 1G
    gives 2 "unknown option --stat-dir; did you mean --state-dir?" "$VBLKD" --stat-dir x
    [ -x "$VBLKBENCH" ] || return 0
    gives 2 "unknown option --time; did you mean --timeout?" "$VBLKBENCH" vda --time 2
}

@test "a setting that is given as an option, and an option as a setting, are explained" {
    local settings="unknown option --poll-us; settings are given as KEY=VALUE: poll-us"

    gives 2 "$settings=5" "$VBLKCTL" set vda --poll-us 5
    gives 2 "$settings=5" "$VBLKCTL" set --json --poll-us=5 vda
    gives 2 "$settings=N" "$VBLKCTL" set vda --poll-us
    gives 2 "$settings=N" "$VBLKCTL" set vda --poll-us --json
    gives 2 "unknown option --jsom; did you mean --json?" "$VBLKCTL" set vda --jsom
    gives 2 'unknown option --jsom; did you mean --json?' "$VBLKCTL" set vda --jsom -- --poll-us=5
    gives 2 'add: unexpected argument "poll-us=5"; options are given as --KEY VALUE: --poll-us 5' \
        "$VBLKCTL" add vda null:1G poll-us=5
    gives 2 'stop: unexpected argument "timeout=5"; options are given as --KEY VALUE: --timeout 5' \
        "$VBLKCTL" stop vda timeout=5
    gives 2 'remove: unexpected argument "force"; did you mean --force?' "$VBLKCTL" remove vda force
    gives 2 'add: unexpected argument "readonly=yes"; did you mean --readonly?' \
        "$VBLKCTL" add vda null:1G readonly=yes
    gives 2 'stop: unexpected argument "poll-us=5"' "$VBLKCTL" stop vda poll-us=5
}

# What vblkctl(1) says of its exit status: a line is the status and the words.
@test "the exit status of vblkctl is that of its page, whoever finds what is wrong" {
    local status words file

    start_vblkd
    file=$(image img 1M)
    vblkctl add vda null:1G --queues 2
    vblkctl add vdb "$file"
    while read -r status words; do
        # shellcheck disable=SC2086 # the words are words
        [ -z "$status" ] || gives "$status" '' "$VBLKCTL" --control "$E2E_DIR/control" $words
    done <<EOT
2
2 list vda
2 lists
2 show
2 show vda vdb
2 stats vda --count 3
2 stats --interval 0
2 stats --interval 1e3
2 stop vda --timeout 86401
2 remove vda --timeout -1
2 add vdc
2 add a/b null:1G
2 add vdc null:0
2 add vdc null:10GB
2 add vdc null:513
2 add vdc null:1G --queues 0
2 add vdc null:1G --queues 65
2 add vdc null:1G --queues many
2 add vdc null:1G --queue-size 100
2 add vdc null:1G --cache fast
2 add vdc null:1G --threads 3 --queues 2
2 add vdc null:1G --logical-block-size 1000
2 add vdc null:1G --logical-block-size 0
2 add vdc null:1G --engine aio
2 add vdc null:1G --serial 012345678901234567890
2 add vdc null:1G --socket /$(printf 'd%.0s' {1..110})
2 add vdc $E2E_DIR/new --create
2 add vdc $E2E_DIR/new --create --size 0
2 add vdc $E2E_DIR/new --create --size 1M --readonly
2 add vdc $file --size 1M
2 set vda poll-us=1001
2 set vda poll-us=few
2 set vda speed=9
1 set vda threads=3
1 set vda engine=aio
1 set vdc threads=3
1 show vdc
1 stop vdc
1 add vda null:1G
1 add vdc $file
1 add vdc $E2E_DIR/none
1 add vdc $file --create --size 1M
1 add vdc null:1G --socket $E2E_DIR-none/sock
EOT
    [ ! -e "$E2E_DIR/new" ]
    gives 3 "no vblkd answers" "$VBLKCTL" --control "$E2E_DIR/none" list
    gives 2 "too long" "$VBLKCTL" --control "/$(printf 'd%.0s' {1..110})" list
    run vblkctl list
    [ "$status" -eq 0 ]
}

@test "what is for tests alone is told of when a daemon has it" {
    VBLKD_LOG_LEVEL=warn start_vblkd
    [ ! -s "$E2E_DIR/vblkd.log" ]
    stop_vblkd
    VBLKD_LOG_LEVEL=warn VBLKD_IO_LOG=$E2E_DIR VBLKD_IO_SPOIL=nothing start_vblkd --debug-no-recovery
    vblkd_logged "warn: .*--debug-no-recovery"
    vblkd_logged "warn: .*VBLKD_IO_LOG is set.* $E2E_DIR "
    vblkd_logged "warn: .*VBLKD_IO_SPOIL is set (nothing)"
}
