#!/usr/bin/env bash
# A run on a Cloud TPU slice through queued resources: v2 to v6e. Google's documents call this API
# legacy, fixes only; newer chips need Compute Engine or GKE (launch/gke_jobset.sh).
#
#   export PROJECT=my-project ZONE=us-west4-a RUNS_NFS=10.0.0.2:/runs
#   export IMAGE=us-docker.pkg.dev/my-project/jaxcbm/jaxcbm:tpu
#   launch/tpu_vm.sh create        # ask for the slice; SPOT=1 (the default) takes spare capacity
#   launch/tpu_vm.sh status        # until it says ACTIVE
#   launch/tpu_vm.sh install       # the image, runs/ and data/ on every host
#   launch/tpu_vm.sh train --config=imagenet --workdir=runs/imagenet \
#       --config.features=gs://my-bucket/features
#   launch/tpu_vm.sh logs          # of host 0; ending it leaves the run alone
#   launch/tpu_vm.sh stop          # SIGTERM on every host: all save the same step and stop
#   launch/tpu_vm.sh delete        # ends the billing of the slice; the bucket and the share stay
#
# NAME, ACCELERATOR (v5litepod-16) and RUNTIME say which slice. RUNS_NFS is a share that all hosts
# mount as runs/, such as Filestore's; DATA_DISK=imagenet attaches a disk of that name to every host,
# read-only, as data/. A slice that was preempted is deleted and created again; `train` with the same
# words continues. DRY_RUN=1 prints what each of them would do.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/dry_run.sh"

NAME="${NAME:-jaxcbm}"
ACCELERATOR="${ACCELERATOR:-v5litepod-16}"
RUNTIME="${RUNTIME:-v2-alpha-tpuv5-lite}"
DATA_DISK="${DATA_DISK:-}"
need PROJECT ZONE
where=(--project="$PROJECT" --zone="$ZONE")
queue=(gcloud compute tpus queued-resources)
data=/mnt/disks/data runs=/mnt/disks/runs

on() { # WORKER COMMAND: the same command on one host, or on all
    run gcloud compute tpus tpu-vm ssh "$NAME" "${where[@]}" --worker="$1" --command="$2"
}

create() {
    local more=()
    [ "${SPOT:-1}" = 0 ] || more+=(--spot)
    if [ -n "$DATA_DISK" ]; then
        more+=(--data-disk="source=projects/$PROJECT/zones/$ZONE/disks/$DATA_DISK,mode=read-only")
    fi
    run "${queue[@]}" create "$NAME" --node-id="$NAME" "${where[@]}" \
        --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" "${more[@]}"
}

install() {
    need IMAGE RUNS_NFS
    on all "sudo gcloud auth configure-docker ${IMAGE%%/*} --quiet && sudo docker pull $IMAGE"
    on all "sudo apt-get install --yes nfs-common && sudo mkdir -p $runs && \
sudo mount -t nfs $RUNS_NFS $runs"
    if [ -n "$DATA_DISK" ]; then
        # The disk that was attached second; `noload` as nobody may replay its journal.
        on all "sudo mkdir -p $data && sudo mount -o ro,noload /dev/sdb $data"
    fi
}

train() {
    need IMAGE
    local words
    printf -v words '%q ' "$@"
    # Detached: the run outlives the connection. One that is going on is not replaced.
    on all "sudo docker rm jaxcbm 2>/dev/null; sudo mkdir -p $data && \
sudo docker run --detach --name=jaxcbm --privileged --network=host --stop-timeout=120 \
--volume=$data:/workspace/data:ro --volume=$runs:/workspace/runs $IMAGE train ${words}--distributed"
}

action="${1:-}"
[ $# -eq 0 ] || shift
case "$action" in
    create | install) "$action" ;;
    train) train "$@" ;;
    status) run "${queue[@]}" describe "$NAME" "${where[@]}" --format="value(state.state)" ;;
    logs) on 0 "sudo docker logs --follow --tail=100 jaxcbm" ;;
    stop) on all "sudo docker stop --time=120 jaxcbm" ;;
    delete) run "${queue[@]}" delete "$NAME" "${where[@]}" --force --quiet ;;
    *)
        echo "$0: give create, status, install, train, logs, stop or delete" >&2
        exit 2
        ;;
esac
