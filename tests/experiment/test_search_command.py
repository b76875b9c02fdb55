import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxcbm.baselines.zero_shot import class_embeddings
from jaxcbm.cli import main
from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.data.features import Features, Splits
from jaxcbm.experiment.prepare import Prepared
from jaxcbm.experiment.search import SearchScore, chosen, search, table

ROOT = Path(__file__).parents[2]
CLASSES = ("owl", "wren", "crow", "dove")


class WordEncoder:
    """One direction a word; a picture is the sum of its words."""

    def __init__(self):
        self.words = {}

    def embed_texts(self, phrases):
        rows = np.zeros((len(phrases), 24), np.float32)
        for row, phrase in zip(rows, phrases, strict=True):
            for word in phrase.split():
                row[self.words.setdefault(word, len(self.words))] += 1.0
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def prepared(images=30):
    """Pictures of a class name with noise: zero-shot is nearly always right."""
    encoder = WordEncoder()
    means = encoder.embed_texts(CLASSES)
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(3):
        labels = rng.integers(0, len(CLASSES), images)
        rows = means[labels] + 0.1 * rng.normal(size=(images, 24)).astype(np.float32)
        parts.append(
            Features.from_arrays(
                rows / np.linalg.norm(rows, axis=1, keepdims=True), labels, CLASSES
            )
        )
    concepts = ConceptSet.from_phrases(["owl eyes", "wren tail", "crow wing", "dove bill"])
    return Prepared(encoder, concepts, Splits(*parts), None, None)


@pytest.fixture(scope="module")
def rows():
    return search(prepared(), ("{}", "a photo of a {}"))


def test_every_method_and_text_has_a_row_and_clear_pictures_are_recognised(rows):
    assert len({row[:4] for row in rows}) == len(rows) == (1 + 3 * 4) * 3
    by_name = {row[:4]: row for row in rows}
    for texts in ("{}", "a photo of a {}", "ensemble of 2"):
        assert by_name["zero-shot", "", "", texts].test_top1 == 1.0
        assert by_name["concept search", "cosine", "centred", texts].test_top1 > 0.9
    assert all(0.0 <= row.test_top1 <= row.test_top5 == 1.0 for row in rows)


def test_an_ensemble_is_the_mean_of_its_templates():
    encoder = WordEncoder()
    one, other = (class_embeddings(encoder, CLASSES, [text]) for text in ("{}", "a {}"))
    both = class_embeddings(encoder, CLASSES, ["{}", "a {}"])
    mean = one + other
    np.testing.assert_allclose(
        both, mean / jnp.linalg.norm(mean, axis=1, keepdims=True), rtol=1e-6, atol=1e-7
    )


def test_texts_and_the_best_line_are_chosen_on_validation_not_on_test():
    rows = [
        SearchScore("zero-shot", "", "", "a", 0.5, 0.9, 1.0),
        SearchScore("zero-shot", "", "", "b", 0.6, 0.1, 1.0),
        SearchScore("concept search", "cosine", "rows", "a", 0.4, 0.95, 1.0),
    ]
    assert chosen(rows) == rows[1:]
    best = next(line for line in table(rows).splitlines() if "best on validation" in line)
    assert best.split()[:2] == ["zero-shot", "b"]


def test_the_command_prints_a_table_and_writes_a_file(
    picture_folder, tiny_encoder_folder, tmp_path, capsys
):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("an amber glow\na blue tint\na coral hue\n")
    argv = [
        "-q",
        "search",
        f"--config={ROOT / 'configs' / 'folder.py'}",
        f"--config.data.root={picture_folder}",
        f"--config.concepts={phrases}",
        f"--config.encoder.name={tiny_encoder_folder}",
        "--template=a {} thing",
        f"--output={tmp_path / 'search.json'}",
    ]
    assert main(argv) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 13
    written = json.loads((tmp_path / "search.json").read_text())
    assert written["templates"] == ["a {} thing"] and len(written["rows"]) == 13
    assert written["images"]["test"] > 0
    assert main([*argv[:-2], "--template=a thing"]) == 2
    assert "{} once" in capsys.readouterr().err
    assert main([*argv[:-1], "--output=search.txt"]) == 2
    assert ".json" in capsys.readouterr().err
