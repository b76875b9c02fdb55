"""`jaxcbm report`: result files to Markdown, CSV and one self-contained HTML page."""

from collections.abc import Sequence
from pathlib import Path

from jaxcbm.atomic import atomic_file
from jaxcbm.errors import UserError
from jaxcbm.evaluation.results.file import read_result
from jaxcbm.report.csv_file import csv_text
from jaxcbm.report.facts import sections
from jaxcbm.report.pages import html_report, markdown_report


def run(files: Sequence[Path], output: Path) -> list[Path]:
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
    results = [read_result(file) for file in files]
    report = sections(results)
    texts = {
        "report.md": markdown_report(report),
        "report.csv": csv_text(results),
        "report.html": html_report(report),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output={output}: cannot make the folder ({error.strerror})") from error
    for name, text in texts.items():
        with atomic_file(output / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [output / name for name in texts]
