"""Preparing a TFDS dataset is one command that says what it did, or what it lacks."""

import importlib.util
import io
import warnings

import pytest
from PIL import Image

from jaxcbm.data.sources import prepare_tfds
from jaxcbm.data.sources.tfds import load_tfds

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="session")
def registered() -> str:
    """A dataset that TFDS knows by name and that needs no download; it takes each name once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

        class JaxcbmPrepared(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.2.3")

            def _info(self):
                features = {
                    "image": tfds.features.Image(encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["owl", "wren"]),
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features)
                )

            def _split_generators(self, download_manager):
                return {"train": self._some(5), "test": self._some(2)}

            def _some(self, count):
                for index in range(count):
                    buffer = io.BytesIO()
                    Image.new("RGB", (4, 4), (index, 0, 0)).save(buffer, "PNG")
                    buffer.seek(0)
                    yield index, {"image": buffer, "label": index % 2}

            def _generate_examples(self):
                raise NotImplementedError

    return "jaxcbm_prepared"


def test_it_says_what_it_did_and_how_to_read_it(registered, tmp_path, capsys):
    command = [f"--name={registered}", f"--data-dir={tmp_path}"]
    assert prepare_tfds.main(command) == 0
    said = capsys.readouterr().out
    assert "jaxcbm_prepared/1.2.3: test 2, train 5 images" in said and "array_record" in said
    assert f"--config.data.tfds_name={registered} --config.data.tfds_data_dir={tmp_path}\n" in said
    assert len(load_tfds(registered, "train", data_dir=tmp_path)) == 5

    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*record*")}
    assert files and prepare_tfds.main(command) == 0
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*record*")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name=cifar100"], "preparing cifar100 needs tensorflow: pip install 'jaxcbm[tf]'"),
        (
            ["--name=caltech_birds2011:0.2.0"],
            "needs tensorflow, cv2: pip install 'jaxcbm[tf]' opencv-python-headless",
        ),
        (["--name=jaxcbm_nothing"], "unknown dataset 'jaxcbm_nothing'"),
        (["--name=no/such?name"], "cannot prepare 'no/such?name'"),
        (["--name=jaxcbm_prepared", "--manual-dir=gone"], "no such folder: gone (--manual-dir)"),
    ],
)
def test_what_is_missing_is_one_line(registered, arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    assert prepare_tfds.main([*arguments, f"--data-dir={tmp_path}"]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_archives_that_must_be_fetched_by_hand(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: package)
    assert prepare_tfds.main(["--name=imagenet2012"]) == 2
    assert "give --manual-dir=FOLDER with ILSVRC2012_img_train.tar" in capsys.readouterr().err


def test_a_failed_download_is_one_line(registered, tmp_path, capsys, monkeypatch):
    import tensorflow_datasets as tfds

    def fail(*_, **__):
        raise ConnectionError("no route to host\nand much more")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    assert prepare_tfds.main([f"--name={registered}", f"--data-dir={tmp_path}"]) == 2
    assert capsys.readouterr().err == (
        "prepare_tfds: error: cannot prepare 'jaxcbm_prepared': no route to host\n"
    )
