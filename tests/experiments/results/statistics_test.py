"""Intervals and tests against enumerations, hand-worked cases and scipy's other ways."""

import itertools

import numpy as np
import pytest
import scipy.stats

from experiments.results import statistics
from experiments.results.statistics import (
    Sample,
    compare,
    holm,
    interval,
    kind_of_units,
    sample,
    sign_flip,
    unit_of,
)


def by_image(*values):
    return Sample(np.array(values, np.float64), np.ones(len(values)))


def test_a_sample_by_hand():
    scores = {"b/1": 0.5, "a/1": 0.25, "b/0": 1.0}
    images = sample(scores, {image: image for image in scores})
    assert images.sums.tolist() == [0.25, 1.0, 0.5] and images.counts.tolist() == [1, 1, 1]
    videos = sample(scores, {image: image[0] for image in scores})
    assert videos.sums.tolist() == [0.25, 1.5] and videos.counts.tolist() == [1, 2]
    assert images.mean == videos.mean == 1.75 / 3


def test_the_order_of_images_does_not_matter():
    scores = {str(number): value for number, value in enumerate(np.random.default_rng(0).random(9))}
    units = {image: image for image in scores}
    turned = dict(reversed(scores.items()))
    assert interval(sample(scores, units), seed=1) == interval(sample(turned, units), seed=1)


@pytest.mark.parametrize("counts", [[1, 1, 1, 1, 1, 1], [1, 3, 2, 1, 5, 2]])
def test_an_interval_against_all_resamples(counts):
    rng = np.random.default_rng(3)
    sums = rng.random(6) * counts
    means = []
    for drawn in itertools.product(range(6), repeat=6):
        means.append(sum(sums[i] for i in drawn) / sum(counts[i] for i in drawn))
    exact = np.quantile(means, [0.025, 0.975])
    found = interval(Sample(sums, np.array(counts, np.float64)), seed=0, resamples=40_000)
    assert found.mean == pytest.approx(sums.sum() / sum(counts), rel=1e-12)
    np.testing.assert_allclose(found[1:], exact, atol=0.006)
    assert found.low < found.mean < found.high


def test_many_images_against_the_normal_distribution():
    values = np.random.default_rng(0).random(400)
    found = interval(by_image(*values), seed=0)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_frames_of_a_video_are_not_counted_as_so_many_images():
    values = np.random.default_rng(0).random(10)
    scores = {f"{video}/{frame}": values[video] for video in range(10) for frame in range(9)}
    videos = interval(sample(scores, {image: image[0] for image in scores}), seed=0)
    images = interval(sample(scores, {image: image for image in scores}), seed=0)
    assert videos.mean == pytest.approx(images.mean)
    # Copies add no information.
    np.testing.assert_allclose(videos, interval(by_image(*values), seed=0), rtol=1e-12)
    ratio = (videos.high - videos.low) / (images.high - images.low)
    assert ratio == pytest.approx(3, rel=0.1)


def test_intervals_without_spread_and_without_images():
    assert interval(by_image(0.5), seed=0) == (0.5, None, None)
    assert interval(by_image(0.5, 0.5, 0.5), seed=0) == (0.5, 0.5, 0.5)
    assert sign_flip(by_image(0.5), seed=0) is None
    assert sign_flip(by_image(0, 0, 0), seed=0) == 1


def test_memory_is_bounded(monkeypatch):
    largest, whole = [], statistics._resampling

    def resampling(*arguments):
        options = whole(*arguments)
        largest.append(options["batch"])
        return options

    values = by_image(*np.random.default_rng(0).random(20))
    before = interval(values, seed=0, resamples=500), sign_flip(values, seed=0, resamples=500)
    monkeypatch.setattr(statistics, "_LARGEST_BATCH", 64)
    monkeypatch.setattr(statistics, "_resampling", resampling)
    again = interval(values, seed=0, resamples=500), sign_flip(values, seed=0, resamples=500)
    assert largest == [3, 3]
    assert again == before


