"""Three ways of writing captions down, and the line that is named when one is wrong."""

import json

import pytest
from PIL import Image

from jaxcbm.data.sources.captioned import load_captioned_folder
from jaxcbm.errors import UserError


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b.jpg", "deep/c.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path


EXPECTED = {"a.png": ("a red bird", "red"), "b.jpg": ("a bird, blue",), "deep/c.png": ("grün",)}


def write_txt(root):
    for name, captions in EXPECTED.items():
        lines = "\r\n".join(["", *captions, "  "])
        (root / name).with_suffix(".txt").write_text(lines, encoding="utf-8", newline="")


def write_csv(root):
    rows = ["caption,other,file"]
    rows += [f'"{text}",x,{name}' for name, captions in EXPECTED.items() for text in captions]
    (root / "captions.csv").write_text("\n".join(rows) + "\n", encoding="utf-8-sig")


def write_jsonl(root):
    rows = [{"file": name, "caption": text} for name, texts in EXPECTED.items() for text in texts]
    text = "\n\n".join(json.dumps(row) for row in rows)
    (root / "captions.jsonl").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("write", [write_txt, write_csv, write_jsonl])
def test_every_form_gives_the_same(root, write):
    write(root)
    images = load_captioned_folder(root)
    named = [images.source.name(i) for i in range(len(images))]
    assert dict(zip(named, images.captions, strict=True)) == EXPECTED and named == sorted(EXPECTED)
    assert images.classes == () and images.labels.tolist() == [-1, -1, -1]
    assert images.source.load(0).size == (4, 4)


def test_a_quoted_caption_over_two_lines_is_one(root):
    text = 'file,caption\na.png,"two\nlines"\nb.jpg,a\u2028b\nq.png,x\n'
    (root / "captions.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="line 5: no such picture"):
        load_captioned_folder(root)
    (root / "captions.csv").write_text(text.replace("q.png", "b.jpg"), encoding="utf-8")
    assert load_captioned_folder(root).captions == (("two\nlines",), ("a\u2028b", "x"))


def test_pictures_without_a_caption_are_left_out_and_told(root, caplog):
    write_txt(root)
    (root / "b.txt").unlink()
    assert len(load_captioned_folder(root)) == 2
    assert "left out 1 of 3 pictures" in caplog.text and "b.jpg" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", b"picture,text\na.png,x\n", "captions.csv, line 1: the columns"),
        ("captions.csv", b"", "captions.csv, line 1: the columns"),
        ("captions.csv", b"file,caption\na.png,x\nz.png,y\n", "line 3: no such picture: z.png"),
        ("captions.csv", b"file,caption\na.png\n", "line 2: file and caption must both be text"),
        ("captions.csv", b'file,caption\na.png,"x"y\n', "captions.csv, line 2"),
        ("captions.csv", b"file,caption\na.png, \n", "line 2: the caption of a.png is empty"),
        ("captions.csv", b"file,caption\na.png,\xff\n", "captions.csv, line 2: not UTF-8"),
        ("captions.csv", b"file,caption\n", "no captioned pictures in"),
        ("captions.jsonl", b'{"file": "a.png", "caption": "x"}\n{', "captions.jsonl, line 2: not"),
        ("captions.jsonl", b'\n["a.png", "x"]', "captions.jsonl, line 2: not an object"),
        ("captions.jsonl", b'{"file": "a.png"}', "captions.jsonl, line 1: not an object"),
        ("captions.jsonl", b'{"file": "a.png", "caption": 3}', "line 1: file and caption must"),
        ("captions.jsonl", b'{"file": "", "caption": "x"}', "line 1: file and caption must"),
        ("captions.jsonl", b'{"file": "q", "caption": "x"}', "line 1: no such picture: q"),
        ("a.txt", b"  \n", r"a\.txt: no caption in it"),
        ("a.txt", b"fine\n\xe9\n", r"a\.txt, line 2: not UTF-8"),
        ("z.txt", b"a caption of nothing", "no captioned pictures in"),
    ],
)
def test_one_clear_line(root, name, content, message):
    (root / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_captioned_folder(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["/etc/hostname", "../a.png", "deep/../../x/a.png"])
def test_a_list_names_pictures_of_its_own_folder(root, file):
    row = json.dumps({"file": file, "caption": "a bird"})
    (root / "captions.jsonl").write_text(row)
    with pytest.raises(UserError, match="does not lie in"):
        load_captioned_folder(root)


def test_two_lists_or_no_folder(root):
    write_csv(root)
    write_jsonl(root)
    with pytest.raises(UserError, match=r"both captions\.jsonl and captions\.csv"):
        load_captioned_folder(root)
    with pytest.raises(UserError, match="no such folder"):
        load_captioned_folder(root / "gone")
