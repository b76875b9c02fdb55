"""Class folders as people have them, and what is said when they are not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxcbm.data.datasets import DataConfig, load_dataset
from jaxcbm.data.image_set import ImageSet
from jaxcbm.data.image_source import UnreadableImage
from jaxcbm.data.sources.folder import find_pictures, folder_splits
from jaxcbm.errors import UserError


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, 0, 0)).save(path)
    return path


def tree(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        picture(root / name, number)
    return root


def names(images) -> list[str]:
    return [images.source.name(i) for i in range(len(images))]


def test_class_folders(tmp_path):
    tree(tmp_path, "wren/b.png", "owl/2.jpg", "owl/10.jpg", "wren/a.png")
    images = ImageSet.from_folder(tmp_path)
    assert images.classes == ("owl", "wren")
    assert names(images) == ["owl/10.jpg", "owl/2.jpg", "wren/a.png", "wren/b.png"]
    assert images.labels.tolist() == [0, 0, 1, 1] and images.labels.dtype == np.int32
    assert images.source.load(3).getpixel((0, 0)) == (0, 0, 0)


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    tree(tmp_path, *(f"{c}/{d}/{i}.png" for c in "cab" for d in "zy" for i in range(3)))
    straight = names(ImageSet.from_folder(tmp_path))
    walk, iterdir = os.walk, Path.iterdir

    def shuffled_walk(folder, onerror):
        for place, inner, files in walk(folder, onerror=onerror):
            inner.reverse()
            yield place, inner, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", shuffled_walk)
    monkeypatch.setattr(Path, "iterdir", lambda self: reversed(list(iterdir(self))))
    assert names(ImageSet.from_folder(tmp_path)) == straight == sorted(straight)


def test_what_is_not_a_picture_is_ignored(tmp_path):
    tree(tmp_path, "owl/a.PNG", "owl/b.JpEg", "wren/c.tiff", "owl/.hidden.png", ".git/x/y.png")
    tree(tmp_path, "owl/.thumbs/d.png")
    (tmp_path / "owl/notes.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    assert names(ImageSet.from_folder(tmp_path)) == ["owl/a.PNG", "owl/b.JpEg", "wren/c.tiff"]


def test_links(tmp_path):
    """Links to pictures and to class folders count; a dead one is listed as unreadable later."""
    real = picture(tmp_path / "elsewhere/a.png")
    root = tree(tmp_path / "root", "owl/x.png")
    (root / "owl/link.png").symlink_to(real)
    (root / "owl/dead.png").symlink_to(tmp_path / "gone.png")
    (root / "wren").symlink_to(real.parent)
    images = ImageSet.from_folder(root)
    assert names(images) == ["owl/dead.png", "owl/link.png", "owl/x.png", "wren/a.png"]
    assert images.source.load(1).size == (4, 4)
    with pytest.raises(UnreadableImage, match="No such file"):
        images.source.load(0)


def test_a_link_in_a_circle_ends(tmp_path):
    root = tree(tmp_path, "owl/x.png", "wren/y.png")
    (root / "owl/again").symlink_to(root)
    assert len(ImageSet.from_folder(root)) == 2


def test_splits(tmp_path):
    tree(tmp_path, "train/owl/a.png", "train/wren/b.png", "val/owl/c.png", "test/wren/d.png")
    assert list(folder_splits(tmp_path)) == ["train", "valid", "test"]
    assert names(ImageSet.from_folder(tmp_path, "train")) == ["train/owl/a.png", "train/wren/b.png"]
    val, valid = ImageSet.from_folder(tmp_path, "val"), ImageSet.from_folder(tmp_path, "valid")
    assert names(val) == names(valid)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_folder_for_validation_is_the_validation_split(tmp_path, name):
    tree(tmp_path, "train/a/1.png", "train/b/2.png", f"{name}/a/3.png", f"{name}/b/4.png")
    data = DataConfig(name="folder", root=str(tmp_path), test_fraction=0.5)
    train, test, valid = load_dataset(data)
    assert test is None and valid is not None
    assert names(train) == ["train/a/1.png", "train/b/2.png"]
    assert names(valid) == [f"{name}/a/3.png", f"{name}/b/4.png"]
    fitted = train.joined(valid)
    assert names(fitted) == names(train) + names(valid) and fitted.labels.tolist() == [0, 1, 0, 1]
    fitted.source.load(3)
    assert fitted.source.digest(3) == valid.source.digest(1)


def test_a_class_has_the_same_number_in_every_split(tmp_path):
    tree(tmp_path, "train/b/1.png", "train/c/1.png", "test/a/1.png", "test/c/1.png")
    train, test = ImageSet.from_folder(tmp_path, "train"), ImageSet.from_folder(tmp_path, "test")
    assert train.classes == test.classes == ("a", "b", "c")
    assert train.labels.tolist() == [1, 2] and test.labels.tolist() == [0, 2]


def test_classes_may_be_called_like_splits(tmp_path):
    tree(tmp_path, "test/a.png", "train/b.png")
    assert folder_splits(tmp_path) == {}
    assert ImageSet.from_folder(tmp_path).classes == ("test", "train")


def test_a_class_with_one_image(tmp_path):
    root = tree(tmp_path, "owl/a.png", "wren/b.png", "wren/c.png")
    assert ImageSet.from_folder(root).labels.size == 3


def test_an_empty_class_folder_is_no_class(tmp_path, caplog):
    tree(tmp_path, "owl/a.png", "wren/b.png")
    (tmp_path / "albatross").mkdir()
    assert ImageSet.from_folder(tmp_path).classes == ("owl", "wren")
    assert "1 of 3 folders" in caplog.text and "albatross" in caplog.text


@pytest.mark.parametrize(
    ("files", "split", "message"),
    [
        ([], None, r"no images in .*: looked for .*\.jpg.* in one folder a class"),
        (["a.png", "b.png"], None, r"no images in .*: 2 pictures lie in it directly"),
        (["owl/a.png"], None, r"has only one class \(owl\)"),
        (["owl/a.png", "wren/b.png"], "train", r"no split 'train' in .* class folders and no sp"),
        (["train/a/1.png", "test/a/1.png"], None, r"has splits \(train, test\): say which one"),
        (["train/a/1.png", "test/a/1.png"], "valid", r"no split 'valid' .* splits train, test"),
        (["train/a/1.png", "val/a/1.png", "valid/a/1.png"], "train", "both the valid split"),
        (["train/a/1.png", "test/a/1.png"], "train", r"only one class \(a\)"),
    ],
)
def test_one_clear_line(tmp_path, files, split, message):
    tree(tmp_path, *files)
    with pytest.raises(UserError, match=message) as caught:
        ImageSet.from_folder(tmp_path, split)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_no_such_folder(tmp_path):
    with pytest.raises(UserError, match=r"no such folder: .*gone"):
        ImageSet.from_folder(tmp_path / "gone")
    with pytest.raises(UserError, match=r"not a folder: .*a\.png"):
        ImageSet.from_folder(picture(tmp_path / "a.png"))


def test_find_pictures_is_sorted_by_path(tmp_path):
    tree(tmp_path, "b.png", "a/z.png", "a.png", "a/b/c.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["a.png", "a/b/c.png", "a/z.png", "b.png"]
