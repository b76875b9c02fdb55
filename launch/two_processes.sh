#!/usr/bin/env bash
# Rehearse a pod on one machine: two processes of four simulated CPU devices each, started with the
# flags that a cluster without a scheduler needs:
#   launch/two_processes.sh --config=quickstart --workdir=runs/rehearsal
# DEVICES=2 takes another number of devices a process, PORT=1234 a fixed port for the coordinator.
# SIGTERM and Ctrl-C reach both, which then save the same step and stop; running the same command
# again continues. DRY_RUN=1 prints what it would do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/dry_run.sh"

free_port='import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
PORT="${PORT:-$(python3 -c "$free_port")}"
# A process that outlives the other by this many seconds is ended.
GRACE="${GRACE:-60}"

start() { # INDEX ARGUMENTS...
    local index="$1"
    shift
    run exec env JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="${DEVICES:-4}" NPROC="${NPROC:-16}" \
        jaxcbm train "$@" --distributed \
        --coordinator="127.0.0.1:$PORT" --processes=2 --process="$index"
}

if [ "${DRY_RUN:-0}" != 0 ]; then
    start 0 "$@"
    start 1 "$@"
    exit
fi

start 0 "$@" &
first=$!
start 1 "$@" > >(sed -u 's/^/[1] /') 2> >(sed -u 's/^/[1] /' >&2) &
second=$!

# Background jobs of a script ignore Ctrl-C, so it is passed on as SIGTERM.
trap 'kill -s TERM "$first" "$second" 2>/dev/null || true' TERM INT

alive() { kill -0 "$1" 2>/dev/null; }

while alive "$first" && alive "$second"; do sleep 1; done
# One of them is gone; the other hears of it and ends too.
while (alive "$first" || alive "$second") && [ "$GRACE" -gt 0 ]; do
    sleep 1
    GRACE=$((GRACE - 1))
done
kill -s KILL "$first" "$second" 2>/dev/null || true

status=0
wait "$first" || status=$?
other=0
wait "$second" || other=$?
[ "$status" -ne 0 ] || status=$other
exit "$status"
