"""Whether a fit holds its features in memory or streams them, and that it stays so."""

import json
import os
from pathlib import Path

import jax
from absl import logging
from jax.sharding import Mesh

from jaxcbm.atomic import write_json
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.features import Features
from jaxcbm.distributed.processes import decide, is_main
from jaxcbm.errors import UserError
from jaxcbm.training.config import FitConfig
from jaxcbm.training.fit_arrays import KEEP_SCORES_UP_TO
from jaxcbm.training.sweep.tiles import default_budget, gib

_RECORD = "stream.json"


def is_streamed(
    config: FitConfig, train: Features, concepts: int, mesh: Mesh, workdir: Path | None = None
) -> bool:
    """Settle `config.training.data`; a run that resumes keeps the way it began.

    Every process must call it; all get the same answer.

    Args:
        config: whose `training.data` decides, or leaves it to the size.
        train: the train split.
        concepts: D.
        mesh: where it would have to fit.
        workdir: where the streamed run leaves a record of its order.

    Raises:
        UserError: the work directory holds a run of the other kind, or of other rows.
    """
    wanted = config.training.data
    record = workdir / _RECORD if workdir else None
    begun = workdir is not None and any((workdir / "checkpoints").glob("*"))
    if wanted == "auto":
        streams = (
            record is not None and record.exists()
            if begun
            else _too_large(config.bottleneck, train, concepts, mesh)
        )
        # Hosts may differ in what they have free.
        streams = decide("features in memory or streamed", streams)
    else:
        streams = wanted == "stream"
    if begun and record is not None and streams != record.exists():
        kind = "memory" if streams else "stream"
        raise UserError(
            f"{workdir} holds a run with config.training.data={kind}: keep it, or choose another "
            "--workdir"
        )
    if streams and record is not None:
        _settle(record, begun, config, train)
    return streams


def _settle(record: Path, begun: bool, config: FitConfig, train: Features) -> None:
    """Other rows, batches or windows have another order: a resumed epoch would mix the two."""
    order = {
        "rows": len(train),
        "batch_size": config.training.batch_size,
        "window": config.training.window,
        "seed": config.training.seed,
        "features": train.key,
    }
    if begun:
        kept = json.loads(record.read_text(encoding="utf-8"))
        for name, value in order.items():
            if kept.get(name) != value:
                raise UserError(
                    f"{record.parent} was begun with {name}={kept.get(name)}, now it is {value}: "
                    "keep it, or choose another --workdir"
                )
    elif is_main():
        write_json(record, order)


def _too_large(config: BottleneckConfig, train: Features, concepts: int, mesh: Mesh) -> bool:
    """Whether the features would take more than devices or this host can give."""
    count, embedding = train.embeddings.shape
    width = embedding if config.layer == "factored" else concepts
    held = width if width <= max(KEEP_SCORES_UP_TO, embedding) else embedding
    device = 4 * held * -(-count // mesh.shape["data"])
    # The float32 copy of the embeddings, and what the layer reads of them.
    host = 4 * count * (embedding + held)
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    streams = device > default_budget(mesh) // 2 or host > pages // 2
    if streams and jax.process_index() == 0:
        logging.info(
            "features of %d images take %s a device and %s here: they are streamed",
            *(count, gib(device), gib(host)),
        )
    return streams
