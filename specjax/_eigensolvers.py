"""Largest eigenpairs of a dense symmetric matrix: by `eigh`, or by block Krylov iteration.

A `Problem` is the matrix, an eigenvector to leave out of the results, and the nodes that exist.
Each solver gives `[pairs]` eigenvalues, descending, and `[pairs, nodes]` vectors.

The iteration checks its residuals inside the program, and falls back to `eigh` where it did not
converge. Under `jax.vmap`, that choice is made once for the batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from specjax._numerics import safe_divide, safe_norm

_Matrix = Float[Array, "nodes nodes"]
_Block = Float[Array, "block nodes"]
_Pairs = tuple[Float[Array, " pairs"], Float[Array, "pairs nodes"]]

# The last vectors of a block converge late: the block has this many more than are asked for.
_SPARE = 1
# Residuals divided by 1.25 times the Frobenius norm of the matrix: about the best that float32
# reaches, and the largest that is accepted.
_AIM, _ACCEPT = 5e-7, 1e-5
# Once the residual is acceptable, a cycle that leaves more than this share of it is the last.
_STALLED = 0.7
# Products with the matrix per cycle, after which the Krylov space is cut back to its best vectors;
# and the largest number of cycles.
_STEPS, _CYCLES = 8, 12
# Nodes in a part of a sum over all nodes.
_PART = 64


class Problem(NamedTuple):
    """A symmetric matrix whose largest eigenpairs are wanted.

    Attributes:
        matrix: rows and columns of missing nodes are 0.
        excluded: a vector of norm 1 that the matrix maps to 0, and that results are orthogonal to;
            or 0.
        exists: the nodes that exist.
    """

    matrix: _Matrix
    excluded: Float[Array, " nodes"]
    exists: Bool[Array, " nodes"]


def fits_iteration(nodes: int, pairs: int) -> bool:
    """Whether a graph is large enough for `by_krylov`."""
    return pairs > 0 and nodes > 5 * (pairs + _SPARE)


def by_eigh(problem: Problem, pairs: int) -> _Pairs:
    """`jnp.linalg.eigh` of the whole matrix."""
    mu, z = jnp.linalg.eigh(_last_excluded(problem, _bound(problem)))
    return mu[::-1][:pairs], z.T[::-1][:pairs]


def by_krylov(problem: Problem, pairs: int) -> _Pairs:
    """Restarted block Krylov iteration with Rayleigh-Ritz (block Lanczos, reorthogonalised)."""
    block, bound = pairs + _SPARE, _bound(problem)

    def unfinished(state):
        _, _, residual, before, cycle = state
        worst, before = jnp.max(residual[:pairs]), jnp.max(before[:pairs])
        stalled = (worst > _STALLED * before) & (worst <= _ACCEPT * bound)
        # Written so that a NaN continues, and ends at the fallback.
        return (cycle < _CYCLES) & ~(worst <= _AIM * bound) & ~stalled

    def cycle(state):
        vectors, _, residual, _, number = state
        return *_krylov_cycle(problem, vectors), residual, number + 1

    start = _start(problem.exists, block).astype(problem.matrix.dtype)
    infinite = jnp.full(block, jnp.inf, problem.matrix.dtype)
    state = (start, infinite, infinite, infinite, jnp.zeros((), jnp.int32))
    vectors, mu, residual, _, _ = jax.lax.while_loop(unfinished, cycle, state)
    return _checked(problem, mu[:pairs], vectors[:pairs], residual[:pairs])


SOLVERS = {"eigh": by_eigh, "krylov": by_krylov}


def _bound(problem: Problem) -> Float[Array, ""]:
    """An upper bound of the magnitudes of the eigenvalues, from the Frobenius norm."""
    norm = jnp.sqrt(jnp.sum(problem.matrix * problem.matrix))
    # More than the norm: an eigenvalue may have that magnitude, if the rank of the matrix is 1.
    return jax.lax.stop_gradient(1.25 * norm + jnp.finfo(problem.matrix.dtype).tiny)


def _last_excluded(problem: Problem, bound: Float[Array, ""]) -> _Matrix:
    """The matrix changed so that the excluded vector and the missing nodes are its last pairs."""
    matrix, excluded, exists = problem
    nodes = matrix.shape[0]
    # Values that differ keep the gradient of `eigh` finite: it divides by their differences.
    behind = -bound * (2.0 + jnp.arange(nodes, dtype=matrix.dtype) / nodes)
    shifted = matrix - (bound * excluded)[:, None] * excluded[None, :]
    return shifted + jnp.diag(jnp.where(exists, 0.0, behind))


def _checked(problem, mu, z, residual) -> _Pairs:
    """The pairs, or those of `eigh` where a residual is too large."""
    pairs = mu.shape[0]

    @jax.custom_batching.custom_vmap
    def choose(converged, problem, mu, z):
        return jax.lax.cond(converged, lambda: (mu, z), lambda: by_eigh(problem, pairs))

    @choose.def_vmap
    def choose_for_all(size, batched, converged, problem, mu, z):
        # A mapped `cond` would run `eigh` for every graph, converged or not.
        def for_each(value, is_batched):
            return value if is_batched else jnp.broadcast_to(value, (size, *value.shape))

        converged, mu, z = map(for_each, (converged, mu, z), (batched[0], *batched[2:]))
        problem = Problem(*map(for_each, problem, batched[1]))
        found = jax.lax.cond(
            jnp.all(converged),
            lambda: (mu, z),
            lambda: jax.lax.map(lambda each: choose(*each), (converged, problem, mu, z)),
        )
        return found, (True, True)

    # Written so that a NaN counts as not converged.
    return choose(jnp.all(residual <= _ACCEPT * _bound(problem)), problem, mu, z)


def _krylov_cycle(problem: Problem, start: _Block):
    """Ritz vectors, values and residuals in the Krylov space of a block, largest first."""
    matrix, excluded, _ = problem
    block, nodes = start.shape
    size = _STEPS * block

    def step(number, state):
        basis, images, candidates = state
        new = _orthonormal(candidates, basis, excluded)
        image = _images(matrix, new)
        place = (number * block, 0)
        basis = jax.lax.dynamic_update_slice(basis, new, place)
        return basis, jax.lax.dynamic_update_slice(images, image, place), image

    empty = jnp.zeros((size, nodes), matrix.dtype)
    basis, images, _ = jax.lax.fori_loop(0, _STEPS, step, (empty, empty, start))
    small = _times(images, basis.T)
    # A direction that was only noise is a zero row: it must not rank among the largest.
    absent = jnp.sum(basis * basis, axis=1) < 0.5
    behind = 2.0 * jnp.max(jnp.abs(small)) + 1.0
    small = (small + small.T) / 2.0 - jnp.diag(jnp.where(absent, size * behind, 0.0))
    mu, rotation = jnp.linalg.eigh(small)
    mu, rotation = mu[::-1][:block], rotation.T[::-1][:block]
    vectors = _times(rotation, basis)
    residual = _norms(_times(rotation, images) - vectors * mu[:, None])
    return vectors, mu, residual


def _orthonormal(block: _Block, basis: Float[Array, "size nodes"], excluded) -> _Block:
    """Make rows orthonormal to each other, the basis and the excluded vector, or else 0.

    This is Gram-Schmidt, done twice: the first round may leave a short row, and normalising it
    magnifies its rounding errors along the basis. A row that the second round shortens to less
    than half was only such errors, because the space is exhausted; it becomes 0.
    """

    def sweep(number, block):
        block = block - _times(_times(block, basis.T), basis)
        block = block - _along(excluded, block)[:, None] * excluded[None, :]
        least = jnp.where(number == 0, 0.0, 0.5).astype(block.dtype)

        def next_row(done, row):
            row = row - jnp.sum(_along(row, done)[:, None] * done, axis=0)
            norm = safe_norm(row)
            row = jnp.where(norm > least, safe_divide(row, norm), 0.0)
            return jnp.concatenate([done[1:], row[None, :]]), None

        # A loop: rows written out took half of the time of compiling.
        return jax.lax.scan(next_row, jnp.zeros_like(block), block)[0]

    # One program for both rounds.
    return jax.lax.fori_loop(0, 2, sweep, block)


def _images(matrix: _Matrix, block: _Block) -> _Block:
    """The matrix times each row of a block.

    On a CPU, XLA takes two to four times as long for rows x matrix as for matrix x columns; the
    barriers keep it from rewriting one as the other.
    """
    columns = jax.lax.optimization_barrier(block.T)
    return jax.lax.optimization_barrier(_times(matrix, columns)).T


def _times(left: Float[Array, "rows inner"], right: Float[Array, "inner columns"]):
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _along(vector: Float[Array, " nodes"], block: _Block) -> Float[Array, " block"]:
    """The products of a vector with the rows of a block, added in parts.

    XLA makes one running sum of a row by a matrix, and of a sum of sums. Over thousands of nodes,
    its rounding errors add up to more than the residual that is accepted.
    """
    missing = -len(vector) % _PART
    parts = jnp.pad(vector, (0, missing)).reshape(-1, _PART)
    rows = jnp.pad(block, ((0, 0), (0, missing))).reshape(len(block), *parts.shape)
    sums = jnp.einsum("pn,bpn->bp", parts, rows, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(sums, axis=1)


def _norms(block: _Block) -> Float[Array, " block"]:
    """Norms of rows. Not by `safe_norm`: a NaN must stay, and count as not converged."""
    return jnp.sqrt(jnp.sum(block * block, axis=1))


def _start(exists: Bool[Array, " nodes"], block: int) -> _Block:
    """A random start block; the column of a node does not depend on the number of nodes."""
    # A constant of the program: compiling a generator took a third of the solver's time.
    noise = np.random.default_rng(0).random((exists.shape[0], block), np.float32) - 0.5
    return jnp.where(exists[None, :], noise.T, 0.0)
