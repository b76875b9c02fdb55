"""What is known of every encoder family, as docs/encoders.md shows it: sizes and parity with torch.

python -m benchmarks.encoder_table                  # some minutes and 6 GiB
python -m benchmarks.encoder_table --only clip_b32  # one model; the others keep their numbers
python -m benchmarks.encoder_table --render         # only the page, from the result

Each tower is full-size, with equal random weights here and in transformers: float32 embeddings are
compared number by number, bfloat16 ones by their cosine with torch's float32 ones.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from benchmarks.family_models import MODELS, Choice, chosen
from benchmarks.machine import describe, use_threads
from benchmarks.report import table

BEGIN, END = "<!-- written by benchmarks.encoder_table -->", "<!-- until here -->"
INPUTS = 4
CHECKPOINTS = {
    "clip_b32": "`openai/clip-vit-base-patch32` and others of its size",
    "clip_b16": "`openai/clip-vit-base-patch16` and others of its size; `clip-vit-large-patch14*`",
    "siglip": "`google/siglip-*`, `google/siglip2-*` of fixed resolution",
    "altclip": "`BAAI/AltCLIP*`",
    "align": "`kakaobrain/align-base`",
    "open_clip": "`open_clip_config.json` beside weights: LAION, DataComp, DFN, MetaCLIP, BioCLIP",
}
DIFFERS = {
    "clip_b32": "text beyond the context is cut, not refused",
    "clip_b16": "as above",
    "siglip": "naflex is refused: its pictures have no fixed size",
    "altclip": "a literal `<pad>` in a phrase counts as padding",
    "align": "batch norm by stored statistics also in training: an embedding has no company",
    "open_clip": "no ftfy repair of texts; timm and Hugging Face text towers are refused by name",
}


def main() -> None:
    """Measure what was asked for, write the result, and put the table into the page."""
    args = _arguments()
    file = args.folder / "encoders.json"
    if not args.render:
        use_threads(args.threads)
        from jaxcbm.atomic import write_json

        found = json.loads(file.read_text(encoding="utf-8"))["models"] if file.exists() else {}
        for name in args.only:
            found[name] = measure(name, tiny=args.quick)
            print(name, found[name], flush=True)
            write_json(file, {"quick": args.quick, "machine": describe(), "models": found})
    result = json.loads(file.read_text(encoding="utf-8"))
    from jaxcbm.atomic import atomic_file

    page = between(args.page.read_text(encoding="utf-8"), render(result))
    with atomic_file(args.page) as temporary:
        temporary.write_text(page, encoding="utf-8")


def measure(name: str, *, tiny: bool) -> dict[str, Any]:
    """Sizes of one model, and how far its embeddings are from torch's."""
    import numpy as np

    from benchmarks.encoding_families import embeddings

    found: dict[str, Any] = {**sizes(name), "float32": {}, "bfloat16": {}}
    for tower in ("vision", "text"):
        choice = Choice(name, tower, tiny)
        ours_NxE, theirs_NxE = embeddings(choice, "float32", INPUTS)
        found["float32"][tower] = float(np.abs(ours_NxE - theirs_NxE).max())
        ours_NxE, theirs_NxE = embeddings(choice, "bfloat16", INPUTS)
        distance_N = np.sum(np.square(ours_NxE.astype(np.float64) - theirs_NxE), axis=1)
        found["bfloat16"][tower] = 1 - 0.5 * float(distance_N.max())
    return found


def sizes(name: str) -> dict[str, int]:
    """Numbers in the model, its text context and its pictures; no weights are made."""
    from flax import nnx

    from jaxcbm.encoders.families import FAMILIES
    from jaxcbm.flat_params import abstract

    model = chosen(Choice(name))
    family = FAMILIES[model.kind]
    config = family.config(model.config)
    shapes = abstract(lambda: family.model(config, rngs=nnx.Rngs(0)))[1]
    return {
        "parameters": sum(math.prod(x.shape) for x in shapes.values()),
        "context": config.text.context_length,
        "image_size": config.vision.image_size,
    }


def render(result: dict[str, Any]) -> str:
    """The table."""
    lines = []
    for name in MODELS:
        if found := result["models"].get(name):
            errors = [f"{found['float32'][tower]:.0e}" for tower in ("vision", "text")]
            cosines = [f"{found['bfloat16'][tower]:.5f}" for tower in ("vision", "text")]
            lines.append(
                [
                    MODELS[name].title,
                    CHECKPOINTS[name],
                    str(found["context"]),
                    str(found["image_size"]),
                    f"{found['parameters'] / 1e6:.1f} M",
                    ", ".join(errors),
                    ", ".join(cosines),
                    DIFFERS[name],
                ]
            )
    header = [
        *("model measured", "checkpoints of the family", "text context", "image size"),
        *("parameters", "float32: largest error", "bfloat16: least cosine"),
        "differs from the reference in",
    ]
    versions = result["machine"]["versions"]
    smoke = "**A smoke test on tiny towers.** " * result["quick"]
    return (
        f"{table(header, lines)}\n\n{smoke}Errors are of unit-norm embeddings of {INPUTS} pictures "
        "and phrases,\npictures first, against transformers in float32 with equal random weights, "
        f"a full-size tower\nat a time (jax {versions['jax']}, torch {versions['torch']}, "
        f"transformers {versions['transformers']}).\nWritten by "
        "`python -m benchmarks.encoder_table`; the numbers are in results/encoders.json."
    )


def between(page: str, text: str) -> str:
    """The page with what stands between the marks replaced.

    >>> between(f"a {BEGIN} b {END} c", "new") == f"a {BEGIN}\\n\\nnew\\n\\n{END} c"
    True
    """
    before, _, rest = page.partition(BEGIN)
    if END not in rest:
        raise SystemExit(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/encoders.md"))
    parser.add_argument("--quick", action="store_true", help="tiny towers: does it run at all?")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
