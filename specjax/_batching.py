"""From one image to many: a function of the arrays of one image, run for a batch on all devices.

The arrays of a batch have a leading axis of slots, some of which may be empty. Each device has an
equal block of slots, and computes them one after the other, or all at once. A result depends only
on its image and on the padding that the caller chose, not on the rest of the batch, its order, or
the number of devices.

`over_images` makes the function of a batch. `Lanes` and `Batch` choose how many images go together,
put their arrays on the devices, and fetch results.
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
# Slots per device: an accelerator is fastest with many images at once, a CPU with one at a time.
_SLOTS_ON_CPU, _SLOTS_ON_ACCELERATORS = 4, 16
# Large images have fewer slots: a device holds at most this many tokens and, where it computes all
# slots at once, at most this many bytes of graphs.
_TOKENS, _GRAPH_BYTES = 2**16, 2**32
# Floats per pair of tokens that a program needs at most: for a first graph, and for each other.
_FIRST_GRAPH, _NEXT_GRAPH = 6, 2
# Compiled programs are dropped above this many memory maps; and, afterwards, above so many more.
_MANY_MAPS, _MORE_MAPS = 30_000, 20_000
# Maps are counted once for so many new programs: it takes 33 ms where there are 20,000. Each may
# stand for ten that are compiled, for all stages of an image, so that there must not be many.
_COUNTED_EVERY = 4


def image_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of devices, by default those of this process, along an axis of images."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (_AXIS,))


def over_images(
    function: Callable[..., PyTree], *, mesh: Mesh, vectorize: bool = False, shared: int = 0
) -> Callable[..., PyTree]:
    """Turn a function of one image into a function of a batch spread over a mesh (`image_mesh`).

    Args:
        function: takes `shared` leading arguments and the arrays of an image, and returns arrays.
        mesh: the devices.
        vectorize: `jax.vmap` the slots of a device, empty ones included, which suits accelerators.
            Otherwise a loop over the slots skips empty ones, needs the memory of one image, and
            gives each image the same bits whatever else is in the batch.
        shared: number of leading arguments that all images share, such as a model.

    Returns:
        A jitted `lifted(counts, *shared, *batched)`. `counts`, int32 [devices], is the number of
        slots in use on each device, which are the first of its block. Each array of `batched` and
        of the result has `devices * slots` rows; rows of empty slots are undefined in the result.
    """
    whole, split = PartitionSpec(), PartitionSpec(_AXIS)

    def on_one_device(counts, common, batched):
        def of_image(*arrays):
            return function(*common, *arrays)

        if vectorize:
            return jax.vmap(of_image)(*batched)
        return _loop(of_image, counts[0], batched)

    @jax.jit
    def lifted(counts: Int[Array, " devices"], *arguments):
        common, batched = arguments[:shared], arguments[shared:]
        rows = {leaf.shape[0] for leaf in jax.tree.leaves(batched)}
        if len(rows) != 1 or min(rows) % mesh.size:
            raise SpecjaxError(
                f"batched arrays of {sorted(rows)} rows cannot be divided among {mesh.size} devices"
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
    """Put a batched array on a mesh: each device gets its block of rows."""
    return jax.device_put(array, NamedSharding(mesh, PartitionSpec(_AXIS)))


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Put arrays that all images share, such as a model, on every device of a mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def slots_of(images: int, *, devices: int, slots: int) -> tuple[list[int], np.ndarray]:
    """The row of each image of a batch, and the number of images on each device.

    Images go to the devices in turn, so that all have the same amount of work. `slots` is per
    device; a batch holds at most `devices * slots` images.
    """
    if images > devices * slots:
        raise SpecjaxError(f"{images} images do not fit {devices} devices of {slots} slots")
    rows = [(i % devices) * slots + i // devices for i in range(images)]
    counts = np.array([len(range(i, images, devices)) for i in range(devices)], np.int32)
    return rows, counts


def _loop(function, count, batched):
    """`function` of each of the first `count` rows, one after the other; 0 for the other rows."""

    def row(index):
        return jax.tree.map(lambda leaf: leaf[index], batched)

    shapes = jax.eval_shape(lambda: function(*row(0)))
    rows = jax.tree.leaves(batched)[0].shape[0]
    zeros = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), shapes)

    def step(index, results):
        found = function(*row(index))
        return jax.tree.map(lambda whole, part: whole.at[index].set(part), results, found)

    return jax.lax.fori_loop(0, count, step, zeros)


class Programs:
    """Drops the compiled programs of a process before they become too many.

    On a CPU a program takes about two hundred memory maps. A Linux process that needs more than
    65,530 maps crashes. Dropped programs are read again from the cache on disk.
    """

    def __init__(self) -> None:
        self._known: set[Hashable] = set()
        self._many = _MANY_MAPS

    def make_room_for(self, program: Hashable) -> None:
        """Call this before each run of a program; `program` identifies it."""
        if program in self._known:
            return
        if len(self._known) % _COUNTED_EVERY == 0 and memory_maps() > self._many:
            jax.clear_caches()
            self._known.clear()
            self._many = max(_MANY_MAPS, memory_maps() + _MORE_MAPS)
        self._known.add(program)


@dataclasses.dataclass(frozen=True)
class Lanes:
    """How the images of batches are spread over devices.

    Attributes:
        mesh: the devices of this process.
        slots: images on each device at a time.
        vectorize: whether a device computes its images at once, or one after the other.
        programs: keeps the number of compiled programs small.
    """

    mesh: Mesh
    slots: int
    vectorize: bool
    programs: Programs = dataclasses.field(default_factory=Programs)

    def slots_for(self, tokens: int) -> int:
        """Slots per device for images padded to `tokens`."""
        slots = min(self.slots, _TOKENS // tokens)
        if self.vectorize:
            slots = min(slots, _GRAPH_BYTES // (4 * _FIRST_GRAPH * tokens**2))
        return max(1, slots)

    def graphs_for(self, tokens: int) -> int:
        """How many graphs to solve together for each image padded to `tokens`."""
        at_once = self.slots_for(tokens) if self.vectorize else 1
        more = _GRAPH_BYTES // (4 * at_once * tokens**2) - _FIRST_GRAPH
        return max(1, 1 + more // _NEXT_GRAPH)

    @property
    def most(self) -> int:
        """The number of images in the largest batch."""
        return self.mesh.size * self.slots

    def room_for(self, tokens: int) -> int:
        """The number of images padded to `tokens` in a full batch."""
        return self.mesh.size * self.slots_for(tokens)


def open_lanes(batch_size: int | None = None) -> Lanes:
    """All devices of this process, with `batch_size` images on each; None chooses a number."""
    devices = jax.local_devices()
    cpu = devices[0].platform == "cpu"
    slots = batch_size or (_SLOTS_ON_CPU if cpu else _SLOTS_ON_ACCELERATORS)
    return Lanes(image_mesh(devices), slots, vectorize=not cpu)


class Batch:
    """Images padded to one length, which are computed together.

    Args:
        lanes: how images are spread over devices.
        images: how many there are.
        tokens: the length that they are padded to.

    Attributes:
        mesh: the devices.
        slots: number of slots of each device.
        rows: the row of each image in batched arrays.
        graphs: how many graphs to solve together for each image.
    """

    def __init__(self, lanes: Lanes, images: int, tokens: int):
        self._lanes = lanes
        self.mesh = lanes.mesh
        self.slots = lanes.slots_for(tokens)
        self.graphs = lanes.graphs_for(tokens)
        if lanes.vectorize:
            # Empty slots cost as much as others, and each number of slots compiles a program.
            needed = -(-images // lanes.mesh.size)
            self.slots = min(self.slots, 1 << (needed - 1).bit_length())
        self.rows, counts = slots_of(images, devices=lanes.mesh.size, slots=self.slots)
        self._counts = shared_out(lanes.mesh, counts)

    def stack(self, arrays: Sequence[jax.typing.ArrayLike]) -> jax.Array:
        """Stack an array per image to a batched array on the devices; empty slots are 0."""
        images = [np.asarray(array) for array in arrays]
        stacked = np.zeros((self.mesh.size * self.slots, *images[0].shape), images[0].dtype)
        stacked[self.rows] = images
        return shared_out(self.mesh, stacked)

    def run(
        self,
        function: Callable[..., PyTree],
        *batched: PyTree,
        shared: tuple[PyTree, ...] = (),
        **static: Hashable,
    ) -> PyTree:
        """`function(*shared, *arrays of an image, **static)` for every image, compiled once."""
        options = tuple(sorted(static.items()))
        shapes = tuple(leaf.shape for leaf in jax.tree.leaves(batched))
        self._lanes.programs.make_room_for((function, options, shapes))
        lifted = _lifted(function, self.mesh, self._lanes.vectorize, len(shared), options)
        return lifted(self._counts, *shared, *batched)

    def fetch(self, batched: PyTree) -> list[PyTree]:
        """Copy a batched result to the host: a list with the result of each image."""
        on_host = jax.device_get(batched)
        return [jax.tree.map(lambda leaf, row=row: leaf[row], on_host) for row in self.rows]


@functools.cache
def _lifted(function, mesh, vectorize, shared, static):
    return over_images(
        functools.partial(function, **dict(static)), mesh=mesh, vectorize=vectorize, shared=shared
    )
