"""Sizes that arrays are padded to, and the choice among them inside a program.

A program is compiled for shapes. So that few serve images of all sizes, arrays are padded to a few
lengths; so that a graph costs what its nodes cost, a program holds a few sizes of it and runs the
smallest that fits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def padded_tokens(tokens: int) -> int:
    """Length to pad an image's tokens to: a multiple of 256 up to 2,048.

    Beyond, a multiple of a sixteenth of the largest power of two below `tokens`, which is less
    than a sixteenth more than asked for.
    """
    # Small sizes cost little to compute and much to compile, so they share few programs.
    step = 256 if tokens <= 2048 else (1 << (tokens - 1).bit_length() - 1) // 16
    return max(-(-tokens // step), 1) * step


def instance_capacities(tokens: int) -> tuple[int, ...]:
    """Sizes that an instance graph may have, ascending, for an image padded to this many tokens.

    Three eighths, a half and all of it; small images, whose graphs cost little to solve and as
    much as others to compile, go without the first. The sign rule makes more than half rare: only
    post-processing can.
    """
    parts = (4,) if tokens <= 1024 else (3, 4)
    sizes = {-(-tokens * eighths // 8) for eighths in parts}
    return (*sorted(size for size in sizes if size >= 256), tokens)


def capacity_for(foreground_tokens: int, tokens: int) -> int:
    """The smallest of `instance_capacities` that holds this many foreground tokens."""
    return next(size for size in instance_capacities(tokens) if size >= foreground_tokens)


def padded_instances(count: int) -> int:
    """A bound of the number of instances: a power of two from 8 on, so that programs are few."""
    return max(8, 1 << (count - 1).bit_length())


def at_smallest_size(
    at: Callable[[int], Callable[..., Any]], sizes: Sequence[int]
) -> Callable[..., Any]:
    """A function that runs, inside a program, at the smallest size that holds what is needed.

    Args:
        at: makes the function for a size; results must have the same shapes for all sizes.
        sizes: ascending; the last must hold everything.

    Returns:
        `choose(needed, *arguments)`, `needed` a traced count. Under `jax.vmap` the choice is made
        once, by the batch's largest: a mapped `switch` would run every branch for every element.
    """

    def choose(needed, *arguments):
        needed = _largest_of_batch(needed)
        place = jnp.sum(needed > jnp.asarray(sizes[:-1], needed.dtype))
        return jax.lax.switch(place, [at(size) for size in sizes], *arguments)

    return choose


@jax.custom_batching.custom_vmap
def _largest_of_batch(count):
    """The count itself; under `jax.vmap`, the largest, one for all elements."""
    return count


@_largest_of_batch.def_vmap
def _(_size, _is_batched, counts):
    return _largest_of_batch(jnp.max(counts)), False


def one_by_one(function: Callable[[Any], Any], stacked: Any) -> Any:
    """`function` of each element, compiled once; without a loop where there is but one."""
    if jax.tree.leaves(stacked)[0].shape[0] > 1:
        return jax.lax.map(function, stacked)
    return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda x: x[0], stacked)))
