# bash completion for vblkctl                                              -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Commands, options, settings and what may follow them are read from --help, names of disks from
# the daemon.

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

# compgen expands its words, and whoever listens may say anything: only what a name may have.
_vblkctl_disks() {
    VBLK_CONTROL=$(_vblkctl_control) "$1" --json list 2>/dev/null |
        grep -o '{"name":"[A-Za-z0-9._-]*"' | cut -d '"' -f 4
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

# What stands for the value of the option or setting $3 of the command $2, and the text that explains
# it; nothing for one that takes none.  A word that is none would be a program to sed.
_vblkctl_line() {
    [[ $3 =~ ^(--)?[a-z][a-z-]*$ ]] || return
    { "$1" ${2:+"$2"} --help || "$1" --help; } 2>/dev/null |
        sed -n "s/^  $3[ =]\([A-Z]\{1,\}\)  *\(.*\)/\1 \2/p"
}

# Offer what may follow $3, an option or a setting of the command $2: "..., aio or io_uring [auto]",
# or "raw: ..." where there is one value.
_vblkctl_values() {
    local word text words=''

    read -r word text < <(_vblkctl_line "$1" "$2" "$3")
    if [[ $word == PATH ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$4")
        return
    elif [[ $text =~ (([a-z_]+, )*[a-z_]+\ or\ [a-z_]+)\ \[ ]]; then
        words=${BASH_REMATCH[1]//, / }
        words=${words/ or / }
    elif [[ $text =~ ^([a-z_]+):\  ]]; then
        words=${BASH_REMATCH[1]}
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$4")
}

# Does the option $3 of the command $2 take a value?
_vblkctl_has_value() {
    [[ $(_vblkctl_line "$1" "$2" "$3") ]]
}

# How many operands follow the command among the words before the cursor, and the command.
_vblkctl_position() {
    local i word command='' operands=0

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == --* ]]; then
            if [[ ${COMP_WORDS[i + 1]-} == = ]]; then
                i=$((i + 2))
            elif _vblkctl_has_value "$1" "$command" "$word"; then
                i=$((i + 1))
            fi
        elif [[ $command ]]; then
            operands=$((operands + 1))
        else
            command=$word
        fi
    done
    echo "$operands" "$command"
}

# A path, or the beginning of what names a type: "null:", which something has to follow.
_vblkctl_images() {
    local types

    types=$("$1" add --help 2>/dev/null | sed -n 's/^  IMAGE //p' | grep -o '[a-z]*:[A-Z]')
    compgen -f -W "${types//:[A-Z]/:}" -- "$2"
}

_vblkctl() {
    local program=$1 current=$2 previous=$3 words='' command operands assigned=''

    COMPREPLY=()
    # bash has "=" as a word of its own.
    [[ $current == = ]] && current='' assigned=1
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]} assigned=1
    read -r operands command < <(_vblkctl_position "$program")
    if [[ $previous == --* ]] && _vblkctl_has_value "$program" "$command" "$previous"; then
        _vblkctl_values "$program" "$command" "$previous" "$current"
        return
    fi
    if [[ $command == set && $assigned ]]; then
        _vblkctl_values "$program" set "$previous" "$current"
        return
    fi
    if [[ $current == -* ]]; then
        words=$("$program" ${command:+"$command"} --help 2>/dev/null | _vblkctl_help Options)
    elif [[ -z $command ]]; then
        words=$("$program" --help 2>/dev/null | _vblkctl_help Commands)
    elif [[ $command == add && $operands -eq 1 ]]; then
        mapfile -t COMPREPLY < <(_vblkctl_images "$program" "$current")
        if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]]; then
            compopt -o nospace 2>/dev/null
        else
            compopt -o filenames 2>/dev/null
        fi
        return
    elif [[ $command =~ ^(replace|insert)$ && $operands -eq 1 ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    elif [[ $command == set && $operands -gt 0 ]]; then
        compopt -o nospace 2>/dev/null
        words=$(_vblkctl_settings "$program")
    elif [[ $command != add && $operands -eq 0 ]] &&
        "$program" "$command" --help 2>/dev/null | grep -q '^  NAME '; then
        words=$(_vblkctl_disks "$program")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _vblkctl vblkctl
