"""The front door: photographs in, instances out.

    segmenter = specjax.Segmenter("facebook/dino-vits16")
    found = segmenter("photo.jpg", num_instances=3)
    found.overlay().save("seen.png")

A `Segmenter` is a configuration and a backbone; it changes nothing and remembers nothing. The pure
functions that it composes are in `specjax.pipeline`.
"""

import dataclasses
import functools
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from specjax._batching import Batch, Lanes, open_lanes, replicated
from specjax._reading import gather, read_ahead
from specjax._sizes import capacity_for, padded_instances
from specjax.config import MAX_INSTANCES, PROTOCOLS, Config, channel_count
from specjax.errors import SpecjaxError
from specjax.images import decode, resize_short_side
from specjax.models.checkpoints.loading import Checkpoint, load_checkpoint
from specjax.pipeline import (
    Instances,
    extract_features,
    instance_eigenpairs,
    label_instances,
    reduce_features,
    segment_foreground,
)
from specjax.segmentation import Segmentation
from specjax.tokens import Patches, Tiling, as_grid, cut_patches, to_pixels

BUILT_IN = "specjax-mini"
_ADVICE = "facebook/dino-vits16"
_log = logging.getLogger("specjax")

# A path, an upright picture, or its pixels, uint8 [H, W, 3].
Photograph = str | os.PathLike | Image.Image | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """Segments photographs into a given number of instances.

    Attributes:
        checkpoint: a Hugging Face id, a folder, a file, "specjax-mini" or a `Checkpoint`. Without
            one, the built-in backbone `specjax-mini` is used.
        metric: how foreground tokens are compared, one of `METRICS`.
        M: channels kept by entropy: a number, or a share of all C such as "C/3".
        N: channels kept by standard deviation, out of the M; at most M.
        bins: histogram bins of the channel entropy.
        protocol: "paper" or "reference".
        solver: "auto", "eigh" or "krylov".
        image_size: short side in pixels that photographs are resized to before they are cut into
            patches; None for their own. Labels have the photograph's size.
        pos_interpolation: of position embeddings, "dino" or "hf".
        dtype: of the backbone's products, "float32" or "bfloat16".
        batch_size: images that each device works on at a time; None for as many as suit it.
        seed: of the clustering's starts.

    Raises:
        SpecjaxError: a value is out of range, or the checkpoint cannot be loaded.
    """

    checkpoint: str | os.PathLike | Checkpoint | None = None
    _: dataclasses.KW_ONLY
    metric: str = "boc"
    M: int | str = "C/3"
    N: int = 60
    bins: int = 30
    protocol: str = "paper"
    solver: str = "auto"
    image_size: int | None = None
    pos_interpolation: str = "dino"
    dtype: str = "float32"
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        # Wrong settings and checkpoints end here, and not at the first photograph.
        assert self.config and self.backbone

    @functools.cached_property
    def backbone(self) -> Checkpoint:
        """The loaded checkpoint."""
        if isinstance(self.checkpoint, Checkpoint):
            return self.checkpoint
        if self.checkpoint is None:
            _log.warning(
                "using the built-in backbone %s; for cluttered photographs choose %s",
                BUILT_IN,
                _ADVICE,
            )
        return load_checkpoint(BUILT_IN if self.checkpoint is None else self.checkpoint)

    @functools.cached_property
    def config(self) -> Config:
        """The settings of the stages after the backbone."""
        if self.protocol not in PROTOCOLS:
            raise SpecjaxError(
                f"unknown protocol {self.protocol!r}: choose one of {', '.join(PROTOCOLS)}",
                parameter="protocol",
            )
        M = channel_count(self.M, self.backbone.config.hidden_size)
        if isinstance(self.N, int) and self.N > M:
            warnings.warn(f"N={self.N} is more than M={M}; N={M} is used", stacklevel=4)
        return Config(
            M=M,
            N=min(self.N, M),
            bins=self.bins,
            metric=self.metric,
            protocol=PROTOCOLS[self.protocol],
            solver=self.solver,
        )

    def __call__(
        self, photograph: Photograph | Sequence[Photograph], *, num_instances: int
    ) -> Segmentation | list[Segmentation]:
        """Segment a photograph, or several.

        Args:
            photograph: a path, a Pillow image, uint8 [H, W, 3], or a list of these. Files and
                Pillow images are turned upright by their EXIF orientation.
            num_instances: how many to find in each. A photograph with fewer foreground tokens has
                as many instances as those; this is a warning.

        Raises:
            SpecjaxError: a photograph cannot be read or is too small or too large.
        """
        several = isinstance(photograph, list | tuple)
        found = []
        for _, one in self.stream(photograph if several else [photograph], num_instances):
            if isinstance(one, SpecjaxError):
                raise one
            found.append(one)
        return found if several else found[0]

    def stream(
        self, photographs: Iterable[Photograph], num_instances: int
    ) -> Iterator[tuple[Photograph, Segmentation | SpecjaxError]]:
        """Segment many photographs, reading ahead of the computation.

        Yields:
            Each photograph with what was found in it, or with the error that it ended in. On a
            single CPU in the order given; several devices work on batches of one size, which come
            as they are done.
        """
        _check_count(num_instances)
        lanes = open_lanes(self.batch_size)
        read = read_ahead(photographs, self._read)
        if lanes.mesh.size == 1 and not lanes.vectorize:
            for photograph, found in read:
                if not isinstance(found, SpecjaxError):
                    found = _guarded(self._alone, *found, num_instances)
                yield photograph, found
            return
        failed: list[tuple[Photograph, SpecjaxError]] = []
        groups = gather(
            _readable(read, failed),
            key=lambda item: len(item[2].values),
            room=lambda item: lanes.room_for(len(item[2].values)),
            nbytes=lambda item: item[1].nbytes + item[2].values.nbytes,
            most=4 * lanes.most,
        )
        for group in groups:
            yield from _taken(failed)
            yield from self._together(group, lanes, num_instances)
        yield from _taken(failed)

    def _read(self, photograph: Photograph) -> tuple[np.ndarray, Patches]:
        """The upright pixels, and the patches that the backbone sees."""
        name = os.fspath(photograph) if isinstance(photograph, str | os.PathLike) else "the image"
        image = _pixels(photograph)
        resized = image
        if self.image_size is not None:
            resized = resize_short_side(image, self.image_size, name=name)
        patches = cut_patches(
            resized,
            patch_size=self.backbone.config.patch_size,
            mean=self.backbone.mean,
            std=self.backbone.std,
            name=name,
        )
        return image, patches

    def _alone(self, image: np.ndarray, patches: Patches, num_instances: int) -> Segmentation:
        """One photograph, stage by stage: only what it needs is compiled."""
        grid = jnp.asarray(patches.tiling.grid, jnp.int32)
        features = extract_features(
            self.backbone.model,
            jnp.asarray(patches.values),
            grid,
            interpolation=self.pos_interpolation,
            dtype=self.dtype,
        )
        mask = segment_foreground(features, grid, config=self.config).mask
        reduced = reduce_features(features, mask, grid, config=self.config)
        capacity = capacity_for(int(mask.sum()), len(patches.values))
        pairs = instance_eigenpairs(
            reduced, mask, grid, config=self.config, metrics=None, capacity=capacity
        )
        found = label_instances(
            pairs,
            mask,
            grid,
            num_instances,
            jax.random.key(self.seed),
            config=self.config,
            max_instances=padded_instances(num_instances),
        )
        return _segmentation(image, patches.tiling, *jax.device_get((features, mask, found)))

    def _together(
        self, group: Sequence[tuple], lanes: Lanes, num_instances: int
    ) -> Iterator[tuple[Photograph, Segmentation | SpecjaxError]]:
        """A batch of photographs of one padded length."""
        batch = Batch(lanes, len(group), len(group[0][2].values))
        values = batch.stack([patches.values for _, _, patches in group])
        grids = batch.stack([np.asarray(each.tiling.grid, np.int32) for _, _, each in group])
        found = batch.run(
            _every_stage,
            values,
            grids,
            shared=(replicated(self.backbone.model, batch.mesh), np.uint32(self.seed)),
            config=self.config,
            interpolation=self.pos_interpolation,
            dtype=self.dtype,
            num_instances=num_instances,
        )
        for (photograph, image, patches), one in zip(group, batch.fetch(found), strict=True):
            yield photograph, _guarded(_segmentation, image, patches.tiling, *one)


