# shellcheck shell=bash
# Sourced by the other scripts. `run COMMAND...` runs it, or with DRY_RUN=1 prints it as it would be
# typed and touches nothing.
run() {
    if [ "${DRY_RUN:-0}" != 0 ]; then
        local words
        printf -v words '%q ' "$@"
        printf '%s\n' "${words% }"
    else
        "$@"
    fi
}

# `need NAME...` stops with one line where a variable that has no sensible default is not set.
need() {
    local name
    for name in "$@"; do
        if [ -z "${!name:-}" ]; then
            printf '%s: set %s (see the head of this file)\n' "$0" "$name" >&2
            exit 2
        fi
    done
}
