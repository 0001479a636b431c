"""Largest eigenpairs of a dense symmetric matrix, three ways: all of them, LOBPCG, block Krylov.

A problem is a `Problem`: the matrix, a unit vector that is not wanted among the results, and the
nodes that exist. Each solver gives `[pairs]` eigenvalues, descending, and `[pairs, nodes]` vectors.

The iterative solvers check their residuals inside the program and fall back to `eigh` where they
did not converge. That choice is made once for a batch that is mapped over.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jaxtyping import Array, Bool, Float, UInt32

from specjax._numerics import safe_divide, safe_norm

_Matrix = Float[Array, "nodes nodes"]
_Block = Float[Array, "nodes block"]
_Pairs = tuple[Float[Array, " pairs"], Float[Array, "pairs nodes"]]

# The last vectors of a block converge late: this many more are solved for than are asked for.
_SPARE = 1
# Residuals over (1.25 times) the Frobenius norm of the matrix: about what float32 reaches, and what
# is accepted.
_AIM, _ACCEPT = 5e-7, 1e-5
# A cycle that leaves more than this share of an acceptable residual is the last one.
_STALLED = 0.7
_LOBPCG_ITERATIONS = 100
# Rounds of `_polished` after LOBPCG.
_POLISH = 2
# Products with the matrix before the Krylov space is cut back to its best vectors, and how often.
_STEPS, _CYCLES = 8, 12


class Problem(NamedTuple):
    """A symmetric matrix whose largest eigenpairs are wanted.

    Attributes:
        matrix: rows and columns of nodes that do not exist are 0.
        excluded: unit vector, or 0, which the matrix maps to 0 and results are orthogonal to.
        exists: the nodes that exist.
    """

    matrix: _Matrix
    excluded: Float[Array, " nodes"]
    exists: Bool[Array, " nodes"]


def fits_iteration(nodes: int, pairs: int) -> bool:
    """Whether a graph is large enough for `lobpcg` and `krylov`."""
    return pairs > 0 and nodes > 5 * (pairs + _SPARE)


def by_eigh(problem: Problem, pairs: int) -> _Pairs:
    """`jnp.linalg.eigh` of the whole matrix."""
    mu, z = jnp.linalg.eigh(_last_excluded(problem, _bound(problem)))
    return mu[::-1][:pairs], z.T[::-1][:pairs]


def by_krylov(problem: Problem, pairs: int) -> _Pairs:
    """Restarted block Krylov iteration with Rayleigh-Ritz (block Lanczos, reorthogonalised).

    It reads the matrix far less often than LOBPCG for the same residual, and reading is what
    costs: a Krylov space of all products with the matrix is larger than LOBPCG's of the last two.
    """
    block, bound = pairs + _SPARE, _bound(problem)

    def unfinished(state):
        _, _, residual, before, cycle = state
        worst, before = jnp.max(residual[:pairs]), jnp.max(before[:pairs])
        stalled = (worst > _STALLED * before) & (worst <= _ACCEPT * bound)
        # Written so that a NaN goes on, to the fallback in the end.
        return (cycle < _CYCLES) & ~(worst <= _AIM * bound) & ~stalled

    def cycle(state):
        vectors, _, residual, _, number = state
        return *_krylov_cycle(problem, vectors), residual, number + 1

    start = _start(problem.exists, block).astype(problem.matrix.dtype)
    infinite = jnp.full(block, jnp.inf, problem.matrix.dtype)
    state = (start, infinite, infinite, infinite, jnp.zeros((), jnp.int32))
    vectors, mu, residual, _, _ = jax.lax.while_loop(unfinished, cycle, state)
    return _checked(problem, mu[:pairs], vectors[:, :pairs].T, residual[:pairs])


def by_lobpcg(problem: Problem, pairs: int) -> _Pairs:
    """`jax.experimental.sparse.linalg.lobpcg_standard`, its vectors polished."""
    nodes, bound = problem.matrix.shape[0], _bound(problem)
    # LOBPCG finds the eigenvalues of largest magnitude, so all are made positive.
    ahead = problem.matrix - (bound * problem.excluded)[:, None] * problem.excluded[None, :]
    ahead = ahead + jnp.diag(jnp.where(problem.exists, bound, 0.0))
    start = _start(problem.exists, pairs + _SPARE).astype(problem.matrix.dtype)
    # LOBPCG stops at residual < tol * 10 * nodes * (theta + |A x|), here at most about
    # tol * 40 * nodes * bound.
    mu, z, _ = lobpcg_standard(ahead, start, m=_LOBPCG_ITERATIONS, tol=5e-6 / (20.0 * nodes))
    padded = _last_excluded(problem, bound)
    for _ in range(_POLISH):
        mu, z = _polished(padded, z)
    mu, z = mu[:pairs], z[:, :pairs]
    residual = _column_norms(_times(padded, z) - z * mu[None, :])
    return _checked(problem, mu, z.T, residual)


SOLVERS = {"eigh": by_eigh, "lobpcg": by_lobpcg, "krylov": by_krylov}


def _bound(problem: Problem) -> Float[Array, ""]:
    """More than every eigenvalue's magnitude, from the Frobenius norm."""
    norm = jnp.sqrt(jnp.sum(problem.matrix * problem.matrix))
    # Strictly more than the norm: a matrix of rank one may have its negative as an eigenvalue.
    return jax.lax.stop_gradient(1.25 * norm + jnp.finfo(problem.matrix.dtype).tiny)


