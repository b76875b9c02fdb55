"""Readers of what people hand in, with whole files that they read and what is changed of them."""

import contextlib
import csv
import functools
import gzip
import io
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cub_mock
import numpy as np
from hostile_bytes import GZIP, Shell
from loopback import EDGES, dump_line
from PIL import Image
from synthetic_result import synthetic_result
from tar_files import shard

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.concepts.sources.answer_parser import parse_phrases
from jaxcbm.concepts.sources.attribute_table import from_attribute_table
from jaxcbm.concepts.sources.cache import AnswerCache
from jaxcbm.concepts.sources.conceptnet_api import from_conceptnet_api
from jaxcbm.concepts.sources.conceptnet_dump import from_conceptnet_dump
from jaxcbm.concepts.sources.plain_file import from_vocabulary
from jaxcbm.concepts.sources.retries import RetryPolicy
from jaxcbm.data.sources.captioned import load_captioned_folder
from jaxcbm.data.sources.class_names import class_names, read_class_file
from jaxcbm.data.sources.cub import read_cub_attributes
from jaxcbm.data.sources.fashion_mnist import load_fashion_mnist
from jaxcbm.data.sources.tar_shards import read_tar
from jaxcbm.data.sources.tfds import load_tfds
from jaxcbm.encoders.image.file import UnreadableImage
from jaxcbm.encoders.load import load_encoder
from jaxcbm.encoders.tokenizer import Tokenizer
from jaxcbm.evaluation.results.file import read_result, write_result

CLASSES = ("dog", "fox", "t-shirt")


class Reader(NamedTuple):
    """One way in.

    Attributes:
        write: writes whole files into an empty folder.
        changed: which of them are changed, by what they lie in.
        read: reads the folder and returns what must be finite.
        mebibytes: of memory that it may take.
    """

    write: Callable[[Path], object]
    changed: Mapping[str, Shell | None]
    read: Callable[[Path], Any]
    mebibytes: float = 1024


