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
from collections.abc import Iterable, Iterator, Sequence

from specjax._batching import open_lanes
from specjax._prepared import Photograph, prepare
from specjax._reading import read_ahead
from specjax._segmenting import Key, Method, segment_each
from specjax.config import MAX_INSTANCES, PROTOCOLS, Config, channel_count
from specjax.errors import SpecjaxError
from specjax.models.attention import DTYPES
from specjax.models.checkpoints.loading import Checkpoint, load_checkpoint
from specjax.models.positions import POSITIONS
from specjax.models.vit import feature_kinds
from specjax.segmentation import Segmentation

BUILT_IN = "specjax-mini"
_ADVICE = "facebook/dino-vits16"
_CHOICES = {
    "protocol": tuple(PROTOCOLS),
    "pos_interpolation": POSITIONS,
    "dtype": tuple(DTYPES),
}
_RANGES = {"image_size": (1, 2**31 - 1), "batch_size": (1, 4096), "seed": (0, 2**32 - 1)}
_log = logging.getLogger("specjax")


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
        features: which of the backbone's features are compared: "keys", "queries", "values" or
            "outputs" of a block, or several with commas ("keys,values"), joined.
        layer: the block they are of: 1 is the first, -1 the last.
        pos_interpolation: how position embeddings are resampled to the image's grid: "auto" as the
            backbone's original code does it, "dino" as DINO's, "hf" as Hugging Face's.
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
    features: str = "keys"
    layer: int = -1
    pos_interpolation: str = "auto"
    dtype: str = "float32"
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self):
        # Wrong settings and checkpoints end here, and not at the first photograph.
        _check_settings(self)
        assert self.config and self.backbone
        self.backbone.config.check_layer(self.layer)

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
        channels = self.backbone.config.hidden_size * len(feature_kinds(self.features))
        M, N = channel_count(self.M, channels), self.N
        if isinstance(N, int) and N > M:
            warnings.warn(f"N={N} is more than M={M}; N={M} is used", stacklevel=5)
            N = M
        return Config(
            M=M,
            N=N,
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
                at most as many instances as those; this is a warning.

        Raises:
            SpecjaxError: a photograph cannot be read or is too small or too large.
        """
        several = isinstance(photograph, list | tuple)
        photographs = photograph if several else [photograph]
        found: dict[int, Segmentation] = {}
        for place, one in self._stream(enumerate(photographs), num_instances):
            if isinstance(one, SpecjaxError):
                raise one
            found[place] = one
        return [found[place] for place in range(len(found))] if several else found[0]

    def stream(
        self, photographs: Iterable[Photograph], num_instances: int
    ) -> Iterator[tuple[Photograph, Segmentation | SpecjaxError]]:
        """Segment many photographs, reading ahead of the computation.

        Yields:
            Each photograph with what was found in it, or with the error that it ended in. On a
            single CPU in the order given; several devices work on batches of one size, which come
            as they are done.
        """
        return self._stream(((one, one) for one in photographs), num_instances)

    def _stream(
        self, photographs: Iterable[tuple[Key, Photograph]], num_instances: int
    ) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
        """As `stream`; each result comes with the key of its photograph."""
        _check_range("num_instances", num_instances, 1, MAX_INSTANCES)
        method = Method(
            model=self.backbone.model,
            seed=self.seed,
            config=self.config,
            features=self.features,
            layer=self.layer,
            pos_interpolation=self.pos_interpolation,
            dtype=self.dtype,
            num_instances=num_instances,
        )
        read = functools.partial(prepare, backbone=self.backbone, image_size=self.image_size)
        prepared = read_ahead(photographs, lambda pair: read(pair[1]))
        return segment_each(
            ((key, found) for (key, _), found in prepared), method, open_lanes(self.batch_size)
        )


def _check_settings(settings: Segmenter) -> None:
    """Those that nothing else checks before the first photograph."""
    for name, known in _CHOICES.items():
        value = getattr(settings, name)
        if value not in known:
            raise SpecjaxError(
                f"unknown {name} {value!r}: choose one of {', '.join(known)}", parameter=name
            )
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name)
        if value is not None or name == "seed":
            _check_range(name, value, low, high)


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:  # True is an int otherwise
        raise SpecjaxError(
            f"{name} is {value!r}: it must be an integer from {low} to {high}", parameter=name
        )
