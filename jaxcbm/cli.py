"""The command line: parse and call. Each command's imports happen when it runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcbm.errors import UserError

CONFIG_HELP = "a Python file with get_config(); see configs/. Override with --config.a.b=VALUE"


def _train(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import evaluate, train

    print(evaluate.table(train.run(config, args.workdir)))
    print(f"written to {args.workdir}: model/, metrics.json, metrics.jsonl, plots/")


def _evaluate(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import evaluate

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
    from jaxcbm.commands import encode

    for features in encode.run(config, args.output):
        print(f"{len(features)} images, {len(features.skipped)} skipped: {args.output}")


def _pretrain(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import pretrain

    print(f"encoder: {pretrain.run(config, args.workdir)}")


def _command(commands, name: str, function, help: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(function=function, config=None)
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command and its flags."""
    parser = argparse.ArgumentParser(
        prog="jaxcbm", description="Image classifiers that explain every decision by concepts."
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print results only")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    quick = "--config=configs/quickstart.py --workdir=runs/quickstart"
    train = _command(
        commands,
        "train",
        _train,
        "fit a concept bottleneck, evaluate it on test, and draw it; resumes where it was stopped",
        f"jaxcbm train {quick} --config.training.epochs=30",
    )
    train.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    train.add_argument(
        "--workdir", required=True, type=Path, help="folder for everything it writes"
    )

    evaluate = _command(
        commands,
        "evaluate",
        _evaluate,
        "print the test metrics of a finished run and write them to metrics.json",
        "jaxcbm evaluate --workdir=runs/quickstart",
    )
    evaluate.add_argument("--workdir", required=True, type=Path, help="folder of a finished run")

    predict = _command(
        commands,
        "predict",
        _predict,
        "classify pictures and name the concepts that decided",
        "jaxcbm predict --workdir=runs/quickstart --images=photos/ --output=labels.csv",
    )
    predict.add_argument("--workdir", required=True, type=Path, help="a finished run, or a model")
    predict.add_argument("--images", required=True, help="a folder, a file, or a glob in quotes")
    predict.add_argument("--output", required=True, type=Path, help=".csv, .jsonl or .parquet")
    predict.add_argument(
        "--concepts", type=int, default=5, help="contributions to report (default: 5)"
    )

    explain = _command(
        commands,
        "explain",
        _explain,
        "draw one picture beside the concepts that decided its class",
        "jaxcbm explain --workdir=runs/quickstart --images=bird.png --output=why.html",
    )
    explain.add_argument("--workdir", required=True, type=Path, help="a finished run, or a model")
    explain.add_argument("--images", required=True, help="the picture")
    explain.add_argument("--output", required=True, type=Path, help=".png or .html")
    explain.add_argument("-k", type=int, default=10, help="contributions to show (default: 10)")
    explain.add_argument("--target", help="the class to explain (default: the predicted one)")

    encode = _command(
        commands,
        "encode",
        _encode,
        "encode a dataset's images into a feature store, once; resumes where it was stopped",
        "jaxcbm encode --config=configs/fashion_mnist.py --output=runs/features",
    )
    encode.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    encode.add_argument("--output", required=True, type=Path, help="folder of the store")

    pretrain = _command(
        commands,
        "pretrain",
        _pretrain,
        "train a small dual encoder from image-caption pairs; resumes where it was stopped",
        "jaxcbm pretrain --config=configs/pretrain_tiny.py --workdir=runs/encoder",
    )
    pretrain.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    pretrain.add_argument("--workdir", required=True, type=Path, help="folder for what it writes")
    return parser


def _set_up_logging(quiet: bool) -> None:
    import logging as python_logging

    from absl import flags, logging

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # absl and the libraries on it warn about flags that nobody parsed; we parse our own.
    flags.FLAGS.mark_as_parsed()
    logging.use_absl_handler()
    logging.set_verbosity(logging.WARNING if quiet else logging.INFO)
    logging.set_stderrthreshold("info")
    handler = logging.get_absl_handler()
    handler.setFormatter(python_logging.Formatter("%(message)s"))
    ours = str(Path(__file__).parent)
    # Libraries speak through the same logger; their chatter is not for our users.
    handler.addFilter(
        lambda record: record.levelno >= python_logging.WARNING or record.pathname.startswith(ours)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a mistake the user can mend."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.config is None:
        parser.error(f"unknown argument {rest[0]}")
    _set_up_logging(args.quiet)
    try:
        config = {}
        if args.config is not None:
            from jaxcbm.commands.config_file import read_config

            config = read_config(args.config, rest)
        args.function(args, config)
    except UserError as error:
        print(f"jaxcbm: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("jaxcbm: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
