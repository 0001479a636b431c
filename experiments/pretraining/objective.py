"""What the keys of the last block should be: an object's place, or the background's pattern.

The spectral method needs features in which tokens of one object are alike, tokens of different
objects less, and object and background least. Such features are written down here, channel by
channel, and regressed:

    object      sqrt(1 - s) * sqrt(2) * cos(w . place + phase) - sqrt(s) * pattern
    background  pattern

with random w, phase and a pattern of random signs. The cosines are random Fourier features: the
similarity of two objects falls with the distance of their places like a Gaussian, in any subset
of the channels, and so in the one that entropy and deviation happen to keep. `s` is what all
objects share, the opposite of the background.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Distances, as fractions of the image, at which places count as different: x, y and size.
_SCALES = (0.18, 0.18, 0.25)
_SHARED = 0.4
_BACKGROUND_WEIGHT = 0.7
# The targets are the same for every training, whatever its seed.
_TARGET_SEED = 0


def targets(
    places: Float[Array, "tokens 3"], foreground: Bool[Array, " tokens"], *, channels: int
) -> Float[Array, "tokens channels"]:
    """The wanted keys of tokens at these places."""
    rng = np.random.default_rng(_TARGET_SEED)
    frequency = rng.normal(size=(3, channels)) / np.array(_SCALES)[:, None]
    phase = rng.uniform(0, 2 * np.pi, channels)
    pattern = jnp.asarray(rng.choice([-1.0, 1.0], channels), jnp.float32)
    angle = places @ jnp.asarray(frequency, jnp.float32) + jnp.asarray(phase, jnp.float32)[None]
    objects = math.sqrt(2 * (1 - _SHARED)) * jnp.cos(angle) - math.sqrt(_SHARED) * pattern[None]
    return jnp.where(foreground[:, None], objects, pattern[None])


def regression_loss(
    keys: Float[Array, "images tokens channels"],
    places: Float[Array, "images tokens 3"],
    foreground: Bool[Array, "images tokens"],
) -> Float[Array, ""]:
    """Weighted mean squared error of the keys; about 1 for keys of zero."""
    wanted = jax.vmap(functools.partial(targets, channels=keys.shape[-1]))(places, foreground)
    error = jnp.mean(jnp.square(keys - wanted), axis=-1)
    weight = jnp.where(foreground, 1.0, _BACKGROUND_WEIGHT)
    return jnp.sum(error * weight) / jnp.sum(weight)
