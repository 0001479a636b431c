import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.csgraph

from specjax import _eigensolvers as eigensolvers
from specjax import spectral
from specjax.errors import SpecjaxError
from tests.support import oracles

NODES, PAIRS = 40, 5
SOLVERS = ["eigh", "krylov"]

solve = spectral.smallest_eigenpairs
traced_anew = solve.__wrapped__  # with what a test has changed


def random_graph(nodes=NODES, seed=0):
    weights = np.random.default_rng(seed).random((nodes, nodes)) ** 3
    return (weights + weights.T).astype(np.float32)


def clusters():
    """Five groups with weak ties: small eigenvalues, well apart from the rest."""
    group = np.arange(NODES) % 5
    ties = np.random.default_rng(1).random((5, 5)) * 0.1
    return ((group[:, None] == group) + (ties + ties.T)[group][:, group]).astype(np.float32)


def path():
    """Eigenvalues close together at 0, and a spectrum from 0 to 2."""
    return (np.eye(NODES, k=1) + np.eye(NODES, k=-1)).astype(np.float32)


def without_edges(first, second):
    weights = random_graph()
    weights[np.ix_(first, second)] = weights[np.ix_(second, first)] = 0
    return weights


GRAPHS = {
    "random": random_graph(),
    "clusters": clusters(),
    "path": path(),
    "disconnected": without_edges(range(15), range(15, NODES)),
    "isolated": without_edges([3, 20], range(NODES)),
    "large weights": random_graph() * 1e6,
    "small weights": random_graph() * 1e-6,
}


def masked(weights, nodes):
    """The graph, of which only the first nodes exist."""
    exists = np.arange(len(weights)) < nodes
    return jnp.asarray(weights * np.outer(exists, exists), jnp.float32), jnp.asarray(exists)


def check(pairs, weights, nodes=NODES):
    """Against scipy's dense solution: values, residuals, norms, vectors up to sign."""
    weights = weights[:nodes, :nodes]
    expected, known = oracles.eigenpairs(weights, PAIRS)
    vectors, padding = np.split(np.asarray(pairs.vectors, np.float64), [nodes], axis=1)
    assert not padding.any()
    np.testing.assert_allclose(pairs.values, expected, rtol=0, atol=3e-6)
    errors, norms = oracles.residuals(weights, pairs.values, vectors)
    assert np.abs(norms - 1).max() < 2e-5
    assert errors.max() < 3e-5 * np.sqrt(weights.sum(1).max())
    every = oracles.eigenpairs(weights, nodes)[0]
    deg = oracles.laplacian_and_degrees(weights)[1]
    overlap = vectors @ deg @ known.T
    for i in range(PAIRS):
        near = np.abs(np.delete(every, i) - every[i]).min()
        if near > 1e-3:
            assert abs(overlap[i, i]) > 1 - 1e-5
    # Pairs are D-orthogonal even where eigenvalues are equal.
    gram = vectors @ deg @ vectors.T
    np.testing.assert_allclose(gram, np.eye(PAIRS), rtol=0, atol=5e-5)


