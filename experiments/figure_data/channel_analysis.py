"""From an image to the lines that the figures of channels are drawn from."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.figure_data.channel_deviation import deviation_by_rank
from experiments.figure_data.channel_oracle import channel_mious
from experiments.harness import gallery
from experiments.harness.analysis import Plan, foreground_of, instance_analysis
from experiments.harness.options import MAX_INSTANCES, Options
from experiments.harness.stream import Example, Outcome, Stopwatch
from specjax.pipeline import Config, instance_capacity


def channel_analysis(
    options: Options, config: Config, watch: Stopwatch
) -> Callable[[Example, Sequence[str]], dict[str, Outcome]]:
    """An outcome for each of the figures "oracle", "gallery" and "deviation" that is asked for."""
    # The method as `experiments.instance` runs it.
    method = instance_analysis(options, {"boc": Plan(config, config)}, watch, label=lambda _: {})

    def oracle(example: Example) -> Outcome:
        truth = example.truth
        if truth.count < 2:
            scores = {"best_channel": None, "best_channel_miou": None, "method_miou": None}
            return _outcome(example, scores)
        found = method(example, ["boc"])["boc"]
        with watch("oracle"):
            mious = channel_mious(
                example.features.array,
                jnp.asarray(found.foreground),
                jnp.asarray(truth.instances),
                jnp.asarray(truth.counted),
                min(truth.count, MAX_INSTANCES),
                jax.random.key(options.seed),
                max_instances=_bound(truth.count),
                capacity=instance_capacity(
                    found.line["num_foreground"], example.features.array.shape[0]
                ),
                restarts=config.restarts,
            )
            mious = np.asarray(mious)
        scores = {
            "best_channel": int(mious.argmax()),
            "best_channel_miou": float(mious.max()),
            "method_miou": found.line["miou"],
        }
        return _outcome(example, scores, found.foreground)

    def sheet(example: Example) -> Outcome:
        if example.position >= gallery.COUNT:
            return _outcome(example, {})
        return _outcome(example, {}, np.asarray(foreground_of(example, config, watch).mask))

    def deviation(example: Example) -> Outcome:
        if example.truth.count < 2:
            return _outcome(example, {"deviation": None, "difference": None})
        with watch("deviation"):
            curves = deviation_by_rank(
                example.features.array,
                jnp.asarray(example.features.grid, jnp.int32),
                jnp.asarray(example.truth.instances),
                config=config,
                max_instances=_bound(example.truth.count),
            )
            return _outcome(
                example, {name: _rounded(values) for name, values in curves._asdict().items()}
            )

    figures = {"oracle": oracle, "gallery": sheet, "deviation": deviation}
    return lambda example, settings: {name: figures[name](example) for name in settings}


def _outcome(
    example: Example, line: dict[str, Any], foreground: np.ndarray | None = None
) -> Outcome:
    tokens = example.features.array.shape[0]
    mask = np.zeros(tokens, bool) if foreground is None else foreground
    described = {
        "grid": list(example.features.grid),
        "num_instances": None if example.truth is None else example.truth.count,
    }
    return Outcome({**described, **line}, mask.astype(np.int32), mask)


def _rounded(values: jax.Array) -> list[float]:
    """As many digits as float32 holds: lines stay short."""
    return [float(f"{value:.7g}") for value in np.asarray(values)]


def _bound(count: int) -> int:
    """A power of two, so that few programs are compiled."""
    return max(8, 1 << (count - 1).bit_length())
