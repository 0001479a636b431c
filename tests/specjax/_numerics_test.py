import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from specjax import _numerics as numerics


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


def test_divide(dtype):
    top, bottom = jnp.asarray([1.0, 0.0, -3.0], dtype), jnp.asarray([0.0, 0.0, 2.0], dtype)
    result = numerics.safe_divide(top, bottom)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, [0.0, 0.0, -1.5])


def test_square_root_and_norm(dtype):
    x = jnp.asarray([4.0, 0.0, -1.0], dtype)
    np.testing.assert_array_equal(numerics.safe_sqrt(x), [2.0, 0.0, 0.0])
    rows = jnp.asarray([[3.0, 4.0], [0.0, 0.0]], dtype)
    np.testing.assert_array_equal(numerics.safe_norm(rows), [5.0, 0.0])


def test_x_log2_x(dtype):
    x = jnp.asarray([0.0, 0.125, 1.0, 3.0], dtype)
    expected = scipy.special.xlogy(x, x) / np.log(2.0)
    np.testing.assert_allclose(numerics.safe_x_log2_x(x), expected, rtol=1e-6)


def test_masked_mean(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), dtype)
    mask = jnp.asarray([True, False, True, False, True])
    expected = np.asarray(x)[np.asarray(mask)].mean(0)
    np.testing.assert_allclose(numerics.masked_mean(x, mask), expected, rtol=1e-6)
    np.testing.assert_array_equal(numerics.masked_mean(x, mask & False), np.zeros(3))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: numerics.safe_divide(x, x),
        numerics.safe_sqrt,
        lambda x: numerics.safe_norm(x[:, None]),
        numerics.safe_x_log2_x,
        lambda x: numerics.masked_mean(x, jnp.zeros(3, bool)),
    ],
)
def test_gradients_are_finite_at_the_degenerate_point(function, dtype):
    x = jnp.asarray([0.0, 1.0, 2.0], dtype)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(function(x))))(x)
    assert np.isfinite(gradient).all()


def test_gradient_away_from_it_is_the_true_one():
    x = jnp.asarray([0.0, 4.0])
    gradient = jax.grad(lambda x: jnp.sum(numerics.safe_sqrt(x)))(x)
    np.testing.assert_allclose(gradient, [0.0, 0.25])
    gradient = jax.grad(lambda x: numerics.safe_norm(x))(jnp.asarray([3.0, 4.0]))
    np.testing.assert_allclose(gradient, [0.6, 0.8], rtol=1e-6)
