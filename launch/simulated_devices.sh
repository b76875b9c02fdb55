#!/usr/bin/env bash
# Rehearse a run on eight simulated CPU devices, before a real slice is paid for:
#   launch/simulated_devices.sh --config=configs/quickstart.py --workdir=runs/rehearsal
# DEVICES=4 takes another number; --config.mesh.model=2 splits the concepts over two of them.
set -euo pipefail

export JAX_PLATFORMS=cpu
export JAX_NUM_CPU_DEVICES="${DEVICES:-8}"
# With fewer cores than devices, threads that wait in a collective can starve the others.
export NPROC="${NPROC:-16}"
exec jaxcbm train "$@"
