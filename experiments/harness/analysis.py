"""From an image's features to scored outcomes: what the binaries compute."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import strata
from experiments.harness.options import MAX_INSTANCES, Options
from experiments.harness.stream import Example, Outcome, Stopwatch
from experiments.harness.tables import mean
from specjax.pipeline import (
    Config,
    ForegroundResult,
    instance_capacity,
    reduce_for_instances,
    score_foreground,
    score_instances,
    segment_foreground,
    segment_instances,
)


def foreground_of(example: Example, config: Config, watch: Stopwatch) -> ForegroundResult:
    """The foreground stage."""
    with watch("foreground"):
        result = segment_foreground(example.features.array, _grid(example), config=config)
        return jax.block_until_ready(result)


def foreground_scores(example: Example, result: ForegroundResult) -> dict[str, float | None]:
    """F-scores with and without post-processing; None where there is nothing to find."""
    if example.truth is None or example.truth.count == 0:
        return {"f_score": None, "f_score_raw": None}
    instances, counted = jnp.asarray(example.truth.instances), jnp.asarray(example.truth.counted)
    return {
        "f_score": float(score_foreground(result.mask, instances, counted)),
        "f_score_raw": float(score_foreground(result.raw, instances, counted)),
    }


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one setting is computed.

    Attributes:
        foreground: configuration of the foreground stage; its metric means nothing.
        instances: configuration of the instance stage.
    """

    foreground: Config
    instances: Config


def instance_analysis(
    options: Options,
    plans: dict[str, Plan],
    watch: Stopwatch,
    *,
    label: Callable[[str], dict],
) -> Callable[[Example, Sequence[str]], dict[str, Outcome]]:
    """Segment instances under several settings; what two settings share is computed once.

    Args:
        options: the shared flags.
        plans: how each setting is computed.
        watch: where the time goes.
        label: what a setting's lines carry besides scores.
    """

    def analyse(example: Example, settings: Sequence[str]) -> dict[str, Outcome]:
        grid, clusters = _grid(example), _number_of_clusters(example, options)

        with watch("score"):
            measures = strata.measures(example.instances)

        @functools.cache
        def foreground(config: Config) -> tuple[ForegroundResult, dict]:
            result = foreground_of(example, config, watch)
            with watch("score"):
                scores = foreground_scores(example, result)
                description = _description(example, result, int(jnp.sum(result.mask)))
            return result, {**description, **measures, **scores}

        @functools.cache
        def reduced(foreground_config: Config, config: Config) -> jax.Array:
            with watch("instances"):
                mask = foreground(foreground_config)[0].mask
                return reduce_for_instances(example.features.array, mask, grid, config=config)

        outcomes = {}
        for setting in settings:
            plan = plans[setting]
            split, described = foreground(plan.foreground)
            # Channels do not depend on the metric.
            features = reduced(plan.foreground, dataclasses.replace(plan.instances, metric="dot"))
            with watch("instances"):
                found = segment_instances(
                    features,
                    split.mask,
                    grid,
                    clusters,
                    _key(options.seed, example.id),
                    config=plan.instances,
                    max_instances=_bucket(clusters),
                    capacity=instance_capacity(described["num_foreground"], features.shape[0]),
                )
                found = jax.device_get(jax.block_until_ready(found))
            with watch("score"):
                line = {
                    **label(setting),
                    **described,
                    "num_clusters": int(found.labels.max()),
                    "eigenvalues": [float(v) for v in found.eigenvalues if v < 2.0],
                    **_instance_scores(example, found.labels),
                }
            outcomes[setting] = Outcome(line, found.labels, np.asarray(split.mask), found.maps)
        return outcomes

    return analyse


def foreground_analysis(
    configs: dict[str, Config], watch: Stopwatch
) -> Callable[[Example, Sequence[str]], dict[str, Outcome]]:
    """Segment the foreground under several numbers of channels."""

    def analyse(example: Example, settings: Sequence[str]) -> dict[str, Outcome]:
        outcomes = {}
        for setting in settings:
            config = configs[setting]
            foreground = foreground_of(example, config, watch)
            mask = np.asarray(foreground.mask)
            with watch("score"):
                line = {
                    "M": config.M,
                    **_description(example, foreground, int(mask.sum())),
                    "eigenvalues": [float(v) for v in foreground.eigenvalues if v < 2.0],
                    **foreground_scores(example, foreground),
                }
            outcomes[setting] = Outcome(line, mask.astype(np.int32), mask)
        return outcomes

    return analyse


def aggregate(lines: Sequence[dict]) -> dict:
    """Dataset scores of one setting: means over images that have an instance on the grid.

    `images` and `instances` count what was scored, `images_without_instances` what was left out.
    """
    scored = [line for line in lines if line["f_score"] is not None]
    result = {
        "f_score": mean(line["f_score"] for line in scored),
        "f_score_raw": mean(line["f_score_raw"] for line in scored),
        "images": len(scored),
        "instances": sum(line["num_instances"] for line in scored),
        "images_without_instances": len(lines) - len(scored),
    }
    if any("ious" in line for line in lines):
        result["miou"] = mean(line["miou"] for line in scored)
        result["miou_instances"] = mean(iou for line in scored for iou in line["ious"])
    return result


def _description(example: Example, foreground: ForegroundResult, size: int) -> dict:
    return {
        "grid": list(example.features.grid),
        "num_instances": None if example.truth is None else example.truth.count,
        "num_foreground": size,
    }


def _instance_scores(example: Example, labels: np.ndarray) -> dict:
    truth = example.truth
    if truth is None or truth.count == 0:
        return {"ious": [], "miou": None}
    scores = score_instances(
        jnp.asarray(labels),
        jnp.asarray(truth.instances),
        jnp.asarray(truth.counted),
        max_instances=_bucket(max(truth.count, int(labels.max()))),
    )
    ious = [float(iou) for iou in scores.ious[: truth.count]]
    return {"ious": ious, "miou": mean(ious)}


def _number_of_clusters(example: Example, options: Options) -> int:
    """As asked for, or as annotated; one where nothing is annotated."""
    if options.num_instances is not None:
        return options.num_instances
    return min(max(example.truth.count, 1), MAX_INSTANCES)


def _bucket(count: int) -> int:
    """A power of two, so that few programs are compiled."""
    return max(8, 1 << (count - 1).bit_length())


def _grid(example: Example) -> jax.Array:
    return jnp.asarray(example.features.grid, jnp.int32)


def _key(seed: int, image_id: str) -> jax.Array:
    """A key of the image's own: results do not depend on which images came before."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(image_id.encode()))
