import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax.models.positions import interpolate_positions
from tests.support.naive_vit import naive_positions

resample = jax.jit(interpolate_positions, static_argnames=("tokens", "interpolation"))


@pytest.mark.parametrize("interpolation", ["dino", "hf"])
@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (9, 17), (1, 3), (3, 1), (21, 14)])
def test_positions_agree_with_a_naive_loop(grid, interpolation):
    embeddings = np.random.default_rng(3).normal(size=(49, 5)).astype(np.float32)
    expected = naive_positions(embeddings.astype(np.float64), *grid, interpolation)
    ours = resample(jnp.asarray(embeddings), 300, jnp.array(grid), interpolation=interpolation)
    np.testing.assert_allclose(ours[: len(expected)], expected, atol=2e-5)
    assert np.isfinite(ours).all()


def test_dino_positions_are_unchanged_only_at_the_stored_size():
    embeddings = jnp.asarray(np.random.default_rng(4).normal(size=(49, 5)), jnp.float32)
    np.testing.assert_array_equal(resample(embeddings, 49, (7, 7)), embeddings)
    other = resample(embeddings, 49, (7, 6))
    hf = resample(embeddings, 49, (7, 6), interpolation="hf")
    assert np.abs(other - hf)[:42].max() > 1e-3
