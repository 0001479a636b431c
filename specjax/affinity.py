"""The nine pairwise affinities of Table II: dense graphs over tokens.

Features are `[tokens, channels]`, floating point; an affinity is `[tokens, tokens]`, symmetric
and non-negative, not yet divided by its largest entry. Zero rows, which masking makes of the
background, are part of the definition: where a distance is 0/0 the similarity is 0, and a token's
distance to itself is 0 (scikit-learn's `pairwise_distances` does the same), so its similarity to
itself is 1. The dot product alone has no such rule.

| metric | similarity of u and t |
|---|---|
| dot | max(u . t, 0) |
| cosine, correlation, l1, l2, chebyshev, mahalanobis | 1 / (1 + distance), as scipy defines it |
| braycurtis | 1 / (1 + sum abs(u - t) / sum abs(u + t)) (Eq. 4-5) |
| boc | braycurtis / chebyshev (Eq. 8): it grows with the Chebyshev distance |

Each metric is two steps: `prepare` changes the features once (normalise, centre, whiten), and a
product or a pass over channel pairs gives the similarities.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from specjax.channels import normalize_tokens
from specjax.errors import UserError
from specjax.numerics import masked_mean, safe_divide, safe_sqrt

_Features = Float[Array, "tokens channels"]
_Valid = Bool[Array, " tokens"]
_Rows = Float[Array, "rows channels"]
_Columns = Float[Array, "columns channels"]
_Block = Float[Array, "rows columns"]

# Channels handled in one fused pass: beyond it, compile time grows and speed does not.
_CHANNELS_PER_PASS = 64


@dataclasses.dataclass(frozen=True)
class Metric:
    """One way to compare two tokens.

    Attributes:
        prepare: `(features, valid) -> features`, once for the whole image.
        similarity: `(rows, columns) -> [rows, columns]` on prepared features, without the rule
            for a token and itself.
        self_similarity: the similarity of a token and itself; None takes `similarity`'s.
    """

    prepare: Callable[[_Features, _Valid], _Features]
    similarity: Callable[[_Rows, _Columns], _Block]
    self_similarity: float | None = 1.0


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UserError: there is none.
    """
    try:
        return METRICS[name]
    except KeyError:
        raise UserError(f"unknown metric {name!r}: choose one of {', '.join(METRICS)}") from None


def affinity_matrix(
    features: _Features, *, metric: str, valid: _Valid | None = None
) -> Float[Array, "tokens tokens"]:
    """Affinity of all pairs of tokens under one of `METRICS`.

    `valid` excludes padding from the statistics (the covariance of "mahalanobis"); rows and
    columns of padding are 0.

    Raises:
        UserError: an unknown metric.
    """
    rule = metric_named(metric)
    if valid is None:
        valid = jnp.ones(features.shape[0], bool)
    prepared = rule.prepare(jnp.where(valid[:, None], features, 0.0), valid)
    weights = pairwise_similarity(prepared, metric=metric)
    return jnp.where(valid[:, None] & valid[None, :], weights, 0.0)


def prepare_features(features: _Features, *, metric: str, valid: _Valid) -> _Features:
    """The whole-image step of a metric, for callers that compare a part of the tokens."""
    return metric_named(metric).prepare(features, valid)


def pairwise_similarity(
    prepared: _Features, *, metric: str
) -> Float[Array, "tokens tokens"]:
    """Similarities of all pairs of prepared tokens, each token's own included."""
    rule = metric_named(metric)
    weights = rule.similarity(prepared, prepared)
    if rule.self_similarity is not None:
        diagonal = jnp.eye(prepared.shape[0], dtype=bool)
        weights = jnp.where(diagonal, rule.self_similarity, weights)
    return weights


def _as_they_are(features: _Features, valid: _Valid) -> _Features:
    return features


def _unit_length(features: _Features, valid: _Valid) -> _Features:
    return normalize_tokens(features)


def _centred_unit_length(features: _Features, valid: _Valid) -> _Features:
    centred = features - jnp.mean(features, axis=1, keepdims=True)
    # The centred row of a constant token is rounding noise, not a direction.
    noise = 8 * jnp.finfo(features.dtype).eps * jnp.max(jnp.abs(features), axis=1, keepdims=True)
    return normalize_tokens(jnp.where(jnp.abs(centred) > noise, centred, 0.0))


