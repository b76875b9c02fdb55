"""Explanations of picture files: one as a picture or a page, several as a gallery."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from jaxcbm.atomic import atomic_file
from jaxcbm.data.image_source import FileImages, UnreadableImage
from jaxcbm.errors import UserError
from jaxcbm.experiment.predict import find_images
from jaxcbm.model.explanation import Explanation, gallery, save_comparison
from jaxcbm.model.model import Model, load_model

MOST = 500


def explain(
    workdir: Path | str | Sequence[Path | str],
    images: str,
    output: Path | str,
    top: int = 10,
    target: str | None = None,
    against: str | None = None,
    maps: bool = False,
    true: str | None = None,
) -> list[Explanation]:
    """Write why a model says what it says; unreadable pictures of several are left out.

    A picture in a folder with the name of a class is one of that class, if not said otherwise.

    Args:
        workdir: of a finished run, or an exported folder; of several, each explains the same one
            picture, beside each other under their folders' names.
        images: a file, or a folder or a glob, whose first 500 pictures make a gallery.
        output: .html; or .png, which shows the first picture.
        top: contributions to show of each.
        target: the class to explain; the predicted one by default.
        against: the class to tell it from.
        maps: whether to show where the concepts are, of one picture.
        true: the class of one picture.

    Raises:
        UserError: no model, no such class, no readable picture, or what is for one picture alone
            in a gallery.
    """
    output, files = Path(output), find_images(images)
    alone = len(files) == 1 or output.suffix == ".png"
    if not alone and (against or maps or true):
        raise UserError(
            f"--images={images}: --against, --maps and --true are for one picture, and there are "
            f"{len(files)}"
        )
    workdirs = [Path(each) for each in ([workdir] if isinstance(workdir, str | Path) else workdir)]
    if len(workdirs) > 1 and not alone:
        raise UserError(
            f"--images={images}: several models explain one picture, and there are {len(files)}"
        )
    how = {"k": top, "target": target, "against": against, "maps": maps, "true": true}
    chosen, found = files[: 1 if alone else MOST], []
    for each, by in zip(workdirs, _names(workdirs), strict=True):
        explained = _explained(load_model(each), chosen, how)
        found += [explanation._replace(by=by) for explanation in explained]
    if not found:
        raise UserError(f"--images={images}: no readable picture")
    with atomic_file(output) as temporary:
        if len(workdirs) > 1:
            save_comparison(found, temporary)
        elif alone:
            found[0].save(temporary)
        else:
            temporary.write_text(gallery(found, len(files)), encoding="utf-8")
    return found


def _names(workdirs: Sequence[Path]) -> list[str]:
    """What models are called beside each other: their folders, as far as these differ."""
    if len(workdirs) == 1:
        return [""]
    names = [each.resolve().name for each in workdirs]
    return names if len(set(names)) == len(names) else [str(each) for each in workdirs]


def _explained(model: Model, files: Sequence[Path], how: dict[str, Any]) -> Iterator[Explanation]:
    source = FileImages(tuple(files), root=Path())
    for index, file in enumerate(files):
        try:
            picture = source.load(index)
        except UnreadableImage as error:
            if len(files) == 1:
                raise UserError(f"{file}: {error}") from error
            logging.warning("skipped %s: %s", file, error)
            continue
        folder = file.resolve().parent.name
        known = folder if folder in model.classes else None
        found = model.explain(picture, **how)
        yield found._replace(name=source.name(index), true=found.true or known)
