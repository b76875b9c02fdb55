"""`jaxcbm encode`: the feature store alone."""

from pathlib import Path
from typing import Any

from jaxcbm.commands.experiment import read_experiment
from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.feature_store import encode
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder


def run(config: dict[str, Any], output: Path) -> list[Features]:
    """Encode the official splits into `output`; running again skips what is there."""
    experiment = read_experiment(config)
    encoder = load_encoder(experiment.encoder.name, dtype=experiment.encoder.dtype)
    sets = [part for part in load_dataset(experiment.data) if part is not None]
    return [encode(part, encoder, output) for part in sets]
