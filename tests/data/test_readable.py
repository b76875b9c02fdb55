import numpy as np
import pytest
from PIL import Image

from jaxcbm import ImageSet, UserError, load_encoder, readable
from jaxcbm.model.random_model import random_model


@pytest.fixture
def folder(tmp_path):
    for index in range(6):
        place = tmp_path / "pictures" / "ab"[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (40 * index, 0, 0)).save(place / f"{index}.png")
    (tmp_path / "pictures" / "a" / "2.png").write_bytes(b"no picture")
    (tmp_path / "pictures" / "b" / "5.png").write_bytes(b"")
    return tmp_path / "pictures"


KEPT = ["a/0.png", "a/4.png", "b/1.png", "b/3.png"]


def test_a_folder_gives_its_pictures_without_those_that_cannot_be_read(folder, caplog):
    for given in (folder, str(folder)):
        assert [path.relative_to(folder).as_posix() for path in readable(given)] == KEPT
    (said,) = (record.getMessage() for record in caplog.records)
    assert said.startswith("skipped 2 of 6 images") and "a/2.png" in said and "b/5.png" in said


def test_a_list_keeps_its_order_and_what_was_given(folder):
    files = [str(folder / name) for name in ("b/3.png", "a/2.png", "a/0.png")]
    assert readable(files) == [files[0], files[2]]
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(readable(pixels), pixels)
    picture = Image.new("L", (4, 4))
    assert readable([b"no picture", picture]) == [picture]
    assert readable(picture) == [picture]


def test_an_image_set_keeps_labels_and_annotations(folder):
    images = ImageSet.from_folder(folder)
    kept = readable(images)
    assert isinstance(kept, ImageSet) and kept.classes == ("a", "b")
    assert kept.labels.tolist() == [0, 0, 1, 1]
    assert [kept.source.name(i) for i in range(4)] == KEPT
    truth = np.eye(3, 2, dtype=np.float32)
    listed = ImageSet.from_arrays(
        [folder / "a" / "0.png", b"", folder / "b" / "1.png"],
        ["a", "b", "b"],
        annotations=truth,
        annotation_phrases=["red", "blue"],
    )
    np.testing.assert_array_equal(readable(listed).annotations, truth[[0, 2]])


def test_nothing_that_can_be_read_is_one_line(folder, tmp_path):
    with pytest.raises(UserError, match=r"none of the 1 images can be read .first: .*a/2.png"):
        readable(folder / "a" / "2.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no pictures there"):
        readable(tmp_path / "empty")
    with pytest.raises(UserError, match=r"none of the 1 images .* No such file"):
        readable(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="none of the 0 images"):
        readable([])


def test_predict_names_the_way_out(folder, tiny_encoder_folder):
    model = random_model(load_encoder(tiny_encoder_folder))
    with pytest.raises(UserError, match=r"a/2.png.*jaxcbm.readable leaves"):
        model.predict(sorted(folder.rglob("*.png")))
    with pytest.raises(
        UserError,
        match=r"is a folder: give jaxcbm.readable[^(]*\(\.\.\.\) of it, or of [^(]*\(\.\.\.\)$",
    ):
        model.predict(folder)
    assert len(model.predict(readable(folder)).labels) == 4
