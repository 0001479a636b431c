"""Training batches of composed images, with a teacher's features of the photographs among them.

They depend only on the bank, the seed and the step, so that a resumed training sees the same as an
uninterrupted one. Everything is computed on the device.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.pretraining.bank import Bank
from experiments.pretraining.composing import COMPOSING, compose, token_objects
from experiments.pretraining.distill_objective import KINDS
from experiments.pretraining.recolouring import RECOLOURING, recolour
from experiments.pretraining.training import Batch, Colours
from specjax import Checkpoint

# Height and width of the images of successive batches in tokens, and the number of images as a
# share of the batch size: about as many tokens in each.
SHAPES = (((16, 22), 1.0), ((24, 32), 0.5), ((32, 24), 0.5))
# The share of images that are photographs.
_PHOTOGRAPHS = 0.625
# How much a token of an object counts on photographs; on drawn scenes: 1. What a teacher finds is
# an object less often than the rest is background.
_TRUST = 0.4


@dataclasses.dataclass(frozen=True, eq=False)
class ComposedBatches:
    """The stream; the first `photographs` of the bank's images are photographs.

    Without a `teacher`, batches have no features.
    """

    bank: Bank
    photographs: int
    teacher: Checkpoint | None
    seed: int
    patch_size: int
    colours: Colours
    batch_size: int
    dtype: str = "float32"

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Batches from step `start` on; their `shape` is the token grid.

        Their arrays: normalised patches [images, tokens, values]; the object of each token and its
        place (`composing.token_objects`); the weight of objects [images]; and of the photographs,
        which come first, the teacher's features of each of `KINDS`.
        """
        bank = jax.tree.map(jnp.asarray, self.bank)
        features = None if self.teacher is None else _features_of(self.teacher, self.dtype)
        key = jax.random.key(self.seed, impl="threefry2x32")
        for step in itertools.count(start):
            grid, share = SHAPES[step % len(SHAPES)]
            images = max(round(self.batch_size * share), 2)
            size = tuple(side * self.patch_size for side in grid)
            drawn = jax.random.fold_in(key, step)
            chances, noise = _chances(drawn, images=images, size=size)
            numbers, photographs = self._numbers(images, chances[:, 0])
            composed = _composed(bank, numbers, chances[:, 1 : 1 + COMPOSING], size=size)
            # Drawn scenes are changed more: only their colours tell them from others.
            scene = np.arange(images) >= photographs
            changed = _recoloured(composed.image, chances[:, 1 + COMPOSING :], noise, scene)
            arrays = _cut(
                changed, composed.labels, patch_size=self.patch_size, colours=self.colours
            )
            arrays += (np.where(scene, 1.0, _TRUST).astype(np.float32),)
            if features is not None:
                arrays += features(composed.image[:photographs], grid=grid)
            yield Batch(arrays, grid)

    def _numbers(self, images: int, chances):
        """Which images of the bank to take, and how many of them, the first, are photographs."""
        scenes = len(self.bank.images) - self.photographs
        count = max(round(_PHOTOGRAPHS * images), 1) if scenes else images
        photograph = np.arange(images) < count
        groups = np.where(photograph, self.photographs, scenes).astype(np.float32)
        first = np.where(photograph, 0, self.photographs).astype(np.int32)
        return (chances * groups).astype(jnp.int32) + first, count


# Functions of their own: in one program, XLA would compute a stage again for each of its pixels
# that the next stage uses.
@functools.partial(jax.jit, static_argnames=("images", "size"))
def _chances(key, *, images, size):
    keys = jax.random.split(key)
    noise = jax.random.normal(keys[1], (images, *size, 3))
    return jax.random.uniform(keys[0], (images, 1 + COMPOSING + RECOLOURING)), noise


@functools.partial(jax.jit, static_argnames=("size",))
def _composed(bank, numbers, chances, *, size):
    return jax.vmap(lambda *image: compose(bank, *image, size=size))(numbers, chances)


_recoloured = jax.jit(jax.vmap(recolour))


@functools.partial(jax.jit, static_argnames=("patch_size", "colours"))
def _cut(images, labels, *, patch_size, colours):
    objects = jax.vmap(functools.partial(token_objects, patch_size=patch_size))
    return _patches(images, patch_size, colours), *objects(labels)


def _features_of(teacher: Checkpoint, dtype: str):
    """A function from images to the teacher's features of each of `KINDS`, on a token grid."""
    structure, parameters = nnx.split(teacher.model)
    side, colours = teacher.config.patch_size, (teacher.mean, teacher.std)

    @functools.partial(jax.jit, static_argnames=("grid",))
    def features(parameters, images, *, grid):
        # Resized, so that its tokens are the student's.
        shape = (len(images), grid[0] * side, grid[1] * side, 3)
        patches = _patches(jax.image.resize(images, shape, "linear"), side, colours)
        model = nnx.merge(structure, parameters)

        def of_image(image):
            block = model(image, grid, attention_chunk=4096, dtype=dtype)
            return tuple(getattr(block, kind) for kind in KINDS)

        return jax.vmap(of_image)(patches)

    return functools.partial(features, parameters)


def _patches(images, side: int, colours: Colours):
    """Images [images, H, W, 3] normalised and cut: [images, tokens, side * side * 3]."""
    mean, std = (jnp.array(values)[None, None, None, :] for values in colours)
    count, height, width, _ = images.shape
    blocks = ((images - mean) / std).reshape(count, height // side, side, width // side, side, 3)
    return jnp.moveaxis(blocks, 3, 2).reshape(count, -1, side * side * 3)
