#!/usr/bin/env bats
# shellcheck disable=SC2119 # stop_vblkd without a status
#
# Names that others have chosen are shown, and do nothing to a terminal, nor to the log.

load ../lib/e2e

VBLKBENCH=${VBLKBENCH:-$top_builddir/vblkbench}
VBLKVM=${VBLKVM:-$top_builddir/vblkvm}

# Clears the screen, rings, begins a line, the same by C1 and by what turns the direction; and an
# umlaut, which is harmless.
HOSTILE=$'\e[2J\a\n\xc2\x9b2J\x7f\xe2\x80\xae\xc3\xa4'
SHOWN='\x1b[2J\x07\x0a\u009b2J\x7f\u202eä'

setup() {
    need_tools python3
    e2e_setup
    start_vblkd
}

teardown() {
    e2e_teardown
}

# A file: UTF-8, and no control character but the ends of lines.
is_harmless() {
    python3 -c '
import sys, unicodedata
text = open(sys.argv[1], "rb").read().decode()
bad = [c for c in text if c != "\n" and (unicodedata.category(c) in ("Cc", "Zl", "Zp") or
       0x202a <= ord(c) <= 0x202e or 0x2066 <= ord(c) <= 0x2069)]
assert not bad, f"{sys.argv[1]}: {bad} in {text!r}"' "$1"
}

# says STATUS TEXT COMMAND...: which ends with that and says it on either output, harmlessly.
says() {
    local wanted=$1 text=$2

    shift 2
    run "$@"
    printf '%s\n' "$output" >"$E2E_DIR/output"
    is_harmless "$E2E_DIR/output"
    if [ "$status" -ne "$wanted" ] || [[ $output != *"$text"* ]]; then
        printf "%q " "$@"
        echo ": status $status, $output"
        return 1
    fi
}

@test "hostile text: of an image, in whatever vblkctl prints and in the log" {
    local file=$E2E_DIR/$HOSTILE.img

    truncate -s 1M "$file"
    says 1 "$SHOWN.img.none: No such file" vblkctl add vda "$file.none"
    says 0 "vda: running" vblkctl add vda "$file" --socket "$E2E_DIR/$HOSTILE.sock"
    says 0 "$SHOWN.sock" vblkctl show vda
    says 0 "$SHOWN.img" vblkctl show vda
    says 0 "$SHOWN.img" vblkctl list
    says 1 "$SHOWN.img" vblkctl add vdb "$file"
    says 0 "image" vblkctl --json show vda
    [ "$(json_members image.path <"$E2E_DIR/output")" = "$file" ]
    vblkctl remove vda
    stop_vblkd
    is_harmless "$E2E_DIR/vblkd.log"
    grep -F "$SHOWN.sock" "$E2E_DIR/vblkd.log"
}

@test "hostile text: names that are no UTF-8" {
    says 2 '\x9b2J' vblkctl add vda "$E2E_DIR/"$'\x9b2J'
    says 2 '\x9b2J' vblkctl add $'\x9b2J' null:1G
    says 2 '\x9b2J' vblkctl --control "$E2E_DIR/control" $'\x9b2J'
    says 3 '\x9b2J' without_bats "$VBLKCTL" --control "$E2E_DIR/"$'\x9b2J' list
}

@test "hostile text: of a front-end's process" {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    cp "$VBLKBENCH" "$E2E_DIR/"$'\e[2J\x9b\xc3\xa4'
    vblkctl add vda null:1G
    process_start taker "$E2E_DIR/"$'\e[2J\x9b\xc3\xa4' --control "$E2E_DIR/control" \
        --runtime 60 --rate 1 vda
    wait_until 10 stat_reaches vda kicks 1
    says 0 '\x1b[2J\x9bä/' vblkctl list
    says 0 '\x1b[2J\x9bä, process' vblkctl show vda
    says 1 '\x1b[2J\x9bä' vblkctl remove vda
    says 0 '"comm"' vblkctl --json list
    vblkctl remove vda --force
    stop_vblkd
    is_harmless "$E2E_DIR/vblkd.log"
    grep -F '\x1b[2J\x9bä' "$E2E_DIR/vblkd.log"
}

