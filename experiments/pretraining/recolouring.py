"""Changes of an image that leave every object in its place: light, colours, sharpness, noise, JPEG.

Pure functions, one image of numbers from 0 to 1 at a time, like those of `composing`.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from experiments.pretraining.composing import between
from experiments.pretraining.jpeg import compress

# Random numbers that `recolour` takes.
RECOLOURING = 12
# How often an image is compressed, and the qualities.
_COMPRESSED, _QUALITIES = 0.4, (30.0, 95.0)

_Image = Float[Array, "height width 3"]


def recolour(
    image: _Image, chances: Float[Array, " chances"], noise: _Image, strong: bool | Bool[Array, ""]
) -> _Image:
    """Change light, contrast, colours and sharpness at random, add noise, and compress.

    `chances` are `RECOLOURING` random numbers from 0 to 1, `noise` normal ones. With `strong`,
    channels are always permuted, and the image is more often a negative.
    """
    contrast, light, saturation, order, permute, invert, sharpness, grain, loss, *tint = chances
    mean = jnp.mean(image)
    image = (image - mean) * between(contrast, 0.65, 1.35) + mean + between(light, -0.12, 0.12)
    grey = jnp.mean(image, axis=2, keepdims=True)
    image = grey + (image - grey) * between(saturation, 0.5, 1.5)
    image = image * between(jnp.stack(tint), 0.88, 1.12)[None, None, :]
    orders = jnp.array(list(itertools.permutations(range(3))))
    permuted = image[:, :, orders[(order * len(orders)).astype(jnp.int32)]]
    image = jnp.where(permute < jnp.where(strong, 1.0, 0.15), permuted, image)
    image = jnp.where(invert < jnp.where(strong, 0.15, 0.02), 1 - image, image)
    # From blurred, -1, to sharpened.
    image = image + between(sharpness, -1.0, 1.5) * (image - _blurred(image))
    image = jnp.clip(image + 0.04 * grain**2 * noise, 0, 1)
    quality = between(loss / _COMPRESSED, *_QUALITIES)
    return jnp.where(loss < _COMPRESSED, compress(image, quality), image)


def _blurred(image: _Image) -> _Image:
    for axis in (0, 1):
        around = [(2, 2) if a == axis else (0, 0) for a in range(3)]
        padded = jnp.pad(image, around, mode="edge")
        side = image.shape[axis]
        shifted = [
            weight / 16 * jax.lax.slice_in_dim(padded, first, first + side, axis=axis)
            for first, weight in enumerate((1, 4, 6, 4, 1))
        ]
        image = functools.reduce(jnp.add, shifted)
    return image
