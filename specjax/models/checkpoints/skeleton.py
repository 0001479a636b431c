"""A ViT's parameters as a flat dictionary: their shapes, and a model filled with them."""

import copy
import dataclasses
import functools
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx

from specjax.models.config import ViTConfig
from specjax.models.vit import ViT


def leaf_shapes(config: ViTConfig) -> dict[str, tuple[int, ...]]:
    """Every parameter of a ViT by its dotted path, with its shape; nothing is allocated."""
    leaves = nnx.to_flat_state(nnx.state(_skeleton(config)))
    return {".".join(map(str, path)): tuple(leaf.shape) for path, leaf in leaves}


def fill(config: ViTConfig, parameters: Mapping[str, np.ndarray]) -> ViT:
    """A ViT with these parameters, by dotted path; every one must be there."""
    structure, state = nnx.split(_skeleton(config))
    # Not by `jnp.asarray`, which compiles a program for each shape.
    filled = [
        (path, leaf.replace(jax.device_put(parameters[".".join(map(str, path))])))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(structure, nnx.from_flat_state(filled))


@functools.lru_cache(maxsize=4)
def _skeleton(config: ViTConfig) -> ViT:
    # All blocks have one structure; tracing the initialisers of 12 takes over a second.
    single = dataclasses.replace(config, num_layers=1)
    model = nnx.eval_shape(lambda: ViT(single, rngs=nnx.Rngs(0)))
    model.blocks = nnx.List([copy.deepcopy(model.blocks[0]) for _ in range(config.num_layers)])
    model.config = config
    return model
