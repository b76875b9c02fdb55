import json

import pytest

from jaxcbm.cli import main


def test_it_measures_everything_and_writes_json(tmp_path, capsys):
    assert main(["-q", "bench", "--quick", f"--output={tmp_path / 'speed.json'}"]) == 0
    said = capsys.readouterr().out.splitlines()
    found = json.loads((tmp_path / "speed.json").read_text())
    rows = [(row["name"], row["unit"]) for row in found["speeds"]]
    assert rows == [
        ("encode", "images/s"),
        ("train", "steps/s"),
        ("predict", "ms"),
        ("predict", "ms"),
    ]
    assert all(0 < row["value"] < float("inf") for row in found["speeds"])
    median, slow = (row["value"] for row in found["speeds"][2:])
    assert median <= slow
    assert found["machine"]["devices"] == 8
    assert len(said) == 5 and said[0].startswith("encode") and said[-1].startswith("on 8 x cpu")


def test_one_measurement_of_a_named_encoder(tiny_encoder_folder, capsys):
    words = ["--quick", "--only=predict", f"--encoder={tiny_encoder_folder}"]
    assert main(["-q", "bench", *words]) == 0
    said = capsys.readouterr().out
    assert str(tiny_encoder_folder) in said and "images/s" not in said


@pytest.mark.parametrize(
    "words,word", [(["--only=fly"], "choose from"), (["--encoder=/no"], "/no")]
)
def test_mistakes_are_one_line(words, word, capsys):
    assert main(["-q", "bench", "--quick", *words]) == 2
    assert word in capsys.readouterr().err
