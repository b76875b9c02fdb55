#!/usr/bin/env bash
# Build the image for a kind of machine and run a command of jaxcbm in it:
#   launch/docker.sh cpu train --config=quickstart --workdir=runs/quickstart
#   launch/docker.sh cuda encode --config=imagenet --output=runs/features
# KIND is cpu, cuda (needs NVIDIA's container toolkit) or tpu (on a TPU VM). runs/ and data/ of the
# current folder are the container's. IMAGE=name builds under another name; BUILD=0 skips the build;
# PUSH=1 pushes instead of running. DRY_RUN=1 prints what it would do.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/dry_run.sh"

kind="${1:-}"
case "$kind" in
    cpu) devices=() ;;
    cuda) devices=(--gpus=all --ipc=host) ;;
    # The metadata server tells a TPU VM which worker of the slice it is.
    tpu) devices=(--privileged --network=host) ;;
    *)
        echo "$0: the first argument is cpu, cuda or tpu, not '$kind'" >&2
        exit 2
        ;;
esac
shift
IMAGE="${IMAGE:-jaxcbm:$kind}"

if [ "${BUILD:-1}" != 0 ]; then
    run docker build --file="$here/Dockerfile" --target="$kind" --tag="$IMAGE" "$here/.."
fi
if [ "${PUSH:-0}" != 0 ]; then
    run exec docker push "$IMAGE"
    exit
fi
# SIGTERM from `docker stop` reaches Python, which has two minutes to save and stop.
run exec docker run --rm --stop-timeout=120 "${devices[@]}" \
    --volume="$PWD/runs:/workspace/runs" --volume="$PWD/data:/workspace/data:ro" "$IMAGE" "$@"