def _whitened(features: _Features, valid: _Valid) -> _Features:
    """Coordinates in which the Euclidean distance is the Mahalanobis distance.

    The covariance is that of all valid tokens, zero rows included (divisor n - 1); directions
    without variance, up to rounding, are dropped: the pseudo-inverse.
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


def _product(rows: _Rows, columns: _Columns) -> _Block:
    return jnp.matmul(rows, columns.T, precision=jax.lax.Precision.HIGHEST)


def _closeness(distance: _Block) -> _Block:
    return 1.0 / (1.0 + distance)


def _over_channels(rows: _Rows, columns: _Columns, reducers) -> tuple[_Block, ...]:
    """Reduce functions of (u, t) over channels, without an array of tokens x tokens x channels.

    `reducers` holds `(term, combine)` pairs: `term(u, t)` of one channel, `combine` of two
    partial results. The loop over channels is unrolled so that one fused kernel keeps the
    partial results in registers.
    """

    def one_pass(totals, channels):
        for u, t in zip(*channels, strict=True):
            totals = tuple(
                combine(total, term(u[:, None], t[None, :]))
                for total, (term, combine) in zip(totals, reducers, strict=True)
            )
        return totals

    def unstacked(block):
        return tuple(tuple(part) for part in block)

    channels = rows.shape[1]
    whole = channels - channels % _CHANNELS_PER_PASS
    by_channel = (rows.T, columns.T)
    zeros = jnp.zeros((rows.shape[0], columns.shape[0]), rows.dtype)
    totals = tuple(zeros for _ in reducers)
    if whole:
        passes = tuple(
            part[:whole].reshape(-1, _CHANNELS_PER_PASS, part.shape[1]) for part in by_channel
        )
        totals, _ = jax.lax.scan(
            lambda totals, block: (one_pass(totals, unstacked(block)), None), totals, passes
        )
    return one_pass(totals, unstacked(part[whole:] for part in by_channel))


def _absolute_difference(u, t):
    return jnp.abs(u - t)


_SUM_OF_DIFFERENCES = (_absolute_difference, jnp.add)
_SUM_OF_SUMS = (lambda u, t: jnp.abs(u + t), jnp.add)
_SUM_OF_SQUARES = (lambda u, t: (u - t) ** 2, jnp.add)
_LARGEST_DIFFERENCE = (_absolute_difference, jnp.maximum)


def _dot(rows: _Rows, columns: _Columns) -> _Block:
    return jnp.maximum(_product(rows, columns), 0.0)


def _cosine(rows: _Rows, columns: _Columns) -> _Block:
    return _closeness(jnp.clip(1.0 - _product(rows, columns), 0.0, 2.0))


def _correlation(rows: _Rows, columns: _Columns) -> _Block:
    defined = jnp.any(rows != 0, axis=1)[:, None] & jnp.any(columns != 0, axis=1)[None, :]
    return jnp.where(defined, _cosine(rows, columns), 0.0)


def _l1(rows: _Rows, columns: _Columns) -> _Block:
    return _closeness(_over_channels(rows, columns, (_SUM_OF_DIFFERENCES,))[0])


def _l2(rows: _Rows, columns: _Columns) -> _Block:
    return _closeness(safe_sqrt(_over_channels(rows, columns, (_SUM_OF_SQUARES,))[0]))


def _chebyshev(rows: _Rows, columns: _Columns) -> _Block:
    return _closeness(_over_channels(rows, columns, (_LARGEST_DIFFERENCE,))[0])


def _braycurtis(rows: _Rows, columns: _Columns) -> _Block:
    differences, sums = _over_channels(rows, columns, (_SUM_OF_DIFFERENCES, _SUM_OF_SUMS))
    # 1 / (1 + differences / sums), written so that sums = 0 (0/0 or infinite) gives 0.
    return safe_divide(sums, jnp.where(sums == 0, 0.0, sums + differences))


def _boc(rows: _Rows, columns: _Columns) -> _Block:
    differences, sums, largest = _over_channels(
        rows, columns, (_SUM_OF_DIFFERENCES, _SUM_OF_SUMS, _LARGEST_DIFFERENCE)
    )
    braycurtis = safe_divide(sums, jnp.where(sums == 0, 0.0, sums + differences))
    return braycurtis * (1.0 + largest)


METRICS: dict[str, Metric] = {
    "boc": Metric(_as_they_are, _boc),
    "braycurtis": Metric(_as_they_are, _braycurtis),
    "chebyshev": Metric(_as_they_are, _chebyshev),
    "cosine": Metric(_unit_length, _cosine),
    "correlation": Metric(_centred_unit_length, _correlation),
    "dot": Metric(_as_they_are, _dot, self_similarity=None),
    "l1": Metric(_as_they_are, _l1),
    "l2": Metric(_as_they_are, _l2),
    "mahalanobis": Metric(_whitened, _l2),
}
