"""The sizes that arrays are padded to, and the choice of a size inside a program.

A program is compiled for fixed shapes. Arrays are padded to a few lengths, so that few programs
serve images of all sizes. A program holds the instance graph in a few sizes and solves the smallest
that fits, so that a small foreground takes little time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def padded_tokens(tokens: int) -> int:
    """The length to pad the tokens of an image to: a multiple of 256 up to 2,048.

    Above that, it is a multiple of a sixteenth of the largest power of two below `tokens`: less
    than a sixteenth longer than `tokens`.
    """
    # Small images take little time to compute, and programs as long as others to compile.
    step = 256 if tokens <= 2048 else (1 << (tokens - 1).bit_length() - 1) // 16
    return max(-(-tokens // step), 1) * step


def instance_capacities(tokens: int) -> tuple[int, ...]:
    """The sizes of the instance graph of an image padded to `tokens`, ascending.

    They are three eighths, a half and all of the tokens, without the first for small images. After
    the sign rule at most half of the tokens are foreground; only post-processing can add more.
    """
    parts = (4,) if tokens <= 1024 else (3, 4)
    sizes = {-(-tokens * eighths // 8) for eighths in parts}
    return (*sorted(size for size in sizes if size >= 256), tokens)


def capacity_for(foreground_tokens: int, tokens: int) -> int:
    """The smallest of `instance_capacities` that holds this many foreground tokens."""
    return next(size for size in instance_capacities(tokens) if size >= foreground_tokens)


def padded_instances(count: int) -> int:
    """An upper bound of `count`: a power of two from 8 on, so that counts share programs."""
    return max(8, 1 << (count - 1).bit_length())


def at_smallest_size(
    at: Callable[[int], Callable[..., Any]], sizes: Sequence[int]
) -> Callable[..., Any]:
    """A function that chooses, inside a program, the smallest size that is large enough.

    Args:
        at: makes the function of a size; results must have the same shapes for all sizes.
        sizes: ascending; the last must always be enough.

    Returns:
        `choose(needed, *arguments)`, where `needed` is a traced count. Under `jax.vmap` all
        elements take the size that the largest needs: a mapped `switch` would run every branch for
        each of them.
    """

    def choose(needed, *arguments):
        needed = _largest_of_batch(needed)
        place = jnp.sum(needed > jnp.asarray(sizes[:-1], needed.dtype))
        return jax.lax.switch(place, [at(size) for size in sizes], *arguments)

    return choose


@jax.custom_batching.custom_vmap
def _largest_of_batch(count):
    """The count itself; under `jax.vmap`, the largest count of all elements."""
    return count


@_largest_of_batch.def_vmap
def _(_size, _is_batched, counts):
    return _largest_of_batch(jnp.max(counts)), False


def one_by_one(function: Callable[[Any], Any], stacked: Any) -> Any:
    """`function` of each element, compiled once; without a loop for a single element."""
    if jax.tree.leaves(stacked)[0].shape[0] > 1:
        return jax.lax.map(function, stacked)
    return jax.tree.map(lambda leaf: leaf[None], function(jax.tree.map(lambda x: x[0], stacked)))
