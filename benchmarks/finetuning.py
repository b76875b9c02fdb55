"""What training the encoder buys on the birds: frozen, adapters, the whole image tower.

python -m benchmarks.finetuning --seeds 0 1 2      # half an hour on two quiet cores
python -m benchmarks.finetuning --only frozen full
python -m benchmarks.finetuning --quick --folder=/tmp/smoke --page=/tmp/smoke/finetuning.md
python -m benchmarks.finetuning --render           # only the page, from the result

The first seed tries every learning rate of `RATES`; the one with the best validation accuracy is
that of the other seeds and of the table. Each run has a process, and so a peak memory, of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe, use_threads
from benchmarks.peak_memory import peak_mib

CONFIG = Path(__file__).parent.parent / "configs" / "finetune_birds.py"
RANK = 8
# Title, and what is typed after the config.
VARIANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "frozen": ("frozen", ("encoder.train=frozen",)),
    "projection": (f"LoRA rank {RANK}, projection", (r"encoder.lora.where=^vision\.projection",)),
    "attention": (f"LoRA rank {RANK}, attention", (r"encoder.lora.where=^vision\..*\.attn\.",)),
    "full": ("full image tower", ("encoder.train=full",)),
}
# What sets the learning rate of what trains of the encoder, and the values tried.
RATES: dict[str, tuple[str, tuple[float, ...]]] = {
    "projection": ("finetune.lora.learning_rate", (5e-3, 2e-2)),
    "attention": ("finetune.lora.learning_rate", (1e-2, 2e-2)),
    "full": ("finetune.encoder.learning_rate", (3e-4, 1e-3)),
}
QUICK = (
    "data.images_per_class=3",
    "training.epochs=3",
    "finetune.epochs=1",
    "finetune.batch_size=32",
)


def main() -> None:
    """Train what was asked for, keep the other rows, write the result and the page."""
    args = _arguments()
    if args.child:
        print(json.dumps(train_one(args.child, args.seeds[0], args.rate, quick=args.quick)))
        return
    if not args.render:
        _measure(args)
    from jaxcbm.atomic import atomic_file

    result = json.loads((args.folder / "finetuning.json").read_text(encoding="utf-8"))
    with atomic_file(args.page) as temporary:
        temporary.write_text(render(result), encoding="utf-8")


def _measure(args: argparse.Namespace) -> None:
    use_threads(args.threads)
    from jaxcbm.atomic import write_json

    file = args.folder / "finetuning.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    rows, search = found.get("rows", {}), found.get("search", {})
    for name in args.only:
        rates = RATES[name][1] if name in RATES else (None,)
        tried = [_child(name, args.seeds[0], rate, quick=args.quick) for rate in rates]
        best = max(tried, key=lambda run: run["valid_top1"])
        rest = [_child(name, seed, best["rate"], quick=args.quick) for seed in args.seeds[1:]]
        rows[name] = [best, *rest]
        search[name] = [{key: run[key] for key in ("rate", "valid_top1")} for run in tried]
        result = {"quick": args.quick, "machine": describe(), "rows": rows, "search": search}
        write_json(file, result)


def _child(name: str, seed: int, rate: float | None, *, quick: bool) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.finetuning", f"--child={name}", f"--seeds={seed}"]
    command += [] if rate is None else [f"--rate={rate}"]
    done = subprocess.run(
        command + ["--quick"] * quick, check=True, stdout=subprocess.PIPE, text=True
    )
    run = json.loads(done.stdout.splitlines()[-1])
    print(name, run, flush=True)
    return run


def train_one(name: str, seed: int, rate: float | None, *, quick: bool) -> dict[str, Any]:
    """The child's side: train, evaluate, and say what it took."""
    import numpy as np

    from jaxcbm.experiment.config_file import read_config
    from jaxcbm.experiment.train import run
    from jaxcbm.model.model import load_model
    from jaxcbm.training.metrics_log import read_metrics

    chosen = [*VARIANTS[name][1], f"training.seed={seed}", f"encoder.lora.rank={RANK}"]
    chosen += [] if rate is None else [f"{RATES[name][0]}={rate}"]
    chosen += QUICK if quick else ()
    config = read_config(str(CONFIG), [f"--config.{text}" for text in chosen])
    with tempfile.TemporaryDirectory() as workdir:
        started = time.perf_counter()
        metrics = run(config, Path(workdir))
        seconds = time.perf_counter() - started
        model = load_model(workdir)
        timing = Path(workdir) / "finetune" / "timing.jsonl"
        lines = read_metrics(timing) if timing.exists() else []
        steps = [line["value"] for line in lines if line["name"] == "seconds_a_step"]
    finetuned = {} if model.finetuned is None else model.finetuned.arrays
    test = metrics["test"]
    return {
        "seed": seed,
        "rate": rate,
        "valid_top1": metrics["validation"]["chosen_top1"],
        "top1": test["top1"],
        "concept_auc": test["concept_auc"],
        "concept_fidelity": test["concept_fidelity"],
        "nec": test["nec"],
        "trainable_bottleneck": sum(int(np.size(x)) for x in model.params.values()),
        "trainable_encoder": sum(int(x.size) for x in finetuned.values()),
        # The first epoch compiles.
        "seconds_a_step": statistics.median(steps[1:] or steps) if steps else None,
        "seconds": round(seconds, 1),
        "peak_mib": round(peak_mib()),
    }


