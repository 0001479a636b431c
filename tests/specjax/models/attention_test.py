import jax
import jax.numpy as jnp
import numpy as np

from specjax.models.attention import attention

TOKENS, HEADS, SIZE = 11, 3, 4


def test_values_and_gradients_of_jax_nn_attention():
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(3, TOKENS, HEADS * SIZE)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(TOKENS, HEADS * SIZE)), jnp.float32)
    mask = jnp.arange(TOKENS) < TOKENS - 3

    def ours(inputs):
        attended = attention(*inputs, mask, num_heads=HEADS, chunk=5)
        return jnp.sum(attended * weights)

    def theirs(inputs):
        heads = inputs.reshape(3, TOKENS, HEADS, SIZE)
        attended = jax.nn.dot_product_attention(*heads, mask=mask[None, None, None, :])
        return jnp.sum(attended.reshape(TOKENS, -1) * weights)

    value, gradient = jax.jit(jax.value_and_grad(ours))(inputs)
    expected_value, expected_gradient = jax.jit(jax.value_and_grad(theirs))(inputs)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5)
