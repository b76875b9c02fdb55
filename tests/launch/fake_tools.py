"""Stand-ins for the programs that launch/ calls: they write down how they were called."""

import os
import shutil
import sys
from pathlib import Path

LAUNCH = Path(__file__).parents[2] / "launch"
TOOLS = ("gcloud", "kubectl", "docker", "srun", "scontrol", "jaxcbm")
SHELL_TOOLS = ("bash", "env", "dirname", "sed", "sleep", "cat")
_RECORD = """#!/usr/bin/env bash
printf -v words '%q ' "$(basename "$0")" "$@"
printf '%s\\n' "${words% }" >> "$CALLS"
[ "$(basename "$0")" != kubectl ] || cat >> "$CALLS"
if [ "$(basename "$0")" = srun ]; then exit "${SRUN_STATUS:-0}"; fi
"""


def make_tools(folder: Path) -> dict[str, str]:
    """An environment in which nothing but the stand-ins and a few shell tools can be called."""
    folder.mkdir()
    for name in TOOLS:
        (folder / name).write_text(_RECORD)
        (folder / name).chmod(0o755)
    for name in (*SHELL_TOOLS, "basename"):
        found = shutil.which(name)
        assert found is not None, f"no {name} here"
        (folder / name).symlink_to(found)
    # Not the one that is found by name: it may be a script that calls other tools.
    (folder / "python3").symlink_to(sys.executable)
    (folder / "calls").touch()
    return {"PATH": str(folder), "CALLS": str(folder / "calls"), "HOME": os.environ["HOME"]}
