"""The command line: parse and call. Each command's imports happen when it runs."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxcbm.commands.concept_arguments import add_actions
from jaxcbm.errors import UserError

CONFIG_HELP = "a Python file with get_config(); see configs/. Override with --config.a.b=VALUE"
# What `reproduce --dataset` knows: name -> file in configs/.
DATASETS = {
    "birds": "quickstart",
    "fashion_mnist": "fashion_mnist",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "imagenet": "imagenet",
    "cub": "cub",
    "places365": "places365",
}


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


def _dataset_config(name: str) -> str:
    if name not in DATASETS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(DATASETS)}")
    return f"configs/{DATASETS[name]}.py"


def _reproduce(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import report, reproduce

    file = reproduce.run(
        config,
        args.workdir,
        seeds=args.seeds,
        protocol=args.protocol,
        methods=args.method,
        command=args.command,
    )
    results = sorted(args.workdir.glob("results-*.json"))
    for written in (file, *report.run(results, args.workdir / "report")):
        print(f"written: {written}")


def _report(args: argparse.Namespace, _: dict) -> None:
    from jaxcbm.commands import report

    for file in report.run(args.results, args.output):
        print(f"written: {file}")


def _sweep(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import sweep

    ranked = sweep.run(config, args.workdir, args.grid, args.memory)
    print(sweep.table(ranked))
    print(f"written to {args.workdir}: sweep.md, sweep.csv, sweep.json, plots/sweep.png")
    words = [f"--config={args.config}", "--workdir=BEST", *args.overrides]
    words += sweep.overrides(ranked[0])
    print(" \\\n    ".join(["jaxcbm train", *map(shlex.quote, words)]))


def _search(args: argparse.Namespace, config: dict) -> None:
    from jaxcbm.commands import search

    print(search.table(search.run(config, args.template, args.output)))


def _command(commands, name: str, function, help: str, example: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(function=function, config=None, grid=None)
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

    reproduce = _command(
        commands,
        "reproduce",
        _reproduce,
        "run the whole table of methods on one dataset, and report it; resumes where it stopped",
        "jaxcbm reproduce --dataset=birds --workdir=runs/birds",
    )
    data = reproduce.add_mutually_exclusive_group(required=True)
    data.add_argument("--config", metavar="FILE", help=CONFIG_HELP)
    data.add_argument(
        "--dataset",
        dest="config",
        type=_dataset_config,
        metavar="NAME",
        help=f"short for the shipped config of {', '.join(DATASETS)}",
    )
    reproduce.add_argument("--workdir", required=True, type=Path, help="folder for what it writes")
    reproduce.add_argument("--seeds", type=int, default=5, help="how many (default: 5)")
    reproduce.add_argument(
        "--protocol",
        choices=("official", "released"),
        default="official",
        help="released: the splits of the released code, which test on train images; for study",
    )
    reproduce.add_argument(
        "--method", action="append", default=[], metavar="NAME", help="only this row; repeatable"
    )

    report = _command(
        commands,
        "report",
        _report,
        "make tables and figures of result files: report.md, report.csv and report.html",
        "jaxcbm report --results docs/results/*.json --output=runs/report",
    )
    report.add_argument(
        "--results",
        required=True,
        nargs="+",
        action="extend",
        type=Path,
        metavar="FILE.json",
        help="what `jaxcbm reproduce` wrote, one or more, of any datasets and protocols",
    )
    report.add_argument("--output", required=True, type=Path, help="folder of the report")

    sweep = _command(
        commands,
        "sweep",
        _sweep,
        "train a grid of settings at once and rank them on validation; resumes where it stopped",
        f"jaxcbm sweep {quick} \\\n"
        "    --grid.bottleneck.objective=gumbel,contrastive,l1,similarity \\\n"
        "    --grid.training.cbl.learning_rate=1e-4,1e-3,1e-2 --grid.training.seed=0,1,2",
    )
    sweep.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    sweep.add_argument("--workdir", required=True, type=Path, help="folder for what it writes")
    sweep.add_argument(
        "--grid.FIELD",
        dest="none",
        metavar="V1,V2,...",
        help="values of one axis; FIELD is named as in --config.FIELD=V, under bottleneck or "
        "training. Once an axis; the grid is all combinations, and seeds are averaged over",
    )
    sweep.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="what the runs of one moment may take on each device (default: most of it)",
    )
    sweep.set_defaults(grid=[])

    search = _command(
        commands,
        "search",
        _search,
        "classify without training: Concept Matrix Search in every form, and zero-shot",
        "jaxcbm search --config=configs/quickstart.py --template='{}' --template='a drawing of {}'",
    )
    search.add_argument("--config", required=True, metavar="FILE", help=CONFIG_HELP)
    search.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a sentence with {} for the class name; several make an ensemble (default: "
        "'{}', 'a photo of a {}', 'a picture of a {}')",
    )
    search.add_argument("--output", type=Path, metavar="FILE", help="a .json file for the table")

    concepts = _command(
        commands,
        "concepts",
        None,
        "make a set of concept phrases: generate, filter, show and diff",
        "jaxcbm concepts generate --help",
    )
    add_actions(concepts, _command, CONFIG_HELP)
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
    args.command = " ".join(["jaxcbm", *(sys.argv[1:] if argv is None else argv)])
    if args.grid is not None:
        args.grid = [axis for axis in rest if axis.startswith("--grid.")]
        rest = args.overrides = [other for other in rest if other not in args.grid]
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
    except BrokenPipeError:
        # Who reads our output, such as head, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("jaxcbm: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
