"""Explanations of picture files: one as a picture or a page, several as a gallery."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from PIL import Image

from jaxcbm.atomic import atomic_file
from jaxcbm.data.image_source import FileImages, UnreadableImage, as_utf8
from jaxcbm.data.progress import ProgressLine
from jaxcbm.data.skipped import tell_skipped
from jaxcbm.data.sources.pictures import find_files
from jaxcbm.distributed.mesh import local_mesh
from jaxcbm.errors import UserError
from jaxcbm.model.batch_inference import batch_inference, choose_batch_size, read_batches
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
    dtype: str = "float32",
    batch_size: int | None = None,
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
        dtype: of the encoder's matrix products, "float32" or "bfloat16".
        batch_size: of a gallery, pictures a step over all devices; None: see `choose_batch_size`.

    Raises:
        UserError: no model, no such class, no readable picture, or what is for one picture alone
            in a gallery.
    """
    output, files = Path(output), find_files(images)
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
    found: list[Explanation] = []
    if alone:
        try:
            picture = FileImages(tuple(files), Path()).load(0)
        except UnreadableImage as error:
            raise UserError(f"{files[0]}: {error}") from error
        how = {"k": top, "target": target, "against": against, "maps": maps, "true": true}
        for each, by in zip(workdirs, _names(workdirs), strict=True):
            model = load_model(each).on(dtype=dtype)
            explained = model.explain(picture, **how)
            found.append(_named(explained, model, files[0])._replace(by=by))
    else:
        model = load_model(workdirs[0]).on(local_mesh(), dtype)
        found += _gallery(model, files[:MOST], top, target, batch_size)
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


def _gallery(
    model: Model, files: Sequence[Path], top: int, target: str | None, batch_size: int | None
) -> Iterator[Explanation]:
    """Explanations of those files that can be read."""
    source, line = FileImages(tuple(files), Path()), ProgressLine("explain", "pictures", patience=2)
    shown: list[list[Image.Image]] = [[] for _ in files]
    pictures = ((i, partial(_load_into, shown[i], source, i)) for i in range(len(files)))
    size = batch_size or choose_batch_size(model, len(files))
    batches, done = read_batches(pictures, model.loaded_encoder.preprocess, size), 0
    skipped: list[tuple[str, str]] = []
    line(0, len(files))
    for batch, prediction in batch_inference(model, batches, size):
        skipped += [(str(files[index]), why) for index, why in batch.skipped]
        for row, index in enumerate(batch.names):
            alone, pixels = prediction.select([row]), batch.pixels[row]
            found = model.explain_prediction(shown[index].pop(), pixels, alone, top, target)
            yield _named(found, model, files[index])
        done += len(batch.names) + len(batch.skipped)
        line(done, len(files))
    tell_skipped(tuple(skipped), len(files))


def _load_into(kept: list[Image.Image], source: FileImages, index: int) -> Image.Image:
    kept.append(source.load(index))
    return kept[0]


def _named(found: Explanation, model: Model, file: Path) -> Explanation:
    """An explanation with its file's name, and the class of its folder where none is known."""
    folder = file.resolve().parent.name
    known = folder if folder in model.classes else None
    return found._replace(name=as_utf8(file), true=found.true or known)
