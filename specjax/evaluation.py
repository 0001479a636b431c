"""Scores on the token grid: F-score and mIoU under a Hungarian assignment.

Predictions and truth are flat over tokens. Truth holds instance numbers 1, 2, ...; 0 is
background. `counted` excludes tokens from prediction and truth alike (void regions, padding).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

_Labels = Int[Array, " tokens"]
_Mask = Bool[Array, " tokens"]


class InstanceScores(NamedTuple):
    """Intersection over union of each true instance with its assigned prediction.

    Attributes:
        ious: `ious[g - 1]` for instance g, in [0, 1]; 0 where nothing was assigned and beyond the
            number of instances.
        mean: sum of the IoUs over the number of instances; 0 where there is none.
    """

    ious: Float[Array, " instances"]
    mean: Float[Array, ""]


def f_score(prediction: _Mask, truth: _Mask, *, counted: _Mask) -> Float[Array, ""]:
    """2 TP / (2 TP + FP + FN) over the counted tokens, in [0, 1]; 0 where all are negative.

    Equals `sklearn.metrics.f1_score(truth[counted], prediction[counted], zero_division=0)`.
    """
    hits = jnp.sum(prediction & truth & counted)
    total = jnp.sum(prediction & counted) + jnp.sum(truth & counted)
    return 2.0 * hits.astype(jnp.float32) / jnp.maximum(total, 1).astype(jnp.float32)


def iou_matrix(
    labels: _Labels, truth: _Labels, *, counted: _Mask, max_instances: int
) -> Float[Array, "instances instances"]:
    """IoU of true instance g (row g - 1) with predicted instance k (column k - 1)."""
    numbers = jnp.arange(1, max_instances + 1)
    predicted = (labels[None, :] == numbers[:, None]) & counted[None, :]
    true = (truth[None, :] == numbers[:, None]) & counted[None, :]
    # Counts below 2^24 are exact in float32 products of zeros and ones.
    shared = jnp.matmul(
        true.astype(jnp.float32),
        predicted.astype(jnp.float32).T,
        precision=jax.lax.Precision.HIGHEST,
    )
    size = jnp.sum(true, axis=1)[:, None] + jnp.sum(predicted, axis=1)[None, :]
    return shared / jnp.maximum(size.astype(jnp.float32) - shared, 1.0)


def instance_scores(
    labels: _Labels, truth: _Labels, *, counted: _Mask, max_instances: int
) -> InstanceScores:
    """MIoU of an image: predictions assigned to instances by the Hungarian algorithm.

    The assignment maximises the sum of IoUs (`scipy.optimize.linear_sum_assignment`). Both label
    maps must stay within `max_instances`.
    """
    ious = iou_matrix(labels, truth, counted=counted, max_instances=max_instances)
    rows, columns = optax.assignment.hungarian_algorithm(-ious)
    matched = jnp.zeros(max_instances, ious.dtype).at[rows].set(ious[rows, columns])
    count = jnp.max(jnp.where(counted, truth, 0))
    return InstanceScores(
        ious=matched, mean=jnp.sum(matched) / jnp.maximum(count, 1).astype(ious.dtype)
    )