def test_sign_flips_by_hand():
    # Of eight patterns one gives as much as 6; as often one gives as little as -6.
    assert sign_flip(by_image(1, 2, 3), seed=0) == 2 / 8
    # 6 and 4 of (1, -1, ...): +1+2+3, -1+2+3.
    assert sign_flip(by_image(-1, 2, 3), seed=0) == 4 / 8
    assert sign_flip(by_image(-1, -2, -3), seed=0) == 2 / 8
    assert sign_flip(by_image(*[1] * 10), seed=0) == 2 / 1024


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.8])
def test_sign_flips_against_a_loop(shift):
    values = np.random.default_rng(5).normal(shift, 1, 9)
    sums = [
        sum(sign * value for sign, value in zip(signs, values, strict=True))
        for signs in itertools.product((-1, 1), repeat=9)
    ]
    expected = np.mean(np.abs(sums) >= abs(values.sum()) - 1e-12)
    assert sign_flip(by_image(*values), seed=0) == pytest.approx(expected, abs=1e-12)
    # With more units than can be enumerated: close to what all patterns give.
    values = np.random.default_rng(6).normal(shift, 1, 15)
    signs = np.array(list(itertools.product((-1, 1), repeat=15)))
    expected = np.mean(np.abs(signs @ values) >= abs(values.sum()) - 1e-12)
    assert sign_flip(by_image(*values), seed=0) == pytest.approx(expected, abs=0.02)


def test_sign_flips_of_many_images_against_the_t_test():
    values = np.random.default_rng(0).normal(0.13, 1, 400)
    expected = scipy.stats.ttest_1samp(values, 0).pvalue
    assert 0.01 < expected < 0.2
    assert sign_flip(by_image(*values), seed=0) == pytest.approx(expected, abs=0.01)


def test_holm_by_hand():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and the last no less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, None, 0.7]) == [1.0, None, 1.0]
    assert holm([0.2]) == [0.2] and holm([None]) == [None] and holm([]) == []


def test_holm_holds_the_level_that_bonferroni_holds():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = rng.random(rng.integers(1, 9)) ** 3
        adjusted = holm(list(p_values))
        bonferroni = np.minimum(p_values * len(p_values), 1)
        assert np.all(p_values <= adjusted) and np.all(adjusted <= bonferroni)
        assert min(adjusted) == min(bonferroni)


def test_settings_are_compared_on_common_images():
    scores = {
        "boc": {"a": 0.5, "b": 0.5, "c": 0.5},
        "dot": {"a": 0.4, "b": 0.3, "c": 0.2, "d": 1.0},
        "l2": {"a": 0.6, "b": 0.5},
        "l1": {"z": 1.0},
    }
    units = {image: image for image in "abcdz"}
    found = compare(scores, "boc", units, seed=0)
    assert list(found) == ["dot", "l2"]
    assert found["dot"].difference.mean == pytest.approx(-0.2)
    assert found["dot"].p == 2 / 8 and found["dot"].p_adjusted == 4 / 8
    assert found["l2"].p == 1.0 and (found["l2"].images, found["l2"].units) == (2, 2)
    # All one image, seldom as it is (1 of 27 each), is still more than 2.5 %.
    assert found["dot"].difference[1:] == pytest.approx((-0.3, -0.1))


def test_a_video_changes_sign_as_a_whole():
    base = {f"{video}/{frame}": 0.5 for video in "pqr" for frame in range(4)}
    other = {image: 0.6 for image in base}
    units = {image: image[0] for image in base}
    found = compare({"boc": base, "dot": other}, "boc", units, seed=0)["dot"]
    assert (found.images, found.units, found.p) == (12, 3, 2 / 8)
    # As twelve independent images they would be almost certain.
    apart = compare({"boc": base, "dot": other}, "boc", {image: image for image in base}, seed=0)
    assert apart["dot"].p == 2 / 2**12


def test_units_of_videos_and_images():
    assert unit_of("bear/00001", "davis") == "bear" and unit_of("a/v/1", "ytvis") == "a/v"
    assert unit_of("day/photo", "folder") == "day/photo"
    kinds = [kind_of_units(name) for name in ("davis", "ytvis", "coco", "samples")]
    assert kinds == ["videos", "videos", "images", "images"]
