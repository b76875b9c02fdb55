"""What a fit makes of annotations: present, absent or unknown, and which phrase says which."""

from dataclasses import replace

import numpy as np
import pytest
from streamed_problem import CONFIG, PHRASES, make_features, make_texts

from jaxcbm.bottleneck.config import BottleneckConfig
from jaxcbm.bottleneck.positives import UNKNOWN
from jaxcbm.distributed.mesh import make_mesh
from jaxcbm.training.fit import fit_features
from jaxcbm.training.fit_arrays import annotated_positives


def test_unknown_is_neither_absent_nor_present():
    train = make_features(annotated=True)
    assert train.annotations is not None
    annotations = train.annotations[:, :8].copy()
    annotations[::5, 3] = np.nan
    part = replace(train, annotations=annotations, annotation_phrases=PHRASES[:8])
    found = annotated_positives(part, PHRASES)(None)
    assert found.dtype == np.uint8
    assert (found[:, 8] == UNKNOWN).all() and (found[::5, 3] == UNKNOWN).all()
    told = ~np.isnan(annotations)
    np.testing.assert_array_equal(found[:, :8][told], annotations[told])
    rows = np.array([7, 0, 5])
    np.testing.assert_array_equal(annotated_positives(part, PHRASES)(rows), found[rows])


def test_complete_annotations_need_no_scores():
    """They are yes or no, whatever is unknown of annotations that nobody asks for."""
    train = make_features(annotated=True)
    assert train.annotations is not None
    annotations = train.annotations.copy()
    annotations[0, 8] = np.nan
    part = replace(train, annotations=annotations)
    found = annotated_positives(part, PHRASES[:8][::-1])(None)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, annotations[:, :8][:, ::-1] == 1)


@pytest.mark.parametrize("data", ["memory", "stream"])
def test_an_article_before_every_phrase_changes_nothing(data):
    config = replace(CONFIG, bottleneck=BottleneckConfig(objective="sigmoid"))
    train, valid = make_features(annotated=True), make_features(60, seed=1)
    texts = make_texts()
    worded = texts._replace(phrases=tuple(f"it has a {phrase.upper()}" for phrase in PHRASES))
    found = [
        fit_features(
            *(train, valid, some), config=config, mesh=make_mesh(1, 1), streamed=data == "stream"
        )[1].state.params
        for some in (texts, worded)
    ]
    for path, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][path], err_msg=path)
