import errno
import os
import stat

import pytest

from jaxcbm.atomic import atomic_file, atomic_folder
from jaxcbm.errors import UserError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "kept.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "kept.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]
    assert (tmp_path / "kept.txt").read_text() == "old"


@pytest.mark.parametrize("writer", [atomic_file, atomic_folder])
def test_a_full_disk_is_a_users_error(tmp_path, writer):
    with pytest.raises(UserError, match="no space left"), writer(tmp_path / "new"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_is_written_has_the_permissions_of_any_new_file(tmp_path, umask):
    """Also where a library made a private file of its own and renamed it."""
    before = os.umask(umask)
    try:
        for path in (tmp_path / "file", tmp_path / "folder" / "inner" / "file"):
            writer = atomic_file if path.parent == tmp_path else atomic_folder
            with writer(tmp_path / path.relative_to(tmp_path).parts[0]) as temporary:
                written = temporary if writer is atomic_file else temporary / "inner" / "file"
                written.parent.mkdir(exist_ok=True)
                written.unlink(missing_ok=True)
                os.close(os.open(written, os.O_CREAT, 0o600))
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~umask
    finally:
        os.umask(before)


def test_a_temporary_file_has_the_extension_of_the_result(tmp_path):
    with atomic_file(tmp_path / "a.html") as temporary:
        assert temporary.suffix == ".html" and temporary.name.startswith(".")
        assert temporary.exists() and not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("writer", [atomic_file, atomic_folder])
def test_a_place_that_is_something_else_is_a_users_error(tmp_path, writer):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    wrong = "folder" if writer is atomic_file else "file"
    for place in (tmp_path / wrong, tmp_path / "file" / "inner"):
        with pytest.raises(UserError, match="cannot write"), writer(place) as temporary:
            temporary.write_text("") if writer is atomic_file else None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    for text in ("first", "second"):
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text(text)
    assert (tmp_path / "folder" / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
