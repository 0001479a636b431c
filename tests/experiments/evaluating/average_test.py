"""Average precision and recall of detections whose scores are known."""

import numpy as np
import pytest

from experiments.evaluating import average
from experiments.evaluating.average import BOXES, MASKS
from tests.support.scores import detection, rectangle, thing, truth_of

KINDS = pytest.mark.parametrize("kind", [MASKS, BOXES])
FIRST, SECOND = rectangle(0, 0, 10, 10), rectangle(20, 20, 30, 40)
NOTHING = rectangle(32, 2, 38, 8)


def scores(truths, detections, kind):
    return average.average(truths, detections, kind).scores


@KINDS
def test_perfect_results(kind):
    truths = [truth_of(thing(FIRST), thing(SECOND)), truth_of(thing(SECOND))]
    found = scores(truths, [[detection(FIRST), detection(SECOND)], [detection(SECOND)]], kind)
    assert {key: found[key] for key in ("AP", "AP50", "AP75", "AP_small")} == pytest.approx(
        {"AP": 1, "AP50": 1, "AP75": 1, "AP_small": 1}
    )
    # One detection of an image: two of three objects.
    assert found["AR1"] == pytest.approx(2 / 3) and found["AR10"] == found["AR100"] == 1
    assert found["AP_medium"] is None and found["AR_large"] is None


@KINDS
def test_no_results(kind):
    found = scores([truth_of(thing(FIRST))], [[]], kind)
    assert {found[key] for key in ("AP", "AP50", "AP75", "AR1", "AR100", "AP_small")} == {0}


@KINDS
def test_nothing_to_find(kind):
    assert set(scores([truth_of()], [[detection(FIRST)]], kind).values()) == {None}
    assert set(scores([truth_of()], [[]], kind).values()) == {None}


@KINDS
def test_by_hand(kind):
    """IoU 0.8, a false positive between, one object missed: recall 1/3 and 2/3."""
    near = rectangle(0, 0, 10, 8)
    truths = [truth_of(thing(FIRST), thing(SECOND)), truth_of(thing(SECOND))]
    detections = [[detection(near, 0.9), detection(NOTHING, 0.8)], [detection(SECOND, 0.7)]]
    found = scores(truths, detections, kind)
    # 34 recall levels to 1/3 at precision 1, 33 to 2/3 at precision 2/3, of 101.
    assert found["AP50"] == found["AP75"] == pytest.approx((34 + 33 * 2 / 3) / 101)
    # Above IoU 0.8, of three detections the last alone is right: recall 1/3 at precision 1/3.
    strict = (34 / 3) / 101
    assert found["AP"] == pytest.approx((7 * (34 + 33 * 2 / 3) / 101 + 3 * strict) / 10)
    assert found["AR100"] == pytest.approx((7 * 2 / 3 + 3 * 1 / 3) / 10)


@KINDS
def test_what_is_ignored_is_no_false_positive(kind):
    region = thing(rectangle(20, 0, 40, 20), ignored=True)
    inside = [detection(rectangle(22, 2, 30, 10), 1.0), detection(rectangle(30, 4, 38, 12), 1.0)]
    best_first = [*inside, detection(FIRST, 0.5)]
    assert scores([truth_of(thing(FIRST), region)], [best_first], kind)["AP"] == pytest.approx(1)
    without = scores([truth_of(thing(FIRST))], [best_first], kind)["AP"]
    assert without == pytest.approx(1 / 3)


def test_boxes_are_ignored_by_their_share_of_void():
    """The box around a void outline covers the object: it must not hide false positives in it."""
    outline = rectangle(5, 5, 35, 45)
    outline[7:33, 7:43] = False
    thing_inside = thing(rectangle(7, 7, 33, 43))
    void = thing(outline, ignored=True, void=True)
    part = detection(rectangle(10, 10, 16, 16), 1.0)
    whole = detection(rectangle(7, 7, 33, 43), 0.5)
    for kind in (MASKS, BOXES):
        found = scores([truth_of(thing_inside, void)], [[part, whole]], kind)
        assert found["AP"] == pytest.approx(1 / 2)
    on_outline = detection(rectangle(5, 5, 7, 45), 1.0)
    crossing = detection(rectangle(4, 5, 7, 45), 1.0)  # two thirds of it are void
    for kind in (MASKS, BOXES):
        found = scores([truth_of(thing_inside, void)], [[on_outline, whole]], kind)
        assert found["AP"] == pytest.approx(1)
        found = scores([truth_of(thing_inside, void)], [[crossing, whole]], kind)
        assert (found["AP50"], found["AP75"]) == pytest.approx((1, 1 / 2))


def test_detections_without_masks_are_boxes_alone():
    boxed = detection(FIRST)._replace(code=None)
    assert scores([truth_of(thing(FIRST))], [[boxed]], BOXES)["AP"] == pytest.approx(1)
    assert scores([truth_of(thing(FIRST))], [[boxed]], MASKS)["AP"] == 0


@KINDS
def test_recalls_by_image_have_the_mean_of_pycocotools(kind):
    generator = np.random.default_rng(0)
    truths, detections = [], []
    for _ in range(12):
        corners = generator.integers(0, 25, (4, 2))
        masks = [rectangle(top, left, top + 12, left + 14) for top, left in corners]
        crowd = thing(masks[3], ignored=True)
        truths.append(truth_of(*map(thing, masks[: generator.integers(0, 4)]), crowd))
        moved = [np.roll(mask, generator.integers(-1, 2, 2), (0, 1)) for mask in masks]
        detections.append([detection(mask) for mask in moved[: generator.integers(0, 5)]])
    found = average.average(truths, detections, kind)
    for name, sample in found.recalls.items():
        assert sample.mean == pytest.approx(found.scores[name], abs=1e-12)
        assert len(sample.sums) == sum(len(truth.objects) > 0 for truth in truths)
    units = [str(place) for place in range(12)]
    intervals = average.precision_intervals(found, units, seed=0, resamples=50)
    assert intervals.keys() == {"AP", "AP50", "AP75"}
    for name, (low, high) in intervals.items():
        assert 0 <= low <= found.scores[name] <= high <= 1 and low < high
    same = average.precision_intervals(found, ["one"] * 12, seed=0, resamples=3)
    for name, interval in same.items():
        assert interval == pytest.approx((found.scores[name],) * 2)
