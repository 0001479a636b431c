"""An objective for small backbones: a teacher's features, and objects of photographs and scenes.

The teacher is any backbone that the project loads. On photographs, the student's keys, queries,
values and outputs are regressed to the teacher's through linear projections, which are thrown away
after the training; and the cosine similarities of all pairs of its output tokens are regressed to
those of the teacher's. The keys are those of the block before the last, as the last block's have
targets of their own: on all images, what is known of their objects adds the loss of drawn scenes
(`scene_objective`).
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from experiments.pretraining.scene_objective import scene_loss
from experiments.pretraining.training import Objective
from specjax import ViT

# What is distilled, and its weight.
KINDS = {"keys": 0.5, "queries": 0.25, "values": 0.5, "outputs": 1.0}
_SIMILARITY_WEIGHT = 2.0
# Standard deviations at which a teacher's value is clipped.
_LARGEST = 5.0


class DistillObjective(Objective):
    """`scene_loss` and `distillation_loss` of a ViT and its projections, for `Trainer`."""

    def __init__(
        self,
        model: ViT,
        *,
        teacher_channels: int,
        weight: float = 1.0,
        seed: int,
        dtype: str = "float32",
    ):
        super().__init__(_Network(model, teacher_channels, rngs=nnx.Rngs(seed)))
        self._weight, self._dtype = weight, dtype

    def loss(
        self, parameters: PyTree, memory: PyTree, arrays: Sequence[Array], shape: Any
    ) -> tuple[Float[Array, ""], PyTree]:
        """The loss of a batch of `composed_batches`, whose first images have the teacher's."""
        patches, instances, places, trust, *of_teacher = arrays
        network = self.network(parameters)

        def blocks(image):
            return network.backbone.every_block(
                image, shape, attention_chunk=4096, dtype=self._dtype
            )

        found = jax.vmap(blocks)(patches)
        loss = scene_loss([block.keys for block in found], instances, places, trust)
        if not of_teacher:
            return loss, memory
        count = len(of_teacher[0])
        of_student = {
            "keys": found[-2].keys[:count],
            "queries": found[-1].queries[:count],
            "values": found[-1].values[:count],
            "outputs": found[-1].outputs[:count],
        }
        for (kind, weight), target in zip(KINDS.items(), of_teacher, strict=True):
            projected = getattr(network, kind)(of_student[kind])
            loss = loss + self._weight * weight * distillation_loss(projected, target)
        similarity = similarity_loss(of_student["outputs"], of_teacher[-1])
        return loss + self._weight * _SIMILARITY_WEIGHT * similarity, memory

    def backbone(self, parameters: PyTree, memory: PyTree) -> ViT:
        """The student, without the projections."""
        return self.network(parameters).backbone


def distillation_loss(
    student: Float[Array, "images tokens channels"],
    teacher: Float[Array, "images tokens channels"],
) -> Float[Array, ""]:
    """The mean squared error from the teacher's features, each channel of the batch standardised.

    1 if the student gives zeros, apart from what is clipped at 5 standard deviations.
    """
    mean = jnp.mean(teacher, axis=(0, 1))[None, None, :]
    deviation = jnp.std(teacher, axis=(0, 1))[None, None, :]
    target = (teacher - mean) / jnp.maximum(deviation, 1e-6)
    return jnp.mean(jnp.square(student - jnp.clip(target, -_LARGEST, _LARGEST)))


def similarity_loss(
    student: Float[Array, "images tokens channels"],
    teacher: Float[Array, "images tokens teacher_channels"],
) -> Float[Array, ""]:
    """The mean squared difference of the cosines of all pairs, the image's mean removed."""

    def cosines(features):
        features = features - jnp.mean(features, axis=1, keepdims=True)
        length = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True) + 1e-12)
        unit = features / length
        return jnp.einsum("bic,bjc->bij", unit, unit)

    return jnp.mean(jnp.square(cosines(student) - cosines(teacher)))


class _Network(nnx.Module):
    """A ViT, and a linear projection to the teacher's channels for each kind of features."""

    def __init__(self, model: ViT, teacher_channels: int, *, rngs: nnx.Rngs):
        self.backbone = model
        for kind in KINDS:
            layer = nnx.Linear(model.config.hidden_size, teacher_channels, rngs=rngs)
            setattr(self, kind, layer)
