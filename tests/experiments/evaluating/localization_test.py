"""CorLoc and saliency scores against definitions written out."""

import numpy as np
import pytest

from experiments.evaluating.localization import located, saliency


@pytest.mark.parametrize(
    ("box", "objects", "expected"),
    [
        ((0, 0, 10, 10), [(0, 0, 10, 10)], True),
        ((0, 0, 10, 10), [(50, 50, 10, 10), (0, 0, 10, 19)], True),
        ((0, 0, 10, 10), [(0, 0, 10, 20)], False),  # 0.5 is not above 0.5
        ((0, 0, 10, 10), [(5, 0, 10, 10)], False),  # 1/3
        ((0, 0, 10, 10), [(20, 20, 10, 10)], False),
        ((0, 0, 10, 10), [(0, 0, 10, 19.6)], False),  # rounded to 20
        ((0, 0, 10, 10), [(0, 0.4, 10, 19.4)], False),  # its lower side at 19.8, rounded to 20
        (None, [(0, 0, 10, 10)], False),
        ((0, 0, 0, 0), [(0, 0, 0, 0)], False),
        ((0, 0, 10, 10), [], False),
    ],
)
def test_located(box, objects, expected):
    assert located(box, objects) is expected


def naive(soft, truth):
    """IoU and accuracy at 0.5; F at the best of 255 thresholds."""
    both = found = present = right = 0
    for predicted, true in zip(soft.ravel() > 0.5, truth.ravel(), strict=True):
        both, found = both + (predicted and true), found + predicted
        present, right = present + true, right + (predicted == true)
    measures = []
    for step in range(255):
        mask = soft > step / 255
        hits = np.sum(mask & truth)
        precision = hits / mask.sum() if mask.any() else 1.0
        recall = hits / truth.sum()
        below = 0.3 * precision + recall
        measures.append(1.3 * precision * recall / below if below else 0.0)
    return both / (found + present - both), right / truth.size, max(measures)


@pytest.mark.parametrize("seed", range(6))
def test_saliency_is_that_of_a_loop(seed):
    generator = np.random.default_rng(seed)
    truth, predicted = generator.random((2, 9, 11)) < generator.random((2, 1, 1))
    truth[0, 0] = True
    counted = np.ones(truth.shape, bool)
    np.testing.assert_allclose(
        saliency(predicted, truth, counted), naive(predicted.astype(float), truth)
    )


def test_void_pixels_do_not_count():
    generator = np.random.default_rng(0)
    truth, predicted = generator.random((2, 9, 11)) < 0.5
    counted = np.zeros(truth.shape, bool)
    counted[2:7] = True
    np.testing.assert_allclose(
        saliency(predicted, truth, counted),
        naive(predicted[2:7].astype(float), truth[2:7]),
    )


def test_extreme_masks():
    truth, counted = np.eye(4, dtype=bool), np.ones((4, 4), bool)
    assert saliency(truth, truth, counted) == (1, 1, 1)
    assert saliency(np.zeros((4, 4), bool), truth, counted) == (0, 12 / 16, 0)
    assert saliency(~truth, truth, counted) == (0, 0, 0)
