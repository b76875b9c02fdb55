"""A dataset prepared as array_record is read without TensorFlow, and mistakes get one line."""

import hashlib
import io
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from PIL import Image

from jaxcbm.data.image_source import ImageSource, UnreadableImage
from jaxcbm.data.sources.pictures import open_pictures
from jaxcbm.data.sources.tfds import load_tfds
from jaxcbm.data.store.feature_store import encode
from jaxcbm.errors import UserError

# TFDS 4.9.10 itself uses what newer Pythons and its dependencies deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def encoded(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def examples(count: int):
    for i in range(count):
        picture = encoded(i) if i != 3 else encoded(i)[:40]
        yield i, {"image": io.BytesIO(picture), "label": i % 2, "mask": io.BytesIO(encoded(0))}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Datasets with class names, without, and with no usable label; they are read without code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        def info_of(builder, label):
            features = {
                "image": tfds.features.Image(encoding_format="png"),
                "label": label,
                "mask": tfds.features.Image(encoding_format="png"),
            }
            return tfds.core.DatasetInfo(
                builder=builder, features=tfds.features.FeaturesDict(features)
            )

        class JaxcbmOwls(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")
            LABEL = tfds.features.ClassLabel(names=["owl", "wren"])

            def _info(self):
                return info_of(self, self.LABEL)

            def _split_generators(self, download_manager):
                return {"train": examples(10), "test": examples(2)}

            def _generate_examples(self):
                raise NotImplementedError

        class JaxcbmNameless(JaxcbmOwls):
            LABEL = tfds.features.ClassLabel(num_classes=2)

        class JaxcbmWeighed(JaxcbmOwls):
            LABEL = tfds.features.Scalar(np.float32)

        class JaxcbmUnlabelled(JaxcbmOwls):
            def _info(self):
                features = tfds.features.FeaturesDict({"image": tfds.features.Image()})
                return tfds.core.DatasetInfo(builder=self, features=features)

            def _split_generators(self, download_manager):
                return {"train": [(0, {"image": io.BytesIO(encoded(0))})]}

        root = tmp_path_factory.mktemp("tfds")
        for builder in (JaxcbmOwls, JaxcbmNameless, JaxcbmWeighed, JaxcbmUnlabelled):
            builder(data_dir=root, file_format="array_record").download_and_prepare()
    return root


def test_images_labels_names_and_digests(prepared):
    images = load_tfds("jaxcbm_owls", "train", data_dir=prepared)
    assert isinstance(images.source, ImageSource)
    assert len(images) == 10 and images.classes == ("owl", "wren")
    values, whole = [], [i for i in range(10) if len(images.source.records[i]["image"]) != 40]
    for i in whole:
        value = images.source.load(i).getpixel((0, 0))[0]
        values.append(value)
        assert images.labels[i] == value % 2
        assert images.source.digest(i) == hashlib.sha256(encoded(value)).digest()
    assert sorted(values) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    (broken,) = set(range(10)) - set(whole)
    with pytest.raises(UnreadableImage):
        images.source.load(broken)
    assert images.source.name(7) == "jaxcbm_owls/train/7"


def test_pictures_alone_need_no_labels(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    source = open_pictures("tfds:jaxcbm_owls/train[50%:]", part_size=3)
    assert [part.count for part in source.parts] == [3, 2] and "jaxcbm_owls/1.0.0" in source.dataset
    whole = load_tfds("jaxcbm_owls", "train[50%:]", data_dir=prepared).source
    pairs = [pair for part in source.parts for pair in part.read()]
    assert [name for name, _ in pairs] == [f"jaxcbm_owls/train[50%:]/{i}" for i in range(5)]
    for i, (_, opened) in enumerate(pairs):
        try:
            assert opened().tobytes() == whole.load(i).tobytes()
        except UnreadableImage:
            with pytest.raises(UnreadableImage):
                whole.load(i)
    assert open_pictures("tfds:jaxcbm_unlabelled/train", 3).count == 1
    with pytest.raises(UserError, match="unknown dataset 'jaxcbm_none'"):
        open_pictures("tfds:jaxcbm_none/train", 3)


def test_sub_splits(prepared):
    whole = load_tfds("jaxcbm_owls", "train", data_dir=prepared)
    half = load_tfds("jaxcbm_owls", "train[50%:]", data_dir=prepared)
    np.testing.assert_array_equal(half.labels, whole.labels[5:])
    np.testing.assert_array_equal(half.source.digests, whole.source.digests[5:])


def test_into_the_feature_store(prepared, tmp_path):
    images = load_tfds("jaxcbm_owls", "train", data_dir=str(prepared))
    features = encode(images, FakeEncoder(), tmp_path, progress=lambda done, total: None)
    assert len(features) == 9 and len(features.skipped) == 1


def test_class_names_by_hand(prepared):
    images = load_tfds("jaxcbm_nameless", "test", data_dir=prepared, class_names=["a", "b"])
    assert images.classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "split", "options", "message"),
    [
        ("jaxcbm_nothing", "train", {}, "unknown dataset 'jaxcbm_nothing': TFDS has none of"),
        ("no/such?name", "train", {}, "cannot open dataset"),
        ("cifar10:9.9.9", "train", {}, "cannot be loaded at version 9.9.9"),
        (
            "cifar10",
            "train",
            {},
            r"not prepared in .*: run once `python -m jaxcbm.data.sources.prepare_tfds",
        ),
        ("jaxcbm_owls", "valid", {}, "cannot read split 'valid' .* has train, test: Unknown"),
        ("jaxcbm_owls", "train[x:]", {}, r"cannot read split 'train\[x:\]' .* has train, test"),
        ("jaxcbm_owls", "train[20:]", {}, r"cannot read split 'train\[20:\]' .* has train, test"),
        ("jaxcbm_weighed", "train", {}, "feature 'label' is .*, not one class an image"),
        ("jaxcbm_unlabelled", "train", {}, "no feature 'label': it has image"),
        ("jaxcbm_owls", "train", {"class_names": ["a"]}, "has 2 classes, but 1 names given"),
        ("jaxcbm_owls", "train", {"class_names": ["wren", "owl"]}, "class 0 is 'owl' there, but"),
        ("jaxcbm_nameless", "train", {}, "comes without class names: name a file of 2 names"),
    ],
)
def test_one_clear_line(prepared, name, split, options, message):
    with pytest.raises(UserError, match=message) as caught:
        load_tfds(name, split, data_dir=prepared, **options)
    assert "\n" not in str(caught.value)


