"""What keys should be: alike on one object, less on two, least on object and background.

That is what the spectral method needs of features, and drawn scenes come with the truth. The loss
has two parts. The first writes such features down, channel by channel, and the last block's keys
are regressed to them:

    object      sqrt(1 - s) * sqrt(2) * cos(w . place + phase) - sqrt(s) * pattern
    background  pattern

with random w, phase and a pattern of random signs. The cosines are random Fourier features: the
similarity of two objects falls with the distance of their places like a Gaussian, in any subset
of the channels, and so in the one that entropy and deviation happen to keep. `s` is what all
objects share, the opposite of the background.

The second asks for the structure alone: the cosine similarities of keys, of the last block and of
the inner ones too, which learn to group tokens several times sooner than under the last block's
loss alone.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PyTree

from specjax import ViT

# Distances, as fractions of the image, at which places count as different: x, y and size.
_SCALES = (0.18, 0.18, 0.25)
_SHARED = 0.4
_BACKGROUND_WEIGHT = 0.7
# Wanted cosine similarities, and how much a pair of foreground tokens counts (others count 1).
_SAME, _OTHER, _MIXED, _BACKGROUND = 0.95, 0.1, -0.2, 0.8
_FOREGROUND_PAIR_WEIGHT = 2.0
# Weight of the last block's structure beside its regression, and of an inner block's.
_LAST_STRUCTURE, _INNER_STRUCTURE = 2.0, 1.0
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


def structure_loss(
    keys: Float[Array, "images tokens channels"], instances: Int[Array, "images tokens"]
) -> Float[Array, ""]:
    """Weighted mean squared error of the cosine similarities of all pairs of an image's keys."""
    norms = jnp.linalg.norm(keys, axis=-1, keepdims=True)
    unit = keys / jnp.maximum(norms, 1e-6)
    similarity = jnp.einsum("bic,bjc->bij", unit, unit)
    one, other = instances[:, :, None], instances[:, None, :]
    objects, background = (one > 0) & (other > 0), (one == 0) & (other == 0)
    wanted = jnp.where(
        objects, jnp.where(one == other, _SAME, _OTHER), jnp.where(background, _BACKGROUND, _MIXED)
    )
    weight = jnp.where(objects, _FOREGROUND_PAIR_WEIGHT, 1.0)
    return jnp.sum(weight * jnp.square(similarity - wanted)) / jnp.sum(weight)


def scene_loss(
    keys: Sequence[Float[Array, "images tokens channels"]],
    instances: Int[Array, "images tokens"],
    places: Float[Array, "images tokens 3"],
) -> Float[Array, ""]:
    """The objective, from the keys of every block, first to last.

    The first block's keys, which have seen no other token, are left alone.
    """
    loss = regression_loss(keys[-1], places, instances > 0)
    loss = loss + _LAST_STRUCTURE * structure_loss(keys[-1], instances)
    for inner in keys[1:-1]:
        loss = loss + _INNER_STRUCTURE * structure_loss(inner, instances)
    return loss


class SceneObjective:
    """`scene_loss` of a ViT, for `Trainer`; it remembers nothing."""

    def __init__(self, model: ViT):
        self._structure, self._parameters = nnx.split(model)

    def start(self) -> tuple[PyTree, PyTree]:
        """The model's parameters."""
        return self._parameters, ()

    def loss(
        self, parameters: PyTree, memory: PyTree, arrays: Sequence[Array], shape: Any
    ) -> tuple[Float[Array, ""], PyTree]:
        """The loss of a batch of `scene_batches.prepare`."""
        patches, instances, places = arrays
        model = nnx.merge(self._structure, parameters)
        blocks = jax.vmap(lambda one: model.every_block(one, shape, attention_chunk=1024))
        keys = [outputs.keys for outputs in blocks(patches)]
        return scene_loss(keys, instances, places), memory

    def remember(self, parameters: PyTree, memory: PyTree, progress: Array) -> PyTree:
        """Nothing."""
        return memory

    def backbone(self, parameters: PyTree, memory: PyTree) -> ViT:
        """The model."""
        return nnx.merge(self._structure, parameters)
