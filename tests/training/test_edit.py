"""An edited head is as good as one solved from nothing, and nothing else of the model moves."""

from dataclasses import fields, replace

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize

import jaxcbm
from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.data.features import Features
from jaxcbm.encoders.load import load_encoder
from jaxcbm.errors import UserError
from jaxcbm.model.edits import remaining
from jaxcbm.training.calibrate import calibrate
from jaxcbm.training.config import FitConfig
from jaxcbm.training.edit import edit
from jaxcbm.training.fit import fit

PHRASES = ("a red crown", "a long tail", "white spots", "a short bill", "a big foot")
CLASSES = ("amber", "blue", "coral")
TOLERANCE = 1e-4


def config_of(tolerance=TOLERANCE, **bottleneck) -> FitConfig:
    config = FitConfig(bottleneck=BottleneckConfig(**bottleneck))
    head = replace(config.sparse_head, path_length=8, tolerance=tolerance)
    return replace(config, training=replace(config.training, epochs=3), sparse_head=head)


@pytest.fixture(scope="module")
def parts(tiny_encoder_folder):
    """Train, validation and encoder; annotations of four concepts decide the class."""
    encoder = load_encoder(tiny_encoder_folder)
    rng = np.random.default_rng(0)

    def features(images: int) -> Features:
        labels = np.arange(images) % 3
        odds = 0.15 + 0.5 * (labels[:, None] == np.arange(4) % 3)
        present = (rng.random((images, 4)) < odds) * 1.0
        rows = rng.normal(size=(images, encoder.embed_dim)) * 0.3
        rows[:, :4] += present
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        known = {"annotations": present, "annotation_phrases": PHRASES[:4]}
        return Features.from_arrays(rows.astype(np.float32), labels, CLASSES, **known)

    return features(150), features(60), encoder


def fitted(parts, config):
    train, valid, encoder = parts
    return fit(train, valid, encoder=encoder, concepts=PHRASES[:4], config=config)


@pytest.fixture(scope="module")
def model(parts):
    return fitted(parts, plain())


def plain() -> FitConfig:
    """Without a corrected copy, so that the problem is the activations alone."""
    config = config_of()
    return replace(config, sparse_head=replace(config.sparse_head, intervened=0.0))


def objective(model, train, penalty, weights=None, intercept=None):
    """What the head minimises, in float64, by the formula: its own value without `weights`."""
    rows = model.predict_embeddings(train.as_array()).concept_activations.astype(np.float64)
    deviation = rows.std(axis=0)
    if weights is None:
        weights = model.head * deviation
        intercept = model.params["head.bias"] + model.head @ rows.mean(axis=0)
    logits = (rows - rows.mean(axis=0)) / deviation @ weights.T + intercept
    top = logits.max(axis=1)
    own = logits[np.arange(len(rows)), train.labels]
    loss = np.mean(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - own)
    cost = 0.99 * np.abs(weights).sum() + 0.005 * (weights**2).sum()
    return loss + penalty * cost


