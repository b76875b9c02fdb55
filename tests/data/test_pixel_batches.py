"""Batches of pixels: their order, what fills them up, and a picture that is gone."""

import numpy as np
import pytest

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.pixel_batches import Pictures, pixel_batches, rows_in_order, shuffled_rows
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.errors import UserError


def pictures(folder, threads):
    return Pictures(ImageSet.from_folder(folder), Preprocess.square(16), None, threads)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_follow_their_rows_whatever_the_threads(threads, picture_folder):
    rows = np.concatenate([shuffled_rows(36, 5, 0, 0), rows_in_order(36, 5)[-1:]])
    found = pictures(picture_folder, threads)
    source, preprocess = found.images.source, found.preprocess
    for rows_B, batch in zip(rows, pixel_batches(found, rows), strict=True):
        assert (batch.mask == (rows_B >= 0)).all()
        for row, pixels, label in zip(rows_B, batch.pixels, batch.labels, strict=True):
            want = 0 * pixels if row < 0 else preprocess(source.load(row))
            np.testing.assert_array_equal(pixels, want)
            assert label == (0 if row < 0 else found.images.labels[row])


def test_a_picture_that_is_gone_is_named(picture_folder, tmp_path):
    for name in ("amber/00.png", "amber/02.png", "blue/00.png", "blue/01.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((picture_folder / name).read_bytes())
    found = pictures(tmp_path, 2)
    (tmp_path / "amber" / "02.png").unlink()
    with pytest.raises(UserError, match=r"02\.png was readable and is not any more"):
        list(pixel_batches(found, rows_in_order(4, 2)))
