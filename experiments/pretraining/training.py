"""Training steps, sharded over the devices: the objective, the batches and the state."""

import collections
import itertools
import pathlib
import zipfile
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, PyTree

from specjax import SpecjaxError, ViT
from specjax._folder import write_atomically

# Mean and standard deviation with which the images of a model are normalised.
Colours = tuple[tuple[float, float, float], tuple[float, float, float]]

_WARMUP, _WEIGHT_DECAY = 0.03, 0.03


class Batch(NamedTuple):
    """Arrays over images, and a static `shape` for the loss, which is compiled for each."""

    arrays: tuple[np.ndarray, ...]
    shape: Any


def made_ahead(
    pool: Executor, submit: Callable[[int], list[Future]], start: int, *, ahead: int
) -> Generator[list[Any], None, None]:
    """The results of `submit(start)`, `submit(start + 1)` and so on, `ahead` of them in advance.

    The pool is shut down when the generator is closed.
    """
    try:
        waiting = collections.deque(submit(start + number) for number in range(ahead))
        for number in itertools.count(start + ahead):
            found = [future.result() for future in waiting.popleft()]
            waiting.append(submit(number))
            yield found
    finally:
        pool.shutdown(cancel_futures=True)


class Objective:
    """What a network learns. `memory` passes from step to step besides the parameters."""

    def __init__(self, network: nnx.Module):
        self._structure, self._parameters = nnx.split(network)

    def network(self, parameters: PyTree) -> Any:
        """The network with these parameters."""
        return nnx.merge(self._structure, parameters)

    def start(self) -> tuple[PyTree, PyTree]:
        """The initial parameters and memory."""
        return self._parameters, ()

    def loss(
        self, parameters: PyTree, memory: PyTree, arrays: Sequence[Array], shape: Any
    ) -> tuple[Float[Array, ""], PyTree]:
        """The loss of a `Batch`, and the memory after the step."""
        raise NotImplementedError

    def remember(self, parameters: PyTree, memory: PyTree, progress: Float[Array, ""]) -> PyTree:
        """The memory after an update of the parameters; `progress` goes from 0 to 1."""
        return memory

    def backbone(self, parameters: PyTree, memory: PyTree) -> ViT:
        """The backbone, which is the result of the training."""
        return self.network(parameters)


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
        self._jitted = jax.jit(
            self._update, static_argnames=("shape",), donate_argnums=0, out_shardings=self._whole
        )
        self._loss = jax.jit(objective.loss, static_argnames=("shape",))
        parameters, memory = objective.start()
        self._begin((parameters, self._optimizer.init(parameters), memory), 0)

    def _begin(self, state: tuple[PyTree, optax.OptState, PyTree], done: int) -> None:
        # With the sharding that a step returns, so that the step is compiled once.
        self._state, self._done = jax.device_put(state, self._whole), done

    def model(self) -> ViT:
        """The current backbone."""
        parameters, _, memory = self._state
        return self._objective.backbone(parameters, memory)

    def step(self, batch: Batch) -> Float[Array, ""]:
        """Learn from a batch, split over the devices; returns its loss before the step.

        It does not wait for the devices.

        If the images do not divide evenly, every device gets all of them, with the same result.
        """
        even = all(len(array) % self._split.mesh.size == 0 for array in batch.arrays)
        arrays = jax.device_put(batch.arrays, self._split if even else self._whole)
        progress = jnp.float32((self._done + 1) / self._steps)
        self._state, loss = self._jitted(self._state, arrays, progress, shape=batch.shape)
        self._done += 1
        return loss

    def loss(self, batch: Batch) -> Float[Array, ""]:
        """The loss of a batch, from which nothing is learned."""
        parameters, _, memory = self._state
        return self._loss(parameters, memory, batch.arrays, shape=batch.shape)[0]

    def _update(self, state, arrays, progress, *, shape):
        parameters, moments, memory = state
        slope = jax.value_and_grad(self._objective.loss, has_aux=True)
        (loss, memory), gradient = slope(parameters, memory, arrays, shape)
        change, moments = self._optimizer.update(gradient, moments, parameters)
        parameters = optax.apply_updates(parameters, change)
        memory = self._objective.remember(parameters, memory, progress)
        return (parameters, moments, memory), loss

    def save(self, path: pathlib.Path) -> None:
        """Write the state, atomically, as plain arrays."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((self._state, self._done))]
        write_atomically(path, lambda stream: np.savez(stream, *leaves))

    def restore(self, path: pathlib.Path) -> int:
        """Continue from a saved state, and return its step; SpecjaxError if it does not fit."""
        leaves, structure = jax.tree.flatten((self._state, self._done))
        try:
            # Opened here, as numpy does not close a file that is not an archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                stored = [content[f"arr_{number}"] for number in range(len(leaves))]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise SpecjaxError(f"{path}: not a training state ({error}); use --overwrite") from None
        if [leaf.shape for leaf in stored] != [np.shape(leaf) for leaf in leaves]:
            raise SpecjaxError(f"{path} is the state of another model; use --overwrite")
        state, done = jax.tree.unflatten(structure, stored)
        self._begin(state, int(done))
        return self._done
