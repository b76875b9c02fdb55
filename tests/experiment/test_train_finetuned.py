import json

import numpy as np
import pytest

from jaxcbm.data.image_set import ImageSet
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.experiment import evaluate, reproduce, sweep, train
from jaxcbm.experiment.config import default_config
from jaxcbm.model.model import load_model


@pytest.fixture
def config(tiny_encoder_folder, picture_folder, tmp_path):
    (tmp_path / "phrases.txt").write_text("a red bird\na blue fish\na fish\n")
    config = default_config()
    config.data.name = "folder"
    config.data.root = str(picture_folder)
    config.data.valid_fraction = 0.3
    config.encoder.name = str(tiny_encoder_folder)
    config.encoder.train = "lora"
    config.encoder.lora.rank = 2
    config.encoder.lora.where = r"^vision\.projection"
    config.concepts = str(tmp_path / "phrases.txt")
    config.mesh.data = 1
    config.training.epochs = config.finetune.epochs = 2
    config.training.batch_size = config.finetune.batch_size = 8
    config.sparse_head.path_length = 4
    return config


def test_train_leaves_a_model_with_its_tuned_encoder(config, picture_folder, tmp_path):
    workdir = tmp_path / "run"
    metrics = train.run(config.to_dict(), workdir)
    assert metrics["encoder"]["hash"] != load_encoder(config.encoder.name).content_hash
    assert (workdir / "plots" / "finetune_curves.png").exists()
    again = evaluate.run(workdir)["test"]
    assert {name: again[name] for name in metrics["test"]} == metrics["test"]
    model, images = load_model(workdir), ImageSet.from_folder(picture_folder)
    prediction = model.predict([images.source.load(i) for i in range(3)])
    assert np.isfinite(prediction.class_logits).all() and prediction.labels[0] in images.classes
    assert json.loads((workdir / "config.json").read_text())["encoder"]["train"] == "lora"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"lora": {"where": "attention"}}, "'attention=lora' matches no parameter"),
        ({"lora": {"rank": 0}}, r"lora\.rank must be a whole number, at least 1, not 0"),
        ({"train": "frozen", "rules": "vision=train"}, "has no effect with train=frozen"),
        ({"train": "al"}, "must be 'frozen' or 'lora'"),
    ],
)
def test_mistakes_show_before_anything_is_encoded(config, tmp_path, changes, said):
    values = config.to_dict()
    lora = {**values["encoder"]["lora"], **changes.pop("lora", {})}
    values["encoder"] |= {"lora": lora, **changes}
    with pytest.raises(UserError, match=said) as caught:
        train.run(values, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "features").exists()


def test_another_resolution_is_a_setting_and_stays_with_the_model(config, tmp_path):
    config.encoder.image_size, config.encoder.train = 24, "frozen"
    workdir = tmp_path / "run"
    metrics = train.run(config.to_dict(), workdir)
    model = load_model(workdir)
    assert model.encoder_image_size == 24
    picture = np.zeros((30, 30, 3), np.uint8)
    np.testing.assert_array_equal(
        model.predict([picture]).concept_scores,
        model.predict_embeddings(
            load_encoder(config.encoder.name, image_size=24).embed_images([picture])
        ).concept_scores,
    )
    again = evaluate.run(workdir)["test"]
    assert {name: again[name] for name in metrics["test"]} == metrics["test"]


@pytest.mark.parametrize(
    "command",
    [
        lambda config, workdir: sweep.run(config, workdir, ["--grid.training.seed=0,1"]),
        lambda config, workdir: reproduce.run(config, workdir, seeds=1),
    ],
)
def test_what_compares_on_frozen_features_refuses_to_train_the_encoder(config, tmp_path, command):
    with pytest.raises(UserError, match=r"encoder\.train=lora: .* frozen") as caught:
        command(config.to_dict(), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
