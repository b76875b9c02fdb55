"""What an edit costs beside a refit, and how good both heads are.

python -m benchmarks.editing
python -m benchmarks.editing --render

It fits the quick start's birds, edits them, and solves each edited problem in turn: the whole path
from nothing, as a refit does; the head's penalty alone from nothing; and that penalty, or the path,
from where it was. The problem is the same for all, and so is the tolerance.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from benchmarks.report import table
from benchmarks.sparse_path import Problem, make_arrays
from jaxcbm.atomic import atomic_file, write_json
from jaxcbm.bottleneck.sparse.path import SparsePath, elastic_net_path
from jaxcbm.experiment.config import read_experiment
from jaxcbm.experiment.prepare import prepare
from jaxcbm.training.config import SparseHeadConfig
from jaxcbm.training.edit import edit, edited_problem, settle
from jaxcbm.training.edited_head import EditedHead, solve_edit
from jaxcbm.training.fit import fit

SYNTHETIC = Problem(5_000, 370, 20, 1e-3, 0)
REFIT, ALONE, HEAD, PATH = "refit", "alone", "head", "path"
HEADER = """# Editing a fitted model

Written by `python -m benchmarks.editing`; do not edit by hand.

A model's concepts can be deleted, merged and added, single weights of its head can be fixed, and
images can be forgotten, without another fit. The head is solved again from where it was, to the
same certificate that a fit gives it.

    jaxcbm edit --workdir=runs/quickstart --delete="red crown" --output=runs/edited
    jaxcbm edit --workdir=runs/quickstart --merge="long tail + forked tail = tail" --output=runs/m
    jaxcbm edit --workdir=runs/edited --set="barred fernwit: hooked bill = 0.5" --output=runs/held
    jaxcbm edit --workdir=runs/held --forget=@withdrawn.txt --output=runs/without

```python
import jaxcbm
from jaxcbm.data.birds.birds import load_birds

encoder = jaxcbm.load_encoder("jaxcbm/tiny")
train, valid = (
    jaxcbm.encode(load_birds(split, images_per_class=4), encoder, "features")
    for split in ("train", "valid")
)
model = jaxcbm.fit(train, valid, encoder=encoder, concepts="birds")

edited = jaxcbm.edit(model, train, valid, delete=["red crown"], add=["a yellow tail"])
name = model.classes[0]
edited = jaxcbm.edit(edited, train, valid, forget=[3, 17], hold={{(name, "hooked bill"): 0.5}})
print(edited)  # says what was edited; so do `explain` and the saved model
```

`train` and `valid` are the features of the fit, including those of forgotten images. The command
finds them through the work directory's config and feature store, as `evaluate` does, and it
writes another work directory. Flags can be repeated and combined.

## What an edit does

| edit | layer | head |
|---|---|---|
| delete | the concept's column is removed; other concepts stay | solved again |
| merge | the new concept's logit is the mean of its members' logits | starts from the sum of \
their weights |
| add | the column is trained alone, on its annotations, if the objective treats each concept \
by itself (`sigmoid`); otherwise it is the encoder's own standardised score | starts from 0 |
| hold | as it was | the weight stays at that value, also in later edits; all others are solved \
for given it |
| forget | as it was | solved again without the images |

The penalty stays the one that validation chose for the first fit. `--path` (`path=True`) solves
every penalty again, and validation chooses anew; accuracy at equal numbers of concepts (ANEC)
needs it. Calibration, familiarity and prediction sets are fitted anew each time.

**The certificate** is the relative duality gap: the objective exceeds its optimum by at most this
share of itself. If weights are held, it refers to the problem in which they are fixed. An edited
head is therefore not an approximation of a refit: both are within the tolerance of the same
optimum.

**What forgetting covers.** Given the layer, the head becomes what it would be if the images had
never been there, and so do calibration and familiarity. The layer does not, nor do the mean and
deviation by which its inputs are standardised, the choice of the penalty, or an encoder that was
trained on the images; the model says so wherever it lists its edits. `--refit-layer` fits layer
and head anew without the images; then only an encoder can have seen them. The record keeps the
SHA-256 of each forgotten picture, so that it and its copies stay forgotten in later edits. The
new work directory does not need the pictures: the files may be deleted.

In a layer that mixes scores (`full`, `residual`), the score of a deleted concept may still enter
other concepts as the layer learned it. The columns of the factored layer, the default, do not
depend on each other.

For editing by influence functions, which approximate the refit in closed form, see arXiv
2405.15476.

## What it costs

