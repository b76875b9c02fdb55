"""`jaxcbm encode`: the feature store alone."""

from pathlib import Path
from typing import Any

from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.features import Features
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import encode_here, encoder_of


def run(config: dict[str, Any], output: Path) -> list[Features]:
    """Encode the official splits into `output`; running again skips what is there."""
    experiment = read_experiment(config)
    encoder = encoder_of(experiment.encoder)
    sets = [part for part in load_dataset(experiment.data) if part is not None]
    return [encode_here(part, encoder, output) for part in sets]
