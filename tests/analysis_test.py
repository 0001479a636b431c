import itertools

import jax
import pytest

from experiments.harness.analysis import _key, aggregate


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


def test_every_image_has_a_key_of_its_own():
    names = [(seed, name) for seed in (0, 1, 2**32 - 1) for name in ("a", "b", "video/00001")]
    keys = {name: jax.random.key_data(_key(*name)).tolist() for name in names}
    assert all(a != b for a, b in itertools.combinations(keys.values(), 2))
