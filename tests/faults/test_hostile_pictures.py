"""One picture, however hostile, takes no other with it, runs nothing, and makes nobody wait."""

import csv
import io
import os
import shutil
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from damage import DAMAGES, tries
from PIL import Image

from jaxcbm.cli import main
from jaxcbm.encoders.image.file import FORMATS, UnreadableImage, decode, open_file
from jaxcbm.encoders.image.open import open_image
from jaxcbm.errors import UserError

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(MARK) (w) file closefile\n"


def png_of(width: int, height: int, told: tuple[int, int] | None = None) -> bytes:
    """A grey PNG file; its header may lie about the size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", *(told or (width, height)), 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def many_scans(pair: bool = False) -> bytes:
    """A progressive JPEG, alone or with another picture, whose last scan comes again and again."""
    buffer, picture = io.BytesIO(), Image.new("RGB", (64, 64), "red")
    more = {"save_all": True, "append_images": [picture]} if pair else {}
    picture.save(buffer, "MPO" if pair else "JPEG", progressive=True, **more)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 200 + content[-2:]


def float_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((6, 6), 300.0, np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


BYTES = {
    "holiday.png": (POSTSCRIPT, "PostScript is not read"),
    "strip.png": (png_of(1, 1_000_000), "strip"),
    "vast.png": (png_of(1, 1, told=(60_000, 60_000)), "pixels"),
    "scans.jpg": (many_scans(), "scans"),
    "pair.jpg": (many_scans(pair=True), "scans"),
    "deep.tiff": (float_tiff(), "floats from"),
    "empty.gif": (b"", "empty file"),
}


@pytest.mark.parametrize("name", BYTES)
def test_each_is_refused_in_a_line(tmp_path, name):
    content, reason = BYTES[name]
    (tmp_path / name).write_bytes(content)
    for source in (tmp_path / name, content):
        with pytest.raises(UserError, match=reason) as told:
            open_image(source)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", ["pipe", "endless", "folder", "sparse"])
def test_what_is_no_ordinary_file_is_not_waited_for(tmp_path, kind):
    place = tmp_path / "one.png"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "endless":
        place.symlink_to("/dev/zero")
    elif kind == "folder":
        place.mkdir()
    else:
        with open(place, "wb") as file:
            file.truncate(40 * 2**30)
    with pytest.raises(UnreadableImage, match=r"not an ordinary file|larger than"):
        open_file(place)


def test_a_folder_of_them_leaves_the_good_ones(trained, picture_folder, tmp_path, caplog):
    folder = tmp_path / "mine"
    shutil.copytree(picture_folder / "blue", folder)
    good = sorted(file.name for file in folder.iterdir())
    for name, (content, _) in BYTES.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.jpg").symlink_to("/dev/zero")
    shutil.copy(folder / good[0], os.fsencode(folder) + b"/caf\xe9.png")
    shutil.copy(folder / good[0], folder / "=SUM(A1).png")
    began = time.monotonic()
    argv = ["predict", f"--workdir={trained}", f"--images={folder}"]
    assert main([*argv, f"--output={tmp_path / 'labels.csv'}"]) == 0
    assert time.monotonic() - began < 60
    with open(tmp_path / "labels.csv", newline="", encoding="utf-8") as file:
        names = [Path(row["file"]).name for row in csv.DictReader(file)]
    assert sorted(names) == sorted([*good, "caf\\udce9.png", "=SUM(A1).png"])
    skipped = [r.getMessage() for r in caplog.records if r.getMessage().startswith("skipped")]
    assert len(skipped) == len(BYTES) + 2 and all("\n" not in line for line in skipped)
    assert not (tmp_path / "MARK").exists() and not Path("MARK").exists()


def test_a_file_is_what_its_name_says_brackets_and_all(trained, picture_folder, tmp_path):
    shutil.copy(picture_folder / "blue" / "00.png", tmp_path / "photo[1].png")
    shutil.copy(picture_folder / "amber" / "00.png", tmp_path / "photo1.png")
    argv = ["-q", "predict", f"--workdir={trained}", f"--images={tmp_path / 'photo[1].png'}"]
    assert main([*argv, f"--output={tmp_path / 'labels.csv'}"]) == 0
    with open(tmp_path / "labels.csv", newline="") as file:
        assert [Path(row["file"]).name for row in csv.DictReader(file)] == ["photo[1].png"]


def test_damaged_pictures_of_every_format_are_read_or_refused(tmp_path):
    """JAXCBM_FAULTS says how many are tried; nothing but `UnreadableImage` may come of one."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8))
    whole = {}
    for name in FORMATS:
        if name in Image.SAVE:
            buffer = io.BytesIO()
            picture.save(buffer, name)
            whole[name] = buffer.getvalue()
    assert len(whole) >= 8
    kinds = sorted(whole)
    for seed in range(tries(300)):
        rng = np.random.default_rng(seed)
        file = tmp_path / "damaged.bin"
        file.write_bytes(whole[kinds[rng.integers(len(kinds))]])
        # All but those that leave no file.
        DAMAGES[rng.integers(4)](file, rng)
        began = time.monotonic()
        try:
            with open_file(file) as opened:
                size = decode(opened).size
            assert size[0] * size[1] <= 2**27
        except UnreadableImage as error:
            assert "\n" not in str(error), seed
        assert time.monotonic() - began < 10, seed
