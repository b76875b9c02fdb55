import errno
import os

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


def test_a_folder_replaces_the_old_one_whole(tmp_path):
    for text in ("first", "second"):
        with atomic_folder(tmp_path / "folder") as temporary:
            (temporary / "file").write_text(text)
    assert (tmp_path / "folder" / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
