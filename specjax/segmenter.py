"""From photographs to instances, in one class.

    segmenter = specjax.Segmenter("facebook/dino-vits16")
    found = segmenter("photo.jpg", num_instances=3)
    found.overlay().save("overlay.png")

A `Segmenter` holds settings and a backbone. It composes the pure functions of `specjax.pipeline`.
"""

import dataclasses
import functools
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from specjax._analysis import Method
from specjax._batching import open_lanes
from specjax._prepared import Photograph, prepare
from specjax._reading import read_ahead
from specjax._segmenting import Key, segment_each
from specjax._settings import check_range, check_settings
from specjax.config import MAX_INSTANCES, PROTOCOLS, Config, channel_count
from specjax.errors import SpecjaxError
from specjax.methods.choice import Choice, choice_of, default_features
from specjax.models.checkpoints.loading import Checkpoint, load_checkpoint
from specjax.models.features import block_number, feature_kinds
from specjax.segmentation import Segmentation

_Photograph = TypeVar("_Photograph", bound=Photograph)

BUILT_IN = "specjax-mini"
_ADVICE = "facebook/dinov2-small"
_log = logging.getLogger("specjax")


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """Finds the instances in photographs: a given number of them, or as many as a method finds.

    The settings are checked, and the checkpoint is loaded, when it is made; it never changes
    afterwards.

    Attributes:
        checkpoint: the backbone: a Hugging Face id, a folder, a file, or a `Checkpoint`. None takes
            "specjax-mini", the small one in the package, and logs so.
        method: "dsi", the method of this package, or another one, which finds the number of
            instances by itself and uses none of `metric`, `M`, `N`, `bins` and `protocol`:
            "tokencut" (one), "maskcut" (one per round at most), "dsm" (one) or "dsm_segments"
            (three segments at most).
        metric: how foreground tokens are compared, one of `METRICS`.
        M: channels kept by entropy (NCR): a number, or a share of all C channels such as "C/3".
        N: channels kept of those M by standard deviation (DCR). A value above M becomes M, with a
            warning.
        bins: bins of the histogram of a channel.
        protocol: "paper" (the paper's equations) or "reference" (the authors' released code).
        solver: eigensolver, "auto", "eigh" or "krylov" (see `smallest_eigenpairs`).
        image_size: resize photographs to this short side in pixels before they are cut into
            patches; None keeps their size. Labels always have the size of the photograph.
        scales: of automatic masks: several short sides, ascending, instead of `image_size`. At the
            first, the whole photograph is seen; at each other one, windows of it that are as large
            as the first, for small objects. (480, 960) takes ten times as long as (480,).
        features: which of the backbone's features are compared: "keys", "queries", "values" or
            "outputs" of a block, or several with commas ("keys,values"), which are joined. None
            takes the keys, but the outputs for "tokencut", "maskcut" and "dsm" with DINOv2.
        layer: number of that block: 1 is the first, -1 the last.
        pos_interpolation: how position embeddings are resampled to the token grid: "auto", as the
            backbone's original code does, "dino", as DINO's does, or "hf", as Hugging Face does.
        dtype: precision of the backbone's matrix products, "float32" or "bfloat16".
        batch_size: images that each device computes at a time; None chooses by their size.
        seed: random seed of k-means, from 0 to 2**32 - 1.
        tau: of "tokencut" and "maskcut": tokens whose cosine is above it are joined. None takes the
            papers', 0.2 and 0.15, or 0.6 for the outputs of DINOv2.
        rounds: of "maskcut": the number of cuts.
        center: of methods other than "dsi": whether to subtract the image's mean from the features.
            None does so for "tokencut" and "maskcut" with DINOv2, whose keys are all alike in an
            image, but not for its outputs.

    Raises:
        SpecjaxError: a value is out of range, or the checkpoint cannot be loaded.

    Example:
        A backbone of random weights, to be quick: give `"facebook/dino-vits16"` or another
        checkpoint instead.

        >>> config = specjax.ViTConfig(
        ...     hidden_size=12, num_layers=1, num_heads=2, mlp_size=8, patch_size=4, image_size=8
        ... )
        >>> backbone = specjax.random_checkpoint(config, seed=0)
        >>> segmenter = specjax.Segmenter(backbone, M=8, N=4, solver="eigh")
        >>> image = np.full((48, 48, 3), 90, np.uint8)
        >>> image[16:32, 16:32] = 255, 0, 0
        >>> found = segmenter(image, num_instances=1)
        >>> found.labels.shape, found.token_labels.shape, len(found.masks)
        ((48, 48), (12, 12), 1)

        A photograph that cannot be read does not end a stream:

        >>> for photograph, found in segmenter.stream([image, "nowhere.jpg"], num_instances=1):
        ...     print(found if isinstance(found, specjax.SpecjaxError) else found.boxes.shape)
        (1, 4)
        'nowhere.jpg': no such file
    """

    checkpoint: str | os.PathLike | Checkpoint | None = None
    _: dataclasses.KW_ONLY
    method: str = "dsi"
    metric: str = "boc"
    M: int | str = "C/3"
    N: int = 60
    bins: int = 30
    protocol: str = "paper"
    solver: str = "auto"
    image_size: int | None = None
    scales: Sequence[int] | None = None
    features: str | None = None
    layer: int = -1
    pos_interpolation: str = "auto"
    dtype: str = "float32"
    batch_size: int | None = None
    seed: int = 0
    tau: float | None = None
    rounds: int = 3
    center: bool | None = None

    def __post_init__(self):
        # Wrong settings and checkpoints are errors here, and not at the first photograph.
        check_settings(self)
        assert self.config and self.backbone
        assert self.choice or self.method == "dsi"
        block_number(self.layer, num_layers=self.backbone.config.num_layers)

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
    def _features(self) -> str:
        if self.features is not None:
            return self.features
        return default_features(self.method, family=self.backbone.config.family)

    @functools.cached_property
    def config(self) -> Config:
        """The settings of the stages after the backbone, with M as a number."""
        channels = self.backbone.config.hidden_size * len(feature_kinds(self._features))
        M, N = channel_count(self.M, channels), self.N
        if isinstance(N, int) and N > M:
            if self.method == "dsi":  # others use neither
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

    @functools.cached_property
    def choice(self) -> Choice | None:
        """The settings of another method; None for "dsi", which `config` has."""
        return choice_of(
            self.method,
            tau=self.tau,
            rounds=self.rounds,
            center=self.center,
            solver=self.solver,
            family=self.backbone.config.family,
            features=self._features,
        )

    def __call__(
        self,
        photograph: Photograph | Sequence[Photograph],
        *,
        num_instances: int | None = None,
    ) -> Segmentation | list[Segmentation]:
        """Segment a photograph, or several.

        Args:
            photograph: a path, a Pillow image, an RGB array (uint8 [height, width, 3]), or a list
                of these. Files and Pillow images are turned upright by their EXIF orientation;
                arrays are taken as they are.
            num_instances: how many to find in each photograph, from 1 to 254, for "dsi". A
                photograph with fewer foreground tokens has at most one instance per token, and
                there is a warning. None: as many objects as are found, perhaps none, by automatic
                masks (`propose`, `choose`, `refine`), which use none of `metric`, `M`, `N`, `bins`,
                `protocol`, `solver` and `features`. Other methods take no number.

        Returns:
            What was found; a list of these, in the order given, where a list was given.

        Raises:
            SpecjaxError: a photograph cannot be read, or is too small or too large; the backbone
                gave features that are not finite; or `num_instances` is out of range.
        """
        if isinstance(photograph, Photograph):
            return self._segment_all([photograph], num_instances)[0]
        return self._segment_all(photograph, num_instances)

    def stream(
        self, photographs: Iterable[_Photograph], num_instances: int | None = None
    ) -> Iterator[tuple[_Photograph, Segmentation | SpecjaxError]]:
        """Segment many photographs one after the other; files are read ahead of the computation.

        Args:
            photographs: as in a call; any iterable, also one that never ends.
            num_instances: as in a call.

        Yields:
            Each photograph with what was found in it, or with the `SpecjaxError` that kept it from
            being segmented. A single CPU device keeps the order given; otherwise photographs of
            one padded size are computed together, and come as each batch is done.
        """
        return self._stream(((photo, photo) for photo in photographs), num_instances)

    def _segment_all(
        self, photographs: Sequence[Photograph], num_instances: int | None
    ) -> list[Segmentation]:
        """What was found in each photograph, in the order given; raises the first error."""
        found: dict[int, Segmentation] = {}
        for place, result in self._stream(enumerate(photographs), num_instances):
            if isinstance(result, SpecjaxError):
                raise result
            found[place] = result
        return [found[place] for place in range(len(found))]

    def _stream(
        self, photographs: Iterable[tuple[Key, Photograph]], num_instances: int | None
    ) -> Iterator[tuple[Key, Segmentation | SpecjaxError]]:
        """As `stream`, but each photograph comes with a key, and its result with that key."""
        if self.choice is None:
            if num_instances is not None:
                check_range("num_instances", num_instances, 1, MAX_INSTANCES)
        elif num_instances is not None:
            raise SpecjaxError(
                f"num_instances is {num_instances!r}: {self.method} finds the number of instances"
                " by itself",
                parameter="num_instances",
            )
        method = Method(
            model=self.backbone.model,
            seed=self.seed,
            config=self.config,
            features=self._features,
            layer=self.layer,
            pos_interpolation=self.pos_interpolation,
            dtype=self.dtype,
            choice=self.choice,
            num_instances=num_instances or 0,
        )
        if self.scales is not None and num_instances is not None:
            raise SpecjaxError(
                f"scales={self.scales}: only automatic masks have several; leave out num_instances",
                parameter="scales",
            )
        scales = [self.image_size] if self.scales is None else self.scales
        read = functools.partial(prepare, backbone=self.backbone, scales=scales)
        prepared = read_ahead(photographs, lambda pair: read(pair[1]))
        return segment_each(
            ((key, found) for (key, _), found in prepared), method, open_lanes(self.batch_size)
        )
