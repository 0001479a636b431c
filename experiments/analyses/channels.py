"""From an image to the lines that the figures of channels are drawn from."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analyses.segmentation import Plan, foreground_of, instance_analysis
from experiments.loop.flags import MAX_INSTANCES, Options
from experiments.loop.stream import Analyse, Example, Group, Outcome, Outcomes, Stopwatch
from experiments.plots.channel_deviation import deviation_by_rank
from experiments.plots.channel_oracle import channel_mious
from experiments.runs import gallery
from specjax._sizes import capacity_for, padded_instances
from specjax.config import Config


def channel_analysis(options: Options, config: Config, watch: Stopwatch) -> Analyse:
    """An outcome for each of the figures "oracle", "gallery" and "deviation" that is asked for."""
    # The method as `experiments.instance` runs it.
    method = instance_analysis(options, {"boc": Plan(config, config)}, watch, label=lambda _: {})

    def analyse(group: Group, settings: Sequence[str]) -> Callable[[], Outcomes]:
        outcomes: Outcomes = [{} for _ in group.examples]
        for setting in settings:
            for found, outcome in zip(outcomes, figures[setting](group), strict=True):
                found[setting] = outcome
        return lambda: outcomes

    def oracle(group: Group) -> list[Outcome]:
        found = method(group, ["boc"])()
        return [best(one, its["boc"]) for one, its in zip(group.examples, found, strict=True)]

    def best(example: Example, found: Outcome) -> Outcome:
        truth = example.truth
        if truth.count < 2:
            scores = {"best_channel": None, "best_channel_miou": None, "method_miou": None}
            return _outcome(example, scores)
        with watch("oracle"):
            mious = channel_mious(
                example.features.array,
                jnp.asarray(found.foreground),
                jnp.asarray(truth.instances),
                jnp.asarray(truth.counted),
                min(truth.count, MAX_INSTANCES),
                jax.random.key(options.seed),
                max_instances=padded_instances(truth.count),
                capacity=capacity_for(found.line["num_foreground"], example.features.tokens),
                restarts=config.restarts,
            )
            mious = np.asarray(mious)
        scores = {
            "best_channel": int(mious.argmax()),
            "best_channel_miou": float(mious.max()),
            "method_miou": found.line["miou"],
        }
        return _outcome(example, scores, found.foreground)

    def sheets(group: Group) -> list[Outcome]:
        if all(example.position >= gallery.COUNT for example in group.examples):
            return [_outcome(example, {}) for example in group.examples]
        masks = group.batch.fetch(foreground_of(group, config, watch).mask)
        return [_outcome(one, {}, mask) for one, mask in zip(group.examples, masks, strict=True)]

    def deviation(example: Example) -> Outcome:
        if example.truth.count < 2:
            return _outcome(example, {"deviation": None, "difference": None})
        with watch("deviation"):
            curves = deviation_by_rank(
                example.features.array,
                jnp.asarray(example.features.grid, jnp.int32),
                jnp.asarray(example.truth.instances),
                config=config,
                max_instances=padded_instances(example.truth.count),
            )
            return _outcome(
                example, {name: _rounded(values) for name, values in curves._asdict().items()}
            )

    def deviations(group: Group) -> list[Outcome]:
        return [deviation(example) for example in group.examples]

    figures = {"oracle": oracle, "gallery": sheets, "deviation": deviations}
    return analyse


def _outcome(
    example: Example, line: dict[str, Any], foreground: np.ndarray | None = None
) -> Outcome:
    tokens = example.features.tokens
    mask = np.zeros(tokens, bool) if foreground is None else foreground
    described = {
        "grid": list(example.features.grid),
        "num_instances": None if example.truth is None else example.truth.count,
    }
    return Outcome({**described, **line}, mask.astype(np.int32), mask)


def _rounded(values: jax.Array) -> list[float]:
    """As many digits as float32 holds: lines stay short."""
    return [float(f"{value:.7g}") for value in np.asarray(values)]
