"""`jaxcbm explain`: pages, pictures and galleries, and what the same says in Python."""

import json
import shutil

import numpy as np
import pytest
from command_line import fails

from jaxcbm.cli import main
from jaxcbm.encoders.image.preprocess import Preprocess
from jaxcbm.experiment.explain import explain
from jaxcbm.model.model import load_model


def test_explain_shows_maps(trained, picture_folder, tmp_path):
    output = tmp_path / "why.html"
    picture = picture_folder / "blue" / "00.png"
    argv = ["-q", "explain", f"--workdir={trained}", f"--images={picture}", f"--output={output}"]
    assert main([*argv, "--maps"]) == 0
    there = [
        part.phrase for part in load_model(trained).explain(picture).contributions if part.present
    ]
    assert output.read_text().count('alt="where: ') == len(there)


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_explain_draws(trained, picture_folder, tmp_path, suffix):
    output = tmp_path / f"why{suffix}"
    picture = picture_folder / "blue" / "00.png"
    argv = ["-q", "explain", f"--workdir={trained}", f"--images={picture}", f"--output={output}"]
    assert main(argv) == 0
    content = output.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<!doctype html>")
    assert list(tmp_path.iterdir()) == [output]


def test_a_folder_becomes_a_gallery_that_names_true_classes(
    trained, picture_folder, tmp_path, capsys, caplog
):
    folder = shutil.copytree(picture_folder, tmp_path / "pictures")
    (folder / "amber" / "00.png").write_bytes(b"not a picture")
    argv = ["-q", "explain", f"--workdir={trained}", f"--images={folder}"]
    assert main([*argv, f"--output={tmp_path / 'gallery.html'}"]) == 0
    assert "35 pictures explained" in capsys.readouterr().out
    assert "amber/00.png" in caplog.text
    page = (tmp_path / "gallery.html").read_text()
    assert page.count("<article") == 35 and "35 of 36 pictures explained" in page
    assert page.count('loading="lazy"') == 35 and "coral/03.png" in page
    files = sorted(set(folder.glob("*/*.png")) - {folder / "amber" / "00.png"})
    found = load_model(trained).predict(files)
    right = sum(file.parent.name == label for file, label in zip(files, found.labels, strict=True))
    assert f"{right} of 35 predictions are right" in page
    assert page.count(", right)</h4>") == right and page.count(", wrong)</h4>") == 35 - right


def test_a_gallery_says_of_each_picture_what_it_says_of_one_and_reads_each_once(
    trained, picture_folder, tmp_path, monkeypatch
):
    made = []
    crop = Preprocess.resize_and_crop
    monkeypatch.setattr(
        Preprocess, "resize_and_crop", lambda self, image: made.append(1) or crop(self, image)
    )
    page = tmp_path / "gallery.html"
    found = explain(trained, str(picture_folder), page, top=3, batch_size=5)
    assert len(made) == len(found) == 36
    files = sorted(picture_folder.glob("*/*.png"))
    for file, each in list(zip(files, found, strict=True))[::7]:
        alone = load_model(trained).explain(file, k=3)
        assert (each.name, each.true, each.predicted) == (str(file), alone.true, alone.predicted)
        assert [part.phrase for part in each.contributions] == [
            part.phrase for part in alone.contributions
        ]
        assert each.logit == pytest.approx(alone.logit, rel=1e-5, abs=1e-5)
        assert each.seen.tobytes() == alone.seen.tobytes() and each.image.size == (24, 20)
    rounded = explain(trained, str(picture_folder), page, top=3, dtype="bfloat16")
    off = max(abs(a.logit - b.logit) for a, b in zip(found, rounded, strict=True))
    assert 0.0 < off < 0.5


def test_evaluate_says_what_type_it_computed_in(trained):
    argv = ["-q", "evaluate", f"--workdir={trained}", "--no-controls"]
    assert main([*argv, "--dtype=bfloat16", "--batch-size=7"]) == 0
    narrow = json.loads((trained / "metrics.json").read_text())
    assert main(argv) == 0
    own = json.loads((trained / "metrics.json").read_text())
    assert narrow["encoder"]["dtype"] == "bfloat16" and own["encoder"]["dtype"] == "float32"
    assert narrow["test"]["images"] == own["test"]["images"]
    stores = (json.loads(path.read_text()) for path in trained.glob("features/*/manifest.json"))
    assert {store["computed_as"] for store in stores} == {"bfloat16", "float32"}


