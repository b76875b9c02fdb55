"""`edit`: change a fitted model's concepts, weights or train images, and solve its head again."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from jaxcbm.concepts.find import find
from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.model.edited_columns import Columns, plan_columns, with_columns
from jaxcbm.model.edits import Edit, HeldWeight, kept_by, remaining
from jaxcbm.model.model import Model
from jaxcbm.training.calibrate import calibrate
from jaxcbm.training.config import FitConfig
from jaxcbm.training.edited_head import (
    EditedHead,
    held_weights,
    pose_edit,
    with_draws,
    with_edited_head,
)
from jaxcbm.training.fit import fit
from jaxcbm.training.new_columns import new_columns


def edit(
    model: Model,
    train: Features,
    valid: Features,
    *,
    delete: Iterable[str] = (),
    merge: Mapping[str, Iterable[str]] | None = None,
    add: Iterable[str] = (),
    hold: Mapping[tuple[str, str], float] | None = None,
    forget: Iterable[int | str] = (),
    refit_layer: bool = False,
    path: bool = False,
    config: FitConfig | None = None,
) -> Model:
    """Change a model, and solve its sparse head again from where it was, to the same certificate.

    The layer of the concepts that stay is left alone: a deleted concept's column goes, a merged
    one's is the mean of its members'. A new one's is trained alone where the objective treats each
    concept by itself (`sigmoid`) and train has annotations of it; else it is the encoder's own
    score.

    Args:
        model: fitted, with a sparse head.
        train: all that it was fitted on, images that earlier edits have forgotten too.
        valid: what its head was chosen on.
        delete: phrases.
        merge: phrase of the merged concept, perhaps a member's -> two members or more.
        add: phrases.
        hold: (class, phrase) -> the weight of the concept's activation that the head shall keep, in
            later edits too; all others are solved for beside it.
        forget: images, by position in `train` or by the SHA-256 of their content as hex. Head,
            calibration and familiarity are then as if they had never been there; the layer and the
            statistics its inputs are standardised with are as they were.
        refit_layer: forget by another fit of layer and head without these images, which takes as
            long as the first; what else is to be edited is another edit.
        path: solve every penalty again and choose among them by validation, as a fit does. Without
            it the head keeps its penalty, and the model has no path.
        config: that of the fit; by default the default.

    Returns:
        The edited model, calibrated anew. What was done is the last of its `edits`.

    Raises:
        UserError: no such phrase, class or image; nothing to edit; a class without an image left;
            a head that no sparse path gave.
    """
    config = config or FitConfig()
    # Before anything is sampled: positions are in what the caller gave.
    forgotten = _digests(forget, train, valid)
    if "sparse_head_images" in model.metrics and not refit_layer:
        many, seed = config.sparse_head.images, config.training.seed
        train, valid = train.sample(many, seed), valid.sample(many, seed)
    changes = {"delete": tuple(delete), "merge": dict(merge or {}), "add": tuple(add)}
    changes |= {"hold": dict(hold or {}), "forget": forgotten}
    asked = settle(model, train, valid, **changes)
    if refit_layer:
        if asked.columns.phrases != model.concepts.phrases or asked.done.held:
            raise UserError("refit_layer goes with images to forget alone: edit its result further")
        if held_weights(model.edits, model.concepts.phrases):
            raise UserError("refit_layer keeps no held weights, and earlier edits hold some")
        return _fitted_again(model, asked, config)
    asked = asked._replace(done=replace(asked.done, path=path))
    edited, head, done = edited_problem(model, asked, config)
    edited = with_edited_head(edited, head, asked.valid, done, config.sparse_head)
    return calibrate(edited, asked.train.select(asked.kept), asked.valid, config.training.seed)


class Settled(NamedTuple):
    """An edit whose names have all been found.

    Attributes:
        done: what is to be done.
        columns: the concepts after it.
        train: the images that the layer was fitted on.
        kept: positions of those of them that no edit has forgotten.
        valid: the validation images that no edit has forgotten.
    """

    done: Edit
    columns: Columns
    train: Features
    kept: np.ndarray
    valid: Features


def settle(
    model: Model,
    train: Features,
    valid: Features,
    *,
    delete: Iterable[str] = (),
    merge: Mapping[str, Iterable[str]] = MappingProxyType({}),
    add: Iterable[str] = (),
    hold: Mapping[tuple[str, str], float] = MappingProxyType({}),
    forget: Iterable[str] = (),
) -> Settled:
    """Find everything that an edit names; arguments and errors as for `edit`.

    Images to forget are named by their digests alone.
    """
    phrases, delete = model.concepts.phrases, tuple(delete)
    columns = plan_columns(phrases, delete, merge, add)
    since = [place for place, old in enumerate(model.edits, start=1) if old.refitted]
    train = remaining(train, model.edits[: max(since, default=0)])
    done = Edit(
        deleted=tuple(find(phrase, phrases) for phrase in delete),
        merged={
            phrase: tuple(phrases[d] for d in source)
            for phrase, source in zip(columns.phrases, columns.sources, strict=True)
            if len(source) > 1
        },
        held=_held(model, columns, hold),
        forgotten=tuple(forget),
    )
    if columns.phrases == phrases and not (done.merged or done.held or done.forgotten):
        raise UserError("nothing to edit: name a concept, a weight or an image")
    edits = (*model.edits, done)
    kept, valid = kept_by(train, edits), remaining(valid, edits)
    _check_classes(train, kept, valid)
    return Settled(done, columns, train, kept, valid)


def edited_problem(
    model: Model, asked: Settled, config: FitConfig
) -> tuple[Model, EditedHead, Edit]:
    """The model with its new layer, the problem of its head, and what was done."""
    columns, train = asked.columns, asked.train.select(asked.kept)
    fresh = [p for p, source in zip(columns.phrases, columns.sources, strict=True) if not source]
    new = new_columns(model, train, asked.valid, fresh, config)
    done = replace(asked.done, added={phrase: column.origin for phrase, column in new.items()})
    done = with_draws(done, model, columns)
    edited = with_columns(model, columns, new)
    head = pose_edit(model, edited, columns, asked.train, asked.kept, done, config.sparse_head)
    return edited, head, done


def _fitted_again(model: Model, asked: Settled, config: FitConfig) -> Model:
    """Another fit of the same concepts on the images that are left."""
    if model.finetuned is not None:
        raise UserError("the encoder itself was trained on these images: run `jaxcbm train` anew")
    again = fit(
        *(asked.train.select(asked.kept), asked.valid),
        encoder=model.loaded_encoder,
        concepts=model.concepts,
        classes=model.classes,
        config=config,
    )
    choice, done = again.sparse_path, replace(asked.done, refitted=True)
    if choice is not None:
        done = replace(
            with_draws(done, again, asked.columns),
            penalty=float(choice.path.lambdas[choice.chosen]),
            certificate=float(choice.path.certificate[choice.chosen]),
            iterations=int(choice.path.iterations.sum()),
            path=True,
        )
    return replace(again, edits=(*model.edits, done))


def _held(
    model: Model, columns: Columns, hold: Mapping[tuple[str, str], float]
) -> tuple[HeldWeight, ...]:
    found = []
    for (class_name, phrase), weight in hold.items():
        if not np.isfinite(weight):
            raise UserError(f"{class_name}: {phrase}: {weight} is no weight: give a finite number")
        row = find(class_name, model.classes, "a class")
        found.append(HeldWeight(row, find(phrase, columns.phrases), float(weight)))
    return tuple(found)


def _digests(forget: Iterable[int | str], train: Features, valid: Features) -> tuple[str, ...]:
    """The content of the images to forget, each once."""
    digests = [row.tobytes().hex() for part in (train, valid) for row in part.digests]
    known, found = set(digests), {}
    for image in forget:
        if isinstance(image, str):
            if image not in known:
                raise UserError(f"image {image[:12]}: not among the train and validation images")
            found[image] = None
        elif isinstance(image, bool | np.bool_):
            # Bools are the integers 0 and 1: a mask would forget two images.
            raise UserError("forget takes positions: give numpy.flatnonzero(...) of a mask")
        elif 0 <= image < len(train):
            found[digests[image]] = None
        else:
            raise UserError(f"image {image}: train has 0 to {len(train) - 1}")
    return tuple(found)


def _check_classes(train: Features, kept: np.ndarray, valid: Features) -> None:
    """Refuse an edit that leaves a class or validation without an image."""
    if lost := set(train.labels.tolist()) - set(train.labels[kept].tolist()):
        raise UserError(
            f"no train image of {train.classes[min(lost)]} would be left: keep one, or train "
            "without that class"
        )
    if len(valid) == 0:
        raise UserError("no validation image would be left: keep one")
