"""What is built and installed: the wheel alone must be enough, in a folder with nothing else."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="no hatchling: pip install the extra `test`")
ROOT = Path(__file__).parents[1]


def build(source: Path, target: str, output: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target]
    subprocess.run([*command, "--directory", str(output)], cwd=source, check=True)
    return next(output.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def run(site: Path, empty: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line of an unpacked wheel, in a folder of its own."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "jaxcbm", *arguments],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """One built from the checkout, one from the source distribution."""
    folder = tmp_path_factory.mktemp("built")
    direct = build(ROOT, "wheel", folder / "direct")
    with tarfile.open(build(ROOT, "sdist", folder / "sdist")) as archive:
        archive.extractall(folder / "source", filter="data")
    source = next((folder / "source").iterdir())
    return direct, build(source, "wheel", folder / "indirect")


def test_both_ways_to_a_wheel_give_the_same_files(wheels):
    contents = []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0] == contents[1]
    for asset in (ROOT / "jaxcbm" / "explore" / "assets").iterdir():
        assert contents[0][f"jaxcbm/explore/assets/{asset.name}"] == asset.read_bytes()
    for config in (ROOT / "configs").glob("*.py"):
        assert contents[0][f"jaxcbm/configs/{config.name}"] == config.read_bytes()


@pytest.mark.slow
def test_an_unpacked_wheel_works_in_an_empty_folder(wheels, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(site)
    listed = run(site, empty, "config")
    assert listed.returncode == 0 and listed.stdout.startswith("cifar10 "), listed.stderr
    short = ("--config.data.images_per_class=4", "--config.training.epochs=1")
    short += ("--config.sparse_head.path_length=2", "--config.mesh.data=1")
    done = run(site, empty, "train", "-q", "--config=quickstart", "--workdir=q", *short)
    assert done.returncode == 0, done.stderr
    assert "top-1 %" in done.stdout and (empty / "q" / "plots" / "explanation.png").exists()
    missing = run(site, empty, "train", "--config=configs/quickstart.py", "--workdir=p")
    assert missing.returncode == 2 and "quickstart" in missing.stderr
    assert "site-packages" not in missing.stderr and missing.stderr.count("\n") == 1