def _last_excluded(problem: Problem, bound: Float[Array, ""]) -> _Matrix:
    """The matrix with the excluded vector, and behind it missing nodes, as smallest eigenpairs."""
    matrix, excluded, exists = problem
    nodes = matrix.shape[0]
    # Distinct values keep the gradient of `eigh` finite: it divides by their differences.
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
            lambda: jax.lax.map(lambda one: choose(*one), (converged, problem, mu, z)),
        )
        return found, (True, True)

    # Written so that a NaN counts as not converged.
    return choose(jnp.all(residual <= _ACCEPT * _bound(problem)), problem, mu, z)


def _krylov_cycle(problem: Problem, start: _Block):
    """Ritz vectors, values and residuals in the Krylov space of a block, largest first."""
    matrix, excluded, _ = problem
    nodes, block = start.shape
    size = _STEPS * block

    def step(number, state):
        basis, images, candidates = state
        new = _orthonormal(candidates, basis, excluded)
        image = _times(matrix, new)
        place = (0, number * block)
        basis = jax.lax.dynamic_update_slice(basis, new, place)
        return basis, jax.lax.dynamic_update_slice(images, image, place), image

    empty = jnp.zeros((nodes, size), matrix.dtype)
    basis, images, _ = jax.lax.fori_loop(0, _STEPS, step, (empty, empty, start))
    small = _times(basis.T, images)
    # A direction that was noise is a zero column: it must not rank among the largest.
    absent = jnp.sum(basis * basis, axis=0) < 0.5
    behind = 2.0 * jnp.max(jnp.abs(small)) + 1.0
    small = (small + small.T) / 2.0 - jnp.diag(jnp.where(absent, size * behind, 0.0))
    mu, rotation = jnp.linalg.eigh(small)
    mu, rotation = mu[::-1][:block], rotation[:, ::-1][:, :block]
    vectors = _times(basis, rotation)
    residual = _column_norms(_times(images, rotation) - vectors * mu[None, :])
    return vectors, mu, residual


def _orthonormal(block: _Block, basis: Float[Array, "nodes size"], excluded) -> _Block:
    """The block's columns made orthonormal to each other and to the rest; 0 where they are not.

    Gram-Schmidt, twice: what the first round leaves may be small, and its rounding errors along
    the basis then grow when it is normalised. A column that the second round shortens was nothing
    but such errors: the space is exhausted.
    """

    def sweep(number, block):
        block = block - _times(basis, _times(basis.T, block))
        block = block - excluded[:, None] * _times(excluded[None, :], block)
        least = jnp.where(number == 0, 0.0, 0.5).astype(block.dtype)
        columns = []
        for index in range(block.shape[1]):
            column = block[:, index : index + 1]
            for earlier in columns:
                column = column - earlier * jnp.sum(earlier * column)
            norm = jnp.broadcast_to(safe_norm(column.T), column.shape)
            columns.append(jnp.where(norm > least, safe_divide(column, norm), 0.0))
        return jnp.concatenate(columns, axis=1)

    # One program for both rounds.
    return jax.lax.fori_loop(0, 2, sweep, block)


def _polished(matrix: _Matrix, z: _Block):
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


def _column_norms(block: _Block) -> Float[Array, " block"]:
    """Not `safe_norm`: a NaN must stay one, so that it counts as not converged."""
    return jnp.sqrt(jnp.sum(block * block, axis=0))


def _start(exists: Bool[Array, " nodes"], block: int) -> _Block:
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