def test_a_gallery_takes_nothing_that_is_for_one_picture(trained, picture_folder, tmp_path, capsys):
    page = tmp_path / "why.html"
    argv = ["-q", "explain", f"--workdir={trained}", f"--output={page}"]
    for flag in ("--maps", "--true=blue", "--against=blue"):
        fails(capsys, [*argv, f"--images={picture_folder}", flag], "are for one picture", "36")
    assert not page.exists()
    picture = f"--images={picture_folder / 'blue' / '00.png'}"
    assert main([*argv, picture, "--true=a jay"]) == 0
    assert ", wrong)" in page.read_text() and "true class: a jay" in page.read_text()


def test_a_path_in_the_folder_of_a_class_has_that_true_class_and_annotations_deny(
    trained, picture_folder
):
    model, file = load_model(trained), picture_folder / "blue" / "00.png"
    found = model.explain(file)
    assert (found.name, found.true) == (str(file), "blue")
    square = model.explain(found.image.crop((0, 0, 8, 8)))
    assert (square.name, square.true, square.whole) == ("", None, True)
    assert not model.explain(found.image.crop((0, 0, 8, 4))).whole
    assert model.explain(file, true="amber").true == "amber"
    part = found.contributions[0]
    unknown = dict.fromkeys(model.concepts.phrases, float("nan")) | {"another": 1.0}
    for there, mark in ((part.present, ""), (not part.present, ": false")):
        known = unknown | {part.phrase.upper(): float(there)}
        del known[part.phrase]
        told = model.explain(file, annotations=known)
        assert told.annotated == {part.phrase: there}
        assert told.labelled()[0][0].endswith(mark) and (mark != "") == (
            "false" in str(told.labelled())
        )


def test_explain_says_what_tells_it_from_a_class_that_is_named(
    trained, picture_folder, tmp_path, capsys
):
    picture = picture_folder / "blue" / "00.png"
    output = tmp_path / "why.html"
    argv = ["-q", "explain", f"--workdir={trained}", f"--images={picture}", f"--output={output}"]
    decided = load_model(trained).explain(picture).target
    other = next(name for name in ("amber", "blue", "coral") if name != decided)
    assert main([*argv, f"--against={other}"]) == 0
    assert f"rather than {other} (" in capsys.readouterr().out
    for name, told in ((decided, "is the explained class"), ("teal", "no class named 'teal'")):
        assert main([*argv, f"--against={name}"]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_several_models_explain_one_picture(trained, picture_folder, tmp_path, capsys, suffix):
    from PIL import Image

    other = shutil.copytree(trained, tmp_path / "another")
    picture, output = picture_folder / "blue" / "00.png", tmp_path / f"why{suffix}"
    argv = ["-q", "explain", f"--workdir={trained}", f"--workdir={other}", f"--output={output}"]
    if suffix == ".html":
        fails(capsys, [*argv, f"--images={picture_folder}"], "several models", "36")
    assert main([*argv, f"--images={picture}"]) == 0
    told, expected = capsys.readouterr().out, load_model(trained).explain(picture)
    for name in (trained.name, "another"):
        assert f"{name}: {expected.verdict}" in told
    if suffix == ".html":
        page = output.read_text()
        assert page.count('<article class="explanation">') == 2
        assert f"<h2>another: {expected.verdict}</h2>" in page
        return
    with Image.open(output) as drawn:
        wide, panels = drawn.width, json.loads(drawn.text["Description"])
    assert [panel["model"] for panel in panels] == [trained.name, "another"]
    assert panels[0]["reasons"] == panels[1]["reasons"] != []
    assert main([*argv, f"--workdir={trained}", f"--images={picture}"]) == 0
    with Image.open(output) as drawn:
        assert drawn.width > 1.3 * wide


def test_contributions_add_up_to_the_logit_and_an_intervention_changes_it(trained, picture_folder):
    from PIL import Image

    model = load_model(trained)
    with Image.open(picture_folder / "coral" / "03.png") as picture:
        prediction = model.predict([picture])
        explanation = model.explain(picture, k=2)
        top = explanation.contributions[0].phrase if explanation.contributions else "a blue tint"
        moved = model.intervene(picture, {top: 50.0})
        same = model.intervene(picture, {})
    np.testing.assert_allclose(explanation.logit, prediction.class_logits.max(), atol=1e-4)
    np.testing.assert_allclose(same.class_logits, prediction.class_logits, atol=1e-5)
    assert model.head.any() == (not np.allclose(moved.class_logits, prediction.class_logits))
