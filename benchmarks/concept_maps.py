"""Whether concept maps point at the part of the bird that the concept speaks of.

python -m benchmarks.concept_maps              # minutes on two cores
python -m benchmarks.concept_maps --seeds=1 --page=/tmp/maps.md --result=/tmp/maps.json
python -m benchmarks.concept_maps --render     # only the page

The birds are painted, so that every part's place is known. A seed draws the birds, the validation
images and the start of the fit.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import table
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.charts import styled
from jaxcbm.data.birds import load_birds
from jaxcbm.data.birds.birds import load_parts
from jaxcbm.data.birds.species import ATTRIBUTES
from jaxcbm.data.image_set import ImageSet
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import prepare
from jaxcbm.model.concept_map import How, above_mean, occlusion_maps, overlay, upscaled
from jaxcbm.model.model import Model
from jaxcbm.training.fit import fit

OCCLUSION, DENSE = "hiding places", "what the encoder says of each patch"
KEPT = f"{OCCLUSION}, concept logit"
CHANCE = "chance: any place"
INSIDE = "chance: any place on the bird"
CENTRE = "the middle of the picture"
# Pixels of a part that a map could point at.
_LEAST = 4
SHOWN = ("crown", "belly", "wing")
PAGE = """# Where in the picture

Written by `python -m benchmarks.concept_maps`; do not edit by hand.

These are maps of the concepts that are present by annotation, on painted birds, for which it is
known where each part is. *Pointing game*: how often the maximum of a map lies on the part (arXiv
1608.00507). *Mass*: of all map values above the mean, the share that lies on the part. Parts that
are hidden by leaves or other parts are left out. *Hiding places* (occlusion) moves a square of
the picture's mean colour over the picture and records how much it lowers the concept. *What the
encoder says of each patch* is a dense readout without training (after MaskCLIP, arXiv
2112.01071): the last attention of the image tower looks at one patch alone. Both are read through
the trained layer (the concept logit), and as the encoder's own similarity of picture and phrase.

Encoder `{encoder}`, the quick start's model, {images} test birds a seed; mean \u00b1 deviation over
{seeds} seeds, of means over parts.

{maps}

An encoder of 8 x 8 patches does not point well. The kept map hits the part in {ours} % of cases,
twice as often as a random place on the bird would ({inside} %). The dense readout hits it in
{dense} %, less often than that, though more often than a random place of the picture ({chance}
%). Crown and belly are found. So are back and wing, but the middle of the picture, where the bird
is, hits these even more often. Tail and legs are not found: for them a map is no evidence.
`model.concept_maps(image, phrases, how="patches")` is for towers with finer grids; it costs one
encoded picture where hiding places costs 170.

Pointing game by part, in per cent:

{parts}

Size is not a part and has no row. The back includes the wing, which is painted in the same
colour.

![Birds, and where their concepts are]({picture})
"""


def run(seeds: int, images_per_class: int, picture: Path) -> dict[str, Any]:
    """Every kind of map on the test birds of each seed."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {"pointing": {}, "mass": {}}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            changes = {"data.seed": seed, "training.seed": seed}
            prepared = prepare("quickstart", Path(folder), changes=changes)
            parts = {"encoder": prepared.encoder, "concepts": prepared.concepts}
            config = read_experiment("quickstart", changes).fit
            model = fit(*prepared.splits[:2], config=config, **parts)
        how = {"seed": seed, "images_per_class": images_per_class}
        birds, places = load_birds("test", **how), load_parts("test", **how)
        scored = [score(model, birds, places, n) for n in range(len(birds))]
        for metric, by_map in found.items():
            for name in scored[0][metric]:
                for attribute in scored[0][metric][name]:
                    values = [each[metric][name][attribute] for each in scored]
                    by_attribute = by_map.setdefault(name, {})
                    by_attribute.setdefault(attribute, []).append(float(np.nanmean(values)))
            print(
                seed, metric, {n: _mean(_by_seed(a)[-1:], 3) for n, a in by_map.items()}, flush=True
            )
        if seed == 0:
            draw(model, birds, picture)
    return {"seeds": seeds, "images": len(birds), "encoder": model.encoder_name, **found}


