"""Scores on the token grid: F-score, mIoU under a Hungarian assignment, similarity variances.

Predictions and truth are flat over tokens. Label maps hold 0 for background and 1, 2, ... for
instances. Tokens that are not `counted` (void, padding) count in neither prediction nor truth.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import safe_divide

_Labels = Int[Array, " tokens"]
_Mask = Bool[Array, " tokens"]


class InstanceScores(NamedTuple):
    """Intersection over union (IoU) of each true instance with the prediction matched to it.

    Attributes:
        ious: `ious[g - 1]` for instance g, in [0, 1]; 0 for an unmatched instance, and after the
            last instance.
        mean: sum of the IoUs divided by the number of instances; 0 without instances.
    """

    ious: Float[Array, " instances"]
    mean: Float[Array, ""]


class SimilarityVariances(NamedTuple):
    """How much similarities vary inside the instances of an image, and between them.

    Attributes:
        intra: mean, over instances of at least three tokens, of the variance of the similarities
            of their tokens to each other.
        inter: variance of the similarities between tokens of different instances.
        ratio: `intra / inter` (mR, Fig. 13); 0 where it is not defined.
        defined: whether both variances are: there is an instance of three tokens, and more than one
            pair of tokens of different instances.
    """

    intra: Float[Array, ""]
    inter: Float[Array, ""]
    ratio: Float[Array, ""]
    defined: Bool[Array, ""]


@jax.jit
def f_score(prediction: _Mask, truth: _Mask, *, counted: _Mask) -> Float[Array, ""]:
    """F-score of a foreground mask: 2 TP / (2 TP + FP + FN) over the counted tokens.

    Equals `sklearn.metrics.f1_score(truth[counted], prediction[counted], zero_division=0)`.

    Args:
        prediction: foreground that was found.
        truth: annotated foreground.
        counted: tokens that count: neither void nor padding.

    Returns:
        In [0, 1]; 0 where both masks are empty.

    Example:
        >>> prediction, truth = jnp.array([True, True, False]), jnp.array([True, False, True])
        >>> print(specjax.f_score(prediction, truth, counted=jnp.ones(3, bool)))
        0.5
    """
    hits = jnp.sum(prediction & truth & counted)
    total = jnp.sum(prediction & counted) + jnp.sum(truth & counted)
    return 2.0 * hits.astype(jnp.float32) / jnp.maximum(total, 1).astype(jnp.float32)


def iou_matrix(
    labels: _Labels, truth: _Labels, *, counted: _Mask, max_instances: int
) -> Float[Array, "instances instances"]:
    """IoU of true instance g (row g - 1) and predicted instance k (column k - 1)."""
    numbers = jnp.arange(1, max_instances + 1)
    predicted = (labels[None, :] == numbers[:, None]) & counted[None, :]
    true = (truth[None, :] == numbers[:, None]) & counted[None, :]
    # Sums of zeros and ones are exact in float32 below 2^24.
    shared = jnp.matmul(
        true.astype(jnp.float32),
        predicted.astype(jnp.float32).T,
        precision=jax.lax.Precision.HIGHEST,
    )
    size = jnp.sum(true, axis=1)[:, None] + jnp.sum(predicted, axis=1)[None, :]
    return shared / jnp.maximum(size.astype(jnp.float32) - shared, 1.0)


@functools.partial(jax.jit, static_argnames=("max_instances",))
def instance_scores(
    labels: _Labels, truth: _Labels, *, counted: _Mask, max_instances: int
) -> InstanceScores:
    """Match found instances to true ones, and give the IoU of each pair and their mean (mIoU).

    The matching is one to one and has the largest sum of IoUs: the Hungarian algorithm, as in
    `scipy.optimize.linear_sum_assignment(iou, maximize=True)`. Numbers above `max_instances` in
    either label map give an undefined result.

    Args:
        labels: instances found: 0 for background, then 1, 2, ...
        truth: annotated instances, in the same way.
        counted: tokens that count: neither void nor padding.
        max_instances: upper bound of the numbers in both label maps; static.

    Returns:
        The IoU of each true instance, and their mean.

    Example:
        >>> labels, truth = jnp.array([2, 2, 1, 0]), jnp.array([1, 1, 2, 2])
        >>> counted = jnp.ones(4, bool)
        >>> scores = specjax.instance_scores(labels, truth, counted=counted, max_instances=3)
        >>> print(scores.ious, scores.mean)
        [1.  0.5 0. ] 0.75
    """
    ious = iou_matrix(labels, truth, counted=counted, max_instances=max_instances)
    import optax  # takes half a second, and only scores need it

    rows, columns = optax.assignment.hungarian_algorithm(-ious)
    matched = jnp.zeros(max_instances, ious.dtype).at[rows].set(ious[rows, columns])
    count = jnp.max(jnp.where(counted, truth, 0))
    return InstanceScores(
        ious=matched, mean=jnp.sum(matched) / jnp.maximum(count, 1).astype(ious.dtype)
    )


@functools.partial(jax.jit, static_argnames=("max_instances",))
def similarity_variance_ratio(
    similarities: Float[Array, "tokens tokens"], instances: _Labels, *, max_instances: int
) -> SimilarityVariances:
    """Variance of similarities inside instances over the variance between instances (mR, Fig. 13).

    Variances (divisor n, as `numpy.var`) are over unordered pairs of two different tokens. A
    variance of fewer than two pairs is not defined and left out. The ratio does not depend on the
    scale of the similarities.

    Args:
        similarities: of each pair of tokens (`affinity_matrix`); symmetric. The diagonal does not
            count.
        instances: instance of each token, from 1 to `max_instances`; tokens with 0 are left out.
        max_instances: upper bound of the numbers in `instances`; static.

    Returns:
        Both variances, their ratio, and whether the ratio is defined.

    Example:
        >>> pairs = [[1, 0.9, 0.6, 0], [0.9, 1, 0.6, 0.3], [0.6, 0.6, 1, 0.6], [0, 0.3, 0.6, 1]]
        >>> instances = jnp.array([1, 1, 1, 2])
        >>> found = specjax.similarity_variance_ratio(
        ...     jnp.array(pairs), instances, max_instances=2
        ... )
        >>> print(f"{found.intra:.2f} / {found.inter:.2f} = {found.ratio:.2f}")
        0.02 / 0.06 = 0.33
    """
    tokens = jnp.arange(instances.shape[0])
    rows, columns = instances[:, None], instances[None, :]
    pair = (tokens[:, None] < tokens[None, :]) & (rows > 0) & (columns > 0)
    # The group of each pair: its instance, or the last group where it joins two instances.
    between = max_instances + 1
    group = jnp.where(pair, jnp.where(rows == columns, rows, between), 0).ravel()

    def mean_by_group(values: Float[Array, " pairs"]) -> Float[Array, " groups"]:
        total = jax.ops.segment_sum(values, group, num_segments=between + 1)
        return total / jnp.maximum(count, 1).astype(values.dtype)

    count = jax.ops.segment_sum(jnp.ones_like(group), group, num_segments=between + 1)
    values = similarities.ravel()
    # From differences to the mean: squares of the values would cancel.
    variance = mean_by_group((values - mean_by_group(values)[group]) ** 2)
    within = (count[1:between] >= 2).astype(values.dtype)
    intra = jnp.sum(within * variance[1:between]) / jnp.maximum(jnp.sum(within), 1.0)
    inter = variance[between]
    defined = (jnp.sum(within) > 0) & (count[between] >= 2)
    return SimilarityVariances(
        intra=intra,
        inter=inter,
        ratio=jnp.where(defined, safe_divide(intra, inter), 0.0),
        defined=defined,
    )
