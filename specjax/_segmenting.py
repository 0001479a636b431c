"""What `Segmenter` computes: prepared photographs in, segmentations out, alone or in batches."""

import dataclasses
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from specjax._batching import Batch, Lanes, replicated
from specjax._prepared import Prepared
from specjax._reading import gather
from specjax._sizes import capacity_for, padded_instances
from specjax.config import Config
from specjax.errors import SpecjaxError
from specjax.models.vit import ViT
from specjax.pipeline import (
    Instances,
    extract_features,
    instance_eigenpairs,
    label_instances,
    reduce_features,
    segment_foreground,
)
from specjax.segmentation import Segmentation
from specjax.tokens import as_grid, to_pixels

Key = TypeVar("Key")


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """The backbone, and settings as `Segmenter` has them."""

    model: ViT
    seed: int
    config: Config
    features: str
    layer: int
    pos_interpolation: str
    dtype: str
    num_instances: int

    @property
    def static(self) -> Mapping[str, Hashable]:
        """What programs are compiled for."""
        names = ("config", "features", "layer", "pos_interpolation", "dtype")
        most = padded_instances(self.num_instances)
        return {"max_instances": most, **{name: getattr(self, name) for name in names}}


def segment_each(
    photographs: Iterable[tuple[Key, Prepared | SpecjaxError]], method: Method, lanes: Lanes
) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
    """Each photograph's key with what was found in it, or with the error that it ended in.

    One device that works on its images one after the other, as a CPU does, gives them in order;
    others work on batches of one padded length, which come as they are done.
    """
    if lanes.mesh.size == 1 and not lanes.vectorize:
        for key, prepared in photographs:
            if isinstance(prepared, SpecjaxError):
                yield key, prepared
            else:
                lanes.programs.make_room_for(prepared.tokens)
                yield key, _alone(prepared, method)
        return
    failed: list[tuple[Key, SpecjaxError]] = []
    groups = gather(
        _readable(photographs, failed),
        key=lambda item: item[1].tokens,
        room=lambda item: lanes.room_for(item[1].tokens),
        nbytes=lambda item: item[1].nbytes,
        most=4 * lanes.most,
    )
    method = dataclasses.replace(method, model=replicated(method.model, lanes.mesh))
    for group in groups:
        yield from _taken(failed)
        yield from _together(group, method, lanes)
    yield from _taken(failed)


def _alone(prepared: Prepared, method: Method) -> Segmentation | SpecjaxError:
    """One photograph, stage by stage."""
    grid = jnp.asarray(prepared.patches.tiling.grid, jnp.int32)
    patches = jnp.asarray(prepared.patches.values)
    shared = (method.model, method.seed, method.num_instances)
    found = _every_stage(*shared, patches, grid, alone=True, **method.static)
    return _segmentation(prepared, method, *jax.device_get(found))


def _together(
    group: Sequence[tuple[Key, Prepared]], method: Method, lanes: Lanes
) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
    """Photographs of one padded length."""
    batch = Batch(lanes, len(group), group[0][1].tokens)
    patches = [prepared.patches for _, prepared in group]
    found = batch.run(
        _every_stage,
        batch.stack([each.values for each in patches]),
        batch.stack([np.asarray(each.tiling.grid, np.int32) for each in patches]),
        shared=(method.model, np.uint32(method.seed), np.int32(method.num_instances)),
        **method.static,
    )
    for (key, prepared), one in zip(group, batch.fetch(found), strict=True):
        yield key, _segmentation(prepared, method, *one)


def _every_stage(
    model,
    seed,
    num_instances,
    patches,
    grid,
    *,
    config,
    max_instances,
    alone=False,
    **backbone,
):
    """Features, foreground mask and instances of one image.

    `alone`, outside of a program, each stage is one of its own, and the instance graph is compiled
    for one size; otherwise all are one program, which serves every image of its length.
    """
    features = extract_features(model, patches, grid, **backbone)
    mask = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, mask, grid, config=config)
    capacity = None
    if alone:
        count = int(mask.sum())
        capacity, num_instances = capacity_for(count, len(mask)), min(num_instances, count)
    pairs = instance_eigenpairs(reduced, mask, grid, config=config, capacity=capacity)
    found = label_instances(
        pairs,
        mask,
        grid,
        num_instances,
        jax.random.key(seed),
        config=config,
        max_instances=max_instances,
    )
    return features, mask, found


def _segmentation(
    prepared: Prepared,
    method: Method,
    features: np.ndarray,
    mask: np.ndarray,
    found: Instances,
) -> Segmentation | SpecjaxError:
    if not np.isfinite(features).all():
        return SpecjaxError(f"{prepared.name}: the backbone gave features that are not finite")
    tokens, tiling = int(mask.sum()), prepared.patches.tiling
    if tokens < method.num_instances:
        warnings.warn(
            f"{prepared.name}: {method.num_instances} instances were asked for, but the foreground"
            f" has {tokens} tokens to share out",
            stacklevel=2,
        )
    labels = np.asarray(as_grid(found.labels, tiling.grid))
    return Segmentation(
        image=prepared.image,
        labels=to_pixels(labels, tiling, prepared.image.shape[:2], fill=True),
        scores=np.ones(int(labels.max()), np.float32),
        foreground=np.asarray(as_grid(mask, tiling.grid)),
        eigensegments=np.asarray(as_grid(found.maps, tiling.grid)),
        token_labels=labels,
        tiling=tiling,
    )


def _readable(photographs: Iterable[tuple], failed: list[tuple]) -> Iterator[tuple]:
    """Those that could be read; the others go to `failed`."""
    for key, prepared in photographs:
        if isinstance(prepared, SpecjaxError):
            failed.append((key, prepared))
        else:
            yield key, prepared


def _taken(failed: list[tuple]) -> Iterator[tuple]:
    """What has failed so far, once."""
    while failed:
        yield failed.pop(0)
