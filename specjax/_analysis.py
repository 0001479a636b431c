"""The computation of a window of a photograph: its features, its foreground and its instances."""

import contextlib
import dataclasses
import functools
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from specjax import _traced
from specjax._sizes import capacity_for, padded_instances
from specjax.config import Config
from specjax.instance_stages import Instances, instance_eigenpairs, label_instances
from specjax.methods.choice import Choice, Found, label_by
from specjax.models.features import FEATURES
from specjax.models.vit import ViT
from specjax.pipeline import Foreground, extract_features, reduce_features, segment_foreground
from specjax.proposals import (
    LEAST_SCORE,
    MOST_OBJECTS,
    MOST_OVERLAP,
    Objects,
    Proposals,
    choose_ranked,
    propose,
)
from specjax.spectral import Eigenpairs
from specjax.tokens import valid_tokens


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

    def blank(self, shape: tuple[int, int], grid: tuple[int, int]) -> Array:
        """`every_kind` of patches of zeros, of this shape."""
        names = ("layer", "pos_interpolation", "dtype")
        settings = {name: getattr(self, name) for name in names}
        place = jnp.asarray(grid, jnp.int32)
        return _traced.call(
            every_kind, self.model, jnp.zeros(shape, jnp.float32), place, **settings
        )


def every_stage(
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
    features,
    alone=False,
    blank=None,
    **backbone,
):
    """Whether all features of an image are finite, its foreground mask, and its instances.

    With `alone`, it is called outside of a program: each stage is a program, by `_traced.call`, and
    the instance graph is compiled for one size. Otherwise all stages become one program, which
    serves all images of one padded length. `blank` has the `every_kind` of patches of zeros for
    automatic masks, where they are known.
    """
    call = _traced.call if alone else _plain
    if automatic:
        return _automatic(call, model, patches, grid, blank, **backbone)
    features = call(extract_features, model, patches, grid, features=features, **backbone)
    if choice is not None:
        other = call(label_by, features, grid, jax.random.key(seed), choice=choice)
        return _all_finite(features, alone), other.foreground, other
    # Nothing waits for the backbone here: it runs while the next programs are prepared.
    mask = call(segment_foreground, features, grid, config=config).mask
    reduced = call(reduce_features, features, mask, grid, config=config)
    capacity = None
    if alone:
        count = int(np.asarray(mask).sum())
        capacity, num_instances = capacity_for(count, len(mask)), min(num_instances, count)
    pairs = call(instance_eigenpairs, reduced, mask, grid, config=config, capacity=capacity)
    found = call(
        label_instances,
        pairs,
        mask,
        grid,
        jnp.asarray(num_instances, jnp.int32),
        jax.random.key(seed),
        config=config,
        max_instances=max_instances,
    )
    return _all_finite(features, alone), mask, found


def _plain(function, *args, **static):
    return function(*args, **static)


def _all_finite(features, alone):
    host = np if alone else jnp  # by numpy, there is nothing to compile
    return host.isfinite(host.asarray(features)).all()


class Automatic(NamedTuple):
    """Masks over tokens that were proposed, which may overlap, and the objects among them."""

    proposals: Proposals
    objects: Objects

    @property
    def labels(self) -> Int[Array | np.ndarray, " tokens"]:
        """0 for background, 1, 2, ... for objects."""
        return self.objects.labels


def _automatic(call, model, patches, grid, blank, **backbone):
    """Whether all kinds of features are finite, the mask of all objects, and the objects."""
    if blank is not None:
        kinds = call(every_kind, model, patches, grid, **backbone)
        return call(_objects, kinds, blank, grid)
    of = functools.partial(every_kind, model, grid=grid, **backbone)
    kinds, blank = jax.lax.map(of, jnp.stack([patches, jnp.zeros_like(patches)]))
    return _objects(kinds, blank, grid)


# Results of stages, which `_traced` keeps the structure of.
for _result in (Foreground, Eigenpairs, Instances, Found, Proposals, Objects, Automatic):
    with contextlib.suppress(ValueError):  # where a notebook loads this module again
        jax.export.register_namedtuple_serialization(
            _result, serialized_name=f"specjax.{_result.__name__}"
        )


@functools.partial(jax.jit, static_argnames=("layer", "pos_interpolation", "dtype"))
def every_kind(model, patches, grid, *, layer, pos_interpolation, dtype):
    """The features of all kinds, stacked; 0 for padding."""
    block = model(patches, grid, layer=layer, pos_interpolation=pos_interpolation, dtype=dtype)
    valid = valid_tokens(patches.shape[0], grid)[:, None]
    return jnp.stack([jnp.where(valid, getattr(block, kind), 0.0) for kind in FEATURES])


@jax.jit
def _objects(kinds, blank, grid):
    found = objects_among(propose(kinds, grid, blank=blank))
    return jnp.isfinite(kinds).all(), found.labels > 0, found


@jax.jit
def objects_among(proposals: Proposals) -> Automatic:
    """The objects among proposals, by the defaults of `choose`."""
    objects = choose_ranked(
        proposals, least_score=LEAST_SCORE, max_instances=MOST_OBJECTS, overlap=MOST_OVERLAP
    )
    return Automatic(proposals, objects)
