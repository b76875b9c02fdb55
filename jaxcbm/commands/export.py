"""`jaxcbm export`: a folder that serves a finished model elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from jaxcbm.model.export.folder import export_model
from jaxcbm.model.export.program import PLATFORMS
from jaxcbm.model.model import load_model


def run(
    workdir: Path,
    output: Path,
    *,
    with_encoder: bool = False,
    platforms: Sequence[str] = PLATFORMS,
) -> list[Path]:
    """Export the model of a work directory; returns the files that were written."""
    export_model(load_model(workdir), output, with_encoder=with_encoder, platforms=platforms)
    return sorted(path for path in output.rglob("*") if path.is_file())
