"""Plans of settings: what they share is computed once; images do not affect each other."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.analyses import ablation, sweep
from experiments.analyses.plans import InstanceAnalysis, Plan, number_of, too_many_asked
from experiments.datasets.truth import on_grid
from experiments.loop.backbone import Features
from experiments.loop.reading import Example
from experiments.loop.stopwatch import Stopwatch
from experiments.loop.stored import TokenFeatures
from specjax import Config, SpecjaxError, Tiling, segment_foreground
from specjax._batching import Batch, open_lanes


class CountingWatch(Stopwatch):
    """Counts how often each stage is entered."""

    def __init__(self):
        super().__init__()
        self.entered = collections.Counter()

    def __call__(self, stage):
        self.entered[stage] += 1
        return super().__call__(stage)


def scene():
    """One image: two instances with noisy features on a grid of 6 x 8, of 24 x 32 pixels."""
    rng = np.random.default_rng(0)
    instances = np.zeros((24, 32), np.int32)
    instances[4:20, 4:16] = 1
    instances[8:20, 12:28] = 2
    numbers = instances[::4, ::4].ravel()
    array = rng.normal(size=(3, 12))[numbers] + 0.3 * rng.normal(size=(48, 12))
    inputs = TokenFeatures(array.astype(np.float32), Tiling(6, 8, 4, (24, 32)))
    image, truth = np.zeros((24, 32, 3), np.uint8), on_grid(instances, (6, 8), 48)
    example = Example("a", 0, "a.png", image, instances, truth, inputs, ("boc",))
    batch = Batch(open_lanes(1), 1, 48)
    grids = batch.stack([np.array([6, 8], np.int32)])
    return [example], Features(batch, batch.stack([inputs.values]), grids)


def analysis(plans, watch=None):
    return InstanceAnalysis(
        plans, num_instances=None, seed=0, watch=watch or Stopwatch(), label=lambda setting: {}
    )


ABLATION = ablation.make_plans(Config(M=6, N=3, solver="eigh"), 12)
SWEEP, _ = sweep.make_plans([Config(M=M, N=1, solver="eigh") for M in (12, 3)], [2, 3])


@pytest.mark.parametrize(("plans", "foregrounds"), [(ABLATION, 2), (SWEEP, 2)])
def test_each_foreground_is_found_once(plans, foregrounds):
    watch = CountingWatch()
    (outcomes,) = analysis(plans, watch)(*scene(), list(plans))()
    assert list(outcomes) == list(plans) and len(plans) > 3
    assert watch.entered["foreground"] == foregrounds
    lines = [outcome.line for outcome in outcomes.values()]
    for line in lines:
        # Boxes of 16 x 12 and 12 x 16 pixels that share 12 x 4; the second is on top.
        assert line["mbor"] == 48 / 336 and line["size_ratio"] == 336 / 192
    masks = {setting: outcome.foreground.tolist() for setting, outcome in outcomes.items()}
    features = scene()[1].of(0)
    for setting, plan in plans.items():
        alone = segment_foreground(features, jnp.array([6, 8]), config=plan.foreground)
        assert masks[setting] == alone.mask.tolist()


def test_metrics_are_computed_together_as_far_as_they_fit():
    given, other = Config(M=6, N=3), Config(M=6, N=2)
    metrics = ("boc", "l1", "l2", "dot", "cosine")
    plans = {metric: Plan(given, dataclasses.replace(given, metric=metric)) for metric in metrics}
    plans["N=2"] = Plan(given, other)
    groups = analysis(plans)._groups
    found = [settings for _, settings in groups(list(plans), 2)]
    assert found == [["boc", "l1"], ["l2", "dot"], ["cosine"], ["N=2"]]
    (together, settings), (alone, last) = groups(list(plans), 9)
    assert (settings, last) == (list(metrics), ["N=2"])
    # The plan of a group always names "dot", whatever the metrics of its settings.
    assert together == Plan(given, dataclasses.replace(given, metric="dot"))
    assert alone == Plan(given, dataclasses.replace(other, metric="dot"))


def test_every_image_has_a_key_of_its_own():
    keys = {
        tuple(jax.random.key_data(jax.random.fold_in(jax.random.key(seed), number)).tolist())
        for seed in (0, 1, 2**32 - 1)
        for number in map(number_of, ("a", "b", "video/00001"))
    }
    assert len(keys) == 9


def test_pairs_of_a_sweep():
    configs = [Config(M=M, N=1, metric="l2") for M in (12, 3, 12, 2)]
    plans, warnings = sweep.make_plans(configs, [3, 2, 9])
    assert list(plans) == ["M=12,N=3", "M=12,N=2", "M=12,N=9", "M=3,N=3", "M=3,N=2", "M=2,N=2"]
    assert warnings == [
        "N=9 left out at M=3: N is at most M",
        "N=3, 9 left out at M=2: N is at most M",
    ]
    for setting, plan in plans.items():
        assert setting == f"M={plan.instances.M},N={plan.instances.N}"
        assert plan.foreground.M == plan.instances.M and plan.instances.metric == "l2"
    with pytest.raises(SpecjaxError, match=r"every N \(4 and above\) is more than every M \(3"):
        sweep.make_plans([Config(M=M, N=1) for M in (2, 3)], [5, 4])


def test_asking_for_too_many_instances_is_not_silent():
    lines = [{"num_instances": count, "num_foreground": 9} for count in (2, 9, 10, 300)]
    assert too_many_asked("boc", lines[:2], None) == []
    (warning,) = too_many_asked("boc", lines, None)
    assert warning.startswith("boc: images with fewer instances than asked for: 2 (")
    assert "foreground token, and at most 254" in warning
    (warning,) = too_many_asked("l2", lines, 10)
    assert warning.startswith("l2: images with fewer instances than asked for: 4 (")
    lines = [{"num_instances": 2, "num_foreground": 900, "num_clusters": 4}]
    assert too_many_asked("l2", lines, 4) == [] != too_many_asked("l2", lines, 200)
