"""`jaxcbm report`: result files to Markdown, CSV and one self-contained HTML page."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxcbm.commands.command import add_command


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "report",
        run,
        "make tables and figures of result files: report.md, report.csv and report.html",
        "jaxcbm report --results docs/results/methods/*.json --output=runs/report",
    )
    parser.add_argument(
        "--results",
        required=True,
        nargs="+",
        action="extend",
        type=Path,
        metavar="FILE.json",
        help="what `jaxcbm reproduce` wrote, one or more, of any datasets and protocols",
    )
    parser.add_argument("--output", required=True, type=Path, help="folder of the report")


def run(args: argparse.Namespace, _: dict[str, Any]) -> None:
    """Write the pages, and list them."""
    for file in write_report(args.results, args.output):
        print(f"written: {file}")


def write_report(files: Sequence[Path], output: Path) -> list[Path]:
    """Read and check result files, then write report.md, report.csv and report.html.

    Args:
        files: from `jaxcbm.evaluation.results.file.write_result`.
        output: a folder.

    Returns:
        The files written.

    Raises:
        UserError: a result file is missing or broken (nothing is written then), or the folder
            cannot be made.
    """
    from jaxcbm.atomic import write_text
    from jaxcbm.evaluation.results.file import read_result
    from jaxcbm.report.csv_file import csv_text
    from jaxcbm.report.facts import sections
    from jaxcbm.report.pages import html_report, markdown_report

    results = [read_result(file) for file in files]
    report = sections(results)
    texts = {
        "report.md": markdown_report(report),
        "report.csv": csv_text(results),
        "report.html": html_report(report),
    }
    for name, text in texts.items():
        write_text(output / name, text)
    return [output / name for name in texts]
