"""The whole plan of one stage on one slice."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from jax.sharding import Mesh

from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.errors import UserError
from jaxcbm.planning.advice import alternatives
from jaxcbm.planning.chips import Slice
from jaxcbm.planning.compiling import Compiled, compile_stage
from jaxcbm.planning.encode_stage import encode_stage
from jaxcbm.planning.finetune_stage import finetune_stage
from jaxcbm.planning.job import Job, Stage
from jaxcbm.planning.largest import Largest, largest_batch
from jaxcbm.planning.predict_stage import predict_stage
from jaxcbm.planning.roofline import Roofline, dollars_per_million, roofline
from jaxcbm.planning.train_stage import train_stage
from jaxcbm.training.data_mode import device_bytes

STAGES: dict[str, Callable[[Job, Mesh, int], Stage]] = {
    "encode": encode_stage,
    "predict": predict_stage,
    "train": train_stage,
    "finetune": finetune_stage,
}
# No use is known of more images a chip and step.
_MOST_A_CHIP = 4096


class Report(NamedTuple):
    """A plan.

    Attributes:
        slice: what was compiled for.
        stage: a key of `STAGES`.
        data, model: axes of the mesh.
        built: the stage.
        compiled: what came of it.
        roofline: None for chips of unknown speed, or a program that was refused.
        price: dollars an hour and chip; 0 for none.
        largest: None where it was not searched.
        advice: flags with which it fits, and bytes on each chip with them.
        compilations: how many programs were compiled in all.
    """

    slice: Slice
    stage: str
    data: int
    model: int
    built: Stage
    compiled: Compiled
    roofline: Roofline | None
    price: float
    largest: Largest | None
    advice: tuple[tuple[str, float], ...]
    compilations: int

    @property
    def fits(self) -> bool | None:
        """Whether it does; None where it is not known what the chip has."""
        usable = self.slice.chip.usable
        if self.compiled.memory is None:
            return False
        return None if not usable else self.compiled.needed <= usable

    @property
    def dollars(self) -> tuple[float, float] | None:
        """A million images: with everything overlapped, and with nothing."""
        if self.roofline is None or not self.price:
            return None
        least, most = (
            dollars_per_million(seconds, self.built.batch, self.slice.count, self.price)
            for seconds in (self.roofline.overlapped, self.roofline.serial)
        )
        return least, most


def plan(
    job: Job,
    stage: str,
    slice_: Slice,
    devices: list[Any],
    batch: int,
    *,
    tries: int = 4,
    price: float | None = None,
) -> Report:
    """Compile a stage for a slice, count it, and search for what fits.

    Args:
        job: the experiment.
        stage: a key of `STAGES`.
        slice_: the chips.
        devices: of the slice, see `devices_of`.
        batch: images a step over all chips.
        tries: further programs to compile in search of the largest batch; 0 for no search.
        price: dollars an hour and chip; None for the list price.

    Raises:
        UserError: a mesh or a batch that does not divide.
    """
    mesh = mesh_of(job, devices)
    job = with_data_mode(job, mesh, slice_.chip.usable)
    built = STAGES[stage](job, mesh, batch)
    compiled = compile_stage(built, len(devices))
    usable = slice_.chip.usable
    largest = None
    if tries and usable:
        largest = _search(job, stage, mesh, batch, compiled, usable, tries)
    refused = compiled.memory is None or (usable and compiled.needed > usable)
    advice, more = _advise(job, stage, devices, batch, usable, tries) if refused else ((), 0)
    return Report(
        slice=slice_,
        stage=stage,
        data=mesh.shape["data"],
        model=mesh.shape["model"],
        built=built,
        compiled=compiled,
        roofline=None if compiled.work is None else roofline(compiled.work, slice_.chip),
        price=slice_.chip.dollars if price is None else price,
        largest=largest,
        advice=advice,
        compilations=1 + (len(largest.tried) if largest else 0) + more,
    )


def mesh_of(job: Job, devices: list[Any]) -> Mesh:
    """The mesh of the job over all devices of a slice.

    Raises:
        UserError: they cannot be divided that way.
    """
    wanted, count = job.config.mesh, len(devices)
    data = count // wanted.model if wanted.data == -1 and wanted.model >= 1 else wanted.data
    if data * wanted.model != count:
        raise UserError(
            f"{count} devices are no mesh of data={wanted.data} x model={wanted.model}: give "
            f"a --model that divides {count}, and --config.mesh.data=-1"
        )
    return make_mesh(data, wanted.model, devices)


def with_data_mode(job: Job, mesh: Mesh, usable: float) -> Job:
    """Settle `config.training.data`: features that take over half of a chip are streamed."""
    training, bottleneck = job.config.training, job.config.bottleneck
    if training.data != "auto":
        return job
    width = job.encoder.embed_dim
    size = device_bytes(bottleneck, job.train, width, job.concepts, mesh)
    mode = "stream" if usable and size > usable / 2 else "memory"
    return job._replace(config=replace(job.config, training=replace(training, data=mode)))


def _search(
    job: Job, stage: str, mesh: Mesh, batch: int, compiled: Compiled, usable: float, tries: int
) -> Largest:
    parts = max(job.finetune.accumulate, 1) if stage == "finetune" else 1
    unit = mesh.shape["data"] * parts
    most = _MOST_A_CHIP * mesh.shape["data"]
    return largest_batch(
        lambda size: compile_stage(STAGES[stage](job, mesh, size), mesh.size).needed,
        unit=unit,
        limit=most if stage in ("encode", "predict") else min(most, job.train),
        usable=usable,
        known={batch: compiled.needed},
        tries=tries,
    )


def _advise(
    job: Job, stage: str, devices: list[Any], batch: int, usable: float, tries: int
) -> tuple[tuple[tuple[str, float], ...], int]:
    """The first alternative that fits, found by compiling, and how many were compiled."""
    count = 0
    data = mesh_of(job, devices).shape["data"]
    for flags, other in alternatives(job, stage, batch=batch, data=data, chips=len(devices)):
        if count >= tries:
            break
        count += 1
        mesh = mesh_of(other, devices)
        compiled = compile_stage(STAGES[stage](other, mesh, batch), len(devices))
        if compiled.memory is not None and compiled.needed <= usable:
            return ((flags, compiled.needed),), count
    return (), count
