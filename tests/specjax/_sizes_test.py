"""The choice of a size inside a program; `pipeline_graphs_test` tests its use."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from specjax._sizes import (
    at_smallest_size,
    capacity_for,
    instance_capacities,
    padded_instances,
    padded_tokens,
)


def size_of(needed, values):
    """The size that was chosen, added to each value."""
    return at_smallest_size(lambda size: lambda value: value + size, (4, 8, 16))(needed, values)


def test_the_smallest_size_that_holds_what_is_needed():
    for needed, size in ((0, 4), (4, 4), (5, 8), (8, 8), (9, 16), (16, 16)):
        assert size_of(jnp.asarray(needed), jnp.asarray(0)) == size


def test_a_batch_has_the_size_of_its_largest():
    """Nested as well: a choice for each element would run every branch for each."""
    zeros = jnp.zeros(3, jnp.int32)
    for needed, size in (([1, 5, 2], 8), ([1, 2, 3], 4)):
        np.testing.assert_array_equal(jax.vmap(size_of)(jnp.asarray(needed), zeros), size)
    nested = jax.jit(jax.vmap(jax.vmap(size_of)))
    both = nested(jnp.asarray([[1, 5, 2], [9, 2, 1]]), jnp.stack([zeros, zeros + 1]))
    np.testing.assert_array_equal(both, [[16] * 3, [17] * 3])
    # Where only the values are mapped, and where only the count is.
    np.testing.assert_array_equal(jax.vmap(size_of, in_axes=(None, 0))(jnp.asarray(5), zeros), 8)
    found = jax.vmap(size_of, in_axes=(0, None))(jnp.asarray([1, 5]), jnp.asarray(0))
    np.testing.assert_array_equal(found, 8)


@pytest.mark.parametrize("batched", [False, True])
def test_gradients_pass_through(batched):
    def squares(needed, values):
        branch = lambda size: lambda values: size * jnp.sum(values**2)  # noqa: E731
        return at_smallest_size(branch, (4, 8))(needed, values)

    values = jnp.arange(3.0)
    if not batched:
        np.testing.assert_array_equal(jax.grad(squares, 1)(jnp.asarray(5), values), 16 * values)
        return
    found = jax.vmap(jax.grad(squares, 1))(jnp.asarray([1, 5]), jnp.stack([values, values + 1]))
    np.testing.assert_array_equal(found, [16 * values, 16 * (values + 1)])


def test_capacities_hold_the_foreground():
    for tokens in (20, 256, 768, 3840):
        sizes = instance_capacities(tokens)
        for count in range(tokens + 1):
            capacity = capacity_for(count, tokens)
            assert capacity >= count and capacity in sizes
            assert all(size >= capacity or size < count for size in sizes)
    assert [padded_instances(n) for n in (1, 8, 9, 254)] == [8, 8, 16, 256]


def test_sizes_are_few_and_close_above():
    counts = range(1, 5000)
    lengths = [padded_tokens(count) for count in counts]
    assert all(size >= count for size, count in zip(lengths, counts, strict=True))
    assert lengths == sorted(lengths) and len(set(lengths)) < 30
    assert all(lengths[n - 1] < 1.0625 * n for n in counts if n > 2048)
    assert instance_capacities(60) == (60,)
    assert instance_capacities(768) == (384, 768)
    assert instance_capacities(3840) == (1440, 1920, 3840)
