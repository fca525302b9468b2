# bash completion for vblkctl                                              -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Commands and options are read from --help, names of disks from the daemon, so that there is
# no list here which could grow old.

# The first words of the lines that begin with two spaces, between $1 and the next empty line.
_vblkctl_help() {
    sed -n "/^$1:/,/^\$/s/^  \([^ ]*\).*/\1/p"
}

# What was typed for --control, so that the right daemon is asked.
_vblkctl_control() {
    local i

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
            --control)
                # bash splits words at "=".
                [[ ${COMP_WORDS[i + 1]} == = ]] && i=$((i + 1))
                printf '%s' "${COMP_WORDS[i + 1]}"
                return
                ;;
        esac
    done
    printf '%s' "${VBLK_CONTROL-}"
}

_vblkctl_disks() {
    VBLK_CONTROL=$(_vblkctl_control) "$1" --json list 2>/dev/null |
        grep -o '{"name":"[^"]*"' | cut -d '"' -f 4
}

# Each "KEY=" that stands in another word than the one with the cursor.
_vblkctl_assigned() {
    local i word

    for ((i = 1; i < ${#COMP_WORDS[@]}; i++)); do
        word=${COMP_WORDS[i]}
        [[ ${COMP_WORDS[i + 1]-} == = ]] && word+='='
        [[ $i -ne $COMP_CWORD && $word == ?*=* ]] && echo "${word%%=*}="
    done
}

_vblkctl_settings() {
    "$1" set --help 2>/dev/null | _vblkctl_help Settings | sed 's/=.*/=/' |
        grep -vxFe "$(_vblkctl_assigned)"
}

# How many operands follow the command among the words before the cursor, and the command.
_vblkctl_position() {
    local i word command='' operands=0

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
            --json | --help | --version | --create | --readonly | --force) ;;
            --*)
                [[ ${COMP_WORDS[i + 1]-} == = ]] && i=$((i + 1))
                i=$((i + 1))
                ;;
            *)
                if [[ $command ]]; then
                    operands=$((operands + 1))
                else
                    command=$word
                fi
                ;;
        esac
    done
    echo "$operands" "$command"
}

_vblkctl() {
    local program=$1 current=$2 previous=$3 words command operands assigned=''

    COMPREPLY=()
    # bash has "=" as a word of its own.
    [[ $current == = ]] && current='' assigned=1
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]} assigned=1
    read -r operands command < <(_vblkctl_position)
    case $previous in
        --control | --socket)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
            ;;
        --cache)
            words='none directsync writeback writethrough'
            ;;
        --engine)
            words='auto aio io_uring'
            ;;
        --size | --serial | --queues | --queue-size | --*-block-size | --poll-* | --threads | \
            --timeout | --interval | --count)
            return
            ;;
        *)
            if [[ $current == -* ]]; then
                # shellcheck disable=SC2086 # no command is no word
                words=$("$program" $command --help 2>/dev/null | _vblkctl_help Options)
            elif [[ -z $command ]]; then
                words=$("$program" --help 2>/dev/null | _vblkctl_help Commands)
            elif [[ $command == add && $operands -eq 1 ]]; then
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -W 'null:' -- "$current")
                return
            elif [[ $command == set && $assigned ]]; then
                [[ $previous == engine ]] && words='auto aio io_uring'
            elif [[ $command == set && $operands -gt 0 ]]; then
                compopt -o nospace 2>/dev/null
                words=$(_vblkctl_settings "$program")
            elif [[ $command != add && $operands -eq 0 ]] &&
                "$program" "$command" --help 2>/dev/null | grep -q '^  NAME '; then
                words=$(_vblkctl_disks "$program")
            fi
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "${words-}" -- "$current")
}

complete -F _vblkctl vblkctl
