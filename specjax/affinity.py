"""The nine pairwise affinities of Table II: dense graphs over tokens.

Features are `[tokens, channels]`, floating point; an affinity is `[tokens, tokens]`, symmetric and
at least 0, not yet divided by its largest entry. Background tokens are zero rows, so the metrics
define zero rows: where a distance is 0/0 the similarity is 0, and a token's distance to itself is 0
(as in scikit-learn's `pairwise_distances`), so that its similarity to itself is 1. Only the dot
product has no such rule.

| metric | similarity of u and t |
|---|---|
| dot | max(u . t, 0) |
| cosine, correlation, l1, l2, chebyshev, mahalanobis | 1 / (1 + distance), as scipy defines it |
| braycurtis | 1 / (1 + sum abs(u - t) / sum abs(u + t)) (Eq. 4-5) |
| boc | braycurtis / chebyshev (Eq. 8): it grows with the Chebyshev distance |

Each metric has two steps: `prepare` changes the features once (normalise, centre, whiten); then a
matrix product, or a pass over the channels, gives the similarities.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from specjax._numerics import masked_mean, safe_divide, safe_sqrt
from specjax.channels import normalize_tokens
from specjax.errors import SpecjaxError

_Features = Float[Array, "tokens channels"]
_Valid = Bool[Array, " tokens"]
_Block = Float[Array, "rows columns"]

# Channels per fused pass. Measured with XLA on a CPU, for 15 to 384 channels: with 8 per pass, the
# speed does not depend on the number of channels; with 16 to 32, several passes are up to ten times
# slower; with more, compiling takes several times longer.
_CHANNELS_PER_PASS = 8


@dataclasses.dataclass(frozen=True)
class Term:
    """A sum or maximum, over channels, of a function of two tokens' values.

    Attributes:
        of_channel: the function, of the values of both tokens in one channel.
        combine: adds the value of a channel to the partial result.
    """

    of_channel: Callable[[Array, Array], Array]
    combine: Callable[[Array, Array], Array]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A way to compare two tokens.

    Attributes:
        prepare: `(features, valid) -> features`, applied once to the whole image.
        terms: the sums and maxima to compute for each pair of prepared tokens.
        similarity: from those terms, each `[rows, columns]`, to the similarities of pairs of
            different tokens.
        self_similarity: the similarity of a token to itself; None keeps what `similarity` gives.
    """

    prepare: Callable[[_Features, _Valid], _Features]
    terms: tuple[Term, ...]
    similarity: Callable[..., _Block]
    self_similarity: float | None = 1.0


def metric_named(name: str) -> Metric:
    """The metric of a name.

    Raises:
        SpecjaxError: the name is unknown.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise SpecjaxError(
            f"unknown metric {name!r}: choose one of {', '.join(METRICS)}", parameter="metric"
        ) from None


@functools.partial(jax.jit, static_argnames=("metric",))
def affinity_matrix(
    features: _Features, *, metric: str, valid: _Valid | None = None
) -> Float[Array, "tokens tokens"]:
    """Affinity of all pairs of tokens under one of nine metrics (Table II, Eq. 4-8).

    Where all distances are defined it equals `1 / (1 + cdist(features, features, name))`, with
    `scipy.spatial.distance.cdist` and its name of the metric ("cityblock" for "l1", "euclidean"
    for "l2"); for "mahalanobis", `VI` is `numpy.linalg.pinv(numpy.cov(features.T))`. "dot" and
    "boc" have no equivalent there. The graph is not yet divided by its largest entry.

    Args:
        features: of one image, one row per token.
        metric: one of `METRICS`; static.
        valid: the tokens that exist; None for all. Padding does not count in the covariance of
            "mahalanobis".

    Returns:
        Symmetric, at least 0; rows and columns of padding are 0.

    Raises:
        SpecjaxError: the metric is unknown.

    Example:
        >>> features = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.5, 2.5]])
        >>> print(specjax.affinity_matrix(features, metric="l1"))
        [[1.   0.5  0.25]
         [0.5  1.   0.25]
         [0.25 0.25 1.  ]]
    """
    rule = metric_named(metric)
    if valid is None:
        valid = jnp.ones(features.shape[0], bool)
    prepared = rule.prepare(jnp.where(valid[:, None], features, 0.0), valid)
    weights = pairwise_similarity(prepared, metric=metric)
    return jnp.where(valid[:, None] & valid[None, :], weights, 0.0)


def prepare_features(features: _Features, *, metric: str, valid: _Valid) -> _Features:
    """The first step of a metric, on a whole image, for callers that then compare some tokens."""
    return metric_named(metric).prepare(features, valid)


def pairwise_similarity(prepared: _Features, *, metric: str) -> Float[Array, "tokens tokens"]:
    """Similarities of all pairs of prepared tokens, each token's own included."""
    return pairwise_similarities({metric: prepared})[metric]


