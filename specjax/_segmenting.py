"""The computation behind `Segmenter`: from prepared photographs to segmentations."""

import dataclasses
import functools
import warnings
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from specjax._batching import Batch, Lanes, replicated
from specjax._memory import in_smaller_parts
from specjax._prepared import Prepared
from specjax._reading import gather
from specjax._sizes import capacity_for, padded_instances
from specjax.config import Config
from specjax.errors import SpecjaxError
from specjax.instance_stages import Instances, instance_eigenpairs, label_instances
from specjax.methods.choice import Choice, Found, label_by
from specjax.models.features import FEATURES
from specjax.models.vit import ViT
from specjax.pipeline import extract_features, reduce_features, segment_foreground
from specjax.proposals import (
    LEAST_SCORE,
    MOST_OBJECTS,
    MOST_OVERLAP,
    Proposals,
    choose_ranked,
    propose,
)
from specjax.refinement import refine_each
from specjax.segmentation import Segmentation
from specjax.tokens import Tiling, as_grid, to_pixels, valid_tokens

Key = TypeVar("Key")


@dataclasses.dataclass(frozen=True, eq=False)
class Method:
    """The backbone, and the settings of a `Segmenter` that the computation needs."""

    model: ViT
    seed: int
    config: Config
    features: str
    layer: int
    pos_interpolation: str
    dtype: str
    choice: Choice | None  # another method than the one of this package
    num_instances: int  # 0 where the method finds it

    @property
    def automatic(self) -> bool:
        """Whether masks are proposed, as nothing says how many instances there are."""
        return self.choice is None and not self.num_instances

    @property
    def static(self) -> Mapping[str, Hashable]:
        """What programs are compiled for."""
        names = (
            "config", "features", "layer", "pos_interpolation", "dtype", "choice", "automatic",
        )  # fmt: skip
        most = padded_instances(max(self.num_instances, 1))
        return {"max_instances": most, **{name: getattr(self, name) for name in names}}


def segment_each(
    photographs: Iterable[tuple[Key, Prepared | SpecjaxError]], method: Method, lanes: Lanes
) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
    """Yield the key of each photograph with its segmentation, or with the error that prevented it.

    A single device that computes one image at a time, as a CPU does, keeps the order of the
    photographs. Otherwise, photographs of one padded length are computed together, and come as each
    batch is done.
    """
    if lanes.mesh.size == 1 and not lanes.vectorize:
        segment = functools.partial(_segment_one, method=method)
        for key, prepared in photographs:
            if isinstance(prepared, SpecjaxError):
                yield key, prepared
            else:
                lanes.programs.make_room_for(prepared.tokens)
                yield from ((key, one) for _, one in in_smaller_parts([prepared], segment))
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
        yield from _drained(failed)
        compute = functools.partial(_segment_group, method=method, lanes=lanes)
        for part, results in in_smaller_parts(group, compute):
            each = [results] * len(part) if isinstance(results, SpecjaxError) else results
            yield from ((key, one) for (key, _), one in zip(part, each, strict=True))
    yield from _drained(failed)


def _segment_one(photographs: Sequence[Prepared], *, method: Method) -> Segmentation | SpecjaxError:
    """Segment a single photograph, stage by stage."""
    (prepared,) = photographs
    grid = jnp.asarray(prepared.patches.tiling.grid, jnp.int32)
    patches = jnp.asarray(prepared.patches.values)
    shared = (method.model, method.seed, method.num_instances)
    found = _every_stage(*shared, patches, grid, alone=True, **method.static)
    return _segmentation(prepared, method, *jax.device_get(found))


def _segment_group(
    group: Sequence[tuple[Key, Prepared]], method: Method, lanes: Lanes
) -> list[Segmentation | SpecjaxError]:
    """Segment photographs of one padded length in a batch."""
    batch = Batch(lanes, len(group), group[0][1].tokens)
    values = [prepared.patches.values for _, prepared in group]
    grids = [np.asarray(prepared.patches.tiling.grid, np.int32) for _, prepared in group]
    found = batch.run(
        _every_stage,
        batch.stack(values),
        batch.stack(grids),
        shared=(method.model, np.uint32(method.seed), np.int32(method.num_instances)),
        **method.static,
    )
    return [
        _segmentation(prepared, method, *arrays)
        for (_, prepared), arrays in zip(group, batch.fetch(found), strict=True)
    ]


