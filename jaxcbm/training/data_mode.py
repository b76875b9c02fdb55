"""Whether a fit holds its features in memory or streams them, and that it stays so."""

import hashlib
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import Mesh

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.features import Features
from jaxcbm.distributed.processes import decide
from jaxcbm.errors import UserError
from jaxcbm.lines import gib
from jaxcbm.model.texts import Texts
from jaxcbm.training.checkpoints import begun_identity
from jaxcbm.training.config import FitConfig, TrainingConfig
from jaxcbm.training.fit_arrays import KEEP_SCORES_UP_TO
from jaxcbm.training.sweep.tiles import default_budget


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
        workdir: whose newest checkpoint says how the run began.

    Raises:
        UserError: the work directory holds a run of the other kind.
    """
    wanted, begun = config.training.data, begun_identity(workdir)
    kind = None if begun is None else begun.get("data")
    if wanted == "auto":
        large = _too_large(config.bottleneck, train, concepts, mesh)
        # Hosts may differ in what they have free.
        return decide("features in memory or streamed", large if kind is None else kind == "stream")
    if kind not in (None, wanted):
        raise UserError(
            f"{workdir} holds a run with config.training.data={kind}: keep it, or choose another "
            "--workdir"
        )
    return wanted == "stream"


def data_identity(
    training: TrainingConfig, train: Features, valid: Features, texts: Texts, streamed: bool
) -> dict[str, Any]:
    """What a fit depends on beside its state, by content: a resumed run must have the same."""
    known = [x for part in (train, valid) if (x := part.annotations) is not None]
    identity = {
        "data": "stream" if streamed else "memory",
        "phrases": _hash("\n".join(texts.phrases).encode()),
        "classes": _hash("\n".join(texts.classes).encode()),
        "rows": len(train),
        "batch_size": training.batch_size,
        "seed": training.seed,
        "features": train.key,
        "validation features": valid.key,
        "labels": _hash(train.labels.tobytes(), valid.labels.tobytes()),
        "annotations": _hash(*(np.ascontiguousarray(x).tobytes() for x in known)),
        "text embeddings": _hash(
            *(np.asarray(x).tobytes() for x in (texts.concepts_DxE, texts.classes_KxE))
        ),
    }
    return identity | ({"window": training.window} if streamed else {})


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def device_bytes(
    config: BottleneckConfig, images: int, width: int, concepts: int, mesh: Mesh
) -> int:
    """What the features of N train images, of width E and for D concepts, take on each device."""
    return 4 * _held(config, width, concepts) * -(-images // mesh.shape["data"])


def _held(config: BottleneckConfig, width: int, concepts: int) -> int:
    """Numbers an image that a fit in memory keeps."""
    reads = width if config.layer == "factored" else concepts
    return reads if reads <= max(KEEP_SCORES_UP_TO, width) else width


def _too_large(config: BottleneckConfig, train: Features, concepts: int, mesh: Mesh) -> bool:
    """Whether the features would take more than devices or this host can give."""
    count, width = train.embeddings.shape
    device = device_bytes(config, count, width, concepts, mesh)
    # The float32 copy of the embeddings, and what the layer reads of them.
    host = 4 * count * (width + _held(config, width, concepts))
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    streams = device > default_budget(mesh) // 2 or host > pages // 2
    if streams and jax.process_index() == 0:
        logging.info(
            "features of %d images take %s a device and %s here: they are streamed",
            *(count, gib(device), gib(host)),
        )
    return streams
