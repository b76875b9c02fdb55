"""`jaxcbm encode`: the feature store alone."""

from pathlib import Path

from jaxcbm.data.datasets import load_dataset
from jaxcbm.data.features import Features
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.prepare import encode_here, encoder_of
from jaxcbm.storage import as_path


def run(
    config: Experiment | Named, output: Path | str, changes: Changes | None = None
) -> list[Features]:
    """Encode the official splits into `output`; running again skips what is there.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        output: folder of the store, here or on gs://.
        changes: path of a field -> its new value.

    Returns:
        Features of train and, where the data has them, test and validation.
    """
    experiment, store = read_experiment(config, changes), as_path(str(output))
    encoder = encoder_of(experiment.encoder)
    sets = [part for part in load_dataset(experiment.data) if part is not None]
    return [encode_here(part, encoder, store) for part in sets]