def _texts(contents: Mapping[str, str]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, text in contents.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")

    return write


def _text(name: str, text: str, read: Callable[[Path], Any]) -> Reader:
    return Reader(_texts({name: text}), {name: None}, lambda folder: read(folder / name))


def _unnumbered(read: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A reader of texts, which need not be finite."""

    def alone(path: Path) -> None:
        read(path)

    return alone


_PHRASES = "# what birds have\nred crown\nhooked bill\nblack and white wings\nlong tail, forked\n"


def _concepts(path: Path) -> None:
    concepts = ConceptSet.from_file(path)
    assert ConceptSet.from_json(json.loads(json.dumps(concepts.to_json())), "again") == concepts
    repr(concepts)


def _concept_json() -> str:
    concepts = ConceptSet.from_phrases(["red crown", "hooked bill", "thing"], {"by": "hand"})
    return json.dumps(concepts.without({"thing": "vague"}, "by hand", {"at": 0.5}).to_json())


_NOUNS = """  1 This software is copyright
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which exists
01440764 05 n 02 tench 0 Tinca_tinca 0 002 @ 01439121 n 0000 | freshwater game fish
01443537 05 n 02 goldfish 0 Carassius_auratus 0 002 @ 01442972 n 0000 | small golden fishes
"""


def _named(path: Path) -> None:
    given = read_class_file(path)
    synsets = ("n01440764", "n01443537") if path.name == "data.noun" else ()
    class_names("jaxcbm_owls", len(synsets) or 3, synsets, given)


def _captions(listing: str, content: str) -> Reader:
    def write(folder: Path) -> None:
        for name in ("a/1.png", "a/2.png", "b.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (4, 4)).save(folder / name)
        (folder / listing).write_text(content)

    def read(folder: Path) -> None:
        images = load_captioned_folder(folder)
        for captions in images.captions or ():
            _tokenizer()(list(captions))
        for index in range(len(images)):
            images.source.name(index).encode()
            images.source.load(index)

    return Reader(write, {listing: None}, read)


@functools.cache
def _tokenizer() -> Tokenizer:
    return load_encoder("jaxcbm/tiny").tokenizer


def _caption_csv() -> str:
    buffer = io.StringIO()
    rows = [("file", "caption"), ("a/1.png", 'a "red" bird'), ("a/2.png", "two\nlines, one field")]
    csv.writer(buffer).writerows([*rows, ("b.png", "a fish")])
    return buffer.getvalue()


def _idx(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        pixels = struct.pack(">4I", 0x803, 3, 28, 28) + rng.bytes(3 * 784)
        labels = struct.pack(">2I", 0x801, 3) + bytes([0, 5, 9])
        for name, content in (("images-idx3", pixels), ("labels-idx1", labels)):
            (folder / f"{prefix}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


def _read_idx(folder: Path) -> Any:
    images = load_fashion_mnist("train", folder)
    return np.asarray(images.source.load(0))


_PHOTOGRAPHS = [
    cub_mock.Photograph(species, n, n < 2, Image.new("RGB", (4, 4)))
    for species in ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    for n in range(3)
]
_CUB = ("has_bill_shape::hooked", "has_wing_color::blue", "has_wing_pattern::blue")


def _write_cub(folder: Path) -> None:
    answers = [(i, a, (i + a) % 2, 1 + (i * a) % 4) for i in range(1, 7) for a in range(1, 4)]
    cub_mock.write_folder(folder, _PHOTOGRAPHS, _CUB, answers)


def _read_cub(folder: Path) -> Any:
    return np.nan_to_num(read_cub_attributes(folder / "CUB_200_2011").values)


def _write_tfds(folder: Path) -> None:
    cub_mock.prepare(folder, _PHOTOGRAPHS)


def _read_tfds(folder: Path) -> None:
    images = load_tfds("jaxcbm_cub", "train", data_dir=folder, class_names=["a", "b"])
    for index in range(len(images)):
        np.asarray(images.source.load(index))


def _dump(folder: Path) -> None:
    text = "".join(map(dump_line, EDGES)).encode()
    (folder / "dump.csv.gz").write_bytes(gzip.compress(text))


def _kept_answers() -> Reader:
    """A cache of answers that came with somebody's phrases."""
    from jaxcbm.concepts.sources.conceptnet import RELATIONS

    base = "http://localhost:1"
    requests = [
        {
            "source": "ConceptNet API",
            "base_url": base,
            "path": f"/query?node=/c/en/dog&rel=/r/{relation}&limit=1000",
        }
        for relation in RELATIONS
    ]
    edge = ["/a/1", RELATIONS[0], "/c/en/dog", "/c/en/tail", 2.0, "cc:by-sa/4.0"]

    def write(folder: Path) -> None:
        for request in requests:
            AnswerCache(folder).keep(request, {"edges": [edge], "next": None, "time": "2026"})

    def read(folder: Path) -> None:
        policy = RetryPolicy(attempts=1)
        from_conceptnet_api(
            ["dog"], AnswerCache(folder), base_url=base, timeout=1.0, retry_policy=policy
        )

    # Each lies under the hash of its request.
    first = AnswerCache("")._path(requests[0])
    return Reader(write, {str(first): None}, read)


def _lossy(path: Path) -> str:
    return path.read_bytes().decode(errors="replace")


def _write_result(folder: Path) -> None:
    write_result(folder / "result.json", synthetic_result(classes=4, seeds=2))
    content = json.loads((folder / "result.json").read_text())
    content.pop("sha256", None)
    content["explanations"] = None
    (folder / "result.json").write_text(json.dumps(content))


def _read_report(folder: Path) -> None:
    from jaxcbm.report.csv_file import csv_text
    from jaxcbm.report.dials_points import csv_text as dials_csv
    from jaxcbm.report.dials_points import points_of
    from jaxcbm.report.facts import sections
    from jaxcbm.report.pages import html_report, markdown_report

    result = read_result(folder / "result.json")
    report = sections([result])
    markdown_report(report).encode()
    csv_text([result]).encode()
    dials_csv(points_of([result])).encode()
    page = html_report(report)
    assert "<script>alert(1)" not in page
    page.encode()


def _tar(folder: Path) -> None:
    shard(folder / "shard.tar", range(5))


def _read_tar(folder: Path) -> None:
    for name, opened in read_tar(folder / "shard.tar"):
        name.encode()
        # One that cannot be read is listed, and the others are read.
        with contextlib.suppress(UnreadableImage):
            np.asarray(opened())


def runs_of_a_report(trained: Path) -> Reader:
    """The work directories of somebody else's runs, without their seals."""

    def write(folder: Path) -> None:
        for name in ("config.json", "metrics.json"):
            content = json.loads((trained / name).read_text())
            content.pop("sha256")
            (folder / "run").mkdir(exist_ok=True)
            (folder / "run" / name).write_text(json.dumps(content))
        (folder / "run" / "model").mkdir()
        shutil.copy(trained / "model" / "model.json", folder / "run" / "model")
        best = {"setting": {"training.epochs": 3}, "runs": [{"setting": {}, "valid_top1": 0.5}]}
        swept = {"settings": [best], "valid": {"images": 9}}
        (folder / "sweep").mkdir()
        (folder / "sweep" / "sweep.json").write_text(json.dumps(swept))

    def read(folder: Path) -> None:
        from jaxcbm.atomic import write_text
        from jaxcbm.report import runs

        found = runs.read_runs([folder])
        for page in (runs.plain_text, runs.markdown, runs.csv_text, runs.html):
            text = page(found)
            write_text(folder / "written", text)
        assert "<script>alert(1)" not in text

    changed = ("run/config.json", "run/metrics.json", "sweep/sweep.json")
    return Reader(write, dict.fromkeys(changed), read)


_CAPTION_LINES = "\n".join(
    json.dumps({"file": file, "caption": text})
    for file, text in (("a/1.png", "a red bird"), ("a/2.png", "caf\xe9"), ("b.png", "a fish"))
)
_ATTRIBUTES = "".join(f"{n} {name}\n" for n, name in enumerate(_CUB, start=1))
_LABELS = "CUB_200_2011/attributes/image_attribute_labels.txt"
_INFO, _RECORDS = "dataset_info.json", "jaxcbm_cub-train.array_record-00000-of-00001"
_ANSWER = """<think>hm</think> Sure! ```json
{"phrases": ["long tail", "a red bill"]}
```
1. **Long tail**: it balances
It has a long tail, a red bill and grey wings."""

READERS: dict[str, Reader] = {
    "phrases (.txt)": _text("phrases.txt", _PHRASES, _concepts),
    "phrases (.json)": _text("phrases.json", _concept_json(), _concepts),
    "vocabulary": _text(
        "words.txt",
        "tail\t900\nwing\t80\n# no\nbeak\n",
        lambda path: _unnumbered(lambda p: from_vocabulary(CLASSES, p))(path),
    ),
    "class names": _text("classes.txt", "barn owl\ngreat tit\nwren\n", _named),
    "class names (WordNet)": _text("data.noun", _NOUNS, _named),
    "captions (.csv)": _captions("captions.csv", _caption_csv()),
    "captions (.jsonl)": _captions("captions.jsonl", _CAPTION_LINES),
    "captions (.txt)": _captions("b.txt", "a fish\nanother fish\n"),
    "attribute table": _text(
        "attributes.txt",
        _ATTRIBUTES,
        lambda path: _unnumbered(lambda p: from_attribute_table(CLASSES, p))(path),
    ),
    "CUB's attributes": Reader(
        _write_cub,
        {"attributes.txt": None, "CUB_200_2011/images.txt": None, _LABELS: None},
        _read_cub,
    ),
    "IDX": Reader(
        _idx,
        {f"train-{name}-ubyte.gz": GZIP for name in ("images-idx3", "labels-idx1")},
        _read_idx,
    ),
    "array_record": Reader(
        _write_tfds,
        {f"jaxcbm_cub/1.0.0/{name}": None for name in ("features.json", _INFO, _RECORDS)},
        _read_tfds,
    ),
    "ConceptNet's dump": Reader(
        _dump,
        {"dump.csv.gz": GZIP},
        lambda folder: _unnumbered(
            lambda path: from_conceptnet_dump(CLASSES, path, word_by_word=True)
        )(folder / "dump.csv.gz"),
    ),
    "tar shards": Reader(_tar, {"shard.tar": None}, _read_tar),
    "kept answers": _kept_answers(),
    "a language model's text": _text(
        "answer.txt", _ANSWER, lambda path: _unnumbered(lambda p: parse_phrases(_lossy(p)))(path)
    ),
    "result files": Reader(_write_result, {"result.json": None}, _read_report),
}
