import numpy as np
import pytest

from jaxcbm.bottleneck import minimise
from jaxcbm.errors import UserError
from jaxcbm.evaluation.leakage import leakage

CLASSES, EPOCHS = 5, 40


def splits(make, *, images: int = 600):
    """Arguments of `leakage`: activations that `make(labels, rng)` draws, for three splits."""
    rng = np.random.default_rng(0)
    arguments = []
    for _ in range(3):
        labels = rng.integers(0, CLASSES, images)
        arguments += [make(labels, rng), labels]
    return arguments


def noise(labels, rng):
    return rng.normal(3.0, 10.0, (len(labels), 4))


def parity(labels, rng):
    """Signs whose product tells class 0 from the others: no concept alone says anything."""
    signs = rng.choice([-1.0, 1.0], (len(labels), 2))
    signs[:, 1] = np.where(labels == 0, 1.0, -1.0) * signs[:, 0]
    told = signs + rng.normal(0, 0.1, signs.shape)
    return np.concatenate([told, rng.normal(0, 0.1, told.shape)], axis=1)


def test_nothing_is_read_from_noise():
    found = leakage(*splits(noise), epochs=EPOCHS)
    assert abs(found["top1"] - 1 / CLASSES) < 0.06


def test_what_leaks_is_found_even_where_no_single_concept_tells():
    found = leakage(*splits(parity), epochs=EPOCHS)
    # Class 0 is told from the others, which are alike: (1 + 1) / 5 of the images.
    assert found["top1"] == pytest.approx(0.4, abs=0.05)


def test_scale_and_shift_of_activations_do_not_matter():
    arguments = splits(parity)
    moved = [1e4 * x + 50.0 if x.ndim == 2 else x for x in arguments]
    assert leakage(*moved, epochs=EPOCHS)["top1"] == pytest.approx(
        leakage(*arguments, epochs=EPOCHS)["top1"], abs=0.01
    )


def test_the_seed_decides():
    arguments = splits(noise)
    one, same, other = (leakage(*arguments, epochs=EPOCHS, seed=seed) for seed in (0, 0, 1))
    assert one == same != other


def test_selection_looks_at_validation_alone():
    arguments = splits(parity)
    wrong = (arguments[5] + 1) % CLASSES
    twice = np.concatenate([arguments[4]] * 2), np.concatenate([arguments[5], wrong])
    here, there, both = (
        leakage(*arguments[:4], *test, epochs=EPOCHS)["top1"]
        for test in (arguments[4:], (arguments[4], wrong), twice)
    )
    # The network is the same whatever the labels of test say.
    assert here != there and both == pytest.approx((here + there) / 2)


def test_chance_is_the_commonest_class_of_train():
    x, labels = np.zeros((10, 2)), np.array([0] * 6 + [1] * 4)
    test_labels = np.array([0, 1, 1, 1, 2])
    found = leakage(x, labels, x, labels, x[:5], test_labels, epochs=2)
    # Constant activations tell nothing, and do not become NaN.
    assert found["chance"] == 0.2 and found["top1"] == pytest.approx(0.2)


def test_empty_splits_are_named():
    arguments = splits(noise)
    with pytest.raises(UserError, match="test holds 600 images, 0 concepts"):
        leakage(*arguments[:4], arguments[4][:, :0], arguments[5])


def test_another_seed_is_not_another_program():
    arguments = splits(noise)
    leakage(*arguments, epochs=EPOCHS)
    compiled = minimise._train._cache_size()
    leakage(*arguments, epochs=EPOCHS, seed=9, learning_rate=1e-2)
    assert minimise._train._cache_size() == compiled
