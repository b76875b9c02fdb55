"""Edit the model of a work directory, on the features it was fitted on, into another one."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from jaxcbm.atomic import atomic_folder
from jaxcbm.concepts.find import find
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.config_file import settings_of_run, write_settings
from jaxcbm.experiment.prepare import prepare
from jaxcbm.experiment.stored_split import settle_split
from jaxcbm.model.edits import remaining
from jaxcbm.model.model import Model, load_model
from jaxcbm.training.edit import edit


def run(
    workdir: Path | str, output: Path | str, *, forget: Iterable[str] = (), **how: Any
) -> Model:
    """Edit the model of a finished run, and write it as another work directory.

    Args:
        workdir: of a finished run, or of an earlier edit.
        output: a folder that is not there yet; `jaxcbm.load_model`, `evaluate` and another edit
            open it. It reads the feature store of `workdir`.
        forget: names of train or validation images, as the data calls them.
        how: `delete`, `merge`, `add`, `hold`, `refit_layer` and `path`, as for `jaxcbm.edit`.

    Returns:
        The edited model.

    Raises:
        UserError: no finished run, a folder that is there, no such image, or as `jaxcbm.edit`.
    """
    workdir, output = Path(workdir), Path(output)
    if output.exists():
        raise UserError(f"{output} is there already: name another folder")
    settings = settings_of_run(workdir)
    if settings is None:
        raise UserError(
            f"no run in {workdir}: an edit reads the images that the model was fitted on; start a "
            f"run with `jaxcbm train --workdir={workdir}`"
        )
    model = load_model(workdir)
    experiment = read_experiment(settings)
    if not experiment.features and (own := workdir / "features").is_dir():
        experiment = replace(experiment, features=str(own.absolute()))
    prepared = prepare(experiment, workdir, finetuned=model.finetuned)
    digests = digests_of(prepared.train_pictures, forget)
    train, valid = prepared.splits[:2]
    edited = edit(model, train, valid, forget=digests, config=experiment.fit, **how)
    with atomic_folder(output) as temporary:
        write_settings(temporary, asdict(experiment))
        # Without the forgotten, so that these pictures may be deleted.
        left = prepared.splits._replace(
            train=remaining(train, edited.edits), valid=remaining(valid, edited.edits)
        )
        settle_split(temporary, experiment.data, left)
        edited.save(temporary / "model")
    return edited


def digests_of(images: ImageSet, names: Iterable[str]) -> list[str]:
    """SHA-256 of the content of images by their names, as hex.

    Raises:
        UserError: no image of that name, or one that cannot be read.
    """
    if not (names := list(names)):
        return []
    places = {images.source.name(index): index for index in range(len(images))}
    found = [name if name in places else find(name, tuple(places), "an image") for name in names]
    try:
        return [images.source.digest(places[name]).hex() for name in found]
    except UnreadableImage as error:
        raise UserError(f"an image to forget cannot be read: {error}") from error
