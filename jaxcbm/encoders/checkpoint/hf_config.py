"""The content of a config.json as transformers reads it: checked, with its defaults filled in."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxcbm.encoders.import_transformers import import_transformers
from jaxcbm.errors import UserError
from jaxcbm.typed_json import value_from_json


def read_hf_config(kind: str, content: Mapping[str, Any]) -> Any:
    """Read a config.json by the class of transformers for its kind.

    What a file leaves out differs by family and stands in that class, as does the precedence of
    `text_config_dict` and `vision_config_dict` over their twins. The class is chosen by `kind`
    alone: no code that a file names is run.

    Args:
        kind: model type, such as "clip".
        content: the parsed file.

    Returns:
        The configuration, with `text_config` and `vision_config`.

    Raises:
        UserError: values of the wrong type, or sizes that contradict each other.

    >>> read_hf_config("clip", {"text_config": {"eos_token_id": 2}}).text_config.hidden_act
    'quick_gelu'
    """
    try:
        config_class = import_transformers().CONFIG_MAPPING[kind]
        with _silenced("transformers"):
            # A copy, because transformers writes into what it is given.
            return config_class.from_dict(copy.deepcopy(dict(content)))
    except Exception as error:  # a wrong value shows as nearly any exception in there
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"config.json: not the configuration of a {kind} model ({reason}); download it again"
        ) from error


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep a logger quiet: SigLIP's own defaults give warnings, and what is wrong is raised."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def scalar(section: Any, key: str, kind: Any) -> Any:
    """One value of a section, which may stand in a list of equal ones.

    Args:
        section: the configuration, or a tower's part of it.
        key: its name there.
        kind: its type and range, as `jaxcbm.typed_json` knows them.

    Raises:
        UserError: there is none, there are several, or it is of another type or out of range.
    """
    value = getattr(section, key, None)
    if isinstance(value, list | tuple) and value and all(each == value[0] for each in value):
        value = value[0]
    return value_from_json(kind, value, "config.json", key)


def require_rgb(section: Any) -> None:
    """Refuse an image tower that does not take three channels.

    Raises:
        UserError: another number of channels.
    """
    if section.num_channels != 3:
        raise UserError(f"config.json: num_channels must be 3, not {section.num_channels!r:.60}")
