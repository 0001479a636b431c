import collections
import dataclasses
import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import ablation, sweep
from experiments.analyses.segmentation import (
    Plan,
    _alike,
    _key,
    _number_of,
    aggregate,
    instance_analysis,
)
from experiments.loop.backbone import Features
from experiments.loop.batches import Batch, open_lanes
from experiments.loop.stream import Example, Group, Stopwatch
from experiments.loop.truth import on_grid
from specjax.config import Config
from specjax.errors import SpecjaxError
from specjax.pipeline import segment_foreground
from tests.support.run_binary import quick_compilation


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
    keys = {
        (seed, name): jax.random.key_data(_key(np.uint32(seed), _number_of(name))).tolist()
        for seed, name in names
    }
    assert all(a != b for a, b in itertools.combinations(keys.values(), 2))


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with quick_compilation():
        yield


class CountingWatch(Stopwatch):
    """Counts how often each stage is entered."""

    def __init__(self):
        super().__init__()
        self.entered = collections.Counter()

    def __call__(self, stage):
        self.entered[stage] += 1
        return super().__call__(stage)


def scene():
    """An image alone: two instances of noisy features on a 6 x 8 grid, of 24 x 32 pixels."""
    rng = np.random.default_rng(0)
    instances = np.zeros((24, 32), np.int32)
    instances[4:20, 4:16] = 1
    instances[8:20, 12:28] = 2
    numbers = instances[::4, ::4].ravel()
    array = rng.normal(size=(3, 12))[numbers] + 0.3 * rng.normal(size=(48, 12))
    features = Features(array.astype(np.float32), (6, 8), 4, (24, 32))
    image = np.zeros((24, 32, 3), np.uint8)
    example = Example("a", 0, "a.png", image, features, on_grid(instances, (6, 8), 48), instances)
    batch = Batch(open_lanes(1), 1, 48)
    grids = batch.stack([np.array([6, 8], np.int32)])
    return Group([example], batch, batch.stack([features.array]), grids)


ABLATION = ablation.make_plans(Config(M=6, N=3, solver="eigh"), 12)
SWEEP, _ = sweep.make_plans(Config(solver="eigh"), [12, 6, 3], [2, 3, 4])


@pytest.mark.parametrize(("plans", "foregrounds"), [(ABLATION, 2), (SWEEP, 3)])
def test_each_foreground_is_found_once(plans, foregrounds):
    watch = CountingWatch()
    options = types.SimpleNamespace(num_instances=None, seed=0)
    analyse = instance_analysis(options, plans, watch, label=lambda setting: {})
    (outcomes,) = analyse(scene(), list(plans))()
    assert list(outcomes) == list(plans) and len(plans) == 8
    assert watch.entered["foreground"] == foregrounds
    lines = [outcome.line for outcome in outcomes.values()]
    for line in lines:
        # Boxes of 16 x 12 and 12 x 16 pixels that share 12 x 4; the second is on top.
        assert line["mbor"] == 48 / 336 and line["size_ratio"] == 336 / 192
    masks = {setting: outcome.foreground.tolist() for setting, outcome in outcomes.items()}
    for setting, plan in plans.items():
        alone = segment_foreground(
            scene().features[0], jnp.array([6, 8]), config=plan.foreground
        )
        assert masks[setting] == alone.mask.tolist()


def test_metrics_are_computed_together_as_far_as_they_fit():
    given, other = Config(M=6, N=3), Config(M=6, N=2)
    metrics = ("boc", "l1", "l2", "dot", "cosine")
    plans = {metric: Plan(given, dataclasses.replace(given, metric=metric)) for metric in metrics}
    plans["N=2"] = Plan(given, other)
    found = [settings for _, settings in _alike(plans, list(plans), 2)]
    assert found == [["boc", "l1"], ["l2", "dot"], ["cosine"], ["N=2"]]
    (together, settings), (alone, last) = _alike(plans, list(plans), 9)
    assert (settings, last) == (list(metrics), ["N=2"])
    # What they share names no metric of theirs.
    assert together == Plan(given, dataclasses.replace(given, metric="dot"))
    assert alone == Plan(given, dataclasses.replace(other, metric="dot"))


def test_pairs_of_a_sweep():
    plans, warnings = sweep.make_plans(Config(metric="l2"), [12, 3, 12, 2], [3, 2, 9])
    assert list(plans) == ["M=12,N=3", "M=12,N=2", "M=12,N=9", "M=3,N=3", "M=3,N=2", "M=2,N=2"]
    assert warnings == [
        "N=9 left out at M=3: more than there are", "N=3, 9 left out at M=2: more than there are"
    ]  # fmt: skip
    for setting, plan in plans.items():
        assert setting == f"M={plan.instances.M},N={plan.instances.N}"
        assert plan.foreground.M == plan.instances.M and plan.instances.metric == "l2"
    with pytest.raises(SpecjaxError, match=r"every N \(4 and above\) is more than every M \(3"):
        sweep.make_plans(Config(), [2, 3], [5, 4])
