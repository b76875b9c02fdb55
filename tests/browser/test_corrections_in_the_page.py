"""Corrections in the browser: the numbers are Python's."""

import base64

import numpy as np
import pytest

from jaxcbm.model.corrections import correct
from jaxcbm.model.explain import contributions
from jaxcbm.model.prediction import Prediction
from jaxcbm.model.smallest_change import smallest_change
from jaxcbm.pages import signed


def open_at(page, explorer, route):
    page.goto(f"{explorer.as_uri()}#/{route}")
    page.wait_for_selector("h1")


def shares(page) -> dict[str, float]:
    """Class -> probability, as the page computed it."""
    rows = page.eval_on_selector_all(
        ".why .shares tr",
        "rows => rows.map(row => [row.querySelector('a').textContent, "
        "Number(row.querySelector('data').value)])",
    )
    return dict(rows)


def after(first, picture, corrections, carry) -> tuple[np.ndarray, Prediction]:
    """Activations and prediction of one picture, corrected by Python."""
    _, model, shown, _ = first
    alone = shown.select(np.array([picture]))
    columns = np.array(list(corrections), np.int64)
    values = np.array(list(corrections.values()))
    activations = alone.concept_activations.copy()
    if carry and corrections:
        activations = correct(alone, model.calibration, columns, values).astype(np.float64)
    activations[:, columns] = values
    logits = activations @ model.head.T.astype(np.float64) + model.params["head.bias"]
    return activations[0], Prediction.of(logits, model.classes, calibration=model.calibration)


@pytest.mark.parametrize("turns", [8, 100])
def test_random_corrections_give_the_classes_and_the_flips_of_python(page, explorer, first, turns):
    _, model, _, _ = first
    rng = np.random.default_rng(3)
    open_at(page, explorer, "pictures")
    for turn in range(turns):
        picture = int(rng.integers(300))
        columns = rng.choice(40, (3, 6, 0)[turn // 8 % 3], replace=False).tolist()
        corrections = {d: float(rng.normal(1.5, 2)) for d in columns}
        carry = bool(turn % 2)
        text = ",".join(f"{d}:{value}" for d, value in corrections.items())
        page.evaluate(
            "hash => { location.hash = hash }",
            f"#/picture/{picture}?set={text}{'&carry=1' if carry else ''}&turn={turn}",
        )
        page.wait_for_function("turn => location.hash.includes('turn=' + turn)", arg=turn)
        activations, wanted = after(first, picture, corrections, carry)
        assert page.inner_text("h1").endswith(f"{picture:03d}.png")
        found = shares(page)
        wanted_K = dict(zip(model.classes, wanted.class_probabilities[0], strict=True))
        assert found.keys() == wanted_K.keys()
        for name, value in found.items():
            assert value == pytest.approx(wanted_K[name], abs=1e-5)
        logits, decided = wanted.class_logits[0], int(wanted.label_ids[0])
        flip = smallest_change(logits, activations, model.head, model.calibration, decided)
        gains = page.eval_on_selector_all(".smallest data", "all => all.map(x => Number(x.value))")
        assert gains == pytest.approx([c.gain for c in flip.corrections], abs=1e-5)
        assert page.inner_text(".smallest b") == model.classes[flip.class_id]


def said(page, table: int) -> list[list[str]]:
    """Label, note and number of every bar of a table of reasons but the rest."""
    rows = page.eval_on_selector_all(
        f".why .bars >> nth={table} >> tr",
        "rows => rows.slice(0, -1).map(row => [row.querySelector('a').textContent, "
        "row.querySelector('small')?.textContent ?? '', row.querySelector('.number').textContent])",
    )
    return [[cell.replace("\u00a0", " ") for cell in row] for row in rows]


def test_reasons_and_cautions_are_worded_as_python_words_them(page, explorer, first):
    part, model, shown, _ = first
    truth = np.frombuffer(base64.b64decode(part["truth"]["data"]), np.uint8).reshape(300, 40)
    strange = int(np.argmin(shown.familiarity))
    unsure = int(np.argmin(shown.class_probabilities.max(axis=1)))
    for picture in (strange, unsure, 0, 8):
        open_at(page, explorer, f"picture/{picture}")
        alone = shown.select(np.array([picture]))
        decided, other = np.argsort(-alone.class_logits[0])[:2]
        weights = (model.head[decided], model.head[decided] - model.head[other])
        for table, weights_D in enumerate(weights):
            wanted = contributions(alone, weights_D, model.concepts.phrases, 8)
            found = said(page, table)
            assert [row[0] for row in found] == [part.label for part in wanted]
            assert [row[1].split("; false")[0] for row in found] == [c.likely for c in wanted]
            told = [truth[picture, model.concepts.phrases.index(c.phrase)] for c in wanted]
            false = [t != 2 and t != c.present for t, c in zip(told, wanted, strict=True)]
            assert ["; false" in row[1] for row in found] == false
            assert [row[2] for row in found] == [signed(part.value) for part in wanted]
        warnings = page.locator(".warning").all_inner_texts()
        assert "".join(warnings).replace("\u00a0", " ") == alone.cautions[0]
    assert shown.cautions[strange] and shown.cautions[unsure]
