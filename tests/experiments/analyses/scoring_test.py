"""Means over the images of a run."""

import pytest

from experiments.analyses.scoring import aggregate


def line(f_score, ious=()):
    miou = sum(ious) / len(ious) if ious else None
    raw = None if f_score is None else f_score / 2
    return {"f_score": f_score, "f_score_raw": raw, "num_instances": len(ious), "ious": list(ious),
            "miou": miou}  # fmt: skip


def test_means_over_images_and_over_instances():
    result = aggregate([line(0.5, [1.0, 0.0]), line(None), line(0.9, [0.3])])
    assert result == {
        "f_score": pytest.approx(0.7),
        "f_score_raw": pytest.approx(0.35),
        "images": 2,
        "instances": 3,
        "images_without_instances": 1,
        "miou": pytest.approx(0.4),
        "miou_instances": pytest.approx(1.3 / 3),
    }


def test_nothing_to_score():
    for lines in ([], [line(None)]):
        result = aggregate(lines)
        assert result["f_score"] is result.get("miou") is None
        assert result["images_without_instances"] == len(lines) and result["images"] == 0
