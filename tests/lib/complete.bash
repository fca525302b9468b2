# shellcheck shell=bash
#
# For a shell of its own: what a program's completion offers.

# complete_words FUNCTION PROGRAM WORD...: for the last word, in one line.
complete_words() {
    local function=$1 program=$2

    shift 2
    # shellcheck disable=SC2034 # the function reads them
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    "$function" "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    echo "${COMPREPLY[*]}"
}
