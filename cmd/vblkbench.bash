# bash completion for vblkbench                                            -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Options and workloads are read from --help, names of disks from the daemon, so that there is
# no list here which could grow old.

# What was typed for --control, so that the right daemon is asked.
_vblkbench_control() {
    local i

    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == --control ]]; then
            # bash splits words at "=".
            [[ ${COMP_WORDS[i + 1]} == = ]] && i=$((i + 1))
            printf '%s' "${COMP_WORDS[i + 1]}"
            return
        fi
    done
    printf '%s' "${VBLK_CONTROL-}"
}

# vblkctl is asked, the one beside $1.  compgen expands its words, and whoever listens may say
# anything: only what a name may have.
_vblkbench_disks() {
    VBLK_CONTROL=$(_vblkbench_control) "${1%vblkbench}vblkctl" --json list 2>/dev/null |
        grep -o '{"name":"[A-Za-z0-9._-]*"' | cut -d '"' -f 4
}

# All options, or those with a value.
_vblkbench_options() {
    "$1" --help 2>/dev/null | sed -n "s/^  \(--[^ ]*\)$2 .*/\1/p"
}

_vblkbench_workloads() {
    "$1" --help 2>/dev/null | sed -n 's/^  --rw WHAT  *//p' | tr '|' ' '
}

_vblkbench() {
    local program=$1 current=$2 previous=$3

    COMPREPLY=()
    [[ $current == = ]] && current=''
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]}
    if [[ $previous == --rw ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_vblkbench_workloads "$program")" -- "$current")
    elif [[ $previous == --control || ($current == */* && $current != -*) ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    elif [[ $previous == --* ]] &&
        _vblkbench_options "$program" ' [A-Z][A-Z]*' | grep -qx -e "$previous"; then
        return
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_vblkbench_options "$program")" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(_vblkbench_disks "$program")" -- "$current")
    fi
}

complete -F _vblkbench vblkbench