def _every_stage(
    model,
    seed,
    num_instances,
    patches,
    grid,
    *,
    config,
    choice,
    automatic,
    max_instances,
    alone=False,
    **backbone,
):
    """Features, foreground mask and instances of an image.

    With `alone`, it is called outside of a program: each stage is a program, and the instance graph
    is compiled for one size. Otherwise all stages become one program, which serves all images of
    one padded length.
    """
    if automatic:
        return _automatic(model, patches, grid, **backbone)
    features = extract_features(model, patches, grid, **backbone)
    if choice is not None:
        other = label_by(features, grid, jax.random.key(seed), choice=choice)
        return features, other.foreground, other
    mask = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, mask, grid, config=config)
    capacity = None
    if alone:
        count = int(np.asarray(mask).sum())  # by numpy: nothing to compile
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


class Automatic(NamedTuple):
    """Masks over tokens that were proposed, and the objects among them.

    Attributes:
        proposals: ranked masks, which may overlap.
        labels: 0 for background, 1, 2, ... for objects.
        scores: of the objects.
    """

    proposals: Proposals
    labels: Int[Array, " tokens"]
    scores: Float[Array, " instances"]


@functools.partial(jax.jit, static_argnames=("features", "layer", "pos_interpolation", "dtype"))
def _automatic(model, patches, grid, *, features, layer, pos_interpolation, dtype):
    """All kinds of features of an image, the mask of all objects, and the objects."""
    block = model(patches, grid, layer=layer, pos_interpolation=pos_interpolation, dtype=dtype)
    valid = valid_tokens(patches.shape[0], grid)[:, None]
    kinds = jnp.stack([jnp.where(valid, getattr(block, kind), 0.0) for kind in FEATURES])
    proposals = propose(kinds, grid)
    labels, scores = choose_ranked(
        proposals, least_score=LEAST_SCORE, max_instances=MOST_OBJECTS, overlap=MOST_OVERLAP
    )
    return kinds, labels > 0, Automatic(proposals, labels, scores)


def _segmentation(
    prepared: Prepared,
    method: Method,
    features: np.ndarray,
    mask: np.ndarray,
    found: Instances | Found | Automatic,
) -> Segmentation | SpecjaxError:
    if not np.isfinite(features).all():
        return SpecjaxError(f"{prepared.name}: the features of the backbone are not finite")
    tokens, tiling = int(mask.sum()), prepared.patches.tiling
    if tokens < method.num_instances:
        warnings.warn(
            f"{prepared.name}: {method.num_instances} instances were asked for, but the foreground"
            f" has only {tokens} tokens",
            stacklevel=2,
        )
    labels, image = np.asarray(as_grid(found.labels, tiling.grid)), prepared.image
    segmentation = functools.partial(
        Segmentation,
        image=image,
        foreground=np.asarray(as_grid(mask, tiling.grid)),
        token_labels=labels,
        tiling=tiling,
    )
    if isinstance(found, Automatic):
        exist = found.proposals.scores > 0
        return segmentation(
            labels=_refined(labels, image, tiling),
            scores=np.asarray(found.scores[: int(labels.max())]),
            eigensegments=np.zeros((0, *tiling.grid), np.float32),
            proposals=np.asarray(as_grid(found.proposals.masks[exist], tiling.grid)),
            proposal_scores=np.asarray(found.proposals.scores[exist]),
        )
    return segmentation(
        labels=to_pixels(labels, tiling, image.shape[:2], fill=True),
        scores=np.ones(int(labels.max()), np.float32),
        eigensegments=np.asarray(as_grid(found.maps, tiling.grid)),
    )


def _refined(labels: np.ndarray, image: np.ndarray, tiling: Tiling) -> np.ndarray:
    """A label map of tokens at the size of the image, along its edges.

    A pixel gets the object that it belongs to most, if that is more than half.
    """
    masks = labels[None] == np.arange(1, labels.max() + 1)[:, None, None]
    best, found = np.full(image.shape[:2], 0.5, np.float32), np.zeros(image.shape[:2], np.int32)
    for number, share in enumerate(refine_each(masks, image, tiling), start=1):
        better = share > best
        best[better], found[better] = share[better], number
    return found


def _readable(photographs: Iterable[tuple], failed: list[tuple]) -> Iterator[tuple]:
    """Photographs that could be read; the others are added to `failed`."""
    for key, prepared in photographs:
        if isinstance(prepared, SpecjaxError):
            failed.append((key, prepared))
        else:
            yield key, prepared


def _drained(failed: list[tuple]) -> Iterator[tuple]:
    """Remove and yield the photographs that have failed so far."""
    while failed:
        yield failed.pop(0)
