"""From one image to many: a function of one image's arrays, lifted to batches and to devices.

A batch is arrays with a leading axis of slots, some of them empty. Slots are shared out over
devices in equal blocks; within a device they are worked off one after the other, or all at once.
Images never meet: a result depends on its image and on the padding that the caller chose for it,
not on the batch, its order, or the number of devices.

`over_images` lifts a function. `Lanes` and `Batch` choose how many images go together, put their
arrays on the devices and fetch results.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from specjax._memory import memory_maps
from specjax.errors import SpecjaxError

_AXIS = "images"
# Slots per device: an accelerator works best on many images at once, a CPU on one after another.
_SLOTS_ON_CPU, _SLOTS_ON_ACCELERATORS = 4, 16
# Large images have fewer: a device has at most this many tokens in all and, where it works on all
# its images at once, this many bytes in their graphs.
_TOKENS, _GRAPH_BYTES = 2**16, 2**32
# Floats per pair of tokens that a program needs at most for one graph, and for each one more.
_FIRST_GRAPH, _NEXT_GRAPH = 6, 2
# Memory maps from which on compiled programs are forgotten, and how many more until they are again.
_MANY_MAPS, _MORE_MAPS = 30_000, 20_000


def image_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of these devices, this process's own by default, along one axis of images."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (_AXIS,))


def over_images(
    function: Callable[..., PyTree], *, mesh: Mesh, vectorize: bool = False, shared: int = 0
) -> Callable[..., PyTree]:
    """Lift a function of one image to a batch of slots spread over a mesh (`image_mesh`).

    Args:
        function: of `shared` leading arguments and one image's arrays, to arrays.
        mesh: the devices.
        vectorize: `jax.vmap` the slots of a device, empty ones included, as suits accelerators.
            Otherwise they are looped over, which skips empty slots, needs the memory of one
            image, and gives each image bit for bit the same whatever is beside it.
        shared: how many leading arguments belong to all images, such as a model.

    Returns:
        A jitted `lifted(counts, *shared, *batched)`: `counts` int32 [devices] says how many slots
        of each device's block are taken, from its first on; every array of `batched` has
        `devices * slots` rows. So have the results, whose rows of empty slots mean nothing.
    """
    whole, split = PartitionSpec(), PartitionSpec(_AXIS)

    def on_one_device(counts, common, batched):
        def one(*arrays):
            return function(*common, *arrays)

        if vectorize:
            return jax.vmap(one)(*batched)
        return _loop(one, counts[0], batched)

    @jax.jit
    def lifted(counts: Int[Array, " devices"], *arguments):
        common, batched = arguments[:shared], arguments[shared:]
        rows = {leaf.shape[0] for leaf in jax.tree.leaves(batched)}
        if len(rows) != 1 or min(rows) % mesh.size:
            raise SpecjaxError(
                f"batched arrays of {sorted(rows)} rows do not share out over {mesh.size} devices"
            )
        mapped = jax.shard_map(
            on_one_device,
            mesh=mesh,
            in_specs=(split, whole, split),
            out_specs=split,
            check_vma=False,
        )
        return mapped(counts, common, batched)

    return lifted


def shared_out(mesh: Mesh, array: np.ndarray) -> jax.Array:
    """Put a batched array on the devices of a mesh, each its block of rows."""
    return jax.device_put(array, NamedSharding(mesh, PartitionSpec(_AXIS)))


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put what all images share, such as a model, on every device of a mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def slots_of(images: int, *, devices: int, slots: int) -> tuple[list[int], np.ndarray]:
    """Which row each image of a batch takes, and how many each device has.

    Images are dealt out in turn, so that the devices have equally much to do. `slots` is per
    device; a batch holds at most `devices * slots` images.
    """
    if images > devices * slots:
        raise SpecjaxError(f"{images} images do not fit {devices} devices of {slots} slots")
    rows = [(i % devices) * slots + i // devices for i in range(images)]
    counts = np.array([len(range(i, images, devices)) for i in range(devices)], np.int32)
    return rows, counts


def _loop(function, count, batched):
    """`function` of the first `count` rows, one after the other; zeros for the others."""

    def row(index):
        return jax.tree.map(lambda leaf: leaf[index], batched)

    shapes = jax.eval_shape(lambda: function(*row(0)))
    rows = jax.tree.leaves(batched)[0].shape[0]
    nothing = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), shapes)

    def step(index, results):
        found = function(*row(index))
        return jax.tree.map(lambda all_, one: all_.at[index].set(one), results, found)

    return jax.lax.fori_loop(0, count, step, nothing)


class Programs:
    """Forgets compiled programs where they become too many for a process.

    On a CPU a program takes some two hundred memory maps, of which Linux gives a process 65,530: it
    crashes beyond. What is forgotten comes back from the cache on disk.
    """

    def __init__(self):
        self._known: set[Hashable] = set()
        self._many = _MANY_MAPS

    def make_room_for(self, program: Hashable) -> None:
        """Call it before each run of a program; `program` is whatever tells it from others."""
        if program in self._known:
            return
        if memory_maps() > self._many:
            jax.clear_caches()
            self._known.clear()
            self._many = max(_MANY_MAPS, memory_maps() + _MORE_MAPS)
        self._known.add(program)


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
    programs: Programs = dataclasses.field(default_factory=Programs)

    def slots_for(self, tokens: int) -> int:
        """Slots per device for images padded to this many tokens."""
        slots = min(self.slots, _TOKENS // tokens)
        if self.vectorize:
            slots = min(slots, _GRAPH_BYTES // (4 * _FIRST_GRAPH * tokens**2))
        return max(1, slots)

    def graphs_for(self, tokens: int) -> int:
        """Graphs that are solved together for each image of this many tokens."""
        at_once = self.slots_for(tokens) if self.vectorize else 1
        more = _GRAPH_BYTES // (4 * at_once * tokens**2) - _FIRST_GRAPH
        return max(1, 1 + more // _NEXT_GRAPH)

    @property
    def most(self) -> int:
        """Images that the largest batch takes."""
        return self.mesh.size * self.slots

    def room_for(self, tokens: int) -> int:
        """Images of this many tokens that a batch takes."""
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
        mesh: the devices.
        slots: of one device.
        rows: of each image in the batched arrays.
        graphs: that are solved together for each image.
    """

    def __init__(self, lanes: Lanes, images: int, tokens: int):
        self._lanes = lanes
        self.mesh = lanes.mesh
        self.slots = lanes.slots_for(tokens)
        self.graphs = lanes.graphs_for(tokens)
        if lanes.vectorize:
            # Empty slots cost as much as others there, and each number of slots a program.
            needed = -(-images // lanes.mesh.size)
            self.slots = min(self.slots, 1 << (needed - 1).bit_length())
        self.rows, counts = slots_of(images, devices=lanes.mesh.size, slots=self.slots)
        self._counts = shared_out(lanes.mesh, counts)

    def stack(self, arrays: Sequence[jax.typing.ArrayLike]) -> jax.Array:
        """One array per image as one batched array on the devices; empty slots are zero."""
        arrays = [np.asarray(array) for array in arrays]
        stacked = np.zeros((self.mesh.size * self.slots, *arrays[0].shape), arrays[0].dtype)
        stacked[self.rows] = arrays
        return shared_out(self.mesh, stacked)

    def run(
        self,
        function: Callable[..., PyTree],
        *batched: PyTree,
        shared: tuple[PyTree, ...] = (),
        **static: Hashable,
    ) -> PyTree:
        """`function(*shared, *one image's arrays, **static)` of every image, compiled once."""
        options = tuple(sorted(static.items()))
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(batched))
        self._lanes.programs.make_room_for((function, options, shapes))
        lifted = _lifted(function, self.mesh, self._lanes.vectorize, len(shared), options)
        return lifted(self._counts, *shared, *batched)

    def fetch(self, batched: PyTree) -> list[PyTree]:
        """A batched result on the host, image by image."""
        on_host = jax.device_get(batched)
        return [jax.tree.map(lambda leaf, row=row: leaf[row], on_host) for row in self.rows]


@functools.cache
def _lifted(function, mesh, vectorize, shared, static):
    return over_images(
        functools.partial(function, **dict(static)), mesh=mesh, vectorize=vectorize, shared=shared
    )
