"""Every family's image tower leaves as one program for three platforms and any batch size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract_cases import CASES
from jax import export

from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder

# One checkpoint a model.
NAMES = {FAMILIES[case.kind].model: name for name, case in CASES.items()}.values()


@pytest.mark.parametrize("name", NAMES)
def test_the_program_embeds_as_the_encoder_does(name, tmp_path):
    encoder = load_encoder(CASES[name].write(tmp_path / "encoder", tmp_path))
    size = encoder.image_size
    shapes = {n: jax.ShapeDtypeStruct(v.shape, v.dtype) for n, v in encoder.params.items()}
    (batch,) = export.symbolic_shape("b")
    pixels = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.uint8)
    platforms = ("cpu", "cuda", "tpu")
    program = export.export(encoder.image_tower, platforms=platforms)(shapes, pixels)
    program = export.deserialize(program.serialize())
    pixels = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), np.uint8)
    expected = encoder.embed_pixels(pixels)
    for rows in (slice(0, 5), slice(1, 2)):
        found = jax.jit(program.call)(dict(encoder.params), pixels[rows])
        np.testing.assert_allclose(found, expected[rows], atol=1e-5)
