"""Which code a result names: by content, by commit, and whether it was changed."""

import shutil
import subprocess

import pytest

from jaxcbm import code_version
from jaxcbm.code_version import Code, source_hash, this_code


@pytest.fixture
def package(tmp_path):
    """A package in a folder of its own."""
    root = tmp_path / "checkout"
    (root / "jaxcbm" / "inner").mkdir(parents=True)
    (root / "jaxcbm" / "__init__.py").write_text("", encoding="utf-8")
    (root / "jaxcbm" / "inner" / "maths.py").write_text("x = 1\n", encoding="utf-8")
    return root / "jaxcbm"


def git(root, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def committed(package):
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    return package


def hash_of(package):
    return source_hash.__wrapped__(package)


def test_the_hash_is_of_names_and_contents_of_modules_alone(package, tmp_path):
    first = hash_of(package)
    assert first == hash_of(shutil.copytree(package, tmp_path / "elsewhere" / "other_name"))
    (package / "phrases.txt").write_text("red crown", encoding="utf-8")
    assert hash_of(package) == first
    maths = package / "inner" / "maths.py"
    maths.rename(package / "maths.py")
    moved = hash_of(package)
    (package / "maths.py").write_text("x = 2\n", encoding="utf-8")
    assert len({first, moved, hash_of(package)}) == 3


def test_a_checkout_names_its_commit_and_what_decides_results_makes_it_dirty(committed):
    root = committed.parent
    head = git(root, "rev-parse", "HEAD")
    assert code_version._commit_of(root) == (head, False)
    (root / "docs").mkdir()
    (root / "docs" / "page.md").write_text("text", encoding="utf-8")
    assert code_version._commit_of(root) == (head, False)
    (committed / "new.py").write_text("", encoding="utf-8")
    assert code_version._commit_of(root) == (head, True)


def test_a_wheel_inside_another_repository_does_not_take_its_commit(committed):
    installed = committed.parent / "venv" / "site-packages"
    installed.mkdir(parents=True)
    assert code_version._commit_of(installed) == ("", False)


def test_without_git_there_is_no_commit(committed, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_version._commit_of(committed.parent) == ("", False)


def test_this_code_says_what_it_is():
    code = this_code()
    assert code.source == source_hash() and len(code.source) == 16
    assert (
        str(Code("1.0", "ab", "c" * 40, True))
        == f"jaxcbm 1.0, commit {'c' * 12} (dirty), source ab"
    )
    assert str(Code("1.0", "ab")) == "jaxcbm 1.0, source ab"