def _every_stage(model, seed, patches, grid, *, config, interpolation, dtype, num_instances):
    """All stages of one image in one program, for batches."""
    features = extract_features(model, patches, grid, interpolation=interpolation, dtype=dtype)
    mask = segment_foreground(features, grid, config=config).mask
    reduced = reduce_features(features, mask, grid, config=config)
    pairs = instance_eigenpairs(reduced, mask, grid, config=config)
    found = label_instances(
        pairs,
        mask,
        grid,
        num_instances,
        jax.random.key(seed),
        config=config,
        max_instances=padded_instances(num_instances),
    )
    return features, mask, found


def _segmentation(
    image: np.ndarray, tiling: Tiling, features: np.ndarray, mask: np.ndarray, found: Instances
) -> Segmentation:
    if not np.isfinite(features).all():
        raise SpecjaxError("the backbone gave features that are not finite")
    labels = np.asarray(as_grid(found.labels, tiling.grid))
    return Segmentation(
        image=image,
        labels=to_pixels(labels, tiling, image.shape[:2], fill=True),
        scores=np.ones(int(labels.max()), np.float32),
        foreground=np.asarray(as_grid(mask, tiling.grid)),
        eigensegments=np.asarray(as_grid(found.maps, tiling.grid)),
        token_labels=labels,
        tiling=tiling,
    )


def _pixels(photograph: Photograph) -> np.ndarray:
    """Upright RGB pixels of a file, a Pillow image or an array."""
    if isinstance(photograph, np.ndarray):
        if photograph.dtype != np.uint8 or photograph.ndim != 3 or photograph.shape[2] != 3:
            raise SpecjaxError(
                f"an array of {photograph.dtype} {list(photograph.shape)}: an image is uint8"
                " [height, width, 3]"
            )
        return photograph
    return decode(photograph, upright=True)


def _check_count(num_instances: int) -> None:
    if type(num_instances) is not int or not 1 <= num_instances <= MAX_INSTANCES:
        raise SpecjaxError(
            f"num_instances is {num_instances!r}: it must be an integer from 1 to {MAX_INSTANCES}",
            parameter="num_instances",
        )


def _guarded(work: Callable[..., Segmentation], *arguments) -> Segmentation | SpecjaxError:
    """What `work` gives, or the error that it ends in."""
    try:
        return work(*arguments)
    except SpecjaxError as error:
        return error


def _readable(read: Iterable[tuple], failed: list[tuple]) -> Iterator[tuple]:
    """(photograph, image, patches) of those that can be read; the others go to `failed`."""
    for photograph, found in read:
        if isinstance(found, SpecjaxError):
            failed.append((photograph, found))
        else:
            yield photograph, *found


def _taken(failed: list[tuple]) -> Iterator[tuple]:
    """What has failed so far, once."""
    while failed:
        yield failed.pop(0)
