"""Spectral graph theory on dense affinities: degrees, Laplacian, smallest eigenpairs.

A graph is a symmetric, non-negative `[nodes, nodes]` array. `valid` marks the nodes that exist;
rows and columns of the others must be 0. Eigenvectors are rows: `[pairs, nodes]`.

The generalised problem (D - W) y = l D y is solved on the normalised adjacency
A = D^-1/2 W D^-1/2: with A z = mu z, l = 1 - mu and y = D^-1/2 z. The first pair is known
(l = 0, y constant), so it is taken out of A before solving. What is left has a norm of a few
hundredths on the graphs of this method, and float32 resolves its eigenvalues that much finer.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Bool, Float, Int, UInt32

from specjax.affinity import pairwise_similarity
from specjax.numerics import safe_divide, safe_norm

_Graph = Float[Array, "nodes nodes"]
_Valid = Bool[Array, " nodes"]

# A node of smaller degree is isolated: its degree is taken as 1.
_ISOLATED = 1e-12
# `auto` uses LOBPCG from this many nodes on (about where it overtakes `eigh` on a CPU).
_LOBPCG_NODES = 512
# LOBPCG's last vectors converge late: this many more are solved for than are asked for.
_SPARE = 1
_LOBPCG_ITERATIONS = 100
# Rounds of `_polished` after it.
_POLISH = 2
# Residuals relative to the norm of the matrix: what LOBPCG aims at, and what is accepted.
_AIM, _ACCEPT = 5e-6, 1e-5


class Eigenpairs(NamedTuple):
    """The smallest eigenpairs of (D - W) y = l D y, ascending.

    Attributes:
        values: eigenvalues in [0, 2]; 2 in place of a pair that does not exist.
        vectors: one row per pair, y^T D y = 1, sign arbitrary; 0 in place of a missing pair, at
            nodes that do not exist, and in the first pair at isolated nodes.
    """

    values: Float[Array, " pairs"]
    vectors: Float[Array, "pairs nodes"]


def degrees(weights: _Graph) -> Float[Array, " nodes"]:
    """Row sums; a degree below 1e-12 is set to 1."""
    total = jnp.sum(weights, axis=1)
    return jnp.where(total < _ISOLATED, 1.0, total)


def laplacian(weights: _Graph) -> _Graph:
    """D - W, with D the diagonal of the row sums. Equals `scipy.sparse.csgraph.laplacian`."""
    return jnp.diag(jnp.sum(weights, axis=1)) - weights


def normalized_adjacency(weights: _Graph) -> _Graph:
    """D^-1/2 W D^-1/2; its eigenvalues are one minus those of the normalised Laplacian."""
    scale = jax.lax.rsqrt(degrees(weights))
    return weights * scale[:, None] * scale[None, :]


def smallest_eigenpairs(
    weights: _Graph, *, count: int, solver: str = "auto", valid: _Valid | None = None
) -> Eigenpairs:
    """The `count` smallest eigenpairs of (D - W) y = l D y.

    Equals `scipy.linalg.eigh(D - W, D, subset_by_index=[0, count - 1])` with the vectors as
    rows, up to sign and to rotation among equal eigenvalues.

    Args:
        weights: the graph.
        count: how many pairs, the constant one included. Where the graph has fewer nodes, the
            rest are missing (see `Eigenpairs`).
        solver: "eigh", "lobpcg" or "auto", which chooses by size. LOBPCG falls back to `eigh`
            inside the program where its residuals are too large, and before it on graphs too
            small for it. Gradients pass through "eigh" only, and are finite where eigenvalues
            are distinct.
        valid: the nodes that exist; None for all.
    """
    nodes = weights.shape[0]
    exists = jnp.ones(nodes, bool) if valid is None else valid
    total = jnp.sum(weights, axis=1)
    connected = (total >= _ISOLATED) & exists
    scale = jax.lax.rsqrt(degrees(weights))
    # sqrt(d), of unit norm: the eigenvector of eigenvalue 1 of the normalised adjacency.
    norm = jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.where(connected, total, 0.0)), _ISOLATED))
    trivial = jnp.where(connected, norm / scale, 0.0)
    rest = normalized_adjacency(weights) - trivial[:, None] * trivial[None, :]

    mu, z = _largest_eigenpairs(rest, trivial, exists, count=count - 1, solver=solver)
    values = jnp.concatenate([jnp.zeros(1, mu.dtype), 1.0 - mu])
    vectors = jnp.concatenate([trivial[None, :], z]) * scale[None, :]

    found = jnp.arange(count) < jnp.sum(exists)
    return Eigenpairs(
        values=jnp.where(found, jnp.clip(values, 0.0, 2.0), 2.0),
        vectors=jnp.where(found[:, None] & exists[None, :], vectors, 0.0),
    )


def collapsed_graph(
    foreground: Float[Array, "members channels"],
    present: Bool[Array, " members"],
    background_count: int | Int[Array, ""],
    *,
    metric: str,
) -> tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]:
    """The instance graph with all background tokens in one node, the last.

    The background's tokens are zero rows, alike in every weight. Summing the weights of the full
    graph over them gives a graph of members + 1 nodes whose pairs (l, y), with y^T D y = 1, are
    exactly the full graph's pairs that are constant on the background. Where no weight joins
    foreground and background, or there is no background, the last node does not exist.

    Args:
        foreground: features of the foreground tokens, prepared for the metric
            (`specjax.affinity.prepare_features`), rows of absent members zero.
        present: the members that exist.
        background_count: number of background tokens.
        metric: one of `specjax.affinity.METRICS`.

    Returns:
        The graph, divided by the largest entry of the full one, and the nodes that exist.
    """
    # The zero row stands for one background token: its weights to all, itself included, and,
    # through the second zero row, to another background token.
    zeros = jnp.zeros((2, foreground.shape[1]), foreground.dtype)
    weights = pairwise_similarity(jnp.concatenate([foreground, zeros]), metric=metric)
    members = foreground.shape[0]
    count = jnp.asarray(background_count, weights.dtype)
    to_self, to_other = weights[members, members], weights[members, members + 1]
    within = jnp.where(present[:, None] & present[None, :], weights[:members, :members], 0.0)
    across = jnp.where(present & (background_count > 0), weights[:members, members], 0.0)
    exists = jnp.append(present, jnp.any(across > 0) | (~jnp.any(present) & (count > 0)))

    largest = jnp.maximum(jnp.max(within, initial=0.0), jnp.max(across, initial=0.0))
    largest = jnp.maximum(largest, jnp.where(count > 0, to_self, 0.0))
    largest = jnp.maximum(largest, jnp.where(count > 1, to_other, 0.0))
    corner = count * (to_self + (count - 1.0) * to_other)
    last = jnp.append(count * across, jnp.where(exists[-1], corner, 0.0))
    graph = jnp.pad(within, ((0, 1), (0, 1))).at[-1, :].set(last).at[:, -1].set(last)
    return safe_divide(graph, jnp.broadcast_to(largest, graph.shape)), exists


def orient(
    vectors: Float[Array, "pairs tokens"],
    *,
    break_ties: bool = True,
    valid: Bool[Array, " tokens"] | None = None,
) -> Float[Array, "pairs tokens"]:
    """The sign rule: an eigenvector with more than half positive entries, but not all, is negated.

    The larger part of an image is mostly its background, which so becomes negative. With
    `break_ties`, where neither sign has more than half of the entries, the entry of largest
    magnitude is made positive, so that the result does not depend on the solver.
    """
    if valid is None:
        valid = jnp.ones(vectors.shape[1], bool)
    present = jnp.sum(valid)
    positive = jnp.sum((vectors > 0) & valid[None, :], axis=1)
    negative = jnp.sum((vectors < 0) & valid[None, :], axis=1)
    flip = (2 * positive > present) & (positive < present)
    if break_ties:
        tied = (2 * positive <= present) & (2 * negative <= present)
        largest = jnp.argmax(jnp.where(valid[None, :], jnp.abs(vectors), -1.0), axis=1)
        extreme = jnp.take_along_axis(vectors, largest[:, None], axis=1)[:, 0]
        flip = flip | (tied & (extreme < 0))
    return jnp.where(flip[:, None], -vectors, vectors)


def _largest_eigenpairs(rest, trivial, exists, *, count, solver):
    """The `count` largest eigenpairs of `rest` outside `trivial`, vectors as rows.

    `bound` (over the Frobenius norm) exceeds every eigenvalue's magnitude: shifting the trivial
    vector by it, and missing nodes by more, puts both behind all that is asked for.
    """
    nodes = rest.shape[0]
    pairs = min(count, nodes)
    norm = jnp.sqrt(jnp.sum(rest * rest))
    # Strictly more than the norm: a matrix of rank one may have its negative as an eigenvalue.
    bound = jax.lax.stop_gradient(1.25 * norm + jnp.finfo(rest.dtype).tiny)
    shifted = rest - (bound * trivial)[:, None] * trivial[None, :]
    # Distinct values keep the gradient of `eigh` finite: it divides by their differences.
    behind = -bound * (2.0 + jnp.arange(nodes, dtype=rest.dtype) / nodes)
    padded = shifted + jnp.diag(jnp.where(exists, 0.0, behind))

    block = pairs + _SPARE
    if solver not in ("auto", "eigh", "lobpcg"):
        raise ValueError(f"solver must be auto, eigh or lobpcg, not {solver!r}")
    use_eigh = solver == "eigh" or (solver == "auto" and nodes < _LOBPCG_NODES)
    if use_eigh or nodes <= 5 * block or pairs == 0:
        mu, z = _by_eigh(padded, pairs)
    else:
        ahead = shifted + jnp.diag(jnp.where(exists, bound, 0.0))
        start = _start(exists, block).astype(rest.dtype)
        mu, z = _by_lobpcg(ahead, padded, start, bound, pairs)
    missing = count - pairs
    return jnp.pad(mu, (0, missing)), jnp.pad(z, ((0, missing), (0, 0)))


def _by_eigh(matrix: _Graph, pairs: int):
    mu, z = jnp.linalg.eigh(matrix)
    return mu[::-1][:pairs], z.T[::-1][:pairs]


def _by_lobpcg(ahead, padded, start, bound, pairs: int):
    """LOBPCG on the positive semi-definite `ahead`, checked; `eigh` of `padded` otherwise.

    Mapping it over a batch runs one graph after another, for a batched `cond` would run both
    sides for every graph.
    """

    @jax.custom_batching.sequential_vmap
    def solve(ahead, padded, start, bound):
        nodes = ahead.shape[0]
        # LOBPCG stops at residual < tol * 10 * nodes * (theta + |A x|), here at most about
        # tol * 40 * nodes * bound.
        mu, z, _ = lobpcg_standard(
            ahead, start, m=_LOBPCG_ITERATIONS, tol=_AIM / (20.0 * nodes)
        )
        for _ in range(_POLISH):
            mu, z = _polished(padded, z)
        mu, z = mu[:pairs], z[:, :pairs]
        residual = jnp.sqrt(jnp.sum((_times(padded, z) - z * mu[None, :]) ** 2, axis=0))
        # Written so that a NaN counts as not converged.
        converged = jnp.all(residual <= _ACCEPT * bound)
        return jax.lax.cond(converged, lambda: (mu, z.T), lambda: _by_eigh(padded, pairs))

    return solve(ahead, padded, start, bound)


def _polished(matrix: _Graph, z: Float[Array, "nodes block"]):
    """Ritz pairs of the largest eigenvalues in the span of z, its residuals and their images.

    An orthonormal basis and one small dense problem lose less to rounding than LOBPCG's own
    iteration, whose vectors stop improving at about 1e-5.
    """

    def residuals(block):
        image = _times(matrix, block)
        image = image - _times(block, _times(block.T, image))
        return safe_divide(image, jnp.broadcast_to(safe_norm(image.T)[None, :], image.shape))

    first = residuals(z)
    basis = jnp.linalg.qr(jnp.concatenate([z, first, _times(matrix, first)], axis=1))[0]
    small = _times(basis.T, _times(matrix, basis))
    mu, rotation = jnp.linalg.eigh((small + small.T) / 2.0)
    block = z.shape[1]
    return mu[::-1][:block], _times(basis, rotation[:, ::-1][:, :block])


def _times(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _start(exists: _Valid, block: int) -> Float[Array, "nodes block"]:
    """A start block that depends on a node's index alone, so that padding cannot change it."""
    index = jnp.arange(exists.shape[0], dtype=jnp.uint32)[:, None]
    column = jnp.arange(block, dtype=jnp.uint32)[None, :]
    noise = _hash(index * jnp.uint32(block) + column).astype(jnp.float32) / 2.0**32 - 0.5
    return jnp.where(exists[:, None], noise, 0.0)


def _hash(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A well-mixed 32-bit integer hash (the finaliser of MurmurHash3)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
