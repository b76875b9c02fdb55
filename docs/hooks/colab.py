"""What every notebook has in common: metadata, its button for Colab, its install cell, no outputs.

python docs/hooks/colab.py    # after a notebook was changed, or the repository's address
"""

import json
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
_METADATA = {
    "colab": {"provenance": [], "toc_visible": True},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
_INSTALL = """\
# Does nothing where jaxcbm is installed. On a GPU runtime install the extra `cuda`, on a TPU `tpu`.
import importlib.util

if importlib.util.find_spec("jaxcbm") is None:
    %pip install --quiet {what}"""


def repository() -> str:
    """Address of the repository, from pyproject.toml's `[project.urls]`; "" while it has none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "").rstrip("/")


def colab_address(address: str, name: str) -> str:
    """Where Colab opens a notebook of the repository; "" where that has no address on GitHub.

    >>> colab_address("https://github.com/someone/jaxcbm", "birds.ipynb")
    'https://colab.research.google.com/github/someone/jaxcbm/blob/main/notebooks/birds.ipynb'
    """
    host, github, path = address.partition("https://github.com/")
    if host or not github:
        return ""
    return f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{name}"


def tidied(notebook: dict[str, Any], name: str, address: str) -> dict[str, Any]:
    """A notebook as it is committed.

    Args:
        notebook: parsed JSON; its first cell says what it is about.
        name: of its file.
        address: of the repository; "" for none: then it has no button, and it installs the checkout
            that it lies in.
    """
    made = "colab", "install"
    first, *rest = (cell for cell in notebook["cells"] if cell.get("id") not in made)
    opened = colab_address(address, name)
    badge = f"[![Open in Colab]({_BADGE})]({opened})"
    install = _INSTALL.format(what=f'"jaxcbm @ git+{address}"' if address else "..")
    cells = [
        _cell("cell-00", first["cell_type"], "".join(first["source"])),
        *([_cell("colab", "markdown", badge)] if opened else []),
        _cell("install", "code", install),
        *(
            _cell(f"cell-{place:02d}", cell["cell_type"], "".join(cell["source"]))
            for place, cell in enumerate(rest, start=1)
        ),
    ]
    return {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}


def _cell(name: str, kind: str, source: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def as_text(notebook: dict[str, Any]) -> str:
    """The content of its file, in the form that Jupyter writes."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Tidy every notebook of the repository."""
    for file in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(as_text(tidied(notebook, file.name, repository())), encoding="utf-8")


if __name__ == "__main__":
    main()
