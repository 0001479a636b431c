"""What a notebook does with the stages: compile them, map over images, take gradients."""

import jax
import jax.numpy as jnp
import numpy as np

import specjax
from specjax import Config
from specjax.instances import eigensegments

GRID, CHANNELS = (12, 14), 24
TOKENS, PADDED = 168, 180
CONFIG = Config(M=12, N=6, solver="eigh", metric="l2", restarts=2)


# Bands of five kinds and sizes, so that no two eigenvalues are close.
KIND = np.zeros(GRID, int)
KIND[3:9] = np.repeat(np.arange(6), (0, 1, 2, 3, 3, 5))


def features(seed=0):
    """Features of an image: those of each kind, with noise."""
    rng = np.random.default_rng(seed)
    centres = (
        3 * np.eye(6, CHANNELS) + rng.normal(size=(6, CHANNELS)) + 2.0 * (np.arange(6) > 0)[:, None]
    )
    values = 1.0 + centres[KIND.ravel()] + 0.3 * rng.normal(size=(TOKENS, CHANNELS))
    return np.pad(values, ((0, PADDED - TOKENS), (0, 0)))


def test_segment_mapped_over_images():
    """Several images in one call get the same labels as each image alone."""

    def segment(features, key):
        return specjax.segment(features, jnp.asarray(GRID), num_instances=3, key=key, config=CONFIG)

    images = jnp.asarray(np.stack([features(seed) for seed in range(3)]), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(segment))(images, keys)
    for image, key, found in zip(images, keys, together, strict=True):
        np.testing.assert_array_equal(found, segment(image, key))
        assert len(np.unique(found)) == 4


def mixed_maps(features, mask, mix):
    """A number that depends on every eigensegment, and the eigenvalues."""
    grid = jnp.asarray(GRID)
    reduced = specjax.reduce_features(features, mask, grid, config=CONFIG)
    pairs = specjax.instance_eigenpairs(reduced, mask, grid, config=CONFIG)
    return jnp.sum(mix * eigensegments(pairs, mask, grid)), pairs.values


def test_gradients_of_eigensegments():
    """In float64 they agree with finite differences, and those of a batch in float32 with them."""
    gradient_of = jax.value_and_grad(mixed_maps, has_aux=True)
    mix = np.random.default_rng(1).normal(size=(4, PADDED))
    images = np.stack([features(seed) for seed in range(2)])
    mask = jnp.asarray(np.pad(KIND.ravel() > 0, (0, PADDED - TOKENS)))
    batch = jax.jit(jax.vmap(gradient_of, in_axes=(0, None, None)))
    (_, values), single = batch(
        jnp.asarray(images, jnp.float32), mask, jnp.asarray(mix, jnp.float32)
    )
    # Gradients are defined where eigenvalues are apart.
    assert np.diff(values).min() > 1e-3
    assert not np.asarray(single)[:, TOKENS:].any()
    with jax.enable_x64(True):
        alone, mix = jax.jit(gradient_of), jnp.asarray(mix)
        for image, found in zip(images, single, strict=True):
            _, gradient = alone(jnp.asarray(image), mask, mix)
            assert gradient.dtype == jnp.float64
            largest = float(jnp.abs(gradient).max())
            np.testing.assert_allclose(found, gradient, rtol=0, atol=1e-3 * largest)
        step = 1e-6 * features(2)
        ahead, behind = (alone(jnp.asarray(image + d), mask, mix)[0][0] for d in (step, -step))
        np.testing.assert_allclose(jnp.sum(gradient * step), (ahead - behind) / 2, rtol=1e-5)
