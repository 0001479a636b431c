"""The instance graph inside the program: in several sizes, and under several metrics."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax import Config, pipeline
from specjax.affinity import METRICS
from specjax.instances import SEGMENTS, instance_graph
from specjax.spectral import smallest_eigenpairs


def grid(shape):
    return jnp.asarray(shape)


GROUPS = 5


def crowded(tokens, foreground, seed):
    """Tokens in groups; the first `foreground` tokens are foreground. Four eigenvectors differ."""
    rng = np.random.default_rng(seed)
    kinds = 3 * np.eye(GROUPS, 8) + 0.2 * rng.normal(size=(GROUPS, 8))
    # Bands of different sizes, so that no two eigenvalues are close.
    group = np.searchsorted([0.08, 0.2, 0.4, 0.65], np.arange(tokens) / foreground)
    features = kinds[group] + 0.05 * rng.normal(size=(tokens, 8))
    mask = np.arange(tokens) < foreground
    return np.where(mask[:, None], features, 0).astype(np.float32), mask


def same_instances(found, expected):
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=0, atol=2e-6)


def test_the_graph_is_as_large_as_the_foreground_needs():
    """With any capacity, alone or in a batch, the result is that of the graph of all tokens."""
    shape, key = grid((24, 32)), jax.random.key(0)
    images = [crowded(768, count, seed) for seed, count in enumerate((150, 288, 289, 700))]
    config = Config(M=8, N=8, metric="braycurtis")
    label = functools.partial(pipeline.label_instances, config=config, max_instances=8)

    def found_in(features, mask, shape, count, key):
        pairs = pipeline.instance_eigenpairs(features, mask, shape, config=config)
        return label(pairs, mask, shape, count, key)

    batch = [jnp.stack([jnp.asarray(image[i]) for image in images]) for i in range(2)]
    together = jax.vmap(found_in, in_axes=(0, 0, None, None, None))(*batch, shape, GROUPS, key)
    build = jax.jit(functools.partial(instance_graph, metric="braycurtis"))
    solve = jax.jit(functools.partial(smallest_eigenpairs, count=SEGMENTS + 1))
    for i, (features, mask) in enumerate(images):
        features, mask = jnp.asarray(features), jnp.asarray(mask)
        graph, nodes = build(features, mask, shape)
        whole = label(solve(graph, valid=nodes), mask, shape, GROUPS, key)
        same_instances(found_in(features, mask, shape, GROUPS, key), whole)
        same_instances(jax.tree.map(lambda leaf, i=i: leaf[i], together), whole)
        assert int(whole.labels.max()) == GROUPS
        if mask.sum() <= 384:  # the capacity that is known to do
            pairs = pipeline.instance_eigenpairs(features, mask, shape, config=config, capacity=384)
            assert pairs.vectors.shape == (SEGMENTS + 1, 769)
            same_instances(label(pairs, mask, shape, GROUPS, key), whole)


@pytest.mark.parametrize("metrics", [tuple(METRICS), ("l2", "boc", "dot")])
def test_metrics_together_are_as_each_alone(metrics):
    features, mask = crowded(300, 200, 0)
    features, mask, shape = jnp.asarray(features), jnp.asarray(mask), grid((15, 20))
    config = Config(M=8, N=8, solver="eigh")  # which compiles sooner

    def label(pairs):
        return pipeline.label_instances(
            pairs, mask, shape, GROUPS, jax.random.key(0), config=config, max_instances=8
        )

    pairs = pipeline.instance_eigenpairs(features, mask, shape, config=config, metrics=metrics)
    together = jax.lax.map(label, pairs)
    for i, metric in enumerate(metrics):
        alone = label(
            pipeline.instance_eigenpairs(
                features, mask, shape, config=dataclasses.replace(config, metric=metric)
            )
        )
        if metric in ("boc", "chebyshev", "mahalanobis"):
            # To these metrics, tokens that differ in one channel are equal: vectors are noise.
            np.testing.assert_allclose(together.eigenvalues[i], alone.eigenvalues, atol=2e-6)
        else:
            same_instances(jax.tree.map(lambda leaf, i=i: leaf[i], together), alone)