def test_a_format_that_cannot_be_read_at_random(prepared, tmp_path):
    copy = tmp_path / "jaxcbm_copy/1.0.0"
    copy.mkdir(parents=True)
    for path in (prepared / "jaxcbm_owls/1.0.0").iterdir():
        content = path.read_bytes()
        if path.suffix == ".json":
            content = content.replace(b"array_record", b"tfrecord").replace(b"owls", b"copy")
        (copy / path.name.replace("array_record", "tfrecord").replace("owls", "copy")).write_bytes(
            content
        )
    with pytest.raises(UserError, match=r"is prepared as tfrecord, .* run once `python -m jaxcbm"):
        load_tfds("jaxcbm_copy", "train", data_dir=tmp_path)


def test_tensorflow_is_never_asked_for(prepared):
    """Found if it is looked for, as if it were installed, but no import of it may be tried."""
    script = f"""
import importlib.util, sys

class Trap:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "tensorflow":
            return importlib.util.spec_from_loader(name, self)
    def create_module(self, spec):
        sys.exit(spec.name + " was imported")

sys.meta_path.insert(0, Trap())
from jaxcbm.data.sources.pictures import open_pictures
from jaxcbm.data.sources.tfds import load_tfds
images = load_tfds("jaxcbm_owls", "test", data_dir={str(prepared)!r})
images.source.load(0)
assert "tensorflow" not in sys.modules
print(len(images), images.classes)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "2 ('owl', 'wren')\n", done.stderr