"Times as fast" compares an edit, which solves one penalty, with a refit, which solves all
penalties in order to choose one. "Its penalty alone" is the cost of that one penalty from
scratch: most of the gain comes from keeping the penalty, and the rest from the warm start.
Everything is compiled beforehand and takes turns; times are medians over rounds ({rounds}). "Gap
before" is that of the old head in the new problem, a bound that is loose if the head is far from
the optimum.
"""


def measure(
    head: EditedHead, lambdas: np.ndarray, config: SparseHeadConfig, rounds: int, whole: bool
) -> dict[str, Any]:
    """Seconds, iterations and certificates of every way to solve an edited problem.

    Args:
        head: one penalty, or with `whole` all of them.
        lambdas: of the refit.
        config: tolerance and mixture.
        rounds: each way is timed so often.
        whole: whether the path is solved again.
    """
    rows, labels, weights = jax.device_put((head.rows, head.labels, head.weights))
    placed = head._replace(rows=rows, labels=labels, weights=weights)

    def refit(lambdas: Any) -> SparsePath:
        return elastic_net_path(
            *(rows, labels, head.heads.shape[1]),
            lambdas=lambdas,
            l1_ratio=config.l1_ratio,
            tolerance=config.tolerance,
            max_iterations=config.max_iterations,
            sample_weights=weights,
        )

    again = functools.partial(solve_edit, placed, config, max_iterations=config.max_iterations)
    ways = {REFIT: functools.partial(refit, lambdas), PATH if whole else HEAD: again}
    if not whole:
        ways[ALONE] = functools.partial(refit, head.lambdas)
    found = {name: jax.block_until_ready(way()) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            jax.block_until_ready(way())
            seconds[name].append(round(time.perf_counter() - began, 5))
    before = solve_edit(placed, config, max_iterations=0)
    return {
        "before": float(np.max(before.certificate)),
        "ways": {
            name: {
                "seconds": seconds[name],
                "iterations": int(path.iterations.sum()),
                "certificate": float(path.certificate.max()),
            }
            for name, path in found.items()
        },
    }


def birds(rounds: int) -> dict[str, Any]:
    """The quick start, edited; and what a whole fit and a whole edit take."""
    experiment = read_experiment("quickstart")
    config = experiment.fit
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(experiment, Path(folder))
        train, valid = (replace(part, embeddings=part.as_array()) for part in prepared.splits[:2])
    parts = {"encoder": prepared.encoder, "concepts": prepared.concepts, "config": config}
    model, fitting = _timed(lambda: fit(train, valid, **parts))
    assert model.sparse_path is not None
    used = np.argsort(-np.abs(model.head / model.sparse_path.scale).sum(axis=0))
    phrases = [model.concepts.phrases[d] for d in used]
    without = edit(model, train, valid, delete=[phrases[3]], path=True, config=config)
    held = {(model.classes[0], phrases[0]): 0.0}
    cases = {
        f"delete *{phrases[0]}*, the most used": (model, {"delete": [phrases[0]]}),
        f"delete *{phrases[-1]}*, the least used": (model, {"delete": [phrases[-1]]}),
        f"merge *{phrases[1]}* and *{phrases[2]}*": (model, {"merge": {"both": phrases[1:3]}}),
        f"add *{phrases[3]}*, deleted before": (without, {"add": [phrases[3]]}),
        f"hold *{phrases[0]}* at 0 in one class": (model, {"hold": held}),
        f"forget {len(train) // 100} images, 1 %": (
            model,
            {"forget": [row.tobytes().hex() for row in train.digests[: len(train) // 100]]},
        ),
    }
    lambdas = model.sparse_path.path.lambdas
    rows = {}
    for name, (start, change) in cases.items():
        head = edited_problem(start, settle(start, train, valid, **change), config)[1]
        rows[name] = measure(head, lambdas, config.sparse_head, rounds, whole=False)
        print(name, flush=True)
    paths = {}
    for name, (start, change) in list(cases.items())[:1]:
        asked = settle(start, train, valid, **change)
        asked = asked._replace(done=replace(asked.done, path=True))
        head = edited_problem(start, asked, config)[1]
        paths[name] = measure(head, lambdas, config.sparse_head, rounds, whole=True)
    _, whole = _timed(lambda: edit(model, train, valid, delete=[phrases[0]], config=config))
    count = len(train)
    return {
        "title": f"Birds, the quick start: {count:,} images and their corrected copy, "
        f"{len(phrases)} concepts, {len(model.classes)} classes, {len(lambdas)} penalties",
        "heads": rows,
        "paths": paths,
        "calls": {"jaxcbm.fit": fitting, "jaxcbm.edit": whole},
    }


def _timed(work: Any) -> tuple[Any, float]:
    """What it gives, and seconds of its second call: the first one compiles."""
    work()
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def synthetic(rounds: int) -> dict[str, Any]:
    """The sparse path's own benchmark, edited."""
    config = read_experiment("quickstart").sparse_head
    arrays = make_arrays(SYNTHETIC)
    path = elastic_net_path(
        jnp.asarray(arrays.activations_NxD),
        jnp.asarray(arrays.labels_N),
        SYNTHETIC.classes,
        path_length=config.path_length,
        l1_ratio=config.l1_ratio,
        tolerance=config.tolerance,
        max_iterations=config.max_iterations,
    )
    chosen = int(np.argmin(np.abs(np.asarray(path.nec) - 30.0)))
    heads, biases, lambdas = (
        np.asarray(part) for part in (path.weights, path.biases, path.lambdas)
    )
    used = np.argsort(-np.abs(heads[chosen]).sum(axis=0))
    gone = SYNTHETIC.images // 100
    every = np.arange(SYNTHETIC.images)
    cases = {
        "delete the most used": (every, np.delete(np.arange(SYNTHETIC.concepts), used[0])),
        "delete the least used": (every, np.delete(np.arange(SYNTHETIC.concepts), used[-1])),
        f"forget {gone} images, 1 %": (every[gone:], np.arange(SYNTHETIC.concepts)),
    }
    result: dict[str, Any] = {
        "title": f"N = {SYNTHETIC.images:,}, D = {SYNTHETIC.concepts}, K = {SYNTHETIC.classes}, "
        f"{len(lambdas)} penalties",
        "heads": {},
        "paths": {},
    }
    for name, (images, kept) in cases.items():
        rows = arrays.activations_NxD[np.ix_(images, kept)]
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        moved = heads[:, :, kept]
        whole = EditedHead(
            rows=(rows - mean) / deviation,
            labels=arrays.labels_N[images],
            weights=None,
            mean=mean,
            scale=1 / deviation,
            lambdas=lambdas,
            heads=moved * deviation,
            biases=biases + moved @ mean,
            held=None,
        )
        one = slice(chosen, chosen + 1)
        head = whole._replace(
            lambdas=lambdas[one], heads=whole.heads[one], biases=whole.biases[one]
        )
        result["heads"][name] = measure(head, lambdas, config, rounds, whole=False)
        if not result["paths"]:
            result["paths"][name] = measure(whole, lambdas, config, rounds, whole=True)
        print(name, flush=True)
    return result


