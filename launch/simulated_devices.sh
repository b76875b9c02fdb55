#!/usr/bin/env bash
# Rehearse a run on eight simulated CPU devices, before a real slice is paid for:
#   launch/simulated_devices.sh --config=quickstart --workdir=runs/rehearsal
# DEVICES=4 takes another number; --config.mesh.model=2 splits the concepts over two of them.
# DRY_RUN=1 prints what it would do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/dry_run.sh"

# With fewer cores than devices, threads that wait in a collective can starve the others: NPROC.
run exec env JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES="${DEVICES:-8}" NPROC="${NPROC:-16}" \
    jaxcbm train "$@"
