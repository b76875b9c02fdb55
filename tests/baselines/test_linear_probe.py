import numpy as np
from sklearn.linear_model import LogisticRegression

from jaxcbm.baselines.linear_probe import linear_probe, logistic_loss
from jaxcbm.bottleneck.minimise import minimise_by_lbfgs


def problem(images=300, width=6, classes=4):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(images, width)).astype(np.float32)
    labels = np.argmax(
        rows @ rng.normal(size=(width, classes)) + rng.gumbel(size=(images, classes)), 1
    )
    return rows, labels.astype(np.int32)


def test_the_solution_is_scikit_learns():
    rows, labels = problem()
    params = {"kernel": np.zeros((6, 4), np.float32), "bias": np.zeros(4, np.float32)}
    ours = minimise_by_lbfgs(logistic_loss, params, (rows, labels, np.float32(0.01), None))
    theirs = LogisticRegression(C=1.0 / (0.01 * len(rows)), tol=1e-8, max_iter=2000).fit(
        rows, labels
    )
    np.testing.assert_allclose(ours["kernel"].T, theirs.coef_, atol=2e-3)


def test_scale_and_offset_of_the_embeddings_do_not_matter():
    rows, labels = problem()
    split = (rows[:200], labels[:200], rows[200:], labels[200:])
    plain = linear_probe(*split, 4, penalties=(1e-2,))
    moved = linear_probe(
        5 * split[0] + 3, split[1], 5 * split[2] + 3, split[3], 4, penalties=(1e-2,)
    )
    np.testing.assert_allclose(plain.logits(rows), moved.logits(5 * rows + 3), atol=1e-2)
    assert plain.valid_top1 > 0.4
