"""Tar files from anybody: good pictures are read, the rest is a reason, nothing is written."""

import os
import tarfile
import threading
import time
import tracemalloc

import numpy as np
import pytest
from damage import DAMAGES, tries
from tar_files import member, picture, shard, write_tar

from jaxcbm.data.sources import tar_shards
from jaxcbm.data.sources.tar_shards import read_tar
from jaxcbm.encoders.image.file import UnreadableImage


def read(path) -> list[tuple[str, int | str]]:
    """Names without the archive's, with the first pixel's value, or with the reason."""
    found = []
    for name, opened in read_tar(path):
        try:
            found.append((name.removeprefix(f"{path}/"), opened().getpixel((0, 0))[0]))
        except UnreadableImage as error:
            assert "\n" not in str(error)
            found.append((name.removeprefix(f"{path}/"), str(error)))
    return found


def test_pictures_come_in_the_order_of_the_archive(tmp_path):
    path = shard(tmp_path / "a.tar", [3, 1, 2])
    assert read(path) == [("003.png", 3), ("001.png", 1), ("002.png", 2)]
    many = [member(f"deep/{'x' * 200}/{i}.{kind}", picture(9, "PNG")) for i, kind in enumerate(
        ("JPG", "jpeg", "webp", "png.txt", "json", "PNG"))]  # fmt: skip
    names = [name.rpartition("/")[2] for name, _ in read(write_tar(tmp_path / "b.tar", many))]
    assert names == ["0.JPG", "1.jpeg", "2.webp", "5.PNG"]


def test_what_is_no_picture_is_named_with_the_reason_and_nothing_is_written(tmp_path):
    members = [
        member("first.png", picture(1)),
        member("link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("hard.png", type=tarfile.LNKTYPE, linkname="first.png"),
        member("device.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
        member("pipe.png", type=tarfile.FIFOTYPE),
        member("folder.png", type=tarfile.DIRTYPE),
        member("/tmp/absolute.png", picture(2)),
        member("../../up.png", picture(2)),
        member("text.png", b"no picture"),
        member("empty.png"),
        member("._hidden.png", b"x"),
        member("caf\udce9.png", picture(3)),
        member("last.png", picture(4)),
    ]
    found = read(write_tar(tmp_path / "a.tar", members))
    reasons = dict(found)
    seen = [header.name for header, _ in members if not header.name.startswith("._")]
    assert list(reasons) == [name.replace("\udce9", "\\udce9") for name in seen]
    assert (reasons["first.png"], reasons["caf\\udce9.png"], reasons["last.png"]) == (1, 3, 4)
    for name in ("link", "hard", "device", "pipe", "folder"):
        assert reasons[f"{name}.png"] == "not an ordinary file"
    for name in ("/tmp/absolute.png", "../../up.png"):
        assert reasons[name] == "its name leads out of the archive"
    assert "not a picture" in reasons["text.png"] and "empty" in reasons["empty.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def headers(*each: tarfile.TarInfo, size: int = 0) -> bytes:
    return b"".join(header.tobuf(tarfile.GNU_FORMAT) for header in each) + bytes(size)


def negative() -> bytes:
    block = bytearray(headers(member("negative.png")[0]))
    block[124:136], block[148:156] = b"\xff" * 12, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


GOOD = headers(member("good.png", picture(7))[0]) + picture(7).ljust(512, b"\0")
ENDINGS = {
    "a member larger than the archive": (
        headers(member("huge.png", size=2**60)[0]), "unexpected end"),
    "a member larger than the archive, and no picture": (
        headers(member("huge.bin", size=2**60)[0]), "unexpected end"),
    "a name of four gigabytes": (
        headers(member("x", size=2**32, type=tarfile.GNUTYPE_LONGNAME)[0]), "a header of"),
    "facts of four gigabytes": (
        headers(member("x", size=2**32, type=tarfile.XHDTYPE)[0]), "a header of"),
    "facts about facts without end": (
        headers(*[member("x", type=tarfile.XHDTYPE)[0]] * 3000), "recursion"),
    "a negative size": (negative(), "a header that is not read"),
    "a sparse member": (
        headers(member("x.png", type=tarfile.GNUTYPE_SPARSE)[0]), "a header that is not read"),
    "no end": (b"", "no end mark"),
    "half a header": (b"x" * 100, "no end mark"),
    "a header of noise": (b"\x01" * 512, "no end mark"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDINGS)
def test_an_archive_that_goes_wrong_is_one_more_line_after_what_was_read(tmp_path, name):
    content, reason = ENDINGS[name]
    path = tmp_path / "a.tar"
    path.write_bytes(GOOD + content)
    if "gigabytes" in name:
        os.truncate(path, 2**33)  # they are really there, as far as anybody can tell
    began = time.monotonic()
    tracemalloc.start()
    found = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[0] == ("good.png", 7) and len(found) == 2 and found[1][0] == str(path)
    assert reason in found[1][1] and "after 1 picture" in found[1][1]
    assert peak < 2**25 and time.monotonic() - began < 5


def test_a_member_that_is_too_large_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_shards, "MAX_BYTES", 2**20)
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(headers(member("large.png", size=2**20 + 512)[0]))
        file.seek(2**20 + 512, os.SEEK_CUR)
        file.write(GOOD + bytes(1024))
    assert read(path) == [("large.png", "larger than 1 MiB"), ("good.png", 7)]


def test_what_is_no_archive_is_one_line(tmp_path):
    (tmp_path / "text.tar").write_text("hello" * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.tar")
    for name in ("text", "empty", "pipe", "none"):
        ((place, reason),) = read(tmp_path / f"{name}.tar")
        assert place == str(tmp_path / f"{name}.tar") and isinstance(reason, str)


def test_damaged_archives_end_in_reasons(tmp_path):
    """JAXCBM_FAULTS says how many are tried."""
    whole = shard(tmp_path / "whole.tar", range(4)).read_bytes()
    for seed in range(tries(60)):
        rng = np.random.default_rng(seed)
        (tmp_path / "a.tar").write_bytes(whole)
        DAMAGES[rng.integers(4)](tmp_path / "a.tar", rng)
        began = time.monotonic()
        found = read(tmp_path / "a.tar")
        good = [name for name, value in found if isinstance(value, int)]
        assert len(good) == 4 or len(found) > len(good), (seed, found)
        assert time.monotonic() - began < 10, seed


def test_reading_waits_while_too_many_bytes_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_shards, "_MOST_WAITING", 1)
    pairs = read_tar(shard(tmp_path / "a.tar", range(3)))
    (_, first), done = next(pairs), []
    second = threading.Thread(target=lambda: done.append(next(pairs)))
    second.start()
    second.join(0.2)
    assert second.is_alive()
    first()
    second.join(10)
    assert not second.is_alive() and done[0][0].endswith("001.png")
    done[0][1]()
    assert len(list(pairs)) == 1
