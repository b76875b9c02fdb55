"""Image sets from folders, arrays and `datasets` objects: the same pictures whatever holds them."""

import io

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
LABELS = ["wren", "owl", "wren", None]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


class ClassLabel:
    names = ("owl", "wren")


class Value:
    pass


# Named as the library's own feature is: a dataset is known by what it says.
ImageFeature = type("Image", (), {})


class Dataset:
    """What `datasets.Dataset` answers to."""

    def __init__(self, pictures, labels, label=ClassLabel):
        self.columns = {"img": pictures, "label": labels, "id": list(range(len(labels)))}
        self.features = {"img": ImageFeature(), "label": label(), "id": Value()}

    def __len__(self):
        return len(self.columns["id"])

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}


def pixels_of(images: ImageSet) -> np.ndarray:
    return np.stack([np.asarray(images[i]) for i in range(len(images))])


@pytest.mark.parametrize("how", ["numpy", "jax", "arrays", "pictures", "floats"])
def test_arrays_and_pictures_are_the_same_images(how):
    given = {
        "numpy": PIXELS,
        "jax": jnp.asarray(PIXELS),
        "arrays": list(PIXELS),
        "pictures": [Image.fromarray(row) for row in PIXELS],
        "floats": PIXELS / np.float32(255),
    }[how]
    images = ImageSet.from_arrays(given, LABELS)
    assert images.classes == ("owl", "wren") and images.labels.tolist() == [1, 0, 1, -1]
    np.testing.assert_array_equal(pixels_of(images), PIXELS)
    same = ImageSet.from_arrays(PIXELS, LABELS)
    assert [images.source.digest(i) for i in range(4)] == [same.source.digest(i) for i in range(4)]


def test_files_and_bytes_are_opened_when_needed(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PIXELS[0]))
    images = ImageSet.from_arrays(
        [tmp_path / "a.png", png(PIXELS[1]), tmp_path / "gone.png"], [0, 1, 1], ["owl", "wren"]
    )
    np.testing.assert_array_equal(pixels_of(images[:2]), PIXELS[:2])
    with pytest.raises(UserError, match=r"image/2 cannot be read: .*gone.png"):
        images[2]
    with pytest.raises(UnreadableImage):
        images.source.digest(2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": PIXELS[:3]}, "4 labels for 3 images"),
        ({"images": PIXELS.transpose(0, 3, 1, 2)}, "move the colours to the end"),
        ({"images": np.full((4, 6, 5, 3), np.nan)}, r"images\[0\]: floats from nan"),
        ({"images": [*PIXELS[:3], PIXELS[3] / 1.0]}, r"images\[3\]: floats from .* scale them"),
        ({"images": [*PIXELS[:3], None]}, r"images\[3\]: NoneType is no picture"),
        ({"labels": [0, 1, 2, 0]}, r"labels\[2\] is 2"),
        ({"classes": "owl"}, "one text"),
        ({"annotations": np.zeros((4, 2))}, r"annotations of shape \[4, 2\].*\[4, 1\]"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(change, said):
    given = {"images": PIXELS, "labels": [0, 1, 1, 0], "classes": ["owl", "wren"]}
    with pytest.raises(UserError, match=said) as caught:
        ImageSet.from_arrays(**{**given, **change}, annotation_phrases=["red crown"])
    assert "\n" not in str(caught.value)


def test_annotations_stay_with_their_images():
    known = [[1.0], [0.0], [np.nan], [1.0]]
    images = ImageSet.from_arrays(
        PIXELS, LABELS, annotations=np.array(known), annotation_phrases=["red crown"]
    )
    np.testing.assert_array_equal(images[1:].annotations, np.array(known, np.float32)[1:])
    assert "1 phrases (red crown)" in repr(images) and "4 images, 2 classes" in repr(images)


@pytest.mark.parametrize("decoded", [True, False])
def test_a_datasets_object(decoded):
    pictures = [
        Image.fromarray(row) if decoded else {"bytes": png(row), "path": None} for row in PIXELS
    ]
    images = ImageSet.from_hf(Dataset(pictures, [1, 0, 1, -1]))
    assert images.classes == ("owl", "wren") and images.labels.tolist() == [1, 0, 1, -1]
    np.testing.assert_array_equal(pixels_of(images), PIXELS)
    assert len({images.source.digest(i) for i in range(4)}) == 4


def test_a_dataset_with_names_or_numbers_for_labels(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PIXELS[0]))
    at = {"bytes": None, "path": str(tmp_path / "a.png")}
    named = ImageSet.from_hf(Dataset([at, at], ["wren", "owl"], Value), label="label")
    assert named.classes == ("owl", "wren") and named.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(np.asarray(named[0]), PIXELS[0])
    numbered = Dataset([at, at], [1, 0], Value)
    given = ImageSet.from_hf(numbered, "img", "label", classes=["a", "b"])
    assert given.classes == ("a", "b")


def test_what_a_dataset_does_not_say_is_asked_for():
    rows = Dataset([png(PIXELS[0])] * 2, [0, 1], Value)
    with pytest.raises(UserError, match="0 columns are of type ClassLabel: give label="):
        ImageSet.from_hf(rows)
    with pytest.raises(UserError, match="no column 'image': give image=, one of img, label, id"):
        ImageSet.from_hf(rows, image="image")
    with pytest.raises(UserError, match=r"several splits at once \(train, test\)"):
        ImageSet.from_hf({"train": rows, "test": rows})
    with pytest.raises(UserError, match="streaming"):
        ImageSet.from_hf(iter([]))
    with pytest.raises(UserError, match=r"labels\[1\] is 5"):
        ImageSet.from_hf(Dataset([png(PIXELS[0])] * 2, [0, 5]))


def test_a_picture_that_a_dataset_cannot_give_is_unreadable():
    images = ImageSet.from_hf(Dataset([None, png(PIXELS[0])], [0, 1]))
    with pytest.raises(UnreadableImage, match="NoneType is no picture"):
        images.source.load(0)


def test_pictures_by_position():
    images = ImageSet.from_arrays(PIXELS, LABELS)
    np.testing.assert_array_equal(np.asarray(images[-1]), PIXELS[3])
    assert images[::2].labels.tolist() == [1, 1]
    assert len(list(images)) == 4
    with pytest.raises(IndexError):
        images[4]
