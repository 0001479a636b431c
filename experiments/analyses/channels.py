"""What single channels reveal about instances: Fig. 1, 2, 4 and 5."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analyses import plans
from experiments.analyses.plans import InstanceAnalysis, Plan, find_foreground
from experiments.datasets.records import Dataset
from experiments.loop.backbone import Features
from experiments.loop.experiment import Experiment, Lines, Results, Setup
from experiments.loop.flags import Options
from experiments.loop.reading import Example, Examples, Outcome, Outcomes, Pending
from experiments.loop.writers import Writers
from experiments.plots import channel_deviation, channel_oracle, channel_sheet
from experiments.results.tables import mean
from experiments.runs.folder import RunFolder
from experiments.runs.names import GALLERY
from specjax import Config, SpecjaxError
from specjax._flags import MAX_INSTANCES
from specjax._sizes import capacity_for, padded_instances

_ANNOTATED = ("oracle", "deviation")


class Channels(Experiment):
    """The figures of `--figure`; each is a setting."""

    name = "channels"
    figures: ClassVar = {
        "oracle": "mIoU of the best single channel, by number of instances (Fig. 2)",
        "gallery": "a sheet of channels by entropy for each of the first 24 images (Fig. 1, 4)",
        "deviation": "standard deviation and difference between instances by channel rank (Fig. 5)",
    }

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self._config = plans.config_of(setup)
        self.settings = setup.options.figures
        self.warnings = plans.smaller_N(setup, self._config)
        self.identity = {"M": self._config.M, "N": self._config.N}
        # The method as `experiments.instance` runs it.
        self._method = InstanceAnalysis(
            {"boc": Plan(self._config, self._config)},
            num_instances=None,
            seed=setup.options.seed,
            watch=setup.watch,
            label=lambda _: {},
        )

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError if the dataset or the flags do not suit the figures."""
        only_features(options.save)
        for figure in options.figures:
            if figure in _ANNOTATED and not dataset.annotated:
                raise SpecjaxError(
                    f"--figure={figure} needs annotated instances, and dataset {dataset.name!r} has"
                    " no annotation; --figure=gallery needs none"
                )
        if "oracle" in options.figures and options.num_instances is not None:
            raise SpecjaxError(
                f"--num_instances={options.num_instances}: --figure=oracle always uses the"
                " annotated number of instances; leave the flag out"
            )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """An outcome for each figure."""
        compute = {"oracle": self._oracle, "gallery": self._sheets, "deviation": self._deviation}
        by_setting = [compute[setting](examples, features) for setting in settings]
        outcomes: Outcomes = [
            dict(zip(settings, of_image, strict=True)) for of_image in zip(*by_setting, strict=True)
        ]
        return lambda: outcomes

    def _oracle(self, examples: Examples, features: Features) -> list[Outcome]:
        method = [outcomes["boc"] for outcomes in self._method(examples, features, ["boc"])()]
        return [
            self._best_channel(example, features.of(number), method[number])
            for number, example in enumerate(examples)
        ]

    def _best_channel(self, example: Example, features: jax.Array, found: Outcome) -> Outcome:
        truth = example.truth
        assert truth is not None  # `check` has seen to it
        scores: dict[str, float | None]
        if truth.count < 2:
            scores = {"best_channel": None, "best_channel_miou": None, "method_miou": None}
            return _outcome(example, scores)
        with self.setup.watch("oracle"):
            of_channels = channel_oracle.channel_mious(
                features,
                jnp.asarray(found.foreground),
                jnp.asarray(truth.instances),
                jnp.asarray(truth.counted),
                min(truth.count, MAX_INSTANCES),
                jax.random.key(self.setup.options.seed),
                max_instances=padded_instances(truth.count),
                capacity=capacity_for(found.line["num_foreground"], example.tokens),
                restarts=self._config.restarts,
            )
            mious = np.asarray(of_channels)
        scores = {
            "best_channel": int(mious.argmax()),
            "best_channel_miou": float(mious.max()),
            "method_miou": found.line["miou"],
        }
        return _outcome(example, scores, found.foreground)

    def _sheets(self, examples: Examples, features: Features) -> list[Outcome]:
        if all(example.place >= GALLERY for example in examples):
            return [_outcome(example, {}) for example in examples]
        foreground = find_foreground(features, self._config, self.setup.watch)
        masks = features.batch.fetch(foreground.mask)
        return [_outcome(example, {}, mask) for example, mask in zip(examples, masks, strict=True)]

    def _deviation(self, examples: Examples, features: Features) -> list[Outcome]:
        found = []
        for number, example in enumerate(examples):
            line: dict[str, Any] = {"deviation": None, "difference": None}
            truth = example.truth
            assert truth is not None  # `check` has seen to it
            if truth.count >= 2:
                with self.setup.watch("deviation"):
                    curves = channel_deviation.deviation_by_rank(
                        features.of(number),
                        jnp.asarray(example.inputs.tiling.grid, jnp.int32),
                        jnp.asarray(truth.instances),
                        config=self._config,
                        max_instances=padded_instances(truth.count),
                    )
                    # Seven digits are all that float32 holds, and keep the lines short.
                    for name, curve in curves._asdict().items():
                        line[name] = [float(f"{value:.7g}") for value in np.asarray(curve)]
            found.append(_outcome(example, line))
        return found

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """The means of a figure's numbers."""
        result = {"figure": setting, "M": self._config.M, "N": self._config.N}
        if setting not in _ANNOTATED:
            return {**result, "images": len(lines)}
        scored = [line for line in lines if line["num_instances"] >= 2]
        counts = {"images": len(scored), "images_left_out": len(lines) - len(scored)}
        if setting == "deviation":
            return {**result, **counts}
        return {
            **result,
            "best_channel_miou": mean(line["best_channel_miou"] for line in scored),
            "method_miou": mean(line["method_miou"] for line in scored),
            **counts,
            "by_instances": channel_oracle.by_number_of_instances(lines),
        }

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """The plots over all images."""
        written: list[pathlib.Path] = []
        if "oracle" in lines:
            written += channel_oracle.write(folder.figures, lines["oracle"])
        sheets = folder.figures / _SHEETS
        if "gallery" in lines and sheets.exists():
            written.append(sheets)  # one folder instead of up to 24 names
        if "deviation" in lines:
            written += channel_deviation.write(folder.figures, lines["deviation"], N=self._config.N)
        return written

    def writers(self, folder: RunFolder, save: frozenset[str]) -> Writers:
        """The writer of the sheets."""
        return _SheetWriters(folder, save, self._config, self.setup.dataset.category)


