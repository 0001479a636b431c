"""Images per second by batch size, and all metrics beside one, computed as in a run.

Timed is the way from decoded images to labels on the host, without reading and writing files.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

from experiments.analyses.plans import InstanceAnalysis, Plan
from experiments.benchmarking import clock
from experiments.benchmarking.stages import OBJECTS, Size, draw
from experiments.loop.backbone import Features, Transformer, features_of
from experiments.loop.reading import Example, Outcomes
from experiments.loop.stopwatch import Stopwatch
from specjax import METRICS, Checkpoint, Config
from specjax._batching import Lanes, open_lanes


def images_per_second(
    size: Size, batch_sizes: Sequence[int], backbone: Checkpoint, dtype: str, repeats: int
) -> list[dict[str, float]]:
    """A row for each batch size: images on each device, images per second."""
    model = Transformer(backbone, "", features="keys", layer=-1, dtype=dtype)
    scenes = [draw(size, seed) for seed in range(3)]
    tokens = len(model.prepare("", scenes[0]).values)
    calls, images = {}, {}
    for batch_size in batch_sizes:
        lanes = open_lanes(batch_size)
        # A device takes fewer of very large images.
        slots, count = lanes.slots_for(tokens), lanes.room_for(tokens)
        images[slots] = list(itertools.islice(itertools.cycle(scenes), count))
        calls[slots] = functools.partial(_labelled, model, images[slots], lanes)
    seconds = clock.medians(calls, repeats=repeats)
    speeds = {slots: len(images[slots]) / seconds[slots] for slots in calls}
    return [{"batch_size": slots, "images_per_second": speed} for slots, speed in speeds.items()]


def metrics_beside_one(size: Size, features_from: Checkpoint, repeats: int) -> dict[str, float]:
    """Seconds after the backbone of one image under one metric and under all nine."""
    model = Transformer(features_from, "", features="keys", layer=-1)
    extracted, run = _extract(model, [draw(size, 1)], open_lanes(1)), _analysis()
    calls = {
        "one": lambda: run(*extracted, ["boc"])(),
        "nine": lambda: run(*extracted, tuple(METRICS))(),
    }
    seconds = clock.medians(calls, repeats=repeats)
    return {**seconds, "ratio": seconds["nine"] / seconds["one"]}


def _labelled(model: Transformer, images: Sequence[np.ndarray], lanes: Lanes) -> Outcomes:
    return _analysis()(*_extract(model, images, lanes), ["boc"])()


def _extract(
    model: Transformer, images: Sequence[np.ndarray], lanes: Lanes
) -> tuple[list[Example], Features]:
    inputs = [model.prepare(str(number), image) for number, image in enumerate(images)]
    examples = [
        Example(str(number), number, "", image, None, None, patches, ())
        for number, (image, patches) in enumerate(zip(images, inputs, strict=True))
    ]
    features, _ = features_of(inputs, model, lanes)
    return examples, features


@functools.cache
def _analysis() -> InstanceAnalysis:
    config = Config()
    return InstanceAnalysis(
        {name: Plan(config, dataclasses.replace(config, metric=name)) for name in METRICS},
        num_instances=OBJECTS,
        seed=0,
        watch=Stopwatch(),
        label=lambda _: {},
    )