def pairwise_similarities(
    prepared: Mapping[str, _Features],
) -> dict[str, Float[Array, "tokens tokens"]]:
    """`pairwise_similarity` under several metrics, from features prepared for each.

    Metrics with the same `prepare` share one pass over the pairs.
    """
    totals: dict[Callable, dict[Term, _Block]] = {}
    for name, features in prepared.items():
        rule = metric_named(name)
        if rule.prepare not in totals:
            group = [METRICS[other] for other in prepared if METRICS[other].prepare is rule.prepare]
            terms = tuple(dict.fromkeys(term for metric in group for term in metric.terms))
            totals[rule.prepare] = dict(zip(terms, _reduce(features, terms), strict=True))
    return {name: _similarity(metric_named(name), totals) for name in prepared}


def _similarity(rule: Metric, totals) -> _Block:
    weights = rule.similarity(*(totals[rule.prepare][term] for term in rule.terms))
    if rule.self_similarity is None:
        return weights
    diagonal = jnp.eye(weights.shape[0], dtype=bool)
    return jnp.where(diagonal, rule.self_similarity, weights)


def _unchanged(features: _Features, valid: _Valid) -> _Features:
    return features


def _unit_length(features: _Features, valid: _Valid) -> _Features:
    return normalize_tokens(features)


def _centred_unit_length(features: _Features, valid: _Valid) -> _Features:
    centred = features - jnp.mean(features, axis=1, keepdims=True)
    # For a constant token, centring leaves only rounding errors.
    noise = 8 * jnp.finfo(features.dtype).eps * jnp.max(jnp.abs(features), axis=1, keepdims=True)
    return normalize_tokens(jnp.where(jnp.abs(centred) > noise, centred, 0.0))


def _whitened(features: _Features, valid: _Valid) -> _Features:
    """Coordinates in which the Euclidean distance is the Mahalanobis distance.

    The covariance is that of all valid tokens, zero rows included (divisor n - 1). Its
    pseudo-inverse is used: directions without variance, up to rounding, are dropped.
    """
    count = jnp.sum(valid).astype(features.dtype)
    centred = jnp.where(valid[:, None], features - masked_mean(features, valid)[None, :], 0.0)
    covariance = _product(centred.T, centred.T) / jnp.maximum(count - 1, 1.0)
    variances, directions = jnp.linalg.eigh(covariance)
    floor = variances[-1] * features.shape[1] * jnp.finfo(features.dtype).eps
    scale = safe_divide(
        jnp.ones_like(variances), safe_sqrt(jnp.where(variances > floor, variances, 0.0))
    )
    return _product(features, (directions * scale[None, :]).T)


def _product(rows: Float[Array, "rows channels"], columns: Float[Array, "columns channels"]):
    return jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)


def _closeness(distance: _Block) -> _Block:
    return 1.0 / (1.0 + distance)


