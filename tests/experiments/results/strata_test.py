"""Overlap and size ratio of instances, and the mIoU of their strata."""

import itertools

import numpy as np
import pytest

from experiments.results import published, strata
from tests.support import oracles

VOID = -1


def painted(size, *boxes):
    """An instance map of boxes (top, left, bottom, right), the first one numbered 3."""
    instances = np.zeros(size, np.int32)
    for number, (top, left, bottom, right) in enumerate(boxes, start=3):
        instances[top:bottom, left:right] = number
    return instances


def test_two_boxes_by_hand():
    # 4 x 4 and 4 x 4, sharing 2 x 1: two pixels of 16 + 16 - 2.
    instances = painted((8, 10), (0, 0, 4, 4), (2, 3, 6, 7))
    assert strata.mbor(instances) == 2 / 30
    # The second lies on top: 14 and 16 pixels.
    assert strata.size_ratio(instances) == 30 / 16


def test_three_boxes_count_shared_pixels_once():
    # Known by their corners: columns 0 to 5, 4 to 7 and 2 to 9 of three rows. Two or more hold
    # columns 2 to 7; the three intersections together would be 2 + 4 + 4 columns.
    instances = np.zeros((3, 12), np.int32)
    for number, first, last in ((1, 0, 5), (2, 4, 7), (3, 2, 9)):
        instances[0, first] = instances[2, last] = number
    assert strata.mbor(instances) == 6 / 10


def test_an_instance_in_two_parts_has_one_box():
    instances = np.zeros((4, 9), np.int32)
    instances[0, 0] = instances[3, 8] = 7  # the whole map
    instances[1:3, 4] = 9
    assert strata.mbor(instances) == 2 / 36
    assert strata.size_ratio(instances) == 2.0


def test_void_is_no_instance():
    instances = painted((6, 6), (0, 0, 3, 3), (3, 3, 6, 6))
    assert strata.mbor(instances) == 0 and strata.size_ratio(instances) == 2
    instances[0, 0:3] = instances[3, 3:6] = VOID
    assert strata.mbor(instances) == 0 and strata.size_ratio(instances) == 2
    # With the void as an instance, or as part of its neighbour, boxes would overlap.
    instances = painted((4, 4), (0, 0, 4, 2), (0, 2, 4, 4))
    instances[:, 1:3] = VOID
    assert strata.measures(instances) == {"mbor": 0.0, "size_ratio": 2.0}


def test_one_instance_and_none():
    assert strata.measures(painted((5, 5), (1, 1, 3, 3))) == {"mbor": 0.0, "size_ratio": 1.0}
    for empty in (np.zeros((5, 5), np.int32), np.full((5, 5), VOID, np.int32), None):
        assert strata.measures(empty) == {"mbor": None, "size_ratio": None}


def test_random_maps_against_loops_over_pixels():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(60):
        height, width = rng.integers(1, 25, 2)
        instances = np.zeros((height, width), np.int32)
        for number in rng.permutation(40)[: rng.integers(0, 7)]:
            top, left = rng.integers(0, height), rng.integers(0, width)
            bottom, right = top + rng.integers(1, 15), left + rng.integers(1, 15)
            part = instances[top:bottom, left:right]
            part[rng.random(part.shape) < 0.4] = number
        instances[rng.random(instances.shape) < 0.1] = VOID
        found = strata.measures(instances)
        assert found["mbor"] == oracles.mbor(instances)
        assert found["size_ratio"] == oracles.size_ratio(instances)
        seen.add(found["mbor"])
    assert None in seen and 0 in seen and len(seen) > 30


def line(miou, **measures):
    return {"miou": miou, "f_score": 0.5, **measures}


