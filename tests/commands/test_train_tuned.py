import json

import numpy as np
import pytest

from jaxcbm.commands import evaluate, train
from jaxcbm.commands.experiment import default_config
from jaxcbm.data.folder import load_folder
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.serving.model import load_model


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
    config.training.epochs = config.tuning.epochs = 2
    config.training.batch_size = config.tuning.batch_size = 8
    config.sparse_head.path_length = 4
    return config


def test_train_leaves_a_model_with_its_tuned_encoder(config, picture_folder, tmp_path):
    workdir = tmp_path / "run"
    metrics = train.run(config.to_dict(), workdir)
    assert metrics["encoder"]["hash"] != load_encoder(config.encoder.name).content_hash
    assert (workdir / "plots" / "tuning_curves.png").exists()
    assert evaluate.run(workdir)["test"] == metrics["test"]
    model, images = load_model(workdir), load_folder(picture_folder)
    prediction = model.predict([images.source.load(i) for i in range(3)])
    assert np.isfinite(prediction.class_logits).all() and prediction.labels[0] in images.classes
    assert json.loads((workdir / "config.json").read_text())["encoder"]["train"] == "lora"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"lora": {"where": "attention"}}, "'attention=lora' matches no parameter"),
        ({"lora": {"rank": 0}}, "rank 0 must be at least 1"),
        ({"train": "frozen", "rules": "vision=train"}, "has no effect with train=frozen"),
        ({"train": "al"}, "'al' is not one of"),
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
