"""Runs in several work directories encode the same images once."""

from jaxcbm.experiment.prepare import prepare


def test_two_work_directories_share_what_is_encoded(
    tmp_path, monkeypatch, capsys, picture_folder, phrases, tiny_encoder_folder
):
    monkeypatch.setenv("JAXCBM_CACHE", str(tmp_path / "cache"))
    config = {
        "data": {"name": "folder", "root": str(picture_folder)},
        "encoder": {"name": str(tiny_encoder_folder)},
        "concepts": str(phrases),
    }
    first = prepare(config, tmp_path / "one")
    assert "encode: 36 images" in capsys.readouterr().err
    again = prepare(config, tmp_path / "two")
    assert "encode:" not in capsys.readouterr().err
    assert again.splits.train.key == first.splits.train.key
    assert not (tmp_path / "one" / "features").exists()
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 1
