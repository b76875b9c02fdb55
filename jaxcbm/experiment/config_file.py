"""Experiment files: Python with `get_config()`, overridden from the command line."""

import ast
import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

import jaxcbm
from jaxcbm.distributed.processes import main_alone
from jaxcbm.errors import UserError
from jaxcbm.lines import first_line
from jaxcbm.sealed_json import read_sealed, write_sealed

SETTINGS = "config.json"


def shipped_configs() -> dict[str, Path]:
    """The configs that come with the library, by name.

    A wheel holds them inside the package; a checkout beside it, where people read and copy them.
    """
    package = Path(jaxcbm.__file__).parent
    inside = package / "configs"
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {path.stem: path for path in sorted(folder.glob("*.py"))}


def config_summaries() -> dict[str, str]:
    """The first line of each shipped config's docstring, by name."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in shipped_configs().items()}
    said = {name: ast.get_docstring(ast.parse(text)) or "" for name, text in texts.items()}
    return {name: text.split("\n")[0] for name, text in said.items()}


def find_config(name: str) -> Path:
    """The file of a config: a shipped one by its name, or a path, with or without .py.

    Raises:
        UserError: there is none; lists the names that there are.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    for path in (Path(name), Path(f"{name}.py")):
        if path.is_file():
            return path
    raise UserError(
        f"no config {name!r}: give a Python file, or one of {', '.join(shipped)} (`jaxcbm config` "
        "says what they are)"
    )


def read_config(name: str, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Run a config file and apply `--config.a.b=value` overrides.

    Args:
        name: of a shipped config, or a Python file whose `get_config()` returns a ConfigDict.
        overrides: as typed; each must name a field that the file has, with a value of its type.

    Returns:
        The settings as nested plain dicts.

    Raises:
        UserError: no such file, unknown field, or a value of another type.
    """
    path = find_config(name)
    if strange := [arg for arg in overrides if not arg.startswith("--config.")]:
        raise UserError(f"unknown argument {strange[0]} (overrides look like --config.name=value)")
    if bare := [arg for arg in overrides if "=" not in arg]:
        raise UserError(f"{bare[0]}: give a value with =, as in {bare[0]}=VALUE")
    config = _run_file(path)
    argv = ["jaxcbm", *overrides]
    # Flags of their own, so that nothing is left behind in the process-wide ones.
    values = flags.FlagValues()
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        # A KeyError as text is the representation of its message.
        said = str(error.args[0] if error.args else error)
        raise UserError(f"--config={name}: {' '.join(said.split())}") from error
    return config.to_dict()


def _run_file(path: Path) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: a config file is a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path}: a config file defines get_config()")
    config = module.get_config()
    if not isinstance(config, ConfigDict):
        raise UserError(f"{path}: get_config() must return an ml_collections.ConfigDict")
    return config


def settings_of_run(workdir: Path) -> Any:
    """The settings that a work directory was begun with; None where no run was.

    Raises:
        UserError: their file is damaged.
    """
    file = workdir / SETTINGS
    try:
        return read_sealed(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{file}: damaged ({first_line(error)}); restore it, or choose another --workdir"
        ) from error


@contextmanager
def settled(workdir: Path, config: dict[str, Any]) -> Iterator[None]:
    """Bind a work directory to one config; running again with the same one resumes.

    In a run of several processes, process 0 does so, and the others wait. Where the block fails
    before it has left anything there, the directory stays free for another config.

    Raises:
        UserError: the directory holds a run of another config; names the first difference.
    """
    begun = main_alone("workdir", lambda: _settle(workdir, config))
    try:
        yield
    except (UserError, OSError):
        if begun and not any(_left_in(workdir)):
            (workdir / SETTINGS).unlink(missing_ok=True)
        raise


def _left_in(workdir: Path) -> Iterator[Path]:
    """What a run has left beside its settings and its lock."""
    return (path for path in workdir.iterdir() if path.name != SETTINGS and path.name[0] != ".")


def _settle(workdir: Path, config: dict[str, Any]) -> bool:
    """Whether the directory is bound to it only now."""
    wanted = json.loads(json.dumps(config))
    found = settings_of_run(workdir)
    if found is not None:
        if found != wanted:
            raise UserError(
                f"{workdir} holds a run of another config ({_difference(found, wanted)}): "
                "choose another --workdir, or delete it"
            )
        return False
    if workdir.is_file():
        raise UserError(f"--workdir={workdir} is a file: name a folder")
    write_settings(workdir, wanted)
    return True


def write_settings(workdir: Path, config: dict[str, Any]) -> None:
    """Write the settings that `settings_of_run` reads."""
    write_sealed(workdir / SETTINGS, config)


def _difference(found: Any, wanted: Any, place: str = "config") -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in [*found, *wanted]:
            inner = f"{place}.{name}"
            if name not in found or name not in wanted:
                return f"{inner} is {'new' if name in wanted else 'gone'}"
            if found[name] != wanted[name]:
                return _difference(found[name], wanted[name], inner)
    return f"{place} is {found!r} there, {wanted!r} here"
