"""The library transformers, imported where it is used and without its notices."""

import os
import warnings
from types import ModuleType

_SILENCE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


def import_transformers() -> ModuleType:
    """Import transformers, which takes a second, for its tokenizers and configurations.

    On import it says that PyTorch is missing, and in a notebook that ipywidgets is; none of its
    users here needs either.
    """
    before = os.environ.get(_SILENCE)
    os.environ[_SILENCE] = "1"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "IProgress not found")
            import transformers
    finally:
        if before is None:
            del os.environ[_SILENCE]
        else:
            os.environ[_SILENCE] = before
    return transformers