@test "hostile text: given to vblkbench and vblkvm" {
    [ -x "$VBLKBENCH" ] || skip "no vblkbench at $VBLKBENCH"
    says 1 "$SHOWN" without_bats "$VBLKBENCH" "$E2E_DIR/$HOSTILE"
    says 1 '\x9b2J' without_bats "$VBLKBENCH" "$E2E_DIR/"$'\x9b2J'
    says 2 "$SHOWN" without_bats "$VBLKBENCH" vda --bs "$HOSTILE"
    vblkctl add vda null:1G --socket "$E2E_DIR/$HOSTILE.sock"
    says 0 "$SHOWN.sock: randread" without_bats timeout "$(deadline 20)" \
        "$VBLKBENCH" --runtime 0.1 "$E2E_DIR/$HOSTILE.sock"
    says 0 '"socket"' without_bats timeout "$(deadline 20)" \
        "$VBLKBENCH" --runtime 0.1 --json "$E2E_DIR/$HOSTILE.sock"
    [ "$(json_members socket <"$E2E_DIR/output")" = "$E2E_DIR/$HOSTILE.sock" ]
    [ -x "$VBLKVM" ] || return 0
    says 2 "$SHOWN" without_bats "$VBLKVM" --kernel "$HOSTILE" --cpus "$HOSTILE"
}

# hostile_names: beside copies of the programs' names, a vblkctl to which a daemon tells such names.
hostile_names() {
    mkdir "$E2E_DIR/bin"
    cat >"$E2E_DIR/bin/vblkctl" <<END
#!/bin/sh
case " \$* " in
    *" list "*) echo '{"disks":[{"name":"\$(touch $E2E_DIR/run)"},{"name":"\`touch $E2E_DIR/run\`"},' \
        '{"name":"vda.2_x-1"}]}' ;;
    *) exec "$VBLKCTL" "\$@" ;;
esac
END
    chmod +x "$E2E_DIR/bin/vblkctl"
    ln -s "$VBLKVM" "$VBLKBENCH" "$E2E_DIR/bin"
}

@test "hostile text: of a daemon, in names of disks, is not run by completion" {
    hostile_names
    # shellcheck disable=SC2016 # for the other shell
    run bash -c '
        . "$1"
        for program in vblkctl vblkvm vblkbench; do
            . "$2/$program.bash"
        done
        export E2E_DIR=$3
        complete_words _vblkctl "$E2E_DIR/bin/vblkctl" vblkctl stop ""
        complete_words _vblkvm "$E2E_DIR/bin/vblkvm" vblkvm --disk ""
        complete_words _vblkbench "$E2E_DIR/bin/vblkbench" vblkbench ""' \
        bash "$BATS_TEST_DIRNAME/../lib/complete.bash" "$BATS_TEST_DIRNAME/../../cmd" "$E2E_DIR"
    [ "$output" = "$(printf '%s\n' vda.2_x-1 vda.2_x-1 vda.2_x-1)" ]
    [ ! -e "$E2E_DIR/run" ]
}

@test "hostile text: that was typed is run by no completion" {
    # shellcheck disable=SC2016 # for the other shell
    run env E2E_DIR="$E2E_DIR" bash -c '
        . "$1"
        . "$2"
        complete_words _vblkctl "$3" vblkctl add "--help/touch\${IFS}$E2E_DIR/run/e#" ""
        complete_words _vblkctl "$3" vblkctl add --a/b ""
        complete_words _vblkctl "$3" vblkctl add "--.*" ""
        complete_words _vblkctl "$3" vblkctl "nosuch *" --control "$E2E_DIR/"' \
        bash "$BATS_TEST_DIRNAME/../lib/complete.bash" \
        "$BATS_TEST_DIRNAME/../../cmd/vblkctl.bash" "$VBLKCTL"
    [ ! -e "$E2E_DIR/run" ]
    [[ "$output" != *sed* ]]
    [ "${#lines[@]}" -le 1 ] # what is in the directory, behind three that offer nothing
}
