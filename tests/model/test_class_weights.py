"""What a class is recognised by, from Python."""

import dataclasses

import numpy as np
import pytest
from test_saved_model import small_model

from jaxcbm.concepts.concept_set import ConceptSet
from jaxcbm.errors import UserError


def test_a_class_lists_its_concepts_the_strongest_first():
    model = small_model(ConceptSet.from_phrases(["long tail", "red crown", "spots"]))
    head = np.array([[0.5, 0.0], [-2.0, 0.0], [0.0, 1.0]], np.float32)
    model = dataclasses.replace(model, params={**model.params, "head.kernel": head})
    assert model.class_weights("amber") == [("red crown", -2.0), ("long tail", 0.5)]
    assert model.class_weights("amber", k=1) == [("red crown", -2.0)]
    assert model.class_weights("blue", k=None) == [("spots", 1.0)]
    with pytest.raises(UserError, match="'bleu' is not a class; the closest are 'blue', 'amber'"):
        model.class_weights("bleu")