def _reduce(features: _Features, terms: tuple[Term, ...]) -> tuple[_Block, ...]:
    """The terms of all pairs, without an array of tokens x tokens x channels.

    A fused pass over the partial results adds a few channels at a time. The sum of products is a
    matrix product.
    """
    over_channels = tuple(term for term in terms if term is not _PRODUCT)
    found = dict(zip(over_channels, _over_channels(features, over_channels), strict=True))
    if _PRODUCT in terms:
        found[_PRODUCT] = _product(features, features)
    return tuple(found[term] for term in terms)


def _over_channels(features: _Features, terms: tuple[Term, ...]) -> tuple[_Block, ...]:
    if not terms:
        return ()

    def one_pass(totals, block):
        for values in block:
            totals = tuple(
                term.combine(total, term.of_channel(values[:, None], values[None, :]))
                for total, term in zip(totals, terms, strict=True)
            )
        return totals

    tokens, channels = features.shape
    whole = channels - channels % _CHANNELS_PER_PASS
    by_channel = features.T
    zeros = jnp.zeros((tokens, tokens), features.dtype)
    totals = tuple(zeros for _ in terms)
    if whole:
        passes = by_channel[:whole].reshape(-1, _CHANNELS_PER_PASS, tokens)
        totals, _ = jax.lax.scan(
            lambda totals, block: (one_pass(totals, tuple(block)), None), totals, passes
        )
    return one_pass(totals, tuple(by_channel[whole:]))


def _absolute_difference(u, t):
    return jnp.abs(u - t)


_PRODUCT = Term(jnp.multiply, jnp.add)
_SUM_OF_DIFFERENCES = Term(_absolute_difference, jnp.add)
_SUM_OF_SUMS = Term(lambda u, t: jnp.abs(u + t), jnp.add)
_SUM_OF_SQUARES = Term(lambda u, t: (u - t) ** 2, jnp.add)
_LARGEST_DIFFERENCE = Term(_absolute_difference, jnp.maximum)


def _positive(product: _Block) -> _Block:
    return jnp.maximum(product, 0.0)


def _cosine(product: _Block) -> _Block:
    return _closeness(jnp.clip(1.0 - product, 0.0, 2.0))


def _correlation(product: _Block) -> _Block:
    # Prepared tokens have length 1, or 0 where the correlation is not defined.
    defined = jnp.diagonal(product) > 0.5
    return jnp.where(defined[:, None] & defined[None, :], _cosine(product), 0.0)


def _euclidean(squares: _Block) -> _Block:
    return _closeness(safe_sqrt(squares))


def _braycurtis(differences: _Block, sums: _Block) -> _Block:
    # 1 / (1 + differences / sums), written so that sums = 0 (0/0 or infinite) gives 0.
    return safe_divide(sums, jnp.where(sums == 0, 0.0, sums + differences))


def _boc(differences: _Block, sums: _Block, largest: _Block) -> _Block:
    return _braycurtis(differences, sums) * (1.0 + largest)


_BRAYCURTIS = (_SUM_OF_DIFFERENCES, _SUM_OF_SUMS)

METRICS: dict[str, Metric] = {
    "boc": Metric(_unchanged, (*_BRAYCURTIS, _LARGEST_DIFFERENCE), _boc),
    "braycurtis": Metric(_unchanged, _BRAYCURTIS, _braycurtis),
    "chebyshev": Metric(_unchanged, (_LARGEST_DIFFERENCE,), _closeness),
    "cosine": Metric(_unit_length, (_PRODUCT,), _cosine),
    "correlation": Metric(_centred_unit_length, (_PRODUCT,), _correlation),
    "dot": Metric(_unchanged, (_PRODUCT,), _positive, self_similarity=None),
    "l1": Metric(_unchanged, (_SUM_OF_DIFFERENCES,), _closeness),
    "l2": Metric(_unchanged, (_SUM_OF_SQUARES,), _euclidean),
    "mahalanobis": Metric(_whitened, (_SUM_OF_SQUARES,), _euclidean),
}
