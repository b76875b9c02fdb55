"""Pages of the site that are made from the code: settings, commands and notebooks."""

import argparse
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

from colab import colab_address

from jaxcbm.cli import build_parser
from jaxcbm.experiment.config import Experiment
from jaxcbm.experiment.config_file import config_summaries
from jaxcbm.experiment.pretrain import PretrainExperiment
from jaxcbm.pages import code_markdown, escape_markdown
from jaxcbm.typed_json import Setting, settings_of

_SETTINGS = """\
# Settings

Every setting of an experiment, made from the dataclasses that read it. Set one on the command line
by its full name, `--config.training.epochs=30`; in Python by its path,
`jaxcbm.train("quickstart", "runs/a", {"training.epochs": 30})`; or in a Python file with
`get_config()`. A name that does not exist and a value out of range are refused before any work.
`jaxcbm config NAME` prints the settings of one config with its own values.

## Shipped configs

"""
_COMMANDS = """\
# Commands

Every command and its flags, as `jaxcbm COMMAND --help` prints them. A command that succeeds exits
with 0. A mistake that you can mend is one line, and the exit code is 2. A run that was asked to
stop exits with 143, and the same command continues it.

"""
_NOTEBOOKS = """\
# Notebooks

Each runs from top to bottom on a CPU, and unchanged on a GPU or TPU runtime. In an environment of
your own, `pip install ".[notebooks,widget]"` in a checkout brings what they need.

"""


def settings_page() -> str:
    """Every field of an experiment and of a pre-training: name, default, range and meaning."""
    listed = _table(
        ("config", "what it is"), [(f"`{name}`", said) for name, said in config_summaries().items()]
    )
    own = [name for name in _sections(PretrainExperiment) if name != "mesh"]
    return "".join(
        [
            *(_SETTINGS, listed, "\n## An experiment\n\n", *_section_tables(Experiment)),
            "\n## A pre-training\n\n",
            "For `jaxcbm pretrain`, beside the section `mesh`, which is that of an experiment.\n\n",
            *_section_tables(PretrainExperiment, own),
        ]
    )


def _sections(kind: type) -> dict[str, list[Setting]]:
    """Settings by the first part of their names; those of no section under ""."""
    found: dict[str, list[Setting]] = {}
    for setting in settings_of(kind):
        section, dot, _ = setting.name.partition(".")
        found.setdefault(section if dot else "", []).append(setting)
    return found


def _section_tables(kind: type, names: list[str] | None = None) -> Iterator[str]:
    default = kind()
    for section, settings in _sections(kind).items():
        if names is not None and section not in names:
            continue
        if section:
            yield f"### {section}\n\n"
            yield f"{_paragraph(type(getattr(default, section)))}\n\n"
        rows = [
            (
                code_markdown(setting.name),
                code_markdown(repr(reduce(getattr, setting.name.split("."), default))),
                _kind(setting.kind),
                setting.meaning,
            )
            for setting in settings
        ]
        yield _table(("setting", "default", "may be", "meaning"), rows) + "\n"


def _paragraph(kind: type) -> str:
    """What the docstring of a dataclass says before its fields."""
    return (inspect.getdoc(kind) or "").partition("Attributes:")[0].strip()


def _kind(words: str) -> str:
    """A type in words, with what a literal may be as code."""
    return re.sub(r"'([^']*)'", r"`\1`", words)


def commands_page() -> str:
    """Every command and action with its description, example and flags."""
    parsers = list(_leaves(build_parser()))
    listed = [
        (f"[{parser.prog}](#{parser.prog.replace(' ', '-')})", _text(parser.description or ""))
        for parser in parsers
    ]
    return "\n".join(
        [_COMMANDS + _table(("command", "what it does"), listed), *map(_command, parsers)]
    )


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers that run something, in the order of `--help`."""
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for child in action.choices.values():
            yield from _leaves(child)


def _command(parser: argparse.ArgumentParser) -> str:
    example = textwrap.dedent((parser.epilog or "").removeprefix("example:\n"))
    parts = [f"## {parser.prog}\n\n{_text(parser.description or '')}\n"]
    if example:
        parts.append(f"\n```bash\n{example}\n```\n")
    for group in parser._action_groups:
        rows = [_flag(action) for action in group._group_actions if action.dest != "help"]
        if rows:
            known = group.title in ("options", "positional arguments")
            parts.append(
                "\n" if known else f"\n{escape_markdown((group.title or '').capitalize())}:\n\n"
            )
            parts.append(_table(("flag", "meaning"), rows))
    return "".join(parts)


def _flag(action: argparse.Action) -> tuple[str, str]:
    """A flag as one types it, and what it means."""
    takes = "" if action.nargs == 0 else f" {_placeholder(action)}"
    names = [f"{name}{'=' if name.startswith('--') else ' '}{takes.strip()}" if takes else name
             for name in action.option_strings]  # fmt: skip
    shown = ", ".join(code_markdown(name) for name in names or [_placeholder(action)])
    needed = " (required)" if action.required and action.option_strings else ""
    return shown + needed, _text((action.help or "").replace("%%", "%"))


def _text(help: str) -> str:
    """What `--help` says, with code in backticks kept as code."""
    return re.sub(r"(`[^`]+`)|[^\s`]+", lambda part: part[1] or escape_markdown(part[0]), help)


def _placeholder(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    named = action.metavar or action.dest.upper()
    return " ".join(named) if isinstance(named, tuple) else named


def notebooks_page(folder: Path, repository: str) -> str:
    """Every notebook with its title and first paragraph, and where to open it.

    Args:
        folder: of the notebooks.
        repository: its address on GitHub, from which Colab opens notebooks; "" for none.
    """
    return _NOTEBOOKS + "\n".join(
        _notebook(path, repository) for path in sorted(folder.glob("*.ipynb"))
    )


def _notebook(path: Path, repository: str) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    first = "".join(next(cell["source"] for cell in cells if cell["cell_type"] == "markdown"))
    title, _, text = first.partition("\n")
    opened = colab_address(repository, path.name)
    button = f"\n[Open in Colab]({opened}){{ .md-button }}\n" if opened else ""
    return (
        f"## {title.lstrip('# ')}\n\n{text.strip()}\n\n"
        f"[`notebooks/{path.name}`](../notebooks/{path.name})\n{button}"
    )


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(
        f"| {' | '.join(str(c).replace('|', chr(92) + '|') for c in line)} |\n" for line in lines
    )
