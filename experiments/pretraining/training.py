"""One training step, sharded over the devices, and the state that a resumed run goes on from."""

import functools
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from experiments.pretraining.streams import Batch
from specjax import SpecjaxError, ViT
from specjax._folder import write_atomically

_WARMUP = 0.03
_WEIGHT_DECAY = 0.03


class Objective(Protocol):
    """What is learnt. `memory` is what a step carries to the next beside the parameters."""

    def start(self) -> tuple[PyTree, PyTree]:
        """First parameters and memory."""

    def loss(
        self, parameters: PyTree, memory: PyTree, arrays: Sequence[Array], shape: Any
    ) -> tuple[Float[Array, ""], PyTree]:
        """The loss, and the memory after the step."""

    def remember(self, parameters: PyTree, memory: PyTree, progress: Float[Array, ""]) -> PyTree:
        """The memory once the parameters have changed, at this share of the training."""

    def backbone(self, parameters: PyTree, memory: PyTree) -> ViT:
        """The backbone that is the result."""


class Trainer:
    """AdamW with warm-up and cosine decay on an objective; a step is one jitted function."""

    def __init__(self, objective: Objective, *, steps: int, learning_rate: float):
        self._objective, self._steps = objective, steps
        schedule = optax.warmup_cosine_decay_schedule(
            learning_rate * 0.02, learning_rate, int(_WARMUP * steps) + 1, steps + 1
        )
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, b2=0.99, weight_decay=_WEIGHT_DECAY),
        )
        automatic = (jax.sharding.AxisType.Auto,)
        mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=automatic)
        self._whole = NamedSharding(mesh, PartitionSpec())
        self._split = NamedSharding(mesh, PartitionSpec("data"))
        parameters, memory = objective.start()
        self._begin((parameters, self._optimizer.init(parameters), memory), 0)

    def _begin(self, state: tuple[PyTree, PyTree, PyTree], done: int) -> None:
        # Placed as a step leaves it, so that the step is compiled once.
        self._state, self._done = jax.device_put(state, self._whole), done

    def model(self) -> ViT:
        """The backbone as it is now."""
        parameters, _, memory = self._state
        return self._objective.backbone(parameters, memory)

    def step(self, batch: Batch) -> float:
        """Learn from a batch, split over the devices; returns its loss before the step.

        Images that do not divide evenly stay on one device: slower, the same result.
        """
        even = all(len(array) % self._split.mesh.size == 0 for array in batch.arrays)
        arrays = jax.device_put(batch.arrays, self._split if even else self._whole)
        self._done += 1
        progress = jnp.float32(self._done / self._steps)
        self._state, loss = self._update(self._state, arrays, progress, shape=batch.shape)
        return float(loss)

    @functools.cached_property
    def _update(self) -> Callable:
        objective, optimizer = self._objective, self._optimizer

        @functools.partial(
            jax.jit, static_argnames=("shape",), donate_argnums=0, out_shardings=self._whole
        )
        def update(state, arrays, progress, *, shape):
            parameters, moments, memory = state
            (loss, memory), gradient = jax.value_and_grad(objective.loss, has_aux=True)(
                parameters, memory, arrays, shape
            )
            change, moments = optimizer.update(gradient, moments, parameters)
            parameters = optax.apply_updates(parameters, change)
            memory = objective.remember(parameters, memory, progress)
            return (parameters, moments, memory), loss

        return update

    def save(self, path: pathlib.Path) -> None:
        """Write the state, atomically, as plain arrays."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((self._state, self._done))]
        write_atomically(path, lambda stream: np.savez(stream, *leaves))

    def restore(self, path: pathlib.Path) -> int:
        """Go on from a saved state; returns its step.

        Raises:
            SpecjaxError: it is damaged, or the state of another model.
        """
        leaves, structure = jax.tree.flatten((self._state, self._done))
        try:
            # Opened here: numpy leaves a file open that is no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                stored = [content[f"arr_{number}"] for number in range(len(leaves))]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SpecjaxError(f"{path}: not a training state ({error}); use --overwrite") from None
        if [leaf.shape for leaf in stored] != [np.shape(leaf) for leaf in leaves]:
            raise SpecjaxError(f"{path} is the state of another model; use --overwrite")
        state, done = jax.tree.unflatten(structure, stored)
        self._begin(state, int(done))
        return self._done
