"""One training step, sharded over the devices, and the state that a resumed run goes on from."""

import functools
import io
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.harness.files import write_atomically
from experiments.pretraining.batches import Batch
from experiments.pretraining.objective import scene_loss
from specjax.errors import UserError
from specjax.models.vit import ViT, ViTConfig

_WARMUP = 0.03
_WEIGHT_DECAY = 0.03


class State(NamedTuple):
    """Everything that a step changes."""

    parameters: nnx.State
    moments: optax.OptState


class Trainer:
    """AdamW with warm-up and cosine decay on `scene_loss`; a step is one jitted function."""

    def __init__(self, config: ViTConfig, *, steps: int, learning_rate: float, seed: int):
        model = ViT(config, rngs=nnx.Rngs(seed))
        self._structure, parameters = nnx.split(model)
        schedule = optax.warmup_cosine_decay_schedule(
            learning_rate * 0.02, learning_rate, int(_WARMUP * steps) + 1, steps + 1
        )
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b2=0.99, weight_decay=_WEIGHT_DECAY),
        )
        automatic = (jax.sharding.AxisType.Auto,)
        self._mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=automatic)
        self.state = State(parameters, self._optimizer.init(parameters))

    def model(self) -> ViT:
        """The model as it is now."""
        return nnx.merge(self._structure, self.state.parameters)

    def step(self, batch: Batch) -> float:
        """Learn from a batch, split over the devices; returns its loss before the step.

        Images that do not divide evenly stay on one device: slower, the same result.
        """
        even = batch.patches.shape[0] % self._mesh.size == 0
        spec = jax.sharding.PartitionSpec("data") if even else jax.sharding.PartitionSpec()
        place = jax.sharding.NamedSharding(self._mesh, spec)
        arrays = [jax.device_put(array, place) for array in batch[:3]]
        self.state, loss = self._update(self.state, *arrays, grid=batch.grid)
        return float(loss)

    @functools.cached_property
    def _update(self) -> Callable:
        @functools.partial(jax.jit, static_argnames=("grid",), donate_argnums=0)
        def update(state, patches, instances, places, *, grid):
            def loss_of(parameters):
                model = nnx.merge(self._structure, parameters)
                blocks = jax.vmap(lambda one: model.every_block(one, grid, attention_chunk=1024))
                keys = [outputs.keys for outputs in blocks(patches)]
                return scene_loss(keys, instances, places)

            loss, gradient = jax.value_and_grad(loss_of)(state.parameters)
            change, moments = self._optimizer.update(gradient, state.moments, state.parameters)
            return State(optax.apply_updates(state.parameters, change), moments), loss

        return update

    def save(self, path: pathlib.Path, step: int) -> None:
        """Write the state after so many steps, atomically, as plain arrays."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(self.state)]
        content = io.BytesIO()
        np.savez(content, step=step, **{f"leaf_{i}": leaf for i, leaf in enumerate(leaves)})
        write_atomically(path, lambda stream: stream.write(content.getbuffer()))

    def restore(self, path: pathlib.Path) -> int:
        """Go on from a saved state; returns its step."""
        leaves, structure = jax.tree.flatten(self.state)
        try:
            with np.load(path, allow_pickle=False) as content:
                stored = [content[f"leaf_{i}"] for i in range(len(leaves))]
                step = int(content["step"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: not a training state ({error}); use --overwrite") from None
        if [leaf.shape for leaf in stored] != [leaf.shape for leaf in leaves]:
            raise UserError(f"{path} is the state of another model; use --overwrite")
        self.state = jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in stored])
        return step
