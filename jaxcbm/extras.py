"""Packages that come with an extra of ours, imported where they are used."""

import importlib
from typing import Any

from jaxcbm.errors import UserError


def import_extra(module: str, install: str, purpose: str) -> Any:
    """Import a package that not every installation has.

    Args:
        module: its name in Python.
        install: what `pip install` takes, such as "jaxcbm[parquet]".
        purpose: what needs it; begins the message.

    Raises:
        UserError: it is not installed.

    >>> import_extra("no_such_module", "jaxcbm[parquet]", "--output=a.parquet")
    Traceback (most recent call last):
    ...
    jaxcbm.errors.UserError: --output=a.parquet needs no_such_module: pip install 'jaxcbm[parquet]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{purpose} needs {module}: pip install '{install}'") from error
