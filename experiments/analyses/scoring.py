"""Scores of a batch against its annotation, and what a line says about an image."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments.loop.backbone import Features
from experiments.loop.reading import Example
from experiments.results import flaws
from experiments.results.tables import mean
from specjax import Foreground, f_score, instance_scores
from specjax._sizes import padded_instances


class Scoring:
    """Scores a whole batch on the devices, where its results are.

    Images without annotation are compared with an empty one; their scores are not used.
    """

    def __init__(self, examples: Sequence[Example], features: Features, clusters: int = 1):
        self._batch = features.batch
        tokens = features.values.shape[1]
        empty = np.zeros(tokens, np.int32), np.zeros(tokens, bool)
        truths = [
            empty if example.truth is None else (example.truth.instances, example.truth.counted)
            for example in examples
        ]
        self._truth = [self._batch.stack(arrays) for arrays in zip(*truths, strict=True)]
        counts = [0 if example.truth is None else example.truth.count for example in examples]
        self._max_instances = padded_instances(max(clusters, *counts))

    def of_foreground(self, found: Foreground) -> jax.Array:
        """F-scores with and without post-processing."""
        return self._batch.run(_score_foreground, found.mask, found.raw, *self._truth)

    def of_instances(self, labels: jax.Array) -> jax.Array:
        """IoU of each annotated instance, under each of several metrics."""
        return self._batch.run(
            _score_labels, labels, *self._truth, max_instances=self._max_instances
        )


def _score_foreground(mask, raw, instances, counted):
    annotated = instances > 0
    return tuple(f_score(found, annotated, counted=counted) for found in (mask, raw))


def _score_labels(labels, instances, counted, *, max_instances):
    def score(labels):
        return instance_scores(labels, instances, counted=counted, max_instances=max_instances).ious

    return jax.vmap(score)(labels)


def describe(example: Example, foreground: Foreground) -> dict[str, Any]:
    """The grid, the number of annotated instances, and the size of the foreground."""
    return {
        "grid": list(example.inputs.tiling.grid),
        "num_instances": None if example.truth is None else example.truth.count,
        "num_foreground": int(foreground.mask.sum()),
    }


def eigenvalues(values: np.ndarray) -> list[float]:
    """The eigenvalues of pairs that exist; the value of a missing pair is 2."""
    return [float(value) for value in values if value < 2.0]


def f_scores(example: Example, scores: Sequence[np.ndarray]) -> dict[str, float | None]:
    """F-scores with and without post-processing; None if no instance is annotated."""
    if example.truth is None or example.truth.count == 0:
        return {"f_score": None, "f_score_raw": None}
    return {"f_score": float(scores[0]), "f_score_raw": float(scores[1])}


def ious(example: Example, found: np.ndarray) -> dict[str, Any]:
    """The IoU of each annotated instance, and their mean; None if no instance is annotated."""
    if example.truth is None or example.truth.count == 0:
        return {"ious": [], "miou": None}
    values = [float(iou) for iou in found[: example.truth.count]]
    return {"ious": values, "miou": mean(values)}


def flaws_of(example: Example, labels: np.ndarray) -> dict[str, list[str] | None]:
    """The flaws of a label map; None if no instance is annotated."""
    truth = example.truth
    if truth is None or truth.count == 0:
        return {"flaws": None}
    return {"flaws": flaws.flaws(labels, truth.instances, truth.counted)}


def aggregate(lines: Sequence[dict]) -> dict[str, Any]:
    """The scores of one setting on a dataset: means over images with an instance on the grid.

    `images` and `instances` count what was scored, `images_without_instances` the other images.
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
