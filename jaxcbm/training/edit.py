"""`edit`: change a fitted model's concepts, weights or train images, and solve its head again."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from jaxcbm.data.features import Features
from jaxcbm.errors import UserError
from jaxcbm.model.edited_columns import Columns, find, plan_columns, with_columns
from jaxcbm.model.edits import Edit, HeldWeight, kept_by, remaining
from jaxcbm.model.model import Model
from jaxcbm.training.calibrate import calibrate
from jaxcbm.training.config import FitConfig
from jaxcbm.training.edited_head import pose_edit, with_draws, with_edited_head
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
    config, merge, phrases = config or FitConfig(), dict(merge or {}), model.concepts.phrases
    delete, add = tuple(find(phrase, phrases) for phrase in delete), tuple(add)
    if "sparse_head_images" in model.metrics:
        many, seed = config.sparse_head.images, config.training.seed
        train, valid = train.sample(many, seed), valid.sample(many, seed)
    since = [place for place, old in enumerate(model.edits, start=1) if old.refitted]
    train = remaining(train, model.edits[: max(since, default=0)])
    columns = plan_columns(phrases, delete, merge, add)
    done = Edit(
        deleted=delete,
        merged={
            phrase: tuple(phrases[d] for d in source)
            for phrase, source in zip(columns.phrases, columns.sources, strict=True)
            if len(source) > 1
        },
        held=_held(model, columns, hold or {}),
        forgotten=_digests(forget, train, valid),
        refitted=refit_layer,
        path=path,
    )
    if columns.phrases == phrases and not (done.merged or done.held or done.forgotten):
        raise UserError("nothing to edit: name a concept, a weight or an image")
    edits = (*model.edits, done)
    kept = kept_by(train, edits)
    some_train, some_valid = train.select(kept), remaining(valid, edits)
    _check_classes(train, some_train, some_valid)
    if refit_layer:
        if delete or merge or add or hold or not done.forgotten:
            raise UserError("refit_layer goes with images to forget alone: edit its result further")
        return _fitted_again(model, some_train, some_valid, done, config)
    fresh = [p for p, source in zip(columns.phrases, columns.sources, strict=True) if not source]
    new = new_columns(model, some_train, some_valid, fresh, config)
    done = replace(done, added={phrase: column.origin for phrase, column in new.items()})
    done = with_draws(done, model, columns)
    edited = with_columns(model, columns, new)
    head = pose_edit(model, edited, columns, train, kept, done, config.sparse_head)
    edited = with_edited_head(edited, head, some_valid, done, config.sparse_head)
    return calibrate(edited, some_train, some_valid, config.training.seed)


def _fitted_again(
    model: Model, train: Features, valid: Features, done: Edit, config: FitConfig
) -> Model:
    """Another fit of the same concepts on the images that are left."""
    if model.finetuned is not None:
        raise UserError("the encoder itself was trained on these images: run `jaxcbm train` anew")
    again = fit(
        *(train, valid),
        encoder=model.loaded_encoder,
        concepts=model.concepts,
        classes=model.classes,
        config=config,
    )
    choice = again.sparse_path
    if choice is None:
        return replace(again, edits=(*model.edits, replace(done, path=False)))
    done = replace(
        with_draws(
            done, replace(model, edits=()), plan_columns(model.concepts.phrases, (), {}, ())
        ),
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
        elif 0 <= image < len(train):
            found[digests[image]] = None
        else:
            raise UserError(f"image {image}: train has 0 to {len(train) - 1}")
    return tuple(found)


def _check_classes(before: Features, train: Features, valid: Features) -> None:
    """Refuse an edit that leaves a class or validation without an image."""
    left = set(np.unique(train.labels).tolist())
    if lost := set(np.unique(before.labels).tolist()) - left:
        raise UserError(
            f"no train image of {before.classes[min(lost)]} would be left: keep one, or train "
            "without that class"
        )
    if len(valid) == 0:
        raise UserError("no validation image would be left: keep one")
