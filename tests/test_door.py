"""The promised names, called as one would in a notebook: with names, lists and single pictures."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxcbm
from jaxcbm.bottleneck import search
from jaxcbm.typed_json import from_json

PHRASES = ["an amber glow", "a blue tint", "a coral hue"]
QUICK = from_json(
    jaxcbm.FitConfig, {"training": {"epochs": 2}, "sparse_head": {"path_length": 4}}, "QUICK"
)


@pytest.fixture(scope="module")
def images(picture_folder) -> jaxcbm.ImageSet:
    return jaxcbm.ImageSet.from_folder(picture_folder)


@pytest.fixture(scope="module")
def model(images, tiny_encoder_folder) -> jaxcbm.Model:
    return jaxcbm.fit(
        images, images[::2], encoder=tiny_encoder_folder, concepts=PHRASES, config=QUICK
    )


def test_every_public_name_is_there():
    for name in jaxcbm.__all__:
        assert callable(getattr(jaxcbm, name)), name


def test_names_and_objects_give_the_same_fit(model, images, tiny_encoder_folder):
    encoder = jaxcbm.load_encoder(str(tiny_encoder_folder))
    concepts = jaxcbm.ConceptSet.from_phrases(PHRASES)
    store = tiny_encoder_folder.parent / "features"
    parts = [jaxcbm.encode(part, encoder, store) for part in (images, images[::2])]
    again = jaxcbm.fit(*parts, encoder=encoder, concepts=concepts, config=QUICK)
    for path, value in model.params.items():
        np.testing.assert_array_equal(again.params[path], value)
    assert again.concepts == model.concepts and again.classes == model.classes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"concepts": "red crown"}, "no concept set 'red crown'.*a list of phrases"),
        ({"concepts": []}, "no concept phrases"),
        ({"concepts": [3]}, "phrase 1 of the given phrases is no text"),
        ({"concepts": 5}, "concepts=5: give phrases"),
        ({"encoder": "no/such/encoder"}, "no such folder: no/such/encoder"),
        ({"classes": "amber"}, "classes='amber' is one text"),
        ({"classes": ["amber", "blue"]}, "labels do not fit 2 classes"),
    ],
)
def test_a_fit_says_what_it_cannot_use(change, said, images, tiny_encoder_folder):
    given = {"encoder": tiny_encoder_folder, "concepts": PHRASES, "config": QUICK}
    with pytest.raises(jaxcbm.UserError, match=said) as caught:
        jaxcbm.fit(images, images, **{**given, **change})
    assert "\n" not in str(caught.value)


def test_a_picture_is_predicted_alike_whatever_holds_it(model, images, picture_folder, tmp_path):
    file = picture_folder / "amber" / "00.png"
    picture = Image.open(file)
    pixels = np.asarray(picture)
    want = model.predict([picture]).class_logits
    many = jnp.asarray(np.stack([pixels, pixels]))
    forms = (picture, pixels, jnp.asarray(pixels), file, str(file), file.read_bytes(), images[:1])
    for form in forms:
        np.testing.assert_allclose(model.predict(form).class_logits, want, atol=1e-5)
        assert model.predict(form).labels == model.predict([picture]).labels
    np.testing.assert_allclose(model.predict(many).class_logits[1:], want, atol=1e-5)
    for form in forms[:-1]:
        explained = model.explain(form)
        assert explained.logit == pytest.approx(want.max(), abs=1e-4)
        left = model.intervene(form, {"a blue tint": 0.0})
        assert left.class_logits.shape == want.shape and left.concept_activations[0, 1] == 0


def test_images_and_features_are_predicted_alike(model, images, tmp_path):
    features = jaxcbm.encode(images, model.loaded_encoder, tmp_path)
    found, want = model.predict(images), model.predict(features)
    assert len(found.labels) == len(images)
    np.testing.assert_allclose(found.class_logits, want.class_logits, atol=1e-5)


def test_a_model_whose_encoder_has_moved_is_told_where(model, tmp_path, picture_folder):
    model.save(tmp_path / "model")
    picture = picture_folder / "coral" / "03.png"
    want = model.predict(picture).class_logits
    for encoder in (model.encoder, model.encoder_name, None):
        loaded = jaxcbm.load_model(str(tmp_path / "model"), encoder)
        np.testing.assert_array_equal(loaded.predict(picture).class_logits, want)
    with pytest.raises(jaxcbm.UserError, match="not what this model was trained on"):
        jaxcbm.load_model(tmp_path / "model", encoder="jaxcbm/tiny").predict(picture)


def test_a_search_of_texts_is_the_search_of_their_embeddings(images, tiny_encoder_folder):
    encoder = jaxcbm.load_encoder(tiny_encoder_folder)
    classes = [f"a {name} picture" for name in images.classes]
    arrays = (
        encoder.embed_images(images),
        encoder.embed_texts(classes),
        encoder.embed_texts(PHRASES),
    )
    want = search.concept_search(*arrays, similarity="cubed", normalize="centred")
    concepts = jaxcbm.ConceptSet.from_phrases(PHRASES)
    for given in (
        (images, classes, PHRASES),
        (arrays[0], classes, concepts),
        (jnp.asarray(arrays[0]), jnp.asarray(arrays[1]), PHRASES),
        (np.stack([np.asarray(image) for image in images]), *arrays[1:]),
    ):
        found = jaxcbm.concept_search(
            *given, encoder=tiny_encoder_folder, similarity="cubed", normalize="centred"
        )
        np.testing.assert_allclose(found.scores, want.scores, atol=1e-5)
    bare = jaxcbm.concept_search(*arrays, similarity="cubed", normalize="centred")
    np.testing.assert_array_equal(bare.scores, want.scores)
    with pytest.raises(jaxcbm.UserError, match=r"classes: no embeddings .* give encoder="):
        jaxcbm.concept_search(arrays[0], classes, PHRASES)


def test_objects_say_what_they_are_in_a_few_lines(model, images, tmp_path):
    features = jaxcbm.encode(images, model.loaded_encoder, tmp_path)
    phrases = f"ConceptSet {model.concepts.content_hash[:8]} of 3 phrases (an amber glow, "
    said = {
        "Model": (model, "Model of 3 classes (amber, blue, coral)", "validation top-1: "),
        "ConceptSet": (model.concepts, phrases),
        "ImageSet": (images, "ImageSet of 36 images, 3 classes"),
        "Features": (features, "of 36 images", "float32 [36, 16]"),
        "DualEncoder": (model.encoder, "16 x 16", "clip"),
    }
    for name, (thing, *words) in said.items():
        text = repr(thing)
        assert text.startswith(name) and all(word in text for word in words), text
        assert len(text.splitlines()) <= 6 and "array(" not in text
        assert max(map(len, text.splitlines())) < 200
    used = np.any(model.head, axis=0).sum()
    assert f"concepts: 3 ({model.concepts.content_hash[:8]}), {used} used" in repr(model)
