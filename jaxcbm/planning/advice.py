"""Other settings to try where a job does not fit, mildest first."""

from collections.abc import Iterator
from dataclasses import replace

from jaxcbm.planning.job import Job


def alternatives(
    job: Job, stage: str, *, batch: int, data: int, chips: int
) -> Iterator[tuple[str, Job]]:
    """Settings that need less memory on each chip at the same batch.

    Args:
        job: what does not fit.
        stage: `train` or `tune`; encoding has nothing but its batch.
        batch: images a step.
        data: devices along the batch.
        chips: devices in all.

    Yields:
        The flags that say it, and the job with them.
    """
    if stage == "tune":
        yield from _tune(job, batch, data)
    if stage == "train":
        yield from _train(job, chips)


def _tune(job: Job, batch: int, data: int) -> Iterator[tuple[str, Job]]:
    tuning = job.tuning
    if not tuning.rematerialise:
        tuning = replace(tuning, rematerialise=True)
        yield "--config.tuning.rematerialise=True", job._replace(tuning=tuning)
    for parts in (2, 4, 8, 16):
        if parts > tuning.accumulate and batch % (parts * data) == 0:
            flags = "--config.tuning.rematerialise=True " if tuning.rematerialise else ""
            parted = replace(tuning, accumulate=parts)
            yield f"{flags}--config.tuning.accumulate={parts}", job._replace(tuning=parted)


def _train(job: Job, chips: int) -> Iterator[tuple[str, Job]]:
    model = job.config.mesh.model
    while (model := model * 2) <= chips:
        if chips % model == 0 and job.concepts % model == 0:
            mesh = replace(job.config.mesh, data=-1, model=model)
            yield f"--model={model}", job._replace(config=replace(job.config, mesh=mesh))
