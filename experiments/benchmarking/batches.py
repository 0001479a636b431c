"""Images per second by batch size, and several metrics beside one, as `experiments.instance` works.

From decoded images to labels on the host; reading and writing files is not in it.
"""

import dataclasses
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analyses.segmentation import Plan, instance_analysis
from experiments.benchmarking import clock
from experiments.datasets.scenes.drawing import SAMPLES_STREAM, draw_scene
from experiments.loop.backbone import Transformer
from experiments.loop.batches import Batch, Lanes, open_lanes
from experiments.loop.stream import Example, Group, Outcomes, Stopwatch
from specjax.affinity import METRICS
from specjax.config import Config
from specjax.models.checkpoints.loading import Checkpoint

_OBJECTS = 3


def images_per_second(
    width: int,
    height: int,
    batch_sizes: Sequence[int],
    *,
    backbone: Checkpoint,
    config: Config,
    dtype: str,
    repeats: int,
) -> list[dict[str, Any]]:
    """A row for each batch size: images on each device, images per second."""
    model = Transformer(backbone, "", "dino", dtype)
    scenes = [_image(width, height, seed) for seed in range(_OBJECTS)]
    analyse = _analysis({"boc": config})
    calls, counts = {}, {}
    for size in batch_sizes:
        lanes = open_lanes(size)
        tokens = model.prepare("", scenes[0]).tokens
        # No more than a device takes of images so large.
        size = lanes.slots_for(tokens)
        count = lanes.room_for(tokens)
        images = [scenes[number % len(scenes)] for number in range(count)]
        calls[str(size)], counts[str(size)] = _call(model, images, lanes, analyse), count
    seconds = clock.medians(calls, repeats=repeats)
    return [
        {"batch_size": int(size), "images_per_second": counts[size] / seconds[size]}
        for size in calls
    ]


def _call(model, images, lanes, analyse) -> Callable[[], Outcomes]:
    def call():
        group = _group(model, images, lanes)
        return analyse(group, ["boc"])()

    return call


def metrics_beside_one(
    width: int, height: int, *, features_from: Checkpoint, config: Config, repeats: int
) -> dict[str, float]:
    """Seconds after the backbone of one image under one metric and under all nine."""
    model = Transformer(features_from, "", "dino")
    group = _group(model, [_image(width, height, 1)], open_lanes(1))
    analyse = _analysis(dict.fromkeys(METRICS, config))
    seconds = clock.medians(
        {"one": lambda: analyse(group, ["boc"])(), "nine": lambda: analyse(group, list(METRICS))()},
        repeats=repeats,
    )
    return {**seconds, "ratio": seconds["nine"] / seconds["one"]}


def _analysis(configs: Mapping[str, Config]):
    options = types.SimpleNamespace(num_instances=_OBJECTS, seed=0)
    plans = {
        metric: Plan(config, dataclasses.replace(config, metric=metric))
        for metric, config in configs.items()
    }
    return instance_analysis(options, plans, Stopwatch(), label=lambda _: {})


def _image(width: int, height: int, seed: int) -> np.ndarray:
    stream = (SAMPLES_STREAM, seed)
    return draw_scene(stream, height=height, width=width, num_objects=_OBJECTS).image


def _group(model: Transformer, images: Sequence[np.ndarray], lanes: Lanes) -> Group:
    prepared = [model.prepare(str(number), image) for number, image in enumerate(images)]
    batch = Batch(lanes, len(images), prepared[0].tokens)
    features, _ = model.extract(batch, prepared)
    examples = [
        Example(str(number), number, "", image, one, None, None)
        for number, (image, one) in enumerate(zip(images, prepared, strict=True))
    ]
    grids = batch.stack([np.asarray(one.grid, np.int32) for one in prepared])
    return Group(examples, batch, features, grids)
