"""`jaxcbm config`: the configs that there are, and the settings of one."""

import argparse
from typing import Any

from jaxcbm.commands.command import add_command


def add(commands: Any) -> None:
    """Its flags."""
    parser = add_command(
        commands,
        "config",
        run,
        "list the configs, or every setting of one: its value, its meaning and what it may be",
        "jaxcbm config quickstart --config.training.epochs=30",
    )
    parser.add_argument(
        "config", nargs="?", metavar="NAME", help="a config by name, or a Python file"
    )


def run(args: argparse.Namespace, config: dict[str, Any]) -> None:
    """Print the list."""
    from jaxcbm.experiment.config_file import config_summaries
    from jaxcbm.lines import aligned

    if args.config:
        print("\n".join(_settings(config)))
    else:
        lines = aligned(list(config_summaries().items()))
        print("\n".join([*lines, "", "jaxcbm config NAME lists every setting of one"]))


def _settings(config: dict[str, Any]) -> list[str]:
    """A line `--config.NAME=VALUE`, and below it what it means and may be."""
    import shlex
    import textwrap

    from jaxcbm.experiment.config import Experiment
    from jaxcbm.experiment.pretrain import PretrainExperiment
    from jaxcbm.typed_json import from_json, settings_of

    kind, lines = PretrainExperiment if "pairs" in config else Experiment, []
    from_json(kind, config, "config")
    for setting in settings_of(kind):
        value: Any = config
        for part in setting.name.split("."):
            value = value[part]
        lines.append(f"--config.{setting.name}={shlex.quote(str(value))}")
        about = f"{setting.meaning} ({setting.kind})"
        lines += textwrap.wrap(about, 96, initial_indent="    ", subsequent_indent="    ")
    return lines
