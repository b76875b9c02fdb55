"""The plan against prediction: what is compiled for a slice is what `batch_inference` calls."""

import numpy as np
import pytest
from test_plan_and_fit import BATCH, CLASS_NAMES, Called, described, features, job

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.batch_inference import PictureBatch, batch_inference
from jaxcbm.model.model import Model, make_model
from jaxcbm.model.texts import Texts
from jaxcbm.planning.job import bytes_on_chip
from jaxcbm.planning.predict_stage import predict_stage
from jaxcbm.training.fit_arrays import fit_arrays, split_arrays, start

PHRASES = tuple(f"phrase {d}" for d in range(24))


def begun_model(config, dtype):
    """What a fit on the built-in encoder starts from, as the model that it would leave."""
    encoder = load_encoder("jaxcbm/tiny", dtype)
    rng, width = np.random.default_rng(5), encoder.embed_dim
    concepts, classes = (rng.normal(size=(n, width)).astype(np.float32) for n in (24, 3))
    texts = Texts(PHRASES, CLASS_NAMES, concepts, classes, scale=20.0)
    rows = [split_arrays(features(n, width, PHRASES, False, n)) for n in (40, 12)]
    inputs = fit_arrays(config, texts, *rows, "none").inputs
    _, params = start(config, inputs, len(PHRASES), len(CLASS_NAMES), 0)
    phrases = ConceptSet.from_phrases(PHRASES)
    return make_model(encoder, phrases, texts, config, params, inputs.layer)


CONFIGS = [
    BottleneckConfig(),
    BottleneckConfig(parameterisation="full", standardise=False),
    BottleneckConfig(parameterisation="residual", head_bias=False),
    BottleneckConfig(parameterisation="factored", standardise=False),
    BottleneckConfig(objective="sigmoid", sampler="sigmoid"),
]


@pytest.mark.parametrize(
    ("config", "dtype"), [*((config, "float32") for config in CONFIGS), (CONFIGS[0], "bfloat16")]
)
def test_prediction_has_the_arguments_of_the_plan(config, dtype, monkeypatch):
    mesh = make_mesh(8, 1)
    planned = job(len(PHRASES), False, bottleneck=config, data="memory")
    planned = planned._replace(encoder=planned.encoder.with_dtype(dtype))
    stage = predict_stage(planned, mesh, BATCH)
    model = begun_model(config, dtype).on(mesh, dtype)
    seen = []

    def watched(self, *arguments):
        seen.append(arguments)
        raise Called

    monkeypatch.setattr(Model, "apply", watched)
    size = planned.encoder.image_size
    pixels = np.zeros((BATCH - 3, size, size, 3), np.uint8)
    with pytest.raises(Called):
        list(batch_inference(model, [PictureBatch((), pixels)], BATCH))
    assert described(stage.arguments) == described(seen[0])
    assert bytes_on_chip(stage.arguments) == bytes_on_chip(seen[0])


def test_the_planned_program_takes_and_gives_the_bytes_that_a_device_holds():
    mesh = make_mesh(4, 2)
    planned = job(len(PHRASES), False, bottleneck=BottleneckConfig(), data="memory")
    stage = predict_stage(planned, mesh, BATCH)
    memory = stage.lower().compile().memory_analysis()
    # The compiler leaves out what no output needs, and rounds nothing up by more than a little.
    assert memory.argument_size_in_bytes == pytest.approx(bytes_on_chip(stage.arguments), rel=0.01)
    said = stage.held - bytes_on_chip(stage.arguments[1])
    assert memory.output_size_in_bytes == pytest.approx(said, rel=0.05)
    assert "along model=2" in stage.notes[0]
    with pytest.raises(UserError, match="does not divide"):
        predict_stage(planned, mesh, BATCH + 1)
