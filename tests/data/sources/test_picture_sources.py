"""Pictures wherever they are: each kind of source gives names and pictures in a fixed order."""

import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tar_files import picture, shard

from jaxcbm.data.sources.path_pattern import expand_braces
from jaxcbm.data.sources.pictures import find_files, open_pictures
from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.errors import UserError

# array_record and TFDS themselves use what newer Pythons deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read(pattern, part_size=3) -> list[list[tuple[str, int | str]]]:
    """Names and first pixels, or reasons, of each part."""

    def one(opened) -> int | str:
        try:
            return opened().getpixel((0, 0))[0]
        except UnreadableImage as error:
            return str(error)

    source = open_pictures(str(pattern), part_size)
    found = [[(name, one(opened)) for name, opened in part.read()] for part in source.parts]
    for part, there in zip(source.parts, found, strict=True):
        assert part.count in (None, len(there))
    return found


@pytest.fixture
def files(tmp_path):
    """Pictures 0 to 4 in two folders, and what is none."""
    for value in range(5):
        place = tmp_path / "photos" / "ab"[value % 2] / f"{value}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(value))
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path / "photos"


def values(parts) -> list:
    return [value for part in parts for _, value in part]


def test_a_folder_a_file_and_a_glob(files):
    found = read(files)
    assert [len(part) for part in found] == [3, 2] and values(found) == [0, 2, 4, 1, 3]
    assert found[0][0][0] == str(files / "a" / "0.png")
    assert values(read(files / "a" / "2.png")) == [2]
    assert values(read(files / "*" / "[0-2].png")) == [0, 2, 1]
    assert values(read(files / "{b,a}" / "*.png")) == [1, 3, 0, 2, 4]
    with pytest.raises(UserError, match=r"there is no .*1\.png"):
        read(files / "a" / "{0..4}.png")
    with pytest.raises(UserError, match="no such file or folder"):
        read(files / "none")


def test_a_list_of_paths_whatever_they_are(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)
    shutil.copy(files / "a" / "0.png", os.fsencode(files) + b"/caf\xe9.png")
    os.mkfifo(files / "pipe.png")
    lines = [b"b/3.png\r", b"", b"a/0.png", b"caf\xe9.png", b"none.png", b"nul\0.png", b"a"]
    lines += [b"pipe.png", b"x" * 300, b"a/0.png", b"notes.txt", b"/dev/zero"]
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    found = [pair for part in read(f"@{tmp_path / 'list.txt'}") for pair in part]
    assert found[:3] == [("b/3.png", 3), ("a/0.png", 0), ("caf\\udce9.png", 0)]
    assert found[-3] == ("a/0.png", 0) and len(found) == 11
    assert all(isinstance(value, str) for _, value in [*found[3:8], *found[-2:]])
    (files / "@list.txt").write_bytes(picture(9))
    assert read("@list.txt") == [[("@list.txt", 9)]]
    for wrong in ("@none.txt", "@pipe.png", "@a"):
        with pytest.raises(UserError, match=wrong):
            read(wrong)


def test_tar_files_are_a_part_each(tmp_path):
    for number in range(3):
        shard(tmp_path / f"s-{number:02d}.tar", range(number * 10, number * 10 + number + 1))
    wanted = [[0], [10, 11], [20, 21, 22]]
    for pattern in ("s-{00..02}.tar", "*.tar", "", "s-{00,01,02}.tar"):
        found = read(tmp_path / pattern)
        assert [[value for _, value in part] for part in found] == wanted
    (tmp_path / "list").write_text(f"{tmp_path}/s-02.tar\n{tmp_path}/s-00.tar\n")
    assert values(read(f"@{tmp_path}/list")) == [20, 21, 22, 0]
    with pytest.raises(UserError, match=r"there is no .*s-03\.tar"):
        read(tmp_path / "s-{00..03}.tar")
    (tmp_path / "x.png").write_bytes(picture())
    with pytest.raises(UserError, match="pictures and tar files together"):
        read(tmp_path / "*")


def test_array_record_of_pictures_and_of_examples(tmp_path):
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_generated_pb2 as proto

    def example(**features) -> bytes:
        message = proto.Example()
        for name, content in features.items():
            message.features.feature[name].bytes_list.value.append(content)
        return message.SerializeToString()

    records = [picture(5), example(image=picture(6)), b"noise", example(label=b"x"), b"\nnoise"]
    records.append(picture(7, "BMP"))
    for number, content in enumerate((records[:4], records[4:])):
        path = tmp_path / f"birds-test.array_record-0000{number}-of-00002"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for record in content:
            writer.write(record)
        writer.close()
    found = read(tmp_path / "*array_record*", part_size=4)
    assert [len(part) for part in found] == [4, 2]
    assert [value for value in values(found) if isinstance(value, int)] == [5, 6, 7]
    assert found[0][1][0] == f"{tmp_path}/1"
    assert read(tmp_path, part_size=4) == found
    (tmp_path / "bad.array_record").write_bytes(b"no records" * 5000)
    with pytest.raises(UserError, match="cannot be read as array_record"):
        read(tmp_path / "bad.array_record")


def test_objects_of_a_bucket(bucket):
    (bucket / "deep").mkdir(parents=True)
    for value in range(2):
        (bucket / "deep" / f"{value}.png").write_bytes(picture(value))
    (bucket / "deep" / "bad.png").write_bytes(b"no picture")
    found = read("gs://bucket")
    assert [name for name, _ in found[0]] == [f"gs://bucket/deep/{n}.png" for n in (0, 1, "bad")]
    assert values(found)[:2] == [0, 1] and "not a picture" in found[0][2][1]
    for pattern in ("[01].png", "{0,1}.png"):
        assert values(read(f"gs://bucket/deep/{pattern}")) == [0, 1]
    shard(bucket / "s-0.tar", [4, 5])
    assert read("gs://bucket/s-{0..0}.tar") == [
        [("gs://bucket/s-0.tar/004.png", 4), ("gs://bucket/s-0.tar/005.png", 5)]
    ]
    with pytest.raises(UserError, match="no pictures"):
        read("gs://bucket/none*.png")
    with pytest.raises(UserError, match="in the last part alone"):
        read("gs://bucket/*/0.png")


@pytest.mark.parametrize("wrong", ["tfds:mnist", "tfds:/test", "tfds:x/"])
def test_a_dataset_without_a_split_is_told_how(wrong):
    with pytest.raises(UserError, match="tfds:NAME/SPLIT"):
        read(wrong)


@given(st.text("{},.0123ab*", max_size=12))
def test_braces_give_names_or_one_line(text):
    try:
        names = list(expand_braces(text))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert names and (text in names or "{" in text)


def test_braces_that_stand_for_too_much():
    for text in ("{0..999999999999}", "{0..999}{0..999}{0..999}"):
        with pytest.raises(UserError, match="more than 1,000,000"):
            list(expand_braces(text))
    assert list(expand_braces("a{3..1}")) == []
    with pytest.raises(UserError, match="no pictures"):
        find_files("a{3..1}.png")
