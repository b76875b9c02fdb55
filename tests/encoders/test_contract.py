"""What every family keeps: torch's embeddings, strict files, and one answer however work is cut."""

from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract_cases import CASES
from jax.sharding import Mesh
from safetensors.numpy import load_file, save_file
from torch_zip import write_torch_zip

from jaxcbm.encoders.checkpoint.convert import to_theirs
from jaxcbm.encoders.checkpoint.restricted_pickle import read_torch_zip
from jaxcbm.encoders.checkpoint.save import save_encoder
from jaxcbm.encoders.dual_encoder import DualEncoder
from jaxcbm.encoders.families import FAMILIES
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.flat_params import merge_flat

GOLDENS = Path(__file__).parents[1] / "goldens"
# Of two lengths of rows, where rows may be short: every one is compiled for itself.
PHRASES = ["a red bird", "", "a crown and a belly and a bill and a wing " * 9]
IMAGES = np.random.RandomState(3).randint(0, 256, (5, 40, 52, 3)).astype(np.uint8)

every_case = pytest.mark.parametrize("name", CASES)
# What is no matter of a config's values is asked of one checkpoint a family.
FIRST = {case.kind: name for name, case in reversed(CASES.items())}
every_family = pytest.mark.parametrize("name", FIRST.values())
# And what is no matter of files, of one a model.
MODELS = {FAMILIES[kind].model: name for kind, name in reversed(FIRST.items())}
every_model = pytest.mark.parametrize("name", MODELS.values())


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def folder_of(scratch):
    return cache(lambda name: CASES[name].write(scratch / name.replace(" ", "_"), scratch))


@pytest.fixture(scope="module")
def encoder_of(folder_of):
    return cache(lambda name: load_encoder(folder_of(name)))


@pytest.fixture(scope="module")
def embedded(encoder_of):
    return cache(lambda name: (encoder_of(name).embed_images(IMAGES), texts(encoder_of(name))))


def texts(encoder: DualEncoder) -> np.ndarray:
    return encoder.embed_texts(PHRASES)


def embed(encoder: DualEncoder, name: str, kind: str, dtype) -> np.ndarray:
    inputs = dict(zip(("image", "text"), CASES[name].inputs(), strict=True))[kind]

    @jax.jit
    def tower(params, inputs):
        model = merge_flat(encoder.graph, params)
        return (model.encode_image if kind == "image" else model.encode_text)(inputs, dtype)[0]

    return np.asarray(tower(dict(encoder.params), inputs))


def golden(name: str, kind: str) -> np.ndarray:
    with np.load(GOLDENS / CASES[name].goldens) as file:
        return file[f"{CASES[name].key}.{kind}"]


@every_case
@pytest.mark.parametrize("kind", ["image", "text"])
def test_float32_equals_torch(name, kind, encoder_of):
    ours_BxE, golden_BxE = embed(encoder_of(name), name, kind, jnp.float32), golden(name, kind)
    assert (ours_BxE.shape, ours_BxE.dtype) == (golden_BxE.shape, np.float32)
    np.testing.assert_allclose(np.linalg.norm(ours_BxE, axis=1), 1, atol=1e-6)
    assert np.ptp(golden_BxE, axis=0).max() > 0.05, "the inputs do not tell anything apart"
    # Promised are 2e-4; one kind of gelu hides from another in that, so hold less.
    worst = np.abs(ours_BxE - golden_BxE).max()
    assert worst < 1e-5, (
        f"{kind} tower off by {worst:.1e}. If model code changed, the change is wrong; if the "
        f"checkpoints changed, run tests/goldens/make_{CASES[name].kind}_goldens.py (needs torch)"
    )


@every_model
@pytest.mark.parametrize("kind", ["image", "text"])
def test_bfloat16_stays_close_to_torch(name, kind, encoder_of):
    ours_BxE, golden_BxE = embed(encoder_of(name), name, kind, jnp.bfloat16), golden(name, kind)
    assert ours_BxE.dtype == np.float32
    assert np.sum(ours_BxE * golden_BxE, axis=1).min() > 0.999
    assert np.abs(ours_BxE - golden_BxE).max() > 1e-5, "bfloat16 not used"


