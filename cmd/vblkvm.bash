# bash completion for vblkvm                                               -*- shell-script -*-
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Options and what may follow a disk's name are read from --help, names of disks from the daemon.

# What was typed for --control, so that the right daemon is asked.
_vblkvm_control() {
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
_vblkvm_disks() {
    VBLK_CONTROL=$(_vblkvm_control) "${1%vblkvm}vblkctl" --json list 2>/dev/null |
        grep -o '{"name":"[A-Za-z0-9._-]*"' | cut -d '"' -f 4
}

# The words ",KEY=" which may follow a disk.
_vblkvm_keys() {
    "$1" --help 2>/dev/null | sed -n 's/^ *,\([a-z]*=\).*/\1/p'
}

# The values of ",$2=", if they are a list.
_vblkvm_values() {
    [[ $2 == *[!a-z]* ]] || "$1" --help 2>/dev/null | sed -n "s/^ *,$2=\([^ ]*|[^ ]*\).*/\1/p" | tr '|' ' '
}

# What may be in the place of $2, a part of a disk; $3 is what stands before a "=".
_vblkvm_disk() {
    local program=$1 current=$2 before=$3

    if [[ $current == *,* ]]; then
        compopt -o nospace 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -P "${current%,*}," -W "$(_vblkvm_keys "$program")" \
            -- "${current##*,}")
    elif [[ $before == *,* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_vblkvm_values "$program" "${before##*,}")" \
            -- "$current")
    elif [[ $current == */* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$(_vblkvm_disks "$program")" -- "$current")
    fi
}

_vblkvm() {
    local program=$1 current=$2 previous=$3 key=''

    COMPREPLY=()
    # bash has "=" as a word of its own.
    [[ $current == = ]] && current='' && key=$previous
    [[ $previous == = ]] && previous=${COMP_WORDS[COMP_CWORD - 2]} && key=$previous
    [[ $key == [!-]*,* ]] && previous=--disk
    case $previous in
        --disk)
            _vblkvm_disk "$program" "$current" "$key"
            ;;
        --kernel | --initrd | --control)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        --console)
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -W 'stdio pty' -- "$current")
            ;;
        --append | --memory | --cpus) ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "$("$program" --help 2>/dev/null |
                sed -n 's/^  \(--[^ ]*\).*/\1/p')" -- "$current")
            ;;
    esac
}

complete -F _vblkvm vblkvm
