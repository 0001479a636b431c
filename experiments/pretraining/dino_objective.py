"""Self-distillation without labels: DINO (Caron et al. 2021, arXiv 2104.14294).

A student sees all crops of an image, large and small. A teacher, the moving average of the student,
sees the large ones. For each pair of different crops, the student's distribution over prototypes is
trained towards the teacher's (Eq. 1-3 there). The teacher's distribution is centred, which prevents
a collapse to one prototype, and sharpened, which prevents a collapse to the uniform distribution.
The result of the training is the teacher.

The constants are those of DINO for ViT-S. Unlike DINO, the last layer is not frozen in the first
epoch.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from experiments.pretraining.training import Objective
from specjax import ViT

_STUDENT_TEMPERATURE, _TEACHER_TEMPERATURE = 0.1, 0.04
_CENTRE_MOMENTUM = 0.9
_FIRST_MOMENTUM = 0.996
_HIDDEN, _BOTTLENECK = 2048, 256


# Token grids (rows, columns) of the large and of the small crops.
CropShapes = tuple[tuple[int, int], tuple[int, int]]


class Memory(NamedTuple):
    """The teacher's parameters, and the centre of its outputs."""

    teacher: PyTree
    centre: Float[Array, " prototypes"]


class DinoObjective(Objective):
    """`distillation_loss` of a ViT and a projection head, for `Trainer`."""

    def __init__(self, model: ViT, *, prototypes: int, seed: int):
        super().__init__(_Network(model, prototypes, rngs=nnx.Rngs(seed)))
        self._prototypes = prototypes

    def start(self) -> tuple[PyTree, Memory]:
        """The student's parameters; a teacher equal to it, and a centre of zero."""
        parameters, _ = super().start()
        teacher = jax.tree.map(jnp.copy, parameters)
        return parameters, Memory(teacher, jnp.zeros(self._prototypes))

    def loss(
        self, parameters: PyTree, memory: Memory, arrays: Sequence[Array], shape: CropShapes
    ) -> tuple[Float[Array, ""], Memory]:
        """The loss of a batch of crops [images, crops, tokens, values], large and small."""
        (large, small), (large_grid, small_grid) = arrays, shape
        student, teacher = self.network(parameters), self.network(memory.teacher)
        target = jax.lax.stop_gradient(teacher(large, large_grid))
        outputs = student(large, large_grid)
        if small.shape[1]:
            outputs = jnp.concatenate([outputs, student(small, small_grid)], axis=1)
        loss = distillation_loss(outputs, target, memory.centre)
        mean = jnp.mean(target, axis=(0, 1))
        centre = _CENTRE_MOMENTUM * memory.centre + (1 - _CENTRE_MOMENTUM) * mean
        return loss, Memory(memory.teacher, centre)

    def remember(self, parameters: PyTree, memory: Memory, progress: Float[Array, ""]) -> Memory:
        """Move the teacher towards the student; its momentum rises from 0.996 to 1, as a cosine."""
        step = (1 - _FIRST_MOMENTUM) * (jnp.cos(math.pi * progress) + 1) / 2
        averages = jax.tree.map(lambda a, b: a + step * (b - a), memory.teacher, parameters)
        return Memory(averages, memory.centre)

    def backbone(self, parameters: PyTree, memory: Memory) -> ViT:
        """The teacher's ViT."""
        return self.network(memory.teacher).backbone


def distillation_loss(
    student: Float[Array, "images crops prototypes"],
    teacher: Float[Array, "images large prototypes"],
    centre: Float[Array, " prototypes"],
) -> Float[Array, ""]:
    """The mean cross-entropy between the teacher's output for a crop and the student's for another.

    The student's first crops are the teacher's; a crop is not compared with itself.
    """
    target = jax.nn.softmax((teacher - centre[None, None, :]) / _TEACHER_TEMPERATURE, axis=-1)
    log_student = jax.nn.log_softmax(student / _STUDENT_TEMPERATURE, axis=-1)
    pairs = -jnp.einsum("itp,isp->its", target, log_student)
    large, crops = pairs.shape[1:]
    different = jnp.arange(large)[:, None] != jnp.arange(crops)[None, :]
    pairs = jnp.where(different[None, :, :], pairs, 0.0)
    return jnp.sum(pairs) / (student.shape[0] * (large * crops - large))


class _Network(nnx.Module):
    """A ViT whose class token is projected onto prototypes of unit length."""

    def __init__(self, model: ViT, prototypes: int, *, rngs: nnx.Rngs):
        self.backbone = model
        widths = (model.config.hidden_size, _HIDDEN, _HIDDEN, _BOTTLENECK)
        small = nnx.initializers.truncated_normal(0.02)
        self.layers = nnx.List(
            nnx.Linear(inputs, outputs, kernel_init=small, rngs=rngs)
            for inputs, outputs in itertools.pairwise(widths)
        )
        normal = nnx.initializers.normal(1.0)
        self.prototypes = nnx.Param(normal(rngs.params(), (_BOTTLENECK, prototypes), jnp.float32))

    def __call__(
        self, crops: Float[Array, "images crops tokens values"], grid: tuple[int, int]
    ) -> Float[Array, "images crops prototypes"]:
        def class_token(patches):
            return self.backbone(patches, grid, attention_chunk=1024).cls

        hidden = jax.vmap(jax.vmap(class_token))(crops)
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden if number == 0 else jax.nn.gelu(hidden, approximate=False))
        return _unit(hidden, axis=-1) @ _unit(self.prototypes[...], axis=0)


def _unit(x: Array, *, axis: int) -> Array:
    return x / jnp.maximum(jnp.linalg.norm(x, axis=axis, keepdims=True), 1e-12)
