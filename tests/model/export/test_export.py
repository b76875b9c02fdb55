import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from PIL import Image
from safetensors.numpy import load_file

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.model import build_bottleneck
from jaxcbm.bottleneck.scores import InputMap, raw_map
from jaxcbm.cli import main
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.encoders.load import load_encoder
from jaxcbm.model.calibration import fit_calibration
from jaxcbm.model.model import Model, load_model

PHRASES = ("a red crown", "a long tail", "white spots", "a short bill", "a blue wing")
CLASSES = ("owl", "tern", "wren")
SHAPES = [(20, 31), (64, 40), (16, 16), (90, 17), (33, 34), (12, 50), (40, 40)]


def pictures():
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (*hw, 3), np.uint8)) for hw in SHAPES]


def make_model(folder, **config) -> Model:
    """Random weights on a small encoder; nothing here needs a fitted one."""
    encoder = load_encoder(folder)
    settled = BottleneckConfig(**config)
    concepts_DxE = encoder.embed_texts(PHRASES)
    mapping = raw_map(concepts_DxE, encoder.logit_scale)
    if settled.layer == "factored":
        mapping = InputMap(None, np.linspace(-1, 1, encoder.embed_dim, dtype=np.float32))
    width = mapping.bias.shape[0]
    _, params = build_bottleneck(settled, width, len(PHRASES), len(CLASSES), seed=3)
    return Model(
        config=settled,
        params={name: np.asarray(value) for name, value in params.items()},
        input_map=InputMap(mapping.kernel, np.asarray(mapping.bias)),
        concepts=ConceptSet.from_phrases(PHRASES),
        concept_embeddings=concepts_DxE,
        classes=CLASSES,
        encoder_name=str(folder),
        encoder_hash=encoder.content_hash,
        logit_scale=encoder.logit_scale,
        logit_bias=encoder.logit_bias,
    )


CONFIGS = [
    {"parameterisation": "residual"},
    {"parameterisation": "full", "sampler": "top_k", "k": 2},
    {"parameterisation": "factored", "sampler": "gumbel_softmax", "head_bias": False},
    {"parameterisation": "factored", "objective": "sigmoid", "sampler": "sigmoid"},
]


@pytest.fixture(scope="module")
def moved(tmp_path_factory, tiny_encoder_folder):
    """An exported folder with its encoder, moved, and the model it came from."""
    folder = tmp_path_factory.mktemp("export")
    encoder = shutil.copytree(tiny_encoder_folder, folder / "encoder")
    model = make_model(encoder, **CONFIGS[0])
    model.save(folder / "run" / "model")
    argv = ["-q", "export", f"--workdir={folder / 'run'}", f"--output={folder / 'exported'}"]
    assert main([*argv, "--with-encoder"]) == 0
    before = model.predict(pictures())
    shutil.rmtree(encoder)
    return (folder / "exported").rename(folder / "elsewhere"), before, model


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["parameterisation"])
def test_the_program_says_what_the_model_says_for_any_batch(config, tiny_encoder_folder, tmp_path):
    model = make_model(tiny_encoder_folder, **config)
    rows = np.eye(2, len(PHRASES), dtype=np.float32)
    labels = np.arange(2)
    record = fit_calibration(rows, labels, rows, np.eye(2, 3), labels)._replace(temperature=0.3)
    model = replace(model, calibration=record)
    model.save(tmp_path / "model")
    argv = ["-q", "export", f"--workdir={tmp_path / 'model'}", f"--output={tmp_path / 'out'}"]
    assert main(argv) == 0
    place = tmp_path / "out" / "program"
    program = export.deserialize(bytearray((place / "predict.stablehlo").read_bytes()))
    weights = load_file(place / "weights.safetensors")
    assert program.platforms == ("cpu", "cuda", "tpu")
    predict = jax.jit(program.call)
    expected = model.predict(pictures())
    pixels = np.stack([model.loaded_encoder.preprocess(image) for image in pictures()])
    for batch in (pixels, pixels[:1], pixels[2:5]):
        start = 2 if len(batch) == 3 else 0
        rows = slice(start, start + len(batch))
        out = predict(weights, batch)
        np.testing.assert_allclose(
            out["class_logits"], expected.class_logits[rows], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            out["concept_activations"], expected.concept_activations[rows], rtol=1e-5, atol=1e-5
        )
        np.testing.assert_allclose(
            out["class_probabilities"], expected.class_probabilities[rows], rtol=1e-4, atol=1e-6
        )
    # As the exported README computes a contribution.
    said = json.loads((place / "program.json").read_text())
    beside = np.asarray(predict(weights, pixels)["concept_activations"]) - said["neutral"]
    np.testing.assert_allclose(beside, expected.evidence, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected.class_logits, axis=0).max() > 1e-3, "the pictures are all alike"


def test_the_program_carries_no_weight_that_it_does_not_read(moved):
    names = load_file(moved[0] / "program" / "weights.safetensors")
    assert any(name.startswith("encoder.vision.") for name in names)
    assert not any(name.startswith("encoder.text.") for name in names)
    assert not list(moved[0].rglob("*.pkl"))


def test_an_exported_folder_serves_without_the_encoder_it_came_from(moved):
    folder, before, original = moved
    model = load_model(folder)
    after = model.predict(pictures())
    np.testing.assert_allclose(after.class_logits, before.class_logits, rtol=1e-6, atol=1e-6)
    assert model.classes == original.classes and model.encoder_name == original.encoder_name
    assert model.loaded_encoder.content_hash == original.encoder_hash


def test_the_readme_code_runs_without_jaxcbm_and_agrees(moved, tmp_path):
    folder, before, _ = moved
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert code is not None
    files = []
    for i, image in enumerate(pictures()):
        image.save(tmp_path / f"{i}.png")
        files.append(str(tmp_path / f"{i}.png"))
    script = (
        "import sys\nsys.modules['jaxcbm'] = None\n" + code.group(1) + f"\nfiles = {files!r}\n"
        "labels, out = classify(files)\n"
        "print(json.dumps([labels, np.asarray(out['class_logits']).tolist()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    labels, logits = json.loads(done.stdout)
    assert tuple(labels) == before.labels
    np.testing.assert_allclose(logits, before.class_logits, rtol=1e-5, atol=1e-5)


def test_the_folder_names_its_contents(moved):
    said = json.loads((moved[0] / "program" / "program.json").read_text())
    assert tuple(said["classes"]) == CLASSES and tuple(said["concepts"]) == PHRASES
    assert said["inputs"]["pixels"]["shape"] == ["b", 16, 16, 3]
    assert said["outputs"]["concept_activations"]["shape"] == ["b", len(PHRASES)]


def test_nothing_is_overwritten_and_mistakes_are_one_line(moved, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for argv, word in (
        ([f"--workdir={moved[0]}", f"--output={tmp_path / 'full'}"], "already"),
        ([f"--workdir={moved[0]}", f"--output={tmp_path / 'x'}", "--platforms=gpu"], "'gpu'"),
        ([f"--workdir={tmp_path}", f"--output={tmp_path / 'x'}"], "no finished model"),
    ):
        assert main(["-q", "export", *argv]) == 2
        assert word in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "x").exists()


def test_a_name_is_not_needed_twice(moved, tmp_path):
    """What was exported with its encoder can be exported again."""
    assert main(["-q", "export", f"--workdir={moved[0]}", f"--output={tmp_path / 'again'}"]) == 0
    assert not (Path(tmp_path) / "again" / "encoder").exists()
