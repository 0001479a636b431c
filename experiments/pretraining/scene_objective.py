"""An objective for keys: similar within an object, less between objects, least to background.

The spectral method needs such features, and drawn scenes come with exact masks. The loss has two
parts. For the first, the keys of the last block are regressed to features of this kind, given
channel by channel:

    object      sqrt(1 - s) * sqrt(2) * cos(w . place + phase) - sqrt(s) * pattern
    background  pattern

with random w and phase, and a pattern of random signs. The cosines are random Fourier features: the
similarity of two objects falls with the distance of their places like a Gaussian. This holds in any
subset of the channels, so also in the subset that entropy and standard deviation select. `s` is the
share that all objects have in common, which is the opposite of the background.

The second part concerns only the cosine similarities of keys, in the last block and in the inner
blocks. With it the inner blocks learn to group tokens several times sooner than with the loss of
the last block alone.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from experiments.pretraining.training import Objective

# Distances at which places count as different, as fractions of the image: in x, y and size.
_SCALES = (0.18, 0.18, 0.25)
_SHARED = 0.4
_BACKGROUND_WEIGHT = 0.7
# Target cosine similarities, and the weight of a pair of foreground tokens (of others: 1).
_SAME, _OTHER, _MIXED, _BACKGROUND = 0.95, 0.1, -0.2, 0.8
_FOREGROUND_PAIR_WEIGHT = 2.0
# Weights of the structure loss of the last block and of an inner block; of the regression: 1.
_LAST_STRUCTURE, _INNER_STRUCTURE = 2.0, 1.0
# The targets are the same for all trainings, whatever their seed.
_TARGET_SEED = 0


def targets(
    places: Float[Array, "tokens 3"], foreground: Bool[Array, " tokens"], *, channels: int
) -> Float[Array, "tokens channels"]:
    """The target keys of tokens at these places."""
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
    instances: Int[Array, "images tokens"],
    trust: Float[Array, " images"],
) -> Float[Array, ""]:
    """The weighted mean squared error of the keys; about 1 if all keys are zero.

    Tokens of unknown objects, -1, do not count; those of known objects count `trust` times.
    """
    foreground = instances > 0
    target = jax.vmap(functools.partial(targets, channels=keys.shape[-1]))(places, foreground)
    error = jnp.mean(jnp.square(keys - target), axis=-1)
    background = jnp.where(instances == 0, _BACKGROUND_WEIGHT, 0.0)
    weight = jnp.where(foreground, trust[:, None], background)
    return jnp.sum(error * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def structure_loss(
    keys: Float[Array, "images tokens channels"],
    instances: Int[Array, "images tokens"],
    trust: Float[Array, " images"],
) -> Float[Array, ""]:
    """The weighted mean squared error of the cosine similarities of all pairs of an image.

    Pairs with a token of an unknown object, -1, do not count. A pair counts `trust` times for each
    of its tokens that is an object's.
    """
    unit = keys / jnp.maximum(jnp.linalg.norm(keys, axis=-1, keepdims=True), 1e-6)
    similarity = jnp.einsum("bic,bjc->bij", unit, unit)
    row, column = instances[:, :, None], instances[:, None, :]
    objects, background = (row > 0) & (column > 0), (row == 0) & (column == 0)
    target = jnp.where(
        objects,
        jnp.where(row == column, _SAME, _OTHER),
        jnp.where(background, _BACKGROUND, _MIXED),
    )
    token = jnp.where(instances > 0, trust[:, None], jnp.where(instances == 0, 1.0, 0.0))
    pair = token[:, :, None] * token[:, None, :]
    weight = jnp.where(objects, _FOREGROUND_PAIR_WEIGHT, 1.0) * pair
    return jnp.sum(weight * jnp.square(similarity - target)) / jnp.maximum(jnp.sum(weight), 1.0)


def scene_loss(
    keys: Sequence[Float[Array, "images tokens channels"]],
    instances: Int[Array, "images tokens"],
    places: Float[Array, "images tokens 3"],
    trust: Float[Array, " images"],
) -> Float[Array, ""]:
    """The objective, from the keys of all blocks, first to last.

    The keys of the first block do not count, as they do not depend on other tokens. `trust` is the
    weight of tokens of objects: 1 where objects are known exactly.
    """
    loss = regression_loss(keys[-1], places, instances, trust)
    loss = loss + _LAST_STRUCTURE * structure_loss(keys[-1], instances, trust)
    for inner in keys[1:-1]:
        loss = loss + _INNER_STRUCTURE * structure_loss(inner, instances, trust)
    return loss


class SceneObjective(Objective):
    """`scene_loss` of a ViT, for `Trainer`; it needs no memory."""

    def loss(
        self, parameters: PyTree, memory: PyTree, arrays: Sequence[Array], shape: Any
    ) -> tuple[Float[Array, ""], PyTree]:
        """The loss of a batch of `scene_batches.prepare`."""
        patches, instances, places = arrays
        model = self.network(parameters)
        blocks = jax.vmap(lambda image: model.every_block(image, shape, attention_chunk=1024))
        keys = [outputs.keys for outputs in blocks(patches)]
        return scene_loss(keys, instances, places, jnp.ones(len(patches))), memory