def score(
    model: Model, birds: ImageSet, places: dict[str, np.ndarray], n: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Metric -> kind of map -> attribute -> value for one bird; NaN where the part is hidden."""
    image = birds.source.load(n)
    maps = maps_of(model, image)
    there = _present(birds, n)
    column = {phrase: d for d, phrase in enumerate(model.concepts.phrases)}
    bird = places["size"][n]
    pointing: dict[str, dict[str, float]] = {}
    mass: dict[str, dict[str, float]] = {}
    for attribute in ATTRIBUTES:
        if attribute.name == "size":
            continue
        (phrase,) = there & set(attribute.phrases)
        part = places[attribute.name][n]
        seen = part.sum() >= _LEAST
        for name, maps_DxHxW in maps.items():
            whole = upscaled(maps_DxHxW[column[phrase]], *part.shape)
            weight = above_mean(whole)
            hit = float(part.flat[np.argmax(whole)])
            share = float(weight[part].sum() / max(weight.sum(), 1e-12))
            pointing.setdefault(name, {})[attribute.name] = hit if seen else np.nan
            mass.setdefault(name, {})[attribute.name] = share if seen else np.nan
        middle = part[part.shape[0] // 2, part.shape[1] // 2]
        for name, value in (
            (CENTRE, float(middle)),
            (INSIDE, float(part.sum() / max(bird.sum(), 1))),
            (CHANCE, float(part.mean())),
        ):
            pointing.setdefault(name, {})[attribute.name] = value if seen else np.nan
            if name != CENTRE:
                mass.setdefault(name, {})[attribute.name] = value if seen else np.nan
    return {"pointing": pointing, "mass": mass}


def _present(birds: ImageSet, n: int) -> set[str]:
    """What is there by annotation."""
    assert birds.annotations is not None
    return {birds.annotation_phrases[d] for d in np.flatnonzero(birds.annotations[n] == 1)}


def maps_of(model: Model, image: Image.Image) -> dict[str, np.ndarray]:
    """Maps [D, H', W'] of all concepts, of every kind."""
    encoder, count = model.loaded_encoder, len(model.concepts)

    def said(embeddings_NxE: np.ndarray) -> np.ndarray:
        found = model.predict_embeddings(embeddings_NxE)
        return np.concatenate([found.concept_logits, found.concept_scores], axis=1)

    hidden = occlusion_maps(encoder.preprocess(image), lambda x: said(encoder.embed_pixels(x)))
    patches_HxWxE = encoder.embed_patches([image])[0]
    dense = said(patches_HxWxE.reshape(-1, patches_HxWxE.shape[-1])).T
    dense = dense.reshape(-1, *patches_HxWxE.shape[:2])
    return {
        f"{name}, {what}": maps[start : start + count]
        for name, maps in ((OCCLUSION, hidden), (DENSE, dense))
        for what, start in (("concept logit", 0), ("similarity", count))
    }


@styled
def draw(model: Model, birds: ImageSet, path: Path, rows: int = 4) -> None:
    """Some birds beside the maps of some of their parts, of both kinds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * (1 + 2 * len(SHOWN)), 2.2 * rows))
    grid = figure.subplots(rows, 1 + 2 * len(SHOWN))
    for line, n in zip(grid, range(0, len(birds), len(birds) // rows), strict=False):
        image = birds.source.load(n)
        present = _present(birds, n)
        line[0].imshow(image)
        line[0].set_title(birds.classes[birds.labels[n]], fontsize=9)
        wanted = [a for a in ATTRIBUTES if a.name in SHOWN]
        phrases = [next(p for p in a.phrases if p in present) for a in wanted]
        kinds: tuple[tuple[How, str], ...] = (
            ("occlusion", "hiding places"),
            ("patches", "each patch"),
        )
        for i, (how, title) in enumerate(kinds):
            maps = model.concept_maps(image, phrases, how=how)
            for j, (phrase, where) in enumerate(zip(phrases, maps, strict=True)):
                line[1 + 2 * j + i].imshow(overlay(image, where))
                line[1 + 2 * j + i].set_title(f"{phrase}\n{title}", fontsize=8)
    for axes in grid.flat:
        axes.set_axis_off()
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=80)


def render(found: dict[str, Any], picture: str) -> str:
    """The page."""
    names = list(found["pointing"])
    lines = []
    for name in names:
        cells = [
            _mean([100 * x for x in _by_seed(found[metric][name])], 1)
            if name in found[metric]
            else ""
            for metric in ("pointing", "mass")
        ]
        lines.append([f"**{name}** (kept)" if name == KEPT else name, *cells])
    attributes = list(found["pointing"][KEPT])
    parts = [
        [
            attribute.replace("_", " "),
            *(
                f"{100 * statistics.fmean(found['pointing'][name][attribute]):.1f}"
                for name in names
            ),
        ]
        for attribute in attributes
    ]
    ours, dense, inside, chance = (
        100 * statistics.fmean(_by_seed(found["pointing"][name]))
        for name in (KEPT, f"{DENSE}, concept logit", INSIDE, CHANCE)
    )
    texts = {
        "encoder": found["encoder"],
        "images": found["images"],
        "seeds": found["seeds"],
        "maps": table(["map", "pointing game, %", "mass on the part, %"], lines),
        "parts": table(["part", *names], parts),
        "picture": picture,
    }
    shares = {"ours": ours, "dense": dense, "inside": inside, "chance": chance}
    return PAGE.format(**texts, **{name: f"{share:.0f}" for name, share in shares.items()})


def _by_seed(by_attribute: dict[str, list[float]]) -> list[float]:
    """Means over attributes, one a seed."""
    return np.mean(list(by_attribute.values()), axis=0).tolist()


def _mean(values: Sequence[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} \u00b1 {statistics.stdev(values):.{digits}f}"


def main() -> None:
    """Measure, write the result, the picture and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images-per-class", type=int, default=1)
    parser.add_argument("--result", type=Path, default=Path("docs/results/concept_maps.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/concept_maps.md"))
    parser.add_argument("--render", action="store_true", help="only the page")
    args = parser.parse_args()
    picture = args.page.parent / "pictures" / "concept_maps.png"
    if not args.render:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.result, run(args.seeds, args.images_per_class, picture))
    found = json.loads(args.result.read_text("utf-8"))
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(found, "pictures/concept_maps.png"), encoding="utf-8")


if __name__ == "__main__":
    main()
