"""From one image to many: a function of one image's arrays, lifted to batches and to devices.

A batch is arrays with a leading axis of slots, some of them empty. Slots are shared out over
devices in equal blocks; within a device they are worked off one after the other, or all at once.
Images never meet: a result depends on its image and on the padding that the caller chose for it,
not on the batch, its order, or the number of devices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from specjax.errors import SpecjaxError

_AXIS = "images"


def image_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of these devices, this process's own by default, along one axis of images."""
    return Mesh(np.array(jax.local_devices() if devices is None else devices), (_AXIS,))


def over_images(
    function: Callable[..., Any], *, mesh: Mesh, vectorize: bool = False, shared: int = 0
) -> Callable[..., Any]:
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


def replicated(tree: Any, mesh: Mesh) -> Any:
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