def render(result: dict[str, Any]) -> str:
    """The page."""
    lines = [
        "# Fine-tuning the encoder",
        "",
        "The quick start's birds with `jaxcbm/tiny` (configs/finetune_birds.py). The bottleneck",
        "is first fitted on frozen features. Then the part that the row names trains with it,",
        "and the sparse head is solved on features from the fine-tuned encoder. Top-1 and concept",
        "AUC are on the test split; learning rate, epoch and head were chosen on validation.",
        "Values are means over seeds, with the range in brackets where there are several seeds.",
        "",
        "| encoder | top-1 | concept AUC | fidelity | trained parameters | s a step | peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (title, _) in VARIANTS.items():
        if runs := result["rows"].get(name):
            cells = [_spread(runs, key) for key in ("top1", "concept_auc", "concept_fidelity")]
            count, step = runs[0]["trainable_encoder"], _middle(runs, "seconds_a_step")
            cells += [f"{count:,}", "" if step is None else f"{step:.2f}"]
            lines.append(f"| {title} | {' | '.join(cells)} | {_middle(runs, 'peak_mib'):.0f} |")
    machine = result["machine"]
    lines += ["", *_rates(result), ""]
    lines += [
        f"Measured on {machine['cpu']}, {machine['threads']} cores, "
        f"jax {machine['versions']['jax']}.",
        "Trained parameters are those of the encoder; the bottleneck trains in every row. Peak",
        "memory is that of the whole process, encoding and evaluation included. A LoRA step",
        "makes no gradient of an adapted kernel's size; its backward pass ends at the lowest",
        "adapter.",
        "",
        "An adapter on the projection has little to gain: the bottleneck's layer is itself a",
        "linear map of the projection's output, and can do what the adapter does except for the",
        "normalisation between them. Attention decides what the encoder looks at, which no layer",
        "behind the encoder can make up for.",
        "",
        "Every run: `python -m benchmarks.finetuning`; the numbers are in results/finetuning.json.",
    ]
    if result["quick"]:
        lines += ["", "**A quick run: tiny sizes, numbers without meaning.**"]
    return "\n".join(lines) + "\n"


def _rates(result: dict[str, Any]) -> list[str]:
    """The search for learning rates."""
    lines = ["| encoder | learning rate: top-1 on validation, first seed |", "|---|---|"]
    for name, tried in result["search"].items():
        if name in RATES:
            said = ", ".join(f"{run['rate']:g}: {run['valid_top1']:.3f}" for run in tried)
            lines.append(f"| {VARIANTS[name][0]} | {said} |")
    return lines


def _spread(runs: list[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs]
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else mean


def _middle(runs: list[dict[str, Any]], key: str) -> float | None:
    values = [run[key] for run in runs if run[key] is not None]
    return statistics.median(values) if values else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=2, help="cores")
    parser.add_argument("--folder", type=Path, default=Path("docs/results"))
    parser.add_argument("--page", type=Path, default=Path("docs/finetuning.md"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