def render(result: dict[str, Any]) -> str:
    """The page."""
    parts = [HEADER.format(rounds=result["rounds"])]
    for found in result["problems"]:
        parts += [f"\n### {found['title']}\n", _heads(found["heads"]), _paths(found["paths"])]
        if "calls" in found:
            calls = ", ".join(f"`{name}` {value:.2f} s" for name, value in found["calls"].items())
            parts.append(
                f"\nWhole calls on encoded features, compiled before, with activations and "
                f"calibration: {calls}."
            )
    machine = result["machine"]
    parts.append(
        f"\n{result['date']}, {machine['cpu']}, {machine['threads']} of {machine['cores']} cores, "
        f"load {result['load']:.1f} before it began, jax {machine['versions']['jax']}."
    )
    return "\n".join(parts) + "\n"


def _heads(rows: dict[str, Any]) -> str:
    header = ["edit", "gap before", "refit: path, s", "gap", "its penalty alone, s", "**edit**, s"]
    header += ["iterations", "gap", "times as fast"]
    lines = []
    for name, found in rows.items():
        seconds = {way: statistics.median(x["seconds"]) for way, x in found["ways"].items()}
        refit, head = found["ways"][REFIT], found["ways"][HEAD]
        lines.append(
            [
                *(name, f"{found['before']:.2g}", f"{seconds[REFIT]:.2f}"),
                *(f"{refit['certificate']:.1e}", f"{seconds[ALONE]:.3f}", f"{seconds[HEAD]:.3f}"),
                *(str(head["iterations"]), f"{head['certificate']:.1e}"),
                f"**{_ratio(found, HEAD):.0f}**",
            ]
        )
    return table(header, lines)


def _paths(rows: dict[str, Any]) -> str:
    lines = []
    for name, found in rows.items():
        again, refit = found["ways"][PATH], found["ways"][REFIT]
        lines.append(
            f"{name}: {_ratio(found, PATH):.1f} times ({again['iterations']:,} iterations instead "
            f"of {refit['iterations']:,}; largest gap {again['certificate']:.1e})"
        )
    return f"\nThe whole path again (`--path`), as fast as a refit: {'; '.join(lines)}."


def _ratio(found: dict[str, Any], way: str) -> float:
    """How many times as fast as the refit, the median over rounds."""
    pairs = zip(found["ways"][REFIT]["seconds"], found["ways"][way]["seconds"], strict=True)
    return statistics.median(refit / other for refit, other in pairs)


def main() -> None:
    """Measure, write the result and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--result", type=Path, default=Path("docs/results/editing.json"))
    parser.add_argument("--page", type=Path, default=Path("docs/editing.md"))
    parser.add_argument("--render", action="store_true", help="only the page")
    args = parser.parse_args()
    if args.render:
        result = json.loads(args.result.read_text("utf-8"))
    else:
        result = {
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "load": os.getloadavg()[0],
            "machine": describe(),
            "rounds": args.rounds,
            "problems": [birds(args.rounds), synthetic(args.rounds)],
        }
        write_json(args.result, result)
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(result), encoding="utf-8")


if __name__ == "__main__":
    main()
