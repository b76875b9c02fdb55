"""Where a concept is: maps that a known answer can be held against."""

import dataclasses

import numpy as np
import pytest
from page_parser import parse
from PIL import Image
from test_saved_model import small_model

import jaxcbm
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.errors import UserError
from jaxcbm.model.concept_map import above_mean, hidden_squares, occlusion_maps, overlay, upscaled
from jaxcbm.model.model import Model

PHRASES = ["long tail", "red crown", "spots"]


def patch_means(pixels_NxSxSx3: np.ndarray) -> np.ndarray:
    """Two concepts that read one known place each: red above left, green below right."""
    scaled = pixels_NxSxSx3 / 255.0
    return np.stack([scaled[:, :8, :8, 0].mean((1, 2)), scaled[:, 24:, 16:, 1].mean((1, 2))], 1)


def test_occlusion_finds_the_place_that_a_concept_reads_and_nothing_elsewhere():
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:8, :8, 0], pixels[24:, 16:, 1] = 160, 64
    maps = occlusion_maps(pixels, patch_means, cells=4, span=1)
    # A square of one cell hides all of the first concept's place, or half of the second's; the
    # mean of red is 160 / 16, that of green 64 / 8.
    expected = np.zeros((2, 4, 4))
    expected[0, 0, 0], expected[1, 3, 2:] = 150 / 255, 28 / 255
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    wide = occlusion_maps(pixels, patch_means, cells=8, span=3)
    assert (wide[0, :2, :2] > wide[0, 4:, 4:].max()).all() and (wide[0, 5:] == 0).all()


@pytest.mark.parametrize(("cells", "span"), [(4, 1), (5, 2), (6, 3)])
def test_every_cell_is_hidden_as_often_as_every_other(cells, span):
    counts = np.zeros((cells, cells), int)
    for rows, columns in hidden_squares(cells, span):
        counts[rows, columns] += 1
    assert (counts == span**2).all()


def real_model() -> Model:
    """Untrained weights on the built-in encoder."""
    encoder = jaxcbm.load_encoder("jaxcbm/tiny")
    rng = np.random.default_rng(0)
    model = small_model(ConceptSet.from_phrases(PHRASES))
    params = {
        "cbl.kernel": rng.normal(size=(encoder.embed_dim, 3)).astype(np.float32),
        "head.kernel": rng.normal(size=(3, 2)).astype(np.float32),
        "head.bias": np.zeros(2, np.float32),
    }
    return dataclasses.replace(
        model,
        params=params,
        input_map=model.input_map._replace(bias=np.zeros(encoder.embed_dim, np.float32)),
        concept_embeddings=encoder.embed_texts(PHRASES),
        encoder=encoder,
        encoder_hash=encoder.content_hash,
    )


@pytest.fixture(scope="module")
def model() -> Model:
    return real_model()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_maps_of_patches_are_the_layer_on_the_embedding_of_each_place(model, picture):
    found = model.concept_maps(picture, ["spots", "long tail"], how="patches")
    places = model.loaded_encoder.embed_patches([picture])[0]
    expected = np.einsum("hwe,ed->dhw", places, model.params["cbl.kernel"])
    np.testing.assert_allclose(found, expected[[2, 0]], rtol=1e-4, atol=1e-4)


def test_maps_of_occlusion_by_hand_for_one_square(model, picture):
    found = model.concept_maps(picture, ["red crown"])
    assert found.shape == (1, 12, 12)
    # The corner cell: the four squares that hide it.
    fill = np.asarray(picture).mean(axis=(0, 1)).round()
    whole = model.predict(picture).concept_logits[0, 1]
    drops = []
    for bottom in (5, 11):
        for right in (5, 11):
            pixels = np.asarray(picture).copy()
            pixels[:bottom, :right] = fill
            drops.append(whole - model.predict(pixels).concept_logits[0, 1])
    np.testing.assert_allclose(found[0, 0, 0], np.mean(drops), rtol=1e-3, atol=1e-4)


def test_a_phrase_that_is_none_of_the_model_is_named(model, picture):
    with pytest.raises(UserError, match="'blue tail' is not in the concept set; the closest are"):
        model.concept_maps(picture, ["spots", "blue tail"])


def test_an_explanation_shows_maps_of_concepts_that_are_there(model, picture, tmp_path):
    plain, found = model.explain(picture), model.explain(picture, maps=True)
    assert plain.maps == ()
    there = [part.phrase for part in found.contributions if part.present]
    assert [phrase for phrase, _ in found.maps] == there != []
    assert all(shown.size == (160, 160) for _, shown in found.maps)
    titles = [text for _, name, text in parse(found.to_html()).attributes if name == "alt"]
    assert titles[1:] == [f"where: {phrase}" for phrase in there]
    found.save(tmp_path / "why.png")
    plain.save(tmp_path / "plain.png")
    with Image.open(tmp_path / "why.png") as tall, Image.open(tmp_path / "plain.png") as short:
        assert tall.height > short.height and tall.width == short.width


def test_an_overlay_marks_the_highest_place_and_leaves_the_rest_grey():
    where = np.zeros((4, 4), np.float32)
    where[0, 3] = 1.0
    shown = np.asarray(overlay(Image.new("RGB", (20, 10), (200, 40, 40)), where, side=80), int)
    assert shown.shape == (40, 80, 3)
    colourful = shown.max(axis=2) - shown.min(axis=2)
    assert colourful[2, -2] > 40 and colourful[30, 5] == 0


def test_a_flat_map_says_nothing():
    assert (above_mean(np.full((3, 3), 2.0)) == 0).all()
    np.testing.assert_allclose(upscaled(np.full((2, 2), 3.0), 5, 7), np.full((5, 7), 3.0))
