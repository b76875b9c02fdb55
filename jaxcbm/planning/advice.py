"""Other settings to try where a job does not fit, mildest first."""

from collections.abc import Iterator
from dataclasses import replace

from jaxcbm.planning.job import Job


def alternatives(
    job: Job, stage: str, *, batch: int, data: int, chips: int
) -> Iterator[tuple[str, Job]]:
    """Settings that need less memory on each chip at the same batch, and the flags that say them.

    `data` devices lie along the batch. Encoding and
    predicting have nothing but their batch: there are none for them.
    """
    if stage == "finetune":
        yield from _finetune(job, batch, data)
    if stage == "train":
        yield from _train(job, chips)


def _finetune(job: Job, batch: int, data: int) -> Iterator[tuple[str, Job]]:
    settings = job.finetune
    if not settings.rematerialise:
        settings = replace(settings, rematerialise=True)
        yield "--config.finetune.rematerialise=True", job._replace(finetune=settings)
    for parts in (2, 4, 8, 16):
        if parts > settings.accumulate and batch % (parts * data) == 0:
            flags = "--config.finetune.rematerialise=True " if settings.rematerialise else ""
            parted = replace(settings, accumulate=parts)
            yield f"{flags}--config.finetune.accumulate={parts}", job._replace(finetune=parted)


def _train(job: Job, chips: int) -> Iterator[tuple[str, Job]]:
    model = job.config.mesh.model
    while (model := model * 2) <= chips:
        if chips % model == 0 and job.concepts % model == 0:
            mesh = replace(job.config.mesh, data=-1, model=model)
            yield (
                f"--config.mesh.model={model}",
                job._replace(config=replace(job.config, mesh=mesh)),
            )