def same_up_to_sign(found, expected, atol):
    signs = np.sign(np.sum(np.asarray(found) * np.asarray(expected), axis=-1, keepdims=True))
    np.testing.assert_allclose(found * signs, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", GRAPHS)
def test_degrees_laplacian_and_normalised_adjacency(name):
    weights = jnp.asarray(GRAPHS[name])
    lap, deg = oracles.laplacian_and_degrees(weights)
    np.testing.assert_allclose(spectral.degrees(weights), np.diag(deg), rtol=1e-6)
    actual = np.asarray(spectral.laplacian(weights))
    expected = scipy.sparse.csgraph.laplacian(np.asarray(weights, np.float64))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(actual.sum(1), 0.0, atol=1e-4 * np.max(weights))
    root = np.sqrt(np.diag(deg))
    np.testing.assert_allclose(
        spectral.normalized_adjacency(weights), (deg - lap) / np.outer(root, root), rtol=1e-5
    )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", GRAPHS)
def test_against_scipy(name, solver):
    graph, exists = masked(GRAPHS[name], NODES)
    check(solve(graph, count=PAIRS, solver=solver, valid=exists), GRAPHS[name])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("nodes", [33, 37])
def test_padding_changes_nothing(nodes, solver):
    weights = random_graph()
    graph, exists = masked(weights, nodes)
    check(solve(graph, count=PAIRS, solver=solver, valid=exists), weights, nodes)


def test_the_start_of_the_iteration_does_not_depend_on_padding():
    """The column of a node does not depend on the number of nodes or the default generator."""
    start = functools.partial(eigensolvers._start, block=6)
    long = start(jnp.arange(1000) < 300)
    assert not np.asarray(long)[:, 300:].any()
    assert np.ptp(np.asarray(long)[:, :300], axis=1).min() > 0.9
    for nodes in (300, 301, 2048):
        np.testing.assert_array_equal(start(jnp.arange(nodes) < 300)[:, :300], long[:, :300])
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(start(jnp.arange(300) < 300), long[:, :300])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("nodes", [0, 1, 3, 5])
def test_fewer_nodes_than_pairs(nodes, solver):
    weights = random_graph()
    graph, exists = masked(weights, nodes)
    pairs = solve(graph, count=PAIRS, solver=solver, valid=exists)
    known = oracles.eigenpairs(weights[:nodes, :nodes], nodes)[0] if nodes else []
    expected = np.r_[known, np.full(PAIRS - nodes, 2.0)]
    np.testing.assert_allclose(pairs.values, expected, rtol=0, atol=1e-6)
    assert not np.asarray(pairs.vectors)[nodes:].any()
    assert np.asarray(pairs.vectors)[:nodes].any(1).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_graph_without_edges_is_defined(solver):
    graph, exists = masked(np.zeros((NODES, NODES)), 30)
    pairs = solve(graph, count=PAIRS, solver=solver, valid=exists)
    np.testing.assert_allclose(pairs.values, [0, 1, 1, 1, 1], atol=1e-6)
    assert np.isfinite(pairs.vectors).all()


def test_one_pair_and_unknown_solver():
    weights = jnp.asarray(random_graph())
    pairs = solve(weights, count=1, solver="krylov")
    np.testing.assert_array_equal(pairs.values, [0.0])
    np.testing.assert_allclose(pairs.vectors[0], np.sum(weights) ** -0.5, rtol=1e-5)
    with pytest.raises(SpecjaxError, match="lanczos"):
        solve(weights, count=2, solver="lanczos")


def without_fallback(monkeypatch):
    """Makes `eigh` give NaN, so that a fallback to it shows."""

    def nothing(problem, pairs):
        return jnp.full(pairs, jnp.nan), jnp.full((pairs, len(problem.matrix)), jnp.nan)

    monkeypatch.setattr(eigensolvers, "by_eigh", nothing)


def test_krylov_converges_by_itself(monkeypatch):
    without_fallback(monkeypatch)
    alone = jax.jit(functools.partial(traced_anew, count=PAIRS, solver="krylov"))
    for name in ("random", "clusters", "path"):
        check(alone(jnp.asarray(GRAPHS[name])), GRAPHS[name])


def test_krylov_restarts(monkeypatch):
    """A large graph with close eigenvalues: one cycle is not enough, but several are."""
    without_fallback(monkeypatch)
    nodes = 300
    weights = np.eye(nodes, k=1) + np.eye(nodes, k=-1) + 0.5 * random_graph(nodes)
    for cycles in (1, 12):
        monkeypatch.setattr(eigensolvers, "_CYCLES", cycles)
        pairs = jax.jit(functools.partial(traced_anew, count=PAIRS, solver="krylov"))(weights)
        assert np.isfinite(pairs.values).all() == (cycles == 12)
    check(pairs, weights, nodes)


@pytest.mark.parametrize("nodes", [1000, 3712])
def test_many_nodes_do_not_add_up_rounding(nodes):
    """A running sum of equal values errs in one direction."""
    order, excluded = np.arange(nodes), np.full(nodes, nodes**-0.5, np.float32)
    block = np.stack([np.where(order < 0.7 * nodes, 3.0, -7.0), np.sin(order)])
    given = jnp.asarray(block, jnp.float32), jnp.zeros((4, nodes)), jnp.asarray(excluded)
    found = np.asarray(jax.jit(eigensolvers._orthonormal)(*given), np.float64)
    assert np.abs(found @ excluded.astype(np.float64)).max() < 1e-6


def test_fallback_where_krylov_does_not_converge(monkeypatch):
    """Alone, and in a batch whose other graph converges."""
    names = ("path", "clusters")
    for name, value in (("_CYCLES", 1), ("_STEPS", 2)):
        monkeypatch.setattr(eigensolvers, name, value)

    def pairs():
        call = functools.partial(traced_anew, count=PAIRS, solver="krylov")
        graphs = jnp.stack([jnp.asarray(GRAPHS[name]) for name in names])
        together, alone = jax.jit(jax.vmap(call))(graphs), jax.jit(call)(graphs[0])
        return [*(jax.tree.map(lambda x, i=i: x[i], together) for i in range(2)), alone]

    for found, name in zip(pairs(), (*names, "path"), strict=True):
        check(found, GRAPHS[name])
    # Without the check, the interrupted iteration is wrong: the result above is the fallback's.
    monkeypatch.setattr(eigensolvers, "_ACCEPT", np.inf)
    expected = oracles.eigenpairs(GRAPHS["path"], PAIRS)[0]
    for believed in (pairs()[0], pairs()[2]):
        assert np.abs(believed.values - expected).max() > 1e-2


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_equals_a_loop(solver):
    graphs, exists = zip(
        masked(random_graph(seed=3), 40), masked(clusters(), 31), masked(path(), 4), strict=True
    )
    call = functools.partial(solve, count=PAIRS, solver=solver)
    batch = jax.jit(jax.vmap(lambda weights, valid: call(weights, valid=valid)))
    together = batch(jnp.stack(graphs), jnp.stack(exists))
    for i in range(3):
        alone = solve(graphs[i], count=PAIRS, solver=solver, valid=exists[i])
        np.testing.assert_allclose(together.values[i], alone.values, rtol=0, atol=1e-6)
        same_up_to_sign(together.vectors[i], alone.vectors, atol=1e-4)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float64(solver):
    with jax.enable_x64(True):
        weights = random_graph().astype(np.float64)
        pairs = solve(jnp.asarray(weights), count=PAIRS, solver=solver)
        assert pairs.vectors.dtype == jnp.float64
        check(pairs, weights)
        if solver == "eigh":
            expected = oracles.eigenpairs(weights, PAIRS)[0]
            np.testing.assert_allclose(pairs.values, expected, rtol=0, atol=1e-13)


def test_permutation_of_nodes():
    order = np.random.default_rng(4).permutation(NODES)
    weights = random_graph()
    graph, exists = masked(weights, NODES)
    shuffled, _ = masked(weights[np.ix_(order, order)], NODES)
    for solver in (*SOLVERS, "auto"):
        plain = solve(graph, count=PAIRS, solver=solver, valid=exists)
        other = solve(shuffled, count=PAIRS, solver=solver, valid=exists)
        np.testing.assert_allclose(other.values, plain.values, rtol=0, atol=1e-6)
        same_up_to_sign(other.vectors, np.asarray(plain.vectors)[:, order], atol=2e-5)


def test_gradients_through_eigh():
    """Finite with padding; correct in float64."""
    mix = jnp.asarray(np.random.default_rng(5).normal(size=(PAIRS, NODES)), jnp.float32)
    direction = random_graph(seed=6)
    direction[33:] = direction[:, 33:] = 0

    @jax.jit
    def score_and_gradient(weights, mix, exists):
        def score(weights):
            pairs = solve(weights, count=PAIRS, solver="eigh", valid=exists)
            squares = jnp.sum(mix * pairs.vectors**2) + jnp.sum(spectral.laplacian(weights) ** 2)
            return jnp.sum(pairs.values) + squares

        return jax.value_and_grad(score)(weights)

    graph, exists = masked(random_graph(), 33)
    gradient = score_and_gradient(graph, mix, exists)[1]
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    with jax.enable_x64(True):
        graph, mix = jnp.asarray(graph, jnp.float64), jnp.asarray(mix, jnp.float64)
        step = jnp.asarray(direction, jnp.float64) * 1e-6
        ahead, behind = (score_and_gradient(graph + s * step, mix, exists)[0] for s in (1, -1))
        actual = jnp.sum(score_and_gradient(graph, mix, exists)[1] * step)
        np.testing.assert_allclose(actual, (ahead - behind) / 2, rtol=1e-5)


@pytest.mark.parametrize("break_ties", [False, True])
def test_sign_rule(break_ties):
    """Random vectors of a few lengths, halves, thirds, zeros, all of one sign; padded."""
    rng = np.random.default_rng(7)
    cases = []
    for length in (1, 2, 6, 9):
        vectors = rng.integers(-2, 3, (40, length)).astype(np.float32)
        cases += list(vectors) + list(np.abs(vectors) + 1) + list(-np.abs(vectors) - 1)
    padded = np.stack([np.pad(v, (0, 9 - len(v)), constant_values=7) for v in cases])
    valid = np.arange(9)[None, :] < np.array([len(v) for v in cases])[:, None]

    def one(vector, valid):
        return spectral.orient(vector[None, :], break_ties=break_ties, valid=valid)[0]

    actual = jax.jit(jax.vmap(one))(jnp.asarray(padded), jnp.asarray(valid))
    for found, vector in zip(np.asarray(actual), cases, strict=True):
        expected = oracles.orient(vector, break_ties=break_ties)
        np.testing.assert_array_equal(found[: len(vector)], expected)
