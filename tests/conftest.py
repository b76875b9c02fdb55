"""Strict numerics, eight simulated devices and quick compiling, before the first call into jax."""

# ruff: noqa: E402 - the environment is set before anything imports jax

import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")
# With few cores, simulated devices that wait for each other in a collective can starve one another.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Every run encodes for itself, and nothing is written into the user's cache.
os.environ["JAXCBM_CACHE"] = ""
# Programs here are tiny and run a few times, so compiling is most of the time. What runs in the
# workers of xdist and in processes that a test starts inherits both settings: programs are
# optimised little, and what one process has compiled the others of this session read.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
_COMPILED = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _COMPILED = tempfile.mkdtemp(prefix="jaxcbm-compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _COMPILED
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

_ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from hypothesis import HealthCheck, settings

# Seconds say nothing of the code while other things run on the same cores.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Remaking goldens needs torch; the tests do not.
# Fixtures hold no examples, and files of one name cannot all be searched for them.
collect_ignore_glob = ["goldens/make_*.py", "conftest.py", "*/conftest.py"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that slow.txt names, before the marker decides which of them run."""
    lines = Path(__file__).with_name("slow.txt").read_text(encoding="utf-8").splitlines()
    names = tuple(line for line in lines if line and not line.startswith("#"))
    for item in items:
        if item.nodeid.startswith(names):
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """What a test file changed of the environment would reach every process started after it."""
    now = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    if now != _ENVIRONMENT:
        changed = sorted({name for name, _ in now.items() ^ _ENVIRONMENT.items()})
        raise pytest.UsageError(f"importing the test files changed {', '.join(changed)}")


def pytest_unconfigure() -> None:
    """Remove the compiled programs: only the process that made the folder knows it."""
    if _COMPILED is not None:
        shutil.rmtree(_COMPILED, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def _few_memory_maps():
    """Forget compiled programs before they hold all the memory maps that a process may have.

    Each holds several, a worker of xdist compiles thousands, and Linux grants 65,530: one more, and
    the process ends in a segmentation fault.
    """
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory) -> Path:
    """A CLIP folder with random weights for pictures of 16 pixels."""
    from jaxcbm.encoders.checkpoint.save import save_encoder
    from jaxcbm.encoders.clip.config import ClipConfig
    from jaxcbm.encoders.clip.model import make_clip
    from jaxcbm.encoders.image.preprocess import Preprocess
    from jaxcbm.encoders.tokenizer import train_tokenizer
    from jaxcbm.flat_params import split_flat

    folder = tmp_path_factory.mktemp("tiny_encoder")
    tokenizer = train_tokenizer(["a red bird", "a blue fish"], 514, folder / "tokenizer")
    config = ClipConfig.tiny(
        vocab_size=len(tokenizer.backend),
        image_size=16,
        patch_size=8,
        width=32,
        layers=1,
        text_layers=1,
        context_length=12,
        embed_dim=16,
    )
    _, params = split_flat(make_clip(config, rngs=nnx.Rngs(0)))
    save_encoder(
        folder / "encoder", config, params, folder / "tokenizer", Preprocess.square(16), "float32"
    )
    return folder / "encoder"


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory) -> Path:
    """Three classes of coloured noise, 12 pictures each, one folder a class."""
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("amber", "blue", "coral")):
        (root / name).mkdir()
        for i in range(12):
            pixels = rng.integers(0, 120, (20, 24, 3))
            pixels[..., label] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{i:02d}.png")
    return root


@pytest.fixture
def phrases(tmp_path) -> Path:
    """A file of phrases with a blank line and a duplicate."""
    file = tmp_path / "phrases.txt"
    file.write_text("an amber glow\na blue tint\na coral hue\n\na blue tint\nsomething else\n")
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory, picture_folder, tiny_encoder_folder) -> Path:
    """The work directory of a finished run on `picture_folder`."""
    from command_line import arguments

    from jaxcbm.cli import main

    folder = tmp_path_factory.mktemp("trained")
    phrases = folder / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    workdir = folder / "run"
    assert main(arguments(workdir, picture_folder, phrases, tiny_encoder_folder)) == 0
    return workdir


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """What gs:// holds, as files, by way of fsspec; copies go to a cache of this test."""
    import fsspec
    from etils.epath import backend
    from fsspec.implementations.local import LocalFileSystem

    class Bucket(LocalFileSystem):
        """Objects: folders come with them, and nothing can be renamed."""

        protocol = ("gcs", "gs")
        cachable = False

        def __init__(self, **options):
            super().__init__(auto_mkdir=True)

        @classmethod
        def _strip_protocol(cls, path):
            path = str(path)
            if path.startswith("gs://"):
                path = f"{tmp_path}/objects/{path.removeprefix('gs://')}"
            return LocalFileSystem._strip_protocol(path)

        def mv(self, *arguments, **options):
            raise AssertionError("an object cannot be renamed")

    fsspec.register_implementation("gcs", Bucket, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "objects" / "bucket"
    backend.fsspec_backend._get_filesystem.cache_clear()
