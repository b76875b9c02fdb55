"""Predictions in one file and in folders: the same rows, whole after any stop, or refused."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet
import pytest
from PIL import Image

from benchmarks.soak_inputs import draw, draw_shards, save_toy_model
from jaxcbm.distributed import preemption
from jaxcbm.errors import UserError
from jaxcbm.experiment import predict as module
from jaxcbm.experiment.predict import predict
from jaxcbm.experiment.prediction_table import PredictionTable, writing
from jaxcbm.experiment.workdir_lock import hold
from jaxcbm.model.model import load_model

COUNT = 23


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """23 pictures in three folders, of which one cannot be read."""
    root = tmp_path_factory.mktemp("pictures")
    for number, (name, content) in enumerate(draw(0, COUNT)):
        place = root / "abc"[number // 9] / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    (root / "a" / "00000004.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def calm(model, pictures, tmp_path_factory) -> Path:
    """What nobody disturbed has written: Parquet with a file for every five pictures."""
    folder = tmp_path_factory.mktemp("calm") / "predictions"
    assert predict(model, str(pictures), folder, shard_rows=5).rows == COUNT - 1
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("part-*")}


def rows_of(folder: Path) -> list[dict]:
    return [row for f in sorted(folder.glob("*.parquet")) for row in
            pyarrow.parquet.read_table(f).to_pylist()]  # fmt: skip


def test_a_folder_has_a_file_for_every_so_many_pictures(calm, pictures):
    names = sorted(path.name for path in calm.iterdir() if not path.name.startswith("."))
    assert names == [f"part-{n:05d}-of-00005.parquet" for n in range(5)]
    counts = [pyarrow.parquet.read_metadata(calm / name).num_rows for name in names]
    assert counts == [4, 5, 5, 5, 3]
    wanted = [str(path) for path in sorted(pictures.rglob("*.png")) if "04.png" not in path.name]
    assert [row["file"] for row in rows_of(calm)] == wanted


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_one_file_and_a_folder_have_the_same_rows(kind, model, pictures, calm, tmp_path):
    single, folder = tmp_path / f"labels.{kind}", tmp_path / "labels"
    predict(model, str(pictures), single)
    predict(model, str(pictures), folder, format=kind, shard_rows=9)
    files = sorted(folder.glob("part-*"))
    if kind == "parquet":
        rows, alone = rows_of(folder), pyarrow.parquet.read_table(single).to_pylist()
    elif kind == "jsonl":
        rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        alone = [json.loads(line) for line in single.read_text().splitlines()]
    else:
        rows = [row for file in files for row in csv.DictReader(file.read_text().splitlines())]
        alone = list(csv.DictReader(single.read_text().splitlines()))
    want = rows_of(calm)
    assert len(rows) == len(alone) == COUNT - 1
    for row, other, wanted in zip(rows, alone, want, strict=True):
        assert row.keys() == other.keys() and row["file"] == other["file"] == wanted["file"]
        assert row["label"] == wanted["label"] and row["caution"] == wanted["caution"]
        for name in ("probability", "familiarity"):
            assert float(row[name]) == pytest.approx(wanted[name], abs=1e-4)
        if kind == "csv":
            assert re.sub(r"[-+.\d]", "", row["reasons"]) == re.sub(
                r"[-+.\d]", "", "; ".join(wanted["reasons"])
            )
        else:
            found = [c["concept"] for c in row["concepts"]]
            assert found == [c["concept"] for c in wanted["concepts"]] and len(found) == 5


def test_rows_say_what_the_model_says(model, pictures, calm):
    loaded = load_model(model)
    for row in rows_of(calm)[::5]:
        why = loaded.explain(row["file"], k=5)
        assert (row["label"], row["caution"]) == (why.predicted, why.caution)
        assert row["probability"] == pytest.approx(why.probability, abs=1e-5)
        assert row["set"][0] == row["label"]
        for told, reason, part in zip(
            row["concepts"], row["reasons"], why.contributions, strict=True
        ):
            assert (told["concept"], told["present"]) == (part.phrase, part.present)
            assert told["value"] == pytest.approx(part.value, abs=1e-4)
            assert reason.startswith(part.label)


def test_types_and_arrays(model, pictures, calm, tmp_path):
    schema = pyarrow.parquet.read_schema(next(calm.glob("*.parquet")))
    assert [str(kind) for kind in schema.types] == [
        "string", "string", "double", "list<element: string>", "double", "string",
        "list<element: struct<concept: string, value: double, present: bool>>",
        "list<element: string>",
    ]  # fmt: skip
    arrays = {"embeddings": "image_embeddings", "activations": "concept_activations"}
    more = {"arrays": tuple(arrays)}
    predict(model, str(pictures / "a"), tmp_path / "more", shard_rows=6, **more)
    table = pyarrow.dataset.dataset(tmp_path / "more").to_table()
    said = load_model(model).predict(table["file"].to_pylist())
    for name, wanted in arrays.items():
        found = np.stack(table[name].to_numpy())
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, getattr(said, wanted), atol=1e-5)
    told = json.loads(table.schema.metadata[b"jaxcbm.concepts"])
    assert told == list(load_model(model).concepts.phrases)
    predict(model, str(pictures / "a"), tmp_path / "a.jsonl", **more)
    first = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    np.testing.assert_allclose(first["embeddings"], said.image_embeddings[0], atol=1e-5)
    with pytest.raises(UserError, match="CSV holds no arrays"):
        predict(model, str(pictures), tmp_path / "a.csv", **more)


def test_a_dataset_of_arrow_reads_the_folder(calm):
    want = [row["file"] for row in rows_of(calm)]
    assert pyarrow.dataset.dataset(calm).to_table()["file"].to_pylist() == want


READ = """
import sys, pathlib
import datasets, pandas
for kind, name in (("parquet", "parquet"), ("csv", "csv"), ("jsonl", "json")):
    folder = f"{sys.argv[1]}/{kind}"
    found = datasets.load_dataset(folder, split="train", cache_dir=f"{sys.argv[1]}/cache")
    numbers = [int(pathlib.Path(name).stem) for name in found["file"]]
    assert numbers == [n for n in range(23) if n != 4] and found.builder_name == name, numbers
