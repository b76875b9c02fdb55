"""The commands that make and use one model. Their imports happen when they run."""

import argparse
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command, add_config, add_distributed, add_workdir
from jaxcbm.storage import as_path

_QUICK = "--config=configs/quickstart.py --workdir=runs/quickstart"


def _train(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.experiment import evaluate, train

    print(evaluate.table(train.run(config, args.workdir)))
    print(f"written to {args.workdir}: model/, metrics.json, metrics.jsonl, plots/")


def _evaluate(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.experiment import evaluate

    print(evaluate.table(evaluate.run(args.workdir)))


def _predict(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import predict

    count = predict.run(args.workdir, args.images, args.output, args.concepts)
    print(f"{count} pictures predicted: {args.output}")


def _explain(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import explain

    result = explain.run(args.workdir, args.images, args.output, args.k, args.target)
    print(f"{result.target} ({result.probability:.0%}): {args.output}")


def _encode(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.experiment import encode

    for features in encode.run(config, args.output):
        print(f"{len(features)} images, {len(features.skipped)} skipped: {args.output}")


def _pretrain(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.experiment import pretrain

    print(f"encoder: {pretrain.run(config, args.workdir)}")


def add_train(commands: Any) -> None:
    """`jaxcbm train`: fit, evaluate, draw."""
    parser = add_command(
        commands,
        "train",
        _train,
        "fit a concept bottleneck, evaluate it on test, and draw it; resumes where it was stopped",
        f"jaxcbm train {_QUICK} --config.training.epochs=30",
    )
    add_config(parser, required=True)
    add_workdir(parser, "folder for everything it writes")
    add_distributed(parser)


def add_evaluate(commands: Any) -> None:
    """`jaxcbm evaluate`: the test metrics of a finished run."""
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "print the test metrics of a finished run and write them to metrics.json",
        "jaxcbm evaluate --workdir=runs/quickstart",
    )
    add_workdir(parser, "folder of a finished run")
    add_distributed(parser)


def add_predict(commands: Any) -> None:
    """`jaxcbm predict`: classify pictures."""
    parser = add_command(
        commands,
        "predict",
        _predict,
        "classify pictures and name the concepts that decided",
        "jaxcbm predict --workdir=runs/quickstart --images=photos/ --output=labels.csv",
    )
    add_workdir(parser, "a finished run, or a model")
    parser.add_argument("--images", required=True, help="a folder, a file, or a glob in quotes")
    parser.add_argument("--output", required=True, type=Path, help=".csv, .jsonl or .parquet")
    parser.add_argument(
        "--concepts", type=int, default=5, help="contributions to report (default: 5)"
    )


def add_explain(commands: Any) -> None:
    """`jaxcbm explain`: draw one picture beside its contributions."""
    parser = add_command(
        commands,
        "explain",
        _explain,
        "draw one picture beside the concepts that decided its class",
        "jaxcbm explain --workdir=runs/quickstart --images=bird.png --output=why.html",
    )
    add_workdir(parser, "a finished run, or a model")
    parser.add_argument("--images", required=True, help="the picture")
    parser.add_argument("--output", required=True, type=Path, help=".png or .html")
    parser.add_argument("-k", type=int, default=10, help="contributions to show (default: 10)")
    parser.add_argument("--target", help="the class to explain (default: the predicted one)")


def add_encode(commands: Any) -> None:
    """`jaxcbm encode`: fill a feature store."""
    parser = add_command(
        commands,
        "encode",
        _encode,
        "encode a dataset's images into a feature store, once; resumes where it was stopped",
        "jaxcbm encode --config=configs/fashion_mnist.py --output=runs/features",
    )
    add_config(parser, required=True)
    parser.add_argument(
        "--output", required=True, type=as_path, help="folder of the store, here or on gs://"
    )
    add_distributed(parser)


def add_pretrain(commands: Any) -> None:
    """`jaxcbm pretrain`: train a dual encoder."""
    parser = add_command(
        commands,
        "pretrain",
        _pretrain,
        "train a small dual encoder from image-caption pairs; resumes where it was stopped",
        "jaxcbm pretrain --config=configs/pretrain_tiny.py --workdir=runs/encoder",
    )
    add_config(parser, required=True)
    add_workdir(parser, "folder for what it writes")
