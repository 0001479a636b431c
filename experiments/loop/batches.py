"""Batches of images of about one size, spread over the devices of this process."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from specjax._batching import image_mesh, over_images, shared_out, slots_of
from specjax._memory import memory_maps

# Slots per device: an accelerator works best on many images at once, a CPU on one after another.
_SLOTS_ON_CPU, _SLOTS_ON_ACCELERATORS = 4, 16
# Fewer of large images: this many tokens in all on a device and, where it works on all at once,
# this many bytes in their graphs.
_TOKENS, _GRAPH_BYTES = 2**16, 2**32
# Floats per pair of tokens that a program needs at most for one graph, and for each one more.
_FIRST_GRAPH, _NEXT_GRAPH = 6, 2
# Memory maps from which on compiled programs are forgotten, and how many more until they are again.
_MANY_MAPS, _MORE_MAPS = 30_000, 20_000


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How the images of a batch are spread.

    Attributes:
        mesh: this process's devices.
        slots: images on each device at a time.
        vectorize: whether a device works on its images at once or one after the other.
        programs: what was run, so that programs do not become too many.
    """

    mesh: Mesh
    slots: int
    vectorize: bool
    programs: "Programs" = dataclasses.field(default_factory=lambda: Programs())

    def slots_for(self, tokens: int) -> int:
        """Slots per device for images of so many tokens."""
        slots = min(self.slots, _TOKENS // tokens)
        if self.vectorize:
            slots = min(slots, _GRAPH_BYTES // (4 * _FIRST_GRAPH * tokens**2))
        return max(1, slots)

    def graphs_for(self, tokens: int) -> int:
        """Graphs that are solved together for each image of so many tokens."""
        at_once = self.slots_for(tokens) if self.vectorize else 1
        more = _GRAPH_BYTES // (4 * at_once * tokens**2) - _FIRST_GRAPH
        return max(1, 1 + more // _NEXT_GRAPH)

    @property
    def most(self) -> int:
        """Images that the largest batch takes."""
        return self.mesh.size * self.slots

    def room_for(self, tokens: int) -> int:
        """Images of so many tokens that a batch takes."""
        return self.mesh.size * self.slots_for(tokens)


def open_lanes(batch_size: int | None = None) -> Lanes:
    """All devices of this process; `batch_size` images on each, or as many as suit them."""
    devices = jax.local_devices()
    cpu = devices[0].platform == "cpu"
    slots = batch_size or (_SLOTS_ON_CPU if cpu else _SLOTS_ON_ACCELERATORS)
    return Lanes(image_mesh(devices), slots, vectorize=not cpu)


class Batch:
    """Images padded to one length, and what is computed of them.

    Args:
        lanes: where they go.
        images: how many.
        tokens: the length.

    Attributes:
        slots: of one device.
        graphs: that are solved together for each image.
    """

    def __init__(self, lanes: Lanes, images: int, tokens: int):
        self._lanes = lanes
        self.slots = lanes.slots_for(tokens)
        self.graphs = lanes.graphs_for(tokens)
        if lanes.vectorize:
            # Empty slots cost as much as others there, and each number of slots a program.
            needed = -(-images // lanes.mesh.size)
            self.slots = min(self.slots, 1 << (needed - 1).bit_length())
        self.rows, counts = slots_of(images, devices=lanes.mesh.size, slots=self.slots)
        self._counts = shared_out(lanes.mesh, counts)

    @property
    def mesh(self) -> Mesh:
        """The devices."""
        return self._lanes.mesh

    @property
    def vectorized(self) -> bool:
        """Whether the images of a device are in work at once."""
        return self._lanes.vectorize

    def stack(self, arrays: Sequence[Any]) -> jax.Array:
        """One array per image as one batched array on the devices; empty slots are zero."""
        arrays = [np.asarray(array) for array in arrays]
        size = self._lanes.mesh.size * self.slots
        stacked = np.zeros((size, *arrays[0].shape), arrays[0].dtype)
        stacked[self.rows] = arrays
        return shared_out(self._lanes.mesh, stacked)

    def run(
        self, function: Callable[..., Any], *batched: Any, shared: tuple = (), **static: Any
    ) -> Any:
        """`function(*shared, *one image's arrays, **static)` of every image, compiled once."""
        options = tuple(sorted(static.items()))
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(batched))
        self._lanes.programs.make_room_for((function, options, shapes))
        lifted = _lifted(
            function, self._lanes.mesh, self._lanes.vectorize, len(shared), options
        )
        return lifted(self._counts, *shared, *batched)

    def fetch(self, batched: Any) -> list[Any]:
        """A batched result on the host, image by image."""
        on_host = jax.device_get(batched)
        return [jax.tree.map(lambda leaf, row=row: leaf[row], on_host) for row in self.rows]


class Programs:
    """Forgets compiled programs where they become too many for a process.

    On a CPU a program takes some two hundred memory maps, of which Linux gives a process 65,530: it
    crashes beyond. What is forgotten comes back from the cache on disk.
    """

    def __init__(self):
        self._known: set[Any] = set()
        self._many = _MANY_MAPS

    def make_room_for(self, program: Any) -> None:
        """To be told of every program before it runs, by anything that names it."""
        if program in self._known:
            return
        if memory_maps() > self._many:
            jax.clear_caches()
            self._known.clear()
            self._many = max(_MANY_MAPS, memory_maps() + _MORE_MAPS)
        self._known.add(program)


@functools.cache
def _lifted(function, mesh, vectorize, shared, static):
    return over_images(
        functools.partial(function, **dict(static)), mesh=mesh, vectorize=vectorize, shared=shared
    )