def test_strata_hold_their_lower_bound():
    # 7/50 and 41/25 are the doubles nearest to 0.14 and 1.64, as are the bounds.
    values = [(0.0, 1.0), (0.01, 1.26), (0.1399, 1.6399), (7 / 50, 41 / 25), (17 / 50, 9.0)]
    lines = [
        line(0.1 * index, mbor=overlap, size_ratio=ratio)
        for index, (overlap, ratio) in enumerate(values, start=1)
    ]
    result = strata.scores(lines, "boc", papers_setting=True)
    expected = {
        "by_mbor": [(0.01, 0.14, 2, 0.25, 0.3494), (0.14, 0.34, 1, 0.4, 0.3738)],
        "by_size_ratio": [(1.26, 1.64, 2, 0.25, 0.3510), (1.64, None, 2, 0.45, 0.3371)],
    }
    expected["by_mbor"].append((0.34, None, 1, 0.5, 0.3233))
    for key, rows in expected.items():
        for entry, (low, high, images, miou, paper) in zip(result[key], rows, strict=True):
            assert entry == {
                "low": low,
                "high": high,
                "images": images,
                "miou": pytest.approx(miou),
                "published": paper,
            }
    counts = {"below": 1, "not_recorded": 0}
    assert result["strata_left_out"] == {"mbor": counts, "size_ratio": counts}
    assert result.keys() == {*expected, "strata_left_out"}


def test_what_is_in_no_stratum():
    lines = [
        line(None, mbor=0.2, size_ratio=2.0),  # no instance on the grid: no score
        line(0.5),  # written before the measures were
        line(0.7, mbor=0.2, size_ratio=1.1),
    ]
    result = strata.scores(lines, "dot", papers_setting=False)
    found = [(entry["images"], entry["miou"]) for entry in result["by_mbor"]]
    assert found == [(0, None), (1, 0.7), (0, None)]
    assert [entry["images"] for entry in result["by_size_ratio"]] == [0, 0]
    assert {entry["published"] for entry in result["by_mbor"] + result["by_size_ratio"]} == {None}
    assert result["strata_left_out"] == {
        "mbor": {"below": 0, "not_recorded": 1},
        "size_ratio": {"below": 1, "not_recorded": 1},
    }
    assert strata.scores([], "dot", papers_setting=False)["by_mbor"][0]["miou"] is None


def test_a_metric_that_the_paper_does_not_have():
    found = strata.scores([line(0.5, mbor=0.2)], "a new one", papers_setting=True)
    assert [entry["published"] for entry in found["by_mbor"]] == [None, None, None]
    assert found["by_mbor"][1]["miou"] == 0.5


def test_the_tables_say_what_is_missing():
    lines = [line(0.5), line(0.4, mbor=0.2, size_ratio=1.0)]
    results = [
        {"metric": metric, **strata.scores(lines, metric, papers_setting=True)}
        for metric in ("boc", "l2")
    ]
    overlap, ratio = (text.splitlines() for text in strata.report(results))
    headings = "MBOR metric images mIoU % published difference"
    assert overlap[0].split() == headings.split()
    assert [row.split() for row in overlap[2:8]] == [
        ["0.01-0.14", "boc", "0", "no", "image", "34.94", "-"],
        ["0.01-0.14", "l2", "0", "no", "image", "33.42", "-"],
        ["0.14-0.34", "boc", "1", "40.00", "37.38", "+2.62"],
        ["0.14-0.34", "l2", "1", "40.00", "35.26", "+4.74"],
        [">=0.34", "boc", "0", "no", "image", "32.33", "-"],
        [">=0.34", "l2", "0", "no", "image", "30.99", "-"],
    ]
    assert overlap[8] == "a stratum includes its lower bound and excludes its upper bound"
    assert "MBOR an earlier version" in overlap[9] and "no stratum: 1; a run with" in overlap[9]
    assert ratio[7] == "images below 1.26, in no stratum: 1" and len(ratio) == 9


def test_the_paper_has_a_number_for_each_stratum():
    for measure, bounds in strata.STRATA.items():
        for lower, upper in itertools.pairwise(bounds):
            assert lower.high == upper.low
        assert bounds[-1].high is None
        assert len(published.BY_STRATUM[measure]["boc"]) == len(bounds)
