"""Which code made a result: its version, what its source says, and the commit it lies at."""

import hashlib
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parent
# What of a checkout decides what is measured; results and pages may be written meanwhile.
_DECIDING = ("jaxcbm", "configs", "benchmarks", "pyproject.toml")


@dataclass(frozen=True)
class Code:
    """The code that made a result.

    Attributes:
        version: of the installed package; "" where none is installed.
        source: hash of the package's modules, see `source_hash`.
        commit: of the checkout it ran from; "" from a wheel, or without git.
        dirty: whether package, configs, benchmarks or dependencies differed from that commit.
    """

    version: str
    source: str
    commit: str = ""
    dirty: bool = False

    def __str__(self) -> str:
        parts = [f"jaxcbm {self.version}".strip(), f"source {self.source}"]
        if self.commit:
            parts.insert(1, f"commit {self.commit[:12]}{' (dirty)' * self.dirty}")
        return ", ".join(parts)


@cache
def this_code() -> Code:
    """The code of this process, as it lay there when first asked."""
    commit, dirty = _commit_of(PACKAGE.parent)
    return Code(_version(), source_hash(), commit, dirty)


@cache
def source_hash(package: Path = PACKAGE) -> str:
    """Hash of the names and contents of all modules of a package, 16 hexadecimal digits.

    >>> source_hash() == source_hash(PACKAGE)
    True
    """
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda path: path.relative_to(package).parts):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(package).as_posix()}\n{content}\n".encode())
    return digest.hexdigest()[:16]


def _commit_of(root: Path) -> tuple[str, bool]:
    """The commit of a checkout whose top is `root`, and whether what decides results differs."""
    top = _git(root, "rev-parse", "--show-toplevel")
    # A wheel may be installed into a virtual environment inside somebody else's repository.
    if top is None or Path(top).resolve() != root.resolve():
        return "", False
    changes = _git(root, "status", "--porcelain", "--", *_DECIDING)
    return _git(root, "rev-parse", "HEAD") or "", bool(changes)


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where it fails or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version() -> str:
    try:
        return version("jaxcbm")
    except PackageNotFoundError:
        return ""