frame = pandas.read_parquet(f"{sys.argv[1]}/parquet")
assert frame["file"].tolist() == found["file"][:] and frame["probability"].between(0, 1).all()
lines = pandas.read_json(f"{sys.argv[1]}/jsonl/part-00000-of-00003.jsonl", lines=True)
assert lines["label"].tolist() == frame["label"].tolist()[:8]
"""


def test_pandas_and_datasets_read_every_format(model, pictures, tmp_path):
    for kind in ("parquet", "csv", "jsonl"):
        predict(model, str(pictures), tmp_path / kind, format=kind, shard_rows=9)
    # In a process of its own: here pandas takes the folder of our tests for a package of its.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", READ, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


def test_what_is_missing_or_damaged_is_made_again_and_nothing_else(
    model, pictures, calm, tmp_path, monkeypatch
):
    folder = tmp_path / "predictions"
    shutil.copytree(calm, folder)
    (folder / "part-00000-of-00005.parquet").unlink()
    flipped = bytearray((folder / "part-00002-of-00005.parquet").read_bytes())
    flipped[50] ^= 1
    (folder / "part-00002-of-00005.parquet").write_bytes(bytes(flipped))
    (folder / ".manifest" / "part-00003-of-00005.json").write_text('{"rows": 5}')
    (folder / ".part-00004.1.tmp.parquet").write_bytes(b"of a killed run")
    made, write = [], module._write

    def watched(path, *more):
        made.append(path)
        return write(path, *more)

    monkeypatch.setattr(module, "_write", watched)
    assert predict(model, str(pictures), folder, shard_rows=5).rows == COUNT - 1
    assert [path.name[:11] for path in made] == [f".part-0000{n}" for n in (0, 2, 3)]
    assert content(folder) == content(calm) and not list(folder.glob(".part*"))
    made.clear()
    again = predict(model, str(pictures), folder, shard_rows=5)
    assert not made and again.rows == COUNT - 1 and len(again.skipped) == 1


def test_a_stop_between_files_is_gone_on_from(model, pictures, calm, tmp_path, monkeypatch):
    folder, asked = tmp_path / "predictions", iter([False, True])
    monkeypatch.setattr(preemption, "notified", lambda: next(asked, False))
    with pytest.raises(preemption.Preempted):
        predict(model, str(pictures), folder, shard_rows=5)
    assert len(content(folder)) == 2
    predict(model, str(pictures), folder, shard_rows=5)
    assert content(folder) == content(calm)


def test_a_folder_begun_with_something_else_is_refused_by_name(model, pictures, calm, tmp_path):
    shutil.copytree(calm, tmp_path / "p")
    copied = shutil.copytree(pictures, tmp_path / "pictures", copy_function=shutil.copy2)

    def refused(what, model=model, images=pictures, **more):
        with pytest.raises(UserError, match=what) as told:
            predict(model, str(images), tmp_path / "p", **{"shard_rows": 5, **more})
        assert "\n" not in str(told.value)
        assert content(tmp_path / "p") == content(calm)

    refused("--top=5, and not 3", top=3)
    refused("--shard-rows=5, and not 4|another number of files", shard_rows=4)
    refused("--format=parquet, and not csv", format="csv")
    refused("--with=, and not embeddings", arrays=["embeddings"])
    refused("--dtype=float32, and not bfloat16", dtype="bfloat16")
    refused("--batch-size=32, and not 7", batch_size=7)
    refused("other pictures", images=copied)
    refused("other pictures", images=pictures / "[ab]" / "*")
    edited = load_model(model)
    kernel = np.array(edited.params["head.kernel"])
    kernel[0, 0] += 1e-3
    replace(edited, params={**edited.params, "head.kernel": kernel}).save(tmp_path / "edited")
    refused("another model", model=tmp_path / "edited")


def test_a_picture_that_changes_under_the_same_name_is_refused(model, pictures, tmp_path):
    copied = shutil.copytree(pictures, tmp_path / "pictures", copy_function=shutil.copy2)
    predict(model, str(copied), tmp_path / "p", shard_rows=5)
    before = os.stat(copied / "a" / "00000001.png")
    Image.new("RGB", (16, 16), "red").save(copied / "a" / "00000001.png")
    with pytest.raises(UserError, match="pictures that have changed since"):
        predict(model, str(copied), tmp_path / "p", shard_rows=5)
    shutil.copy2(pictures / "a" / "00000001.png", copied / "a" / "00000001.png")
    os.utime(copied / "a" / "00000001.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    predict(model, str(copied), tmp_path / "p", shard_rows=5)


def test_skipped_pictures_are_listed_beside_the_output(model, pictures, calm, tmp_path):
    listed = calm.with_name("predictions.skipped.jsonl").read_text().splitlines()
    (row,) = map(json.loads, listed)
    assert row["image"].endswith("a/00000004.png") and "not a picture" in row["reason"]
    listing = tmp_path / "labels.skipped.jsonl"
    assert len(predict(model, str(pictures), tmp_path / "labels.csv").skipped) == 1
    assert listing.read_text().splitlines() == listed
    predict(model, str(pictures / "b"), tmp_path / "labels.csv")
    assert not listing.exists()


def test_places_that_do_not_do_are_one_line(model, pictures, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"holds notes\.txt"):
        predict(model, str(pictures), mine)
    with pytest.raises(UserError, match="is a file"):
        predict(model, str(pictures), tmp_path / "file")
    with pytest.raises(UserError, match=r"none that can be read, among 1 \(first: .*x\.png"):
        predict(model, str(bad), tmp_path / "out")
    with pytest.raises(UserError, match="is no csv"):
        predict(model, str(pictures), tmp_path / "a.jsonl", format="csv")
    with hold(tmp_path / "held"), pytest.raises(UserError, match="another --output"):
        predict(model, str(pictures), tmp_path / "held")
    assert [p.name for p in mine.iterdir()] == ["notes.txt"] and not (tmp_path / "a.jsonl").exists()


def test_tar_files_give_a_file_each(model, tmp_path):
    shards = draw_shards(tmp_path, 25, 10)
    with open(shards[1], "r+b") as file:
        file.truncate(7000)
    done = predict(model, f"{tmp_path}/soak-{{0000..0002}}.tar", tmp_path / "out", shard_rows=3)
    files = sorted((tmp_path / "out").glob("part-*"))
    counts = [pyarrow.parquet.read_metadata(file).num_rows for file in files]
    assert len(counts) == 3 and counts[0] == 10 and 0 < counts[1] < 10 and counts[2] == 5
    assert done.rows == sum(counts)
    assert [name for name, _ in done.skipped] == [str(shards[1])]


def test_a_tar_file_without_pictures_gives_a_file_without_rows(model, tmp_path):
    full = draw_shards(tmp_path, 10, 5)
    with tarfile.open(tmp_path / "soak-0000x.tar", "w") as tar:
        tar.add(full[0], "other.bin")
    assert predict(model, f"{tmp_path}/*.tar", tmp_path / "out").rows == 10
    files = sorted((tmp_path / "out").glob("part-*"))
    tables = [pyarrow.parquet.read_table(file) for file in files]
    assert [len(table) for table in tables] == [5, 0, 5]
    assert tables[1].schema == tables[0].schema


def test_what_is_missing_is_dealt_out_whoever_found_it(monkeypatch):
    dealt = []
    for process in range(3):
        said = [[0, 3, 6], [], [2, 5, 8]]
        masks = [np.packbits(np.isin(np.arange(11), each)).tobytes().hex() for each in said]
        monkeypatch.setattr(module.processes, "exchange", lambda name, own, masks=masks: masks)
        monkeypatch.setattr(module.processes, "process_index", lambda process=process: process)
        monkeypatch.setattr(module.processes, "process_count", lambda: 3)
        dealt.append(module._dealt(said[process], 11))
    assert dealt == [[0, 5], [2, 6], [3, 8]]


def test_cells_that_begin_like_formulas_get_an_apostrophe(model, tmp_path):
    row = {"file": ["=A1"], "label": ["+1"], "probability": [0.5], "set": [["-1", "b"]]}
    row |= {"familiarity": [None], "caution": [""], "reasons": [["@x +1"]]}
    with writing(tmp_path / "a.csv", "csv", PredictionTable.of(load_model(model), 5)) as write:
        write(row)
    cells = next(csv.reader((tmp_path / "a.csv").read_text().splitlines()[1:]))
    assert cells == ["'=A1", "'+1", "0.500000", "'-1; b", "", "", "'@x +1"]


def test_pictures_and_predictions_in_a_bucket(bucket, model, pictures, calm):
    shutil.copytree(pictures, bucket / "pictures")
    for _ in range(2):
        done = predict(model, "gs://bucket/pictures", "gs://bucket/out", shard_rows=5)
        assert done.rows == COUNT - 1 and len(done.skipped) == 1
        rows = rows_of(bucket / "out")
        assert [row["label"] for row in rows] == [row["label"] for row in rows_of(calm)]
        assert rows[0]["file"] == "gs://bucket/pictures/a/00000000.png"
        next((bucket / "out").glob("part-00001*")).unlink()
    assert (bucket / "out.skipped.jsonl").exists()