_SHEETS = "channels"


class _SheetWriters(Writers):
    """Writes a sheet of channels for each of the first images."""

    def __init__(
        self,
        folder: RunFolder,
        save: frozenset[str],
        config: Config,
        category: Mapping[str, Any] | None,
    ):
        super().__init__(folder, save, category)
        self._config = config

    def lack(self, image_id: str, place: int, setting: str) -> bool:
        """Whether a file of the image is missing."""
        if setting == "gallery" and place < GALLERY:
            sheets = channel_sheet.paths(self.folder.figures / _SHEETS, image_id)
            if not all(path.exists() for path in sheets):
                return True
        return super().lack(image_id, place, setting)

    def remove(self, image_id: str, setting: str) -> None:
        """Delete the image's sheet too."""
        super().remove(image_id, setting)
        for path in channel_sheet.paths(self.folder.figures / _SHEETS, image_id):
            path.unlink(missing_ok=True)

    def write(
        self, example: Example, setting: str, outcome: Outcome, features: Callable[[], jax.Array]
    ) -> None:
        """Write the image's sheet, if it gets one, and the files that `--save` asks for."""
        super().write(example, setting, outcome, features)
        if setting == "gallery" and example.place < GALLERY:
            sheet = channel_sheet.of_image(
                example.image,
                features(),
                outcome.foreground,
                example.instances,
                example.inputs.tiling,
                config=self._config,
            )
            channel_sheet.write(self.folder.figures / _SHEETS, example.id, sheet)


def only_features(save: frozenset[str]) -> None:
    """Raises SpecjaxError if `--save` asks for files that these experiments do not write."""
    for item in sorted(save - {"features"}):
        raise SpecjaxError(
            f"--save={item}: this experiment saves only features (--save=features); its figures"
            " are always written"
        )


def _outcome(
    example: Example, line: dict[str, Any], foreground: np.ndarray | None = None
) -> Outcome:
    mask = np.zeros(example.tokens, bool) if foreground is None else foreground
    described = {
        "grid": list(example.inputs.tiling.grid),
        "num_instances": None if example.truth is None else example.truth.count,
    }
    return Outcome({**described, **line}, mask.astype(np.int32), mask)
