"""Command lines of small runs, and how one fails."""

from pathlib import Path

from jaxcbm.cli import main

ROOT = Path(__file__).parents[2]


def arguments(workdir, root, phrases, encoder, *more):
    return [
        "--quiet",
        "train",
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--workdir={workdir}",
        f"--config.data.root={root}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={encoder}",
        "--config.training.epochs=3",
        "--config.sparse_head.path_length=4",
        "--config.mesh.data=1",
        *more,
    ]


def fails(capsys, argv, *words):
    capsys.readouterr()
    assert main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()[-1:]) == 1 and "Traceback" not in error
    last = error.splitlines()[-1]
    assert last.startswith("jaxcbm: error:")
    for word in words:
        assert word in last, last