def best(model, train, penalty, held=None):
    """The least value of `objective` by L-BFGS-B on positive and negative parts of the weights."""
    shape = model.head.shape
    size = model.head.size
    rows = model.predict_embeddings(train.as_array()).concept_activations.astype(np.float64)
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    onehot = np.eye(shape[0])[train.labels]
    bounds = [(0.0, np.inf)] * (2 * size) + [(-np.inf, np.inf)] * shape[0]
    for (k, d), weight in (held or {}).items():
        bounds[k * shape[1] + d] = (max(weight, 0),) * 2
        bounds[size + k * shape[1] + d] = (max(-weight, 0),) * 2

    def value(x):
        positive, negative = x[:size].reshape(shape), x[size : 2 * size].reshape(shape)
        weights, intercept = positive - negative, x[2 * size :]
        logits = rows @ weights.T + intercept
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        loss = -np.mean(np.log((p * onehot).sum(axis=1)))
        error = (p - onehot) / len(rows)
        slope = error.T @ rows + 0.01 * penalty * weights
        total = loss + penalty * (0.99 * (positive + negative).sum() + 0.005 * (weights**2).sum())
        sides = [slope + 0.99 * penalty, -slope + 0.99 * penalty]
        return total, np.concatenate([*(side.ravel() for side in sides), error.sum(axis=0)])

    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-13, "gtol": 1e-9}
    start = np.clip(np.zeros(len(bounds)), *np.transpose(bounds))
    return minimize(value, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun


EDITS = {
    "delete": {"delete": ["a red crown"]},
    "merge": {"merge": {"a tail or spots": ["a long tail", "White  spots"]}},
    "add": {"add": ["a big foot"]},
    "forget": {"forget": range(0, 60, 2)},
    "hold": {"hold": {("blue", "a long tail"): -0.7, ("coral", "a red crown"): 0.0}},
    "all": {
        "delete": ["a red crown"],
        "merge": {"a long tail": ["a long tail", "white spots"]},
        "add": ["a big foot"],
        "forget": [3, 4, 8],
        "hold": {("amber", "a big foot"): 0.5},
    },
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_head_is_as_good_as_one_solved_from_nothing(name, model, parts):
    train, valid, _ = parts
    edited = edit(model, train, valid, **EDITS[name], config=plain())
    (done,) = edited.edits
    assert done.certificate <= TOLERANCE < done.before and done.iterations > 0
    kept = remaining(train, edited.edits)
    assert len(kept) == len(train) - len(done.forgotten) == 150 - len(EDITS[name].get("forget", ()))
    deviation = edited.predict_embeddings(kept.as_array()).concept_activations.std(axis=0)
    held = {}
    for weight in done.held:
        k, d = CLASSES.index(weight.class_name), edited.concepts.phrases.index(weight.phrase)
        held[k, d] = weight.weight * deviation[d]
        np.testing.assert_allclose(edited.head[k, d], weight.weight, rtol=1e-5)
    least = best(edited, kept, done.penalty, held)
    found = objective(edited, kept, done.penalty)
    assert least - 1e-6 <= found <= least * (1 + TOLERANCE) + 1e-6
    assert done.penalty == pytest.approx(
        float(model.sparse_path.path.lambdas[model.sparse_path.chosen])
    )


def test_logits_of_what_stays_do_not_move(model, parts):
    train, valid, encoder = parts
    rows = valid.as_array()
    before = model.predict_embeddings(rows).concept_logits
    edited = edit(model, train, valid, **EDITS["all"], config=plain())
    assert edited.concepts.phrases == ("a long tail", "a short bill", "a big foot")
    after = edited.predict_embeddings(rows)
    np.testing.assert_allclose(after.concept_logits[:, 0], before[:, 1:3].mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(after.concept_logits[:, 1], before[:, 3], atol=1e-6)
    embedding = encoder.embed_texts(["a big foot"])[0]
    own = remaining(train, edited.edits).as_array() @ embedding
    np.testing.assert_allclose(
        after.concept_logits[:, 2], (rows @ embedding - own.mean()) / own.std(), atol=1e-3
    )
    np.testing.assert_allclose(edited.concept_embeddings[2], embedding, atol=1e-6)
    assert [drop.reason for drop in edited.concepts.filters[-1].dropped] == [
        *("deleted", "merged into a long tail"),
    ]


@pytest.mark.parametrize(
    "bottleneck",
    [
        {"objective": "l1"},
        {"parameterisation": "full"},
        {"standardise": False},
        {"objective": "sigmoid", "sampler": "sigmoid"},
    ],
    ids=["residual", "full", "raw", "sigmoid"],
)
def test_every_layer_can_be_edited(bottleneck, parts):
    train, valid, _ = parts
    config = config_of(**bottleneck)
    model = fitted(parts, config)
    edited = edit(model, train, valid, delete=[PHRASES[0]], add=[PHRASES[4]], config=config)
    again = edit(edited, train, valid, delete=[PHRASES[4]], add=[PHRASES[0]], config=config)
    rows = valid.as_array()
    before, after = (each.predict_embeddings(rows) for each in (model, again))
    # The first three are what they were all the time.
    np.testing.assert_allclose(
        after.concept_logits[:, :3], before.concept_logits[:, 1:4], atol=1e-4, rtol=1e-4
    )
    assert again.concepts.phrases == (*PHRASES[1:4], PHRASES[0])
    assert again.edits[-1].certificate <= TOLERANCE
    alone = bottleneck["objective"] == "sigmoid" if "objective" in bottleneck else False
    how = "trained alone on its annotations" if alone else "the encoder's own score"
    assert again.edits[-1].added == {PHRASES[0]: how}
    if not alone:
        return
    # A logistic regression of its own is the same with others beside it.
    np.testing.assert_allclose(
        after.concept_logits[:, 3], before.concept_logits[:, 0], atol=0.05, rtol=0.02
    )


def test_a_concept_that_is_not_used_goes_without_a_trace(parts):
    """With the corrected copy of the fit, whose random numbers stay with their concepts."""
    train, valid, _ = parts
    config = config_of()
    config = replace(config, sparse_head=replace(config.sparse_head, nec=0.6))
    model = fitted(parts, config)
    unused = np.flatnonzero(~model.head.any(axis=0))
    assert 0 < len(unused) < 4, "nothing is tested"
    phrase = PHRASES[unused[0]]
    edited = edit(model, train, valid, delete=[phrase], config=config)
    (done,) = edited.edits
    assert done.iterations == 0 and done.certificate == done.before <= TOLERANCE
    np.testing.assert_allclose(edited.head, np.delete(model.head, unused[0], axis=1), rtol=1e-5)
    rows = valid.as_array()
    before, after = (each.predict_embeddings(rows) for each in (model, edited))
    # Only the step of the bias that comes with every certificate.
    np.testing.assert_allclose(after.class_logits, before.class_logits, atol=1e-3)


def test_the_order_of_edits_does_not_matter(model, parts):
    train, valid, _ = parts
    config = plain()
    config = replace(config, sparse_head=replace(config.sparse_head, intervened=0.75))
    steps = [{"delete": [PHRASES[0]]}, {"forget": [1, 5]}, {"hold": {("blue", PHRASES[1]): 0.4}}]
    draws, heads = [], []
    for order in ((0, 1, 2), (2, 1, 0)):
        edited = model
        for step in order:
            edited = edit(edited, train, valid, **steps[step], config=config)
        heads.append(edited.head)
        draws.append(edited.edits[-1].draws)
    at_once = edit(model, train, valid, **{**steps[0], **steps[1], **steps[2]}, config=config)
    assert draws[0] == draws[1] == at_once.edits[-1].draws == (1, 2, 3)
    for head in heads:
        np.testing.assert_allclose(head, at_once.head, atol=0.05)
    assert at_once.head[1, 0] == pytest.approx(0.4)


def test_a_whole_path_is_as_good_as_one_from_nothing(model, parts):
    train, valid, _ = parts
    config = plain()
    edited = edit(model, train, valid, delete=[PHRASES[0]], path=True, config=config)
    path = edited.sparse_path.path
    assert (path.certificate <= TOLERANCE).all() and edited.edits[-1].path
    np.testing.assert_array_equal(path.lambdas, model.sparse_path.path.lambdas)
    for place in (3, 7):
        head = path.head(place, 3)
        found = objective(edited, train, path.lambdas[place], head, path.biases[place])
        least = best(edited, train, path.lambdas[place])
        assert least - 1e-6 <= found <= least * (1 + TOLERANCE) + 1e-6
    # And validation has chosen on it, as a fit does.
    losses = edited.metrics["path"]["valid_top1"]
    assert len(losses) == 8 and edited.metrics["anec"] > 0.3
    further = edit(edited, train, valid, delete=[PHRASES[1]], path=True, config=config)
    assert len(further.sparse_path.path.nec) == 8
    alone = edit(edited, train, valid, delete=[PHRASES[1]], config=config)
    assert alone.sparse_path is None and not {"path", "anec"} & alone.metrics.keys()
    with pytest.raises(UserError, match="one head and no path"):
        edit(alone, train, valid, delete=[PHRASES[2]], path=True, config=config)


def test_forgotten_images_leave_no_trace_but_in_the_layer(model, parts):
    train, valid, _ = parts
    gone = [0, 7, 9]
    digest = valid.digests[2].tobytes().hex()
    edited = edit(model, train, valid, forget=[*gone, digest, digest], config=plain())
    assert len(edited.edits[0].forgotten) == 4
    kept = train.select(np.delete(np.arange(len(train)), gone))
    held = valid.select(np.delete(np.arange(len(valid)), 2))
    again = calibrate(edited, kept, held)
    for one, other in (
        (edited.calibration, again.calibration),
        (edited.familiarity, again.familiarity),
    ):
        for field in fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    # The same pictures are forgotten in every copy, and stay so.
    twice = Features.concatenate([train, train.select(gone)])
    assert len(remaining(twice, edited.edits)) == len(kept)
    later = edit(edited, train, valid, delete=[PHRASES[0]], config=plain())
    least = best(later, kept, later.edits[-1].penalty)
    assert objective(later, kept, later.edits[-1].penalty) <= least * (1 + TOLERANCE) + 1e-6
    np.testing.assert_array_equal(edited.params["cbl.kernel"], model.params["cbl.kernel"])
    assert "not by the layer" in str(edited.edits[0])


def test_a_refit_of_the_layer_is_a_fit_without_the_images(model, parts):
    train, valid, encoder = parts
    gone = [0, 7, 9]
    edited = edit(model, train, valid, forget=gone, refit_layer=True, config=plain())
    kept = train.select(np.delete(np.arange(len(train)), gone))
    fresh = fitted((kept, valid, encoder), plain())
    for name, value in fresh.params.items():
        np.testing.assert_array_equal(edited.params[name], value)
    assert "by layer and head" in str(edited.edits[0])
    # An edit of it starts from its own problem.
    config = plain()
    later, same = (
        edit(each, part, valid, hold={("blue", PHRASES[1]): 0.1}, config=config)
        for each, part in ((edited, train), (fresh, kept))
    )
    np.testing.assert_array_equal(later.head, same.head)


def test_what_was_edited_is_said_and_saved(model, parts, tmp_path):
    train, valid, _ = parts
    edited = edit(model, train, valid, **EDITS["all"], config=plain())
    edited.save(tmp_path / "model")
    loaded = jaxcbm.load_model(tmp_path / "model", encoder=parts[2])
    assert loaded.edits == edited.edits
    (said,) = [line for line in repr(loaded).split("\n  ") if line.startswith("edited: ")]
    for word in ("a red crown deleted", "merged into a long tail", "a big foot added", "0.5"):
        assert word in said
    explanation = loaded.explain(Image.new("RGB", (16, 16)))
    assert any("a red crown deleted" in line for line in explanation.edited())
    assert "a red crown deleted" in explanation.to_html()
    assert model.explain(Image.new("RGB", (16, 16))).edited() == []
    further = edit(loaded, train, valid, delete=["a big foot"], config=plain())
    assert [len(each.draws) for each in further.edits] == [3, 2]
    np.testing.assert_array_equal(
        loaded.predict_embeddings(valid.as_array()).class_logits,
        edited.predict_embeddings(valid.as_array()).class_logits,
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "nothing to edit"),
        (
            {"delete": ["a red crow"]},
            "'a red crow' is not in the concept set; the closest are 'a red",
        ),
        ({"delete": PHRASES[:4]}, "no concept is left"),
        ({"merge": {"x": [PHRASES[0]]}}, "takes two phrases or more"),
        ({"merge": {"x": PHRASES[:2]}, "delete": [PHRASES[0]]}, "named twice"),
        ({"merge": {"x": PHRASES[:2], "y": PHRASES[1:3]}}, "named twice"),
        ({"add": ["A  Long Tail"]}, "is in the concept set already"),
        ({"add": [""]}, "no concept phrases"),
        ({"hold": {("azure", PHRASES[0]): 1.0}}, "'azure' is not a class; the closest are"),
        ({"hold": {("blue", PHRASES[0]): float("nan")}}, "no weight"),
        ({"hold": {("blue", PHRASES[0]): 1.0}, "delete": [PHRASES[0]]}, "not in the concept set"),
        ({"forget": [150]}, "train has 0 to 149"),
        ({"forget": np.arange(150) < 3}, "give numpy.flatnonzero"),
        ({"forget": ["00" * 32]}, "not among the train and validation images"),
        ({"forget": range(0, 150, 3)}, "no train image of amber"),
        ({"refit_layer": True}, "nothing to edit"),
        ({"refit_layer": True, "delete": [PHRASES[0]]}, "images to forget alone"),
    ],
)
def test_mistakes_are_said_in_a_line(change, said, model, parts):
    train, valid, _ = parts
    with pytest.raises(UserError, match=said) as caught:
        edit(model, train, valid, **change, config=plain())
    assert "\n" not in str(caught.value)


def test_a_trained_head_is_refused(parts):
    config = config_of()
    config = replace(config, sparse_head=replace(config.sparse_head, enabled=False))
    with pytest.raises(UserError, match="trained head"):
        edit(fitted(parts, config), *parts[:2], delete=[PHRASES[0]], config=config)
