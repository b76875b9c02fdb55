"""From an experiment's settings to the plan of one stage."""

from pathlib import Path
from typing import Any, NamedTuple

from jaxcbm.atomic import write_json
from jaxcbm.encoders.finetune.trainable import rules_of
from jaxcbm.errors import UserError
from jaxcbm.experiment.config import Changes, Experiment, Named, read_experiment
from jaxcbm.experiment.prepare import concepts_of
from jaxcbm.planning.chips import parse_slice
from jaxcbm.planning.devices import devices_of, found_here
from jaxcbm.planning.encoder_structure import encoder_structure
from jaxcbm.planning.job import Job
from jaxcbm.planning.render import render, to_json
from jaxcbm.planning.report import plan


class Wanted(NamedTuple):
    """What is asked for; None where the config decides.

    Attributes:
        topology: the machines, such as `v5e-16`.
        stage: `encode`, `predict`, `train` or `finetune`.
        batch_size: images a step over all chips.
        concept_count: D.
        class_count: K.
        image_count: train images.
        price: dollars an hour and chip.
        search: programs to compile in search of what fits.
        output: a .json file.
    """

    topology: str
    stage: str
    batch_size: int | None = None
    concept_count: int | None = None
    class_count: int | None = None
    image_count: int | None = None
    price: float | None = None
    search: int = 4
    output: Path | None = None


class DatasetSizes(NamedTuple):
    """Images of a dataset's official splits, and its classes."""

    train: int
    test: int
    classes: int


# By config.data.tfds_name, or config.data.name.
SIZES: dict[str, DatasetSizes] = {
    "imagenet2012": DatasetSizes(1_281_167, 50_000, 1000),
    "cifar10": DatasetSizes(50_000, 10_000, 10),
    "cifar100": DatasetSizes(50_000, 10_000, 100),
    "places365_small": DatasetSizes(1_803_460, 36_500, 365),
    "caltech_birds2011": DatasetSizes(5_994, 5_794, 200),
    "fashion_mnist": DatasetSizes(60_000, 10_000, 10),
}
# Images a step and chip where nothing else is said: enough to keep matrix units busy.
_IMAGES_A_CHIP = 64


def run(
    config: Experiment | Named,
    topology: str,
    stage: str,
    changes: Changes | None = None,
    **wanted: Any,
) -> str:
    """Compile a stage of an experiment for machines that need not be there; nothing runs.

    Args:
        config: the name or path of a config file, nested dicts, or an `Experiment`.
        topology: `v5e-16` and the like, for which libtpu must be installed; `cpu-8` for simulated
            devices, as many as jax has started with; `local` for what is here.
        stage: `encode`, `predict`, `train` or `finetune`.
        changes: path of a field -> its new value.
        wanted: `batch_size`, `concept_count`, `class_count`, `image_count`, `price` (dollars an
            hour and chip), `search` (further programs to compile in search of what fits) and
            `output` (a .json file), as the flags of `jaxcbm plan`.

    Returns:
        What it takes on each chip, does and costs, in a screen of text.

    Raises:
        UserError: an unknown topology, libtpu missing, sizes that are not known or do not divide.
    """
    return _plan(read_experiment(config, changes), Wanted(topology, stage, **wanted))


def _plan(experiment: Experiment, wanted: Wanted) -> str:
    slice_ = parse_slice(wanted.topology)
    job = job_of(experiment, wanted)
    devices = devices_of(slice_)
    if wanted.topology == "local":
        slice_ = found_here(devices)
    report = plan(
        job,
        wanted.stage,
        slice_,
        devices,
        batch_of(job, wanted, len(devices)),
        tries=wanted.search,
        price=wanted.price,
    )
    if wanted.output is not None:
        write_json(wanted.output, to_json(report))
    return render(report)


def job_of(experiment: Experiment, wanted: Wanted) -> Job:
    """The experiment by its sizes.

    Raises:
        UserError: a size that is not known; an encoder that does not train where it shall.
    """
    how = experiment.encoder
    if wanted.stage == "finetune" and how.train == "frozen":
        raise UserError(
            "--stage=finetune plans the training of the encoder, which is frozen: give "
            "--config.encoder.train=lora or full"
        )
    sizes = _sizes(experiment, wanted)
    valid = round(sizes.train * experiment.data.valid_fraction)
    if (concepts := wanted.concept_count) is None:
        concepts = len(concepts_of(experiment))
    return Job(
        encoder=encoder_structure(how.name, how.dtype, how.image_size),
        config=experiment.fit,
        finetune=experiment.finetune,
        rules=rules_of(how.train, how.rules, how.lora),
        lora=how.lora,
        train=sizes.train - valid,
        valid=valid,
        test=sizes.test,
        concepts=concepts,
        classes=sizes.classes,
        annotated=experiment.data.annotated,
        # Annotators were not always sure; the birds' annotations are complete.
        some_unknown=bool(experiment.data.attributes),
    )


def batch_of(job: Job, wanted: Wanted, chips: int) -> int:
    """Images a step: those asked for, else those of the config."""
    if wanted.batch_size is not None:
        return wanted.batch_size
    if wanted.stage in ("encode", "predict"):
        return _IMAGES_A_CHIP * chips // max(job.config.mesh.model, 1)
    settings = job.config.training if wanted.stage == "train" else job.finetune
    return min(settings.batch_size, job.train)


def _sizes(experiment: Experiment, wanted: Wanted) -> DatasetSizes:
    data = experiment.data
    name = data.tfds_name if data.name == "tfds" else data.name
    known = _birds(data.images_per_class) if name == "birds" else SIZES.get(name)
    train = wanted.image_count or (known.train if known else None)
    classes = wanted.class_count or (known.classes if known else None)
    if train is None or classes is None:
        raise UserError(
            f"plan reads no data and does not know the size of {name}: give --image-count and "
            "--class-count"
        )
    return DatasetSizes(train, known.test if known and wanted.image_count is None else 0, classes)


def _birds(images_per_class: int) -> DatasetSizes:
    from jaxcbm.data.birds.species import all_species

    count = len(all_species())
    return DatasetSizes(images_per_class * count, max(images_per_class // 2, 1) * count, count)
