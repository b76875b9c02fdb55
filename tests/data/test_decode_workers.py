"""Processes give what threads give: pixels, order, filling, resume and errors."""

import numpy as np
import pytest

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.pixel_batches import Pictures, pixel_batches, rows_in_order, shuffled_rows
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError


def pictures(folder, workers):
    images = ImageSet.from_folder(folder)
    return Pictures(images, Preprocess.square(16), None, threads=2, workers=workers)


def test_batches_from_processes_are_those_from_threads(picture_folder):
    rows = np.concatenate([shuffled_rows(36, 5, 0, 0), rows_in_order(36, 5)[-1:]])
    threads, processes = (list(pixel_batches(pictures(picture_folder, w), rows)) for w in (0, 2))
    assert len(processes) == len(rows)
    for one, other in zip(threads, processes, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.mask, other.mask)
    later = list(pixel_batches(pictures(picture_folder, 2), rows[3:]))
    np.testing.assert_array_equal(later[0].pixels, threads[3].pixels)


def test_a_picture_that_is_gone_is_named(picture_folder, tmp_path):
    for name in ("amber/00.png", "amber/02.png", "blue/00.png", "blue/01.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((picture_folder / name).read_bytes())
    found = pictures(tmp_path, 1)
    (tmp_path / "amber" / "02.png").unlink()
    with pytest.raises(UserError, match=r"02\.png was readable and is not any more"):
        list(pixel_batches(found, rows_in_order(4, 2)))
