"""Spectral graph theory on dense affinities: degrees, Laplacian, smallest eigenpairs.

A graph W is a symmetric `[nodes, nodes]` array of numbers of at least 0; D is the diagonal matrix
of its row sums. `valid` marks the nodes that exist; rows and columns of the others must be 0.
Eigenvectors are rows: `[pairs, nodes]`.

The generalised problem (D - W) y = l D y is solved on the normalised adjacency
A = D^-1/2 W D^-1/2: with A z = mu z, l = 1 - mu and y = D^-1/2 z. The first pair is known
(l = 0, y constant), so it is subtracted from A before solving. The norm of the rest is a few
hundredths on the graphs of this method, so that float32 resolves its eigenvalues more finely.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._eigensolvers import SOLVERS, Problem, fits_iteration
from specjax._numerics import safe_divide
from specjax.affinity import pairwise_similarities
from specjax.errors import SpecjaxError

_Graph = Float[Array, "nodes nodes"]
_Valid = Bool[Array, " nodes"]

# A node of smaller degree is isolated: its degree is set to 1.
_ISOLATED = 1e-12
# "auto" iterates from this many nodes on, about where that becomes faster than `eigh` on a CPU.
_ITERATIVE_NODES = 128


class Eigenpairs(NamedTuple):
    """The smallest eigenpairs of (D - W) y = l D y, ascending.

    Attributes:
        values: eigenvalues in [0, 2]; 2 for a missing pair.
        vectors: a row per pair, y^T D y = 1, of arbitrary sign; 0 for a missing pair, at missing
            nodes and, in the first pair, at isolated nodes.
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
    """D^-1/2 W D^-1/2; its eigenvalues are 1 minus those of the normalised Laplacian."""
    scale = jax.lax.rsqrt(degrees(weights))
    return weights * scale[:, None] * scale[None, :]


@functools.partial(jax.jit, static_argnames=("count", "solver"))
def smallest_eigenpairs(
    weights: _Graph, *, count: int, solver: str = "auto", valid: _Valid | None = None
) -> Eigenpairs:
    """The smallest eigenpairs of (D - W) y = l D y.

    Equals `scipy.linalg.eigh(D - W, D, subset_by_index=[0, count - 1])` with the vectors as
    rows, up to sign and to rotation among equal eigenvalues.

    Args:
        weights: the graph W: symmetric, at least 0, rows and columns of missing nodes 0.
        count: how many pairs, the constant one included; static. Where the graph has fewer nodes,
            the rest are missing: see Returns.
        solver: "eigh" (dense), "krylov" (iterative) or "auto", which takes "eigh" below 128 nodes
            and "krylov" from there on; static. "krylov" uses "eigh" instead where the graph is too
            small for it, or its residuals are too large. Gradients pass through "eigh" only, and
            are finite where eigenvalues are distinct.
        valid: the nodes that exist; None for all.

    Returns:
        Ascending eigenvalues in [0, 2], and vectors with y^T D y = 1. A missing pair has the value
        2 and a zero vector.

    Raises:
        SpecjaxError: the solver is unknown.

    Example:
        >>> weights = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> pairs = specjax.smallest_eigenpairs(weights, count=3)
        >>> print(abs(pairs.values.round(2)), pairs.vectors.shape)
        [0. 0. 1.] (3, 3)
    """
    nodes = weights.shape[0]
    exists = jnp.ones(nodes, bool) if valid is None else valid
    total = jnp.sum(weights, axis=1)
    connected = (total >= _ISOLATED) & exists
    scale = jax.lax.rsqrt(degrees(weights))
    # sqrt(d) with norm 1: the eigenvector of the normalised adjacency with eigenvalue 1.
    norm = jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.where(connected, total, 0.0)), _ISOLATED))
    trivial = jnp.where(connected, norm / scale, 0.0)
    rest = normalized_adjacency(weights) - trivial[:, None] * trivial[None, :]

    mu, z = _largest_eigenpairs(Problem(rest, trivial, exists), count - 1, solver)
    values = jnp.concatenate([jnp.zeros(1, mu.dtype), 1.0 - mu])
    vectors = jnp.concatenate([trivial[None, :], z]) * scale[None, :]

    found = jnp.arange(count) < jnp.sum(exists)
    return Eigenpairs(
        values=jnp.where(found, jnp.clip(values, 0.0, 2.0), 2.0),
        vectors=jnp.where(found[:, None] & exists[None, :], vectors, 0.0),
    )


def collapsed_graphs(
    foreground: Mapping[str, Float[Array, "members channels"]],
    present: Bool[Array, " members"],
    background_count: int | Int[Array, ""],
) -> dict[str, tuple[Float[Array, "nodes nodes"], Bool[Array, " nodes"]]]:
    """The instance graph under each metric; its last node stands for all background tokens.

    Background tokens are zero rows, so that all have the same weights. Summing the weights of the
    graph of all tokens over them gives a graph of members + 1 nodes. Its pairs (l, y), with
    y^T D y = 1, are exactly those pairs of the graph of all tokens that are constant on the
    background. The last node does not exist where there is no background, or where no weight joins
    it to the foreground.

    Args:
        foreground: by metric, features of the foreground tokens, the members, prepared for that
            metric (`specjax.affinity.prepare_features`); rows of missing members are 0.
        present: the members that exist.
        background_count: number of background tokens.

    Returns:
        By metric, the graph, divided by the largest entry of the graph of all tokens, and the nodes
        that exist.
    """
    # Two zero rows stand for two background tokens: they give the weights of a background token to
    # the members, to itself and to another background token.
    extended = {
        metric: jnp.pad(features, ((0, 2), (0, 0))) for metric, features in foreground.items()
    }
    return {
        metric: _collapsed(weights, present, background_count)
        for metric, weights in pairwise_similarities(extended).items()
    }


def _collapsed(weights, present, background_count):
    members = present.shape[0]
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
    return safe_divide(graph, largest), exists


def orient(
    vectors: Float[Array, "pairs tokens"],
    *,
    break_ties: bool = True,
    valid: Bool[Array, " tokens"] | None = None,
) -> Float[Array, "pairs tokens"]:
    """The sign rule: negate an eigenvector if more than half of its entries, not all, are positive.

    The background, usually the larger part of an image, thus becomes negative. With `break_ties`,
    where neither sign has more than half of the entries, the entry of largest magnitude becomes
    positive, so that the result does not depend on the solver.
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


def _largest_eigenpairs(problem: Problem, count: int, solver: str):
    """The `count` largest eigenpairs, vectors as rows; missing pairs are 0."""
    nodes = problem.matrix.shape[0]
    pairs = min(count, nodes)
    if solver == "auto":
        solver = "eigh" if nodes < _ITERATIVE_NODES else "krylov"
    elif solver not in SOLVERS:
        raise SpecjaxError(
            f"unknown solver {solver!r}: choose one of auto, {', '.join(SOLVERS)}",
            parameter="solver",
        )
    if not fits_iteration(nodes, pairs):
        solver = "eigh"
    mu, z = SOLVERS[solver](problem, pairs)
    missing = count - pairs
    return jnp.pad(mu, (0, missing)), jnp.pad(z, ((0, missing), (0, 0)))
