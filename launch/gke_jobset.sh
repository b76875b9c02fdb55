#!/usr/bin/env bash
# A run on a TPU slice of a GKE cluster that has JobSet installed and a node pool of this topology:
#   export IMAGE=us-docker.pkg.dev/my-project/jaxcbm/jaxcbm:tpu DATA_BUCKET=my-data RUNS_CLAIM=runs
#   launch/gke_jobset.sh --config=imagenet --workdir=runs/imagenet \
#       --config.features=gs://my-bucket/features
#   kubectl logs --follow --selector=jobset.sigs.k8s.io/jobset-name=jaxcbm --prefix
#   kubectl delete jobset jaxcbm     # SIGTERM: all save the same step and stop
# A pod that fails or is preempted makes JobSet start all of them again, at the last checkpoint; a
# mistake in the command (exit code 2) ends the set at once. RUNS_CLAIM is a volume that all pods
# write, such as Filestore's, as runs/; DATA_BUCKET is read as data/. NAME, ACCELERATOR and TOPOLOGY say which
# slice, SPOT=0 takes nodes that are not preemptible, SERVICE_ACCOUNT is the Kubernetes account that
# may use the buckets. DRY_RUN=1 prints the manifest and does nothing.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
source "$here/dry_run.sh"

need IMAGE DATA_BUCKET RUNS_CLAIM
NAME="${NAME:-jaxcbm}"
ACCELERATOR="${ACCELERATOR:-tpu-v5-lite-podslice}"
TOPOLOGY="${TOPOLOGY:-4x4}"
SERVICE_ACCOUNT="${SERVICE_ACCOUNT:-jaxcbm}"
CHIPS_PER_HOST="${CHIPS_PER_HOST:-4}"
hosts=$((${TOPOLOGY//x/ * } / CHIPS_PER_HOST))

yaml_words() { # WORD... as the items of a YAML list in brackets
    local word
    for word in "$@"; do
        word="${word//\\/\\\\}"
        printf '"%s", ' "${word//\"/\\\"}"
    done
}

render() {
    local template spot='/# spot$/d'
    [ "${SPOT:-1}" = 0 ] || spot='s/ *# spot$//'
    # The first lines are about the template, not for the cluster.
    template="$(sed -e '/^#/d' -e "$spot" "$here/gke_jobset.template.yaml")"
    template="${template//@NAME@/"$NAME"}"
    template="${template//@IMAGE@/"$IMAGE"}"
    template="${template//@ACCELERATOR@/"$ACCELERATOR"}"
    template="${template//@TOPOLOGY@/"$TOPOLOGY"}"
    template="${template//@SERVICE_ACCOUNT@/"$SERVICE_ACCOUNT"}"
    template="${template//@DATA_BUCKET@/"$DATA_BUCKET"}"
    template="${template//@CHIPS_PER_HOST@/"$CHIPS_PER_HOST"}"
    template="${template//@RUNS_CLAIM@/"$RUNS_CLAIM"}"
    template="${template//@HOSTS@/"$hosts"}"
    printf '%s\n' "${template//@ARGUMENTS@, /"$1"}"
}

manifest="$(render "$(yaml_words "$@")")"
if [ "${DRY_RUN:-0}" != 0 ]; then
    printf "kubectl apply --filename=- <<'EOF'\n%s\nEOF\n" "$manifest"
else
    kubectl apply --filename=- <<<"$manifest"
fi
