"""Where features come from: a vision transformer, or files of stored features."""

import dataclasses
import functools
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.datasets.records import Dataset
from experiments.loop.flags import Options
from experiments.loop.stored import StoredFeatures, TokenFeatures
from specjax import (
    VIT_S16,
    Checkpoint,
    Patches,
    SpecjaxError,
    cut_patches,
    extract_features,
    load_checkpoint,
    random_checkpoint,
)
from specjax._batching import Batch, Lanes, replicated
from specjax.models.features import block_number, feature_kinds

BUILT_IN = "specjax-mini"
_PAPERS = "facebook/dino-vits16"

# What a backbone computes features from.
Inputs = Patches | TokenFeatures


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Features of the images of a batch, on the devices.

    `values` are float32 [rows, tokens, C], with zeros as padding; `grids` are int32 [rows, 2].
    """

    batch: Batch
    values: jax.Array
    grids: jax.Array

    def of(self, number: int) -> jax.Array:
        """The features of one image of the batch, [tokens, C]."""
        row = self.batch.rows[number]
        # From the device that holds it: indexing the whole array would involve all devices.
        for shard in self.values.addressable_shards:
            first = shard.index[0].start or 0
            if first <= row < first + shard.data.shape[0]:
                return shard.data[row - first]
        raise IndexError(f"no row {row} on this process's devices")


class Backbone(Protocol):
    """A source of features with C `channels`; `identity` distinguishes it from other sources.

    `kind` is "checkpoint", "random", "features", or the name of a built-in backbone.
    """

    kind: str
    identity: dict[str, Any]
    channels: int
    family: str  # of the vision transformer (`ViTConfig.family`), "" if it is not known

    def files(self, image_id: str) -> list[pathlib.Path]:
        """The files that `prepare` reads for an image."""

    def prepare(self, image_id: str, image: np.ndarray) -> Inputs:
        """What `extract` needs of an image, uint8 [H, W, 3]; called in advance in other threads."""

    def extract(self, batch: Batch, inputs: jax.Array, grids: jax.Array) -> jax.Array:
        """Features [rows, tokens, C] of a batch of inputs."""


def open_backbone(options: Options, dataset: Dataset) -> Backbone:
    """The source of features that the flags choose; `auto` is resolved here."""
    if options.features_dir is not None:
        if options.checkpoint != "auto":
            raise SpecjaxError("--features_dir and --checkpoint exclude each other: give only one")
        if (options.features, options.layer) != ("keys", -1):
            raise SpecjaxError(
                "--features and --layer choose among a checkpoint's; --features_dir has its own"
            )
        return StoredFeatures(options.features_dir, [record.id for record in dataset.records()])
    source = options.checkpoint
    if source == "auto":
        source = BUILT_IN if dataset.name == "samples" else _PAPERS
    kind = source if source in (BUILT_IN, "random") else "checkpoint"
    if source == "random":
        print(
            "note: this backbone is a ViT-S/16 with fixed random weights, so the scores say nothing"
            " about the method; give --checkpoint to use trained weights",
            file=sys.stderr,
        )
        checkpoint = random_checkpoint(VIT_S16, seed=0)
    else:
        checkpoint = load_checkpoint(source)
    return Transformer(
        checkpoint,
        kind,
        features=options.features,
        layer=options.layer,
        pos_interpolation=options.pos_interpolation,
        dtype=options.dtype,
    )


class Transformer:
    """Features of a block of a vision transformer; options are those of `extract_features`."""

    def __init__(self, checkpoint: Checkpoint, kind: str, **options: Any):
        self.kind = kind
        colours = [list(checkpoint.mean), list(checkpoint.std)]
        self.identity = {"checkpoint": checkpoint.digest, "colours": colours, **options}
        block_number(options["layer"], num_layers=checkpoint.config.num_layers)
        kinds = feature_kinds(options["features"])
        self.channels = checkpoint.config.hidden_size * len(kinds)
        self.family = checkpoint.config.family
        self._checkpoint = checkpoint
        self._options = options
        self._model_on = functools.cache(functools.partial(replicated, checkpoint.model))

    def files(self, image_id: str) -> list[pathlib.Path]:
        """No files: patches are cut from the image."""
        return []

    def prepare(self, image_id: str, image: np.ndarray) -> Patches:
        """The patches of the image, which is cropped to whole patches."""
        checkpoint = self._checkpoint
        return cut_patches(
            image,
            patch_size=checkpoint.config.patch_size,
            mean=checkpoint.mean,
            std=checkpoint.std,
            name=image_id,
        )

    def extract(self, batch: Batch, inputs: jax.Array, grids: jax.Array) -> jax.Array:
        """Features of the batch's images."""
        shared = (self._model_on(batch.mesh),)
        return batch.run(extract_features, inputs, grids, shared=shared, **self._options)


def features_of(
    inputs: Sequence[Inputs], backbone: Backbone, lanes: Lanes
) -> tuple[Features, list[bool]]:
    """The features of images of one padded length, and for each image whether they are finite."""
    batch = Batch(lanes, len(inputs), len(inputs[0].values))
    grids = batch.stack([np.asarray(item.tiling.grid, np.int32) for item in inputs])
    values = backbone.extract(batch, batch.stack([item.values for item in inputs]), grids)
    finite = batch.fetch(batch.run(_all_finite, values))
    return Features(batch, values, grids), [bool(flag) for flag in finite]


def _all_finite(features):
    return jnp.all(jnp.isfinite(features))
