"""`jaxcbm concepts`: from class names to a filtered set, and every mistake in one line."""

import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jaxcbm.cli import main
from jaxcbm.concepts.concept_set import ConceptSet

ROOT = Path(__file__).parents[2]


def concepts(*arguments):
    return main(["-q", "concepts", *map(str, arguments)])


def fails(capsys, arguments, *words):
    capsys.readouterr()
    assert concepts(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("jaxcbm: error:") and "\n" not in error
    for word in words:
        assert word in error, error


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "classes.txt"
    file.write_text("amber\nblue\ncoral\n")
    return file


@pytest.fixture
def raw(tmp_path):
    """Phrases with one for every filter of texts to drop."""
    file = tmp_path / "raw.txt"
    file.write_text("a warm hue\nthe warm hues\nAmber\na hue\n" + "x" * 40 + "\ncold light\n")
    return file


@pytest.fixture
def filtered(raw, classes, tiny_encoder_folder, tmp_path, capsys):
    output = tmp_path / "kept.json"
    where = (f"--concepts={raw}", f"--classes={classes}", f"--output={output}")
    flags = ("--phrase-similarity=1", "--class-similarity=1", f"--encoder={tiny_encoder_folder}")
    assert not concepts("filter", *where, *flags)
    (tmp_path / "said").write_text(capsys.readouterr().out)
    return output


def test_generate_asks_every_source_and_keeps_where_phrases_come_from(tmp_path, classes, raw):
    table = tmp_path / "attributes.txt"
    table.write_text("1 has_bill_shape::hooked\n2 has_size::small\n")
    output = tmp_path / "set.json"
    sources = (f"--source=file:{raw}", f"--source=attributes:{table}")
    assert not concepts("generate", f"--classes={classes}", *sources, f"--output={output}")
    made = ConceptSet.from_file(output)
    assert made.phrases[:2] == ("a warm hue", "the warm hues") and len(made) == 8
    assert {o.source for o in made.origins[made.phrases[-1]]} == {"attribute table attributes.txt"}


def test_generate_from_the_painted_birds(tmp_path, capsys):
    output = tmp_path / "birds.json"
    assert not concepts("generate", "--classes=birds", "--source=birds", f"--output={output}")
    assert capsys.readouterr().out == f"57 phrases of 48 classes: {output}\n"
    assert set(ConceptSet.from_file(output).phrases) == set(ConceptSet.from_file("birds").phrases)


def test_filter_tells_what_it_dropped_and_why(filtered, tmp_path):
    out = (tmp_path / "said").read_text()
    assert "length      at_most=30" in out and "40 characters" in out
    assert "same as 'a warm hue'" in out and "says the class 'amber'" in out
    kept = ConceptSet.from_file(filtered)
    assert kept.phrases == ("a warm hue", "a hue", "cold light")
    runs = json.loads(filtered.read_text())["filters"]
    assert [run["name"] for run in runs] == ["length", "duplicates", "classes", "similar"]
    assert runs[2]["settings"]["below"] == 1.0 and "encoder" in runs[2]["settings"]


def test_show_and_diff_read_the_log(filtered, raw, capsys):
    capsys.readouterr()
    assert not concepts("show", filtered)
    out = capsys.readouterr().out
    assert out.startswith("3 phrases, hash ") and "says the class 'amber'" in out
    assert out.rstrip().endswith("cold light")
    assert not concepts("diff", raw, filtered)
    out = capsys.readouterr().out
    assert out.startswith("0 added, 3 removed, 3 kept\n")
    assert "- Amber" in out and "classes: says the class 'amber'" in out


def test_a_picture_of_phrases_beside_classes(filtered, classes, tiny_encoder_folder, capsys):
    folder = filtered.parent / "pictures"
    arguments = ["show", filtered, f"--picture={folder / 'map.png'}"]
    encoder = f"--encoder={tiny_encoder_folder}"
    fails(capsys, [*arguments, encoder], "--classes=FILE")
    assert not concepts(*arguments, encoder, f"--classes={classes}")
    assert (folder / "map.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in folder.iterdir()] == ["map.png"]


def test_filtering_again_drops_nothing(filtered, classes, tiny_encoder_folder, tmp_path):
    again = tmp_path / "again.json"
    flags = ("--phrase-similarity=1", "--class-similarity=1", f"--encoder={tiny_encoder_folder}")
    where = (f"--concepts={filtered}", f"--classes={classes}", f"--output={again}")
    assert not concepts("filter", *where, *flags)
    first, second = ConceptSet.from_file(filtered), ConceptSet.from_file(again)
    assert second == first and second.filters[:4] == first.filters
    assert not any(run.dropped for run in second.filters[4:])


def test_filters_that_ask_pictures(raw, picture_folder, tiny_encoder_folder, tmp_path, capsys):
    output = tmp_path / "kept.json"
    flags = [
        *("--skip=similar", "--skip=classes", "--visible=-1", "--varying=0", "--informative=0"),
        *("--per-class=1", f"--features={tmp_path / 'features'}"),
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--config.data.root={picture_folder}",
        f"--config.encoder.name={tiny_encoder_folder}",
    ]
    where = [f"--concepts={raw}", f"--output={output}"]
    assert not concepts("filter", *where, *flags)
    runs = ConceptSet.from_file(output).filters
    names = ["length", "duplicates", "visible", "varying", "informative", "cover"]
    assert [run.name for run in runs] == names
    # Three classes and one phrase for each.
    assert 1 <= runs[-1].kept <= 3
    fails(capsys, ["filter", *where, *flags, "--encoder=jaxcbm/tiny"], "--config.encoder.name")


def test_a_sentence_encoder_is_weighed_in(raw, classes, tiny_encoder_folder, tmp_path, monkeypatch):
    class Sentences:
        def __init__(self, name):
            if name != "good":
                raise OSError("no such model\non the hub")

        def encode(self, texts, normalize_embeddings):
            # Every text alike: with all the weight here, one phrase is left.
            return np.ones((len(texts), 1), np.float32)

    stand_in = types.SimpleNamespace(SentenceTransformer=Sentences)
    monkeypatch.setitem(sys.modules, "sentence_transformers", stand_in)
    output = tmp_path / "kept.json"
    common = [f"--concepts={raw}", f"--output={output}", f"--encoder={tiny_encoder_folder}"]
    flags = ["--sentence-encoder=good", "--encoder-weight=0", "--sentence-weight=2"]
    assert not concepts("filter", *common, *flags)
    run = ConceptSet.from_file(output).filters[-1]
    assert run.kept == 1 and run.settings["weights"] == [0.0, 2.0]


def test_a_missing_sentence_encoder_is_one_line(
    raw, tiny_encoder_folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    common = [f"--concepts={raw}", f"--output={tmp_path / 'a.json'}"]
    flags = [f"--encoder={tiny_encoder_folder}", "--sentence-encoder=mpnet"]
    fails(capsys, ["filter", *common, *flags], "--sentence-encoder=mpnet", "pip install")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["no class names"]),
        (b"owl\nwren\nOwl\n", ["class 3 is class 1 again"]),
        (b"owl\n" + b"x" * 10_000, ["class 2 has 10,000 characters"]),
        (b"owl\nwr\x1ben\n", ["class 2 holds a control character"]),
        (b"\xff\xfe\x00", ["not UTF-8"]),
    ],
)
def test_bad_class_files_are_one_line(tmp_path, capsys, content, words):
    file = tmp_path / "classes.txt"
    file.write_bytes(content)
    output = tmp_path / "a.json"
    arguments = ["generate", f"--classes={file}", "--source=file:birds", f"--output={output}"]
    fails(capsys, arguments, *words)
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source=web"], ["--source=web: no such source", "conceptnet"]),
        (["--source=dump"], ["write --source=dump:FILE"]),
        (["--source=llm:x"], ["write --source=llm"]),
        (["--source=llm"], ["--base-url", "--model"]),
        (["--source=file:gone.txt"], ["no such file", "built-in sets"]),
        (["--source=file:birds", "--output=a.csv"], ["--output: a.csv", ".json or .txt"]),
        (["--source=birds"], ["'amber' is no species"]),
    ],
)
def test_bad_sources_are_one_line(tmp_path, classes, capsys, arguments, words):
    common = ["generate", f"--classes={classes}", f"--output={tmp_path / 'a.json'}"]
    fails(capsys, [*common, *arguments], *words)
    assert list(tmp_path.iterdir()) == [classes]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--skip=size"], ["--skip=size: no such filter", "duplicates"]),
        (["--visible=0.2"], ["filter visible needs embeddings of train images"]),
        (["--max-characters=1"], ["filter length would drop all 6 phrases"]),
        (["--class-similarity=nan"], ["--class-similarity: 'nan' is no number"]),
        (["--picture=a.gif"], ["--picture: a.gif", ".png"]),
        (["--classes=gone.txt"], ["no such file of class names"]),
        (["--centre=gone"], ["no concept set 'gone'"]),
    ],
)
def test_bad_filters_are_one_line(
    raw, classes, tiny_encoder_folder, tmp_path, capsys, flags, words
):
    common = [f"--concepts={raw}", f"--classes={classes}", f"--output={tmp_path / 'a.json'}"]
    before = sorted(tmp_path.iterdir())
    fails(capsys, ["filter", *common, f"--encoder={tiny_encoder_folder}", *flags], *words)
    assert sorted(tmp_path.iterdir()) == before


def test_help_teaches_and_needs_no_jax():
    code = (
        "import sys\nfrom jaxcbm.cli import main\n"
        "try:\n    main(['concepts', 'filter', '--help'])\n"
        "finally:\n    assert not {'jax', 'transformers', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "example:" in done.stdout and "--class-similarity" in done.stdout