@every_family
def test_loading_is_strict_both_ways(name, folder_of, tmp_path):
    file = CASES[name].weights
    torch_zip = file.endswith(".bin")
    source = folder_of(name) / file
    tensors = read_torch_zip(source) if torch_zip else load_file(source)
    first = min(tensors, key=lambda key: tensors[key].size if tensors[key].ndim else 1 << 30)
    without = {key: array for key, array in tensors.items() if key != first}
    for path in folder_of(name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for broken, said in (
        (without, f"1 missing: .*{first.split('.')[-1]}"),
        ({**tensors, "stranger.weight": np.ones((2, 2), np.float32)}, "1 unknown: stranger.weight"),
        ({**without, first: np.ones((7, 5, 3), np.float32)}, "mis-shaped|unknown"),
    ):
        (write_torch_zip if torch_zip else _save)(tmp_path / file, broken)
        with pytest.raises(UserError, match=said) as caught:
            load_encoder(tmp_path)
        assert "\n" not in str(caught.value)


def _save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    save_file(tensors, path)


@every_family
def test_every_parameter_has_one_name_outside(name, encoder_of):
    encoder = encoder_of(name)
    outside = [theirs for theirs, _ in to_theirs(encoder.params, FAMILIES[encoder.family].rows)]
    assert len(set(outside)) == len(outside) == len(encoder.params)


@every_family
def test_saved_encoders_load_again(name, folder_of, encoder_of, tmp_path):
    first = encoder_of(name)
    if not hasattr(first.config, "to_hf"):
        pytest.skip("encoders of this family are not saved")
    save_encoder(
        tmp_path / "saved", first.config, first.params, folder_of(name), first.preprocess, "float32"
    )
    again = load_encoder(tmp_path / "saved")
    assert again.config == first.config
    assert list(again.params) == list(first.params)
    for key, array in again.params.items():
        np.testing.assert_array_equal(array, first.params[key], err_msg=key)
    assert again.tokenizer.ids(PHRASES) == first.tokenizer.ids(PHRASES)
    assert (again.logit_scale, again.logit_bias) == (first.logit_scale, first.logit_bias)
    assert again.preprocess.output_size == first.preprocess.output_size


@every_model
def test_batch_size_does_not_matter(name, encoder_of, embedded):
    encoder, (images_NxE, _) = encoder_of(name), embedded(name)
    np.testing.assert_allclose(encoder.embed_images(IMAGES, 2), images_NxE, atol=2e-6)


@every_model
def test_a_phrase_does_not_depend_on_its_company(name, encoder_of, embedded):
    """Nor on how long its row of ids is, where the family lets rows be short."""
    encoder, (_, texts_DxE) = encoder_of(name), embedded(name)
    for phrase, vector_E in zip(PHRASES, texts_DxE, strict=True):
        np.testing.assert_allclose(encoder.embed_texts([phrase])[0], vector_E, atol=2e-6)
    full_DxE = encoder._text_tower(dict(encoder.params), encoder.tokenizer(PHRASES))
    np.testing.assert_allclose(full_DxE, texts_DxE, atol=2e-6)


@every_model
def test_eight_devices_embed_as_one(name, encoder_of, embedded):
    if len(jax.devices()) < 8:
        pytest.skip("needs 8 devices")
    mesh = Mesh(np.array(jax.devices()[:8]).reshape(8, 1), ("data", "model"))
    spread, (images_NxE, texts_DxE) = encoder_of(name).on_mesh(mesh), embedded(name)
    np.testing.assert_allclose(spread.embed_images(IMAGES, 8), images_NxE, atol=2e-6)
    np.testing.assert_allclose(texts(spread), texts_DxE, atol=2e-6)


@every_model
def test_inference_is_deterministic(name, encoder_of, embedded):
    """No dropout, no moving statistics: the same bits again, and no random numbers asked for."""
    encoder, (images_NxE, texts_DxE) = encoder_of(name), embedded(name)
    np.testing.assert_array_equal(encoder.embed_images(IMAGES), images_NxE)
    np.testing.assert_array_equal(texts(encoder), texts_DxE)
    pixels, ids = CASES[name].inputs()
    for kind, inputs in (("encode_image", pixels), ("encode_text", ids)):
        program = jax.make_jaxpr(
            lambda params, inputs, kind=kind: getattr(merge_flat(encoder.graph, params), kind)(
                inputs
            )[0]
        )(dict(encoder.params), inputs)
        assert "random_bits" not in str(program)
        assert "threefry" not in str(program)


@every_model
def test_scores_are_scaled_cosines_with_the_bias(name, encoder_of, embedded):
    encoder, (images_NxE, texts_DxE) = encoder_of(name), embedded(name)
    want_NxD = encoder.logit_scale * images_NxE @ texts_DxE.T + encoder.logit_bias
    np.testing.assert_allclose(
        encoder.scores(images_NxE, texts_DxE), want_NxD, rtol=1e-4, atol=1e-4
    )
