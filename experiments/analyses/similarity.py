"""How evenly each metric sees the tokens of one instance: Fig. 6, 7 and 13."""

import pathlib
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analyses import plans
from experiments.analyses.channels import only_features
from experiments.datasets.records import Dataset
from experiments.loop.backbone import Features
from experiments.loop.experiment import Experiment, Lines, Results, Setup
from experiments.loop.flags import Options
from experiments.loop.reading import Example, Examples, Outcome, Pending
from experiments.plots import similarity_variance, toy_pixels
from experiments.runs.folder import RunFolder
from specjax import METRICS, SpecjaxError, reduce_features, valid_tokens
from specjax._sizes import padded_instances


class Similarity(Experiment):
    """The variances from which mR is computed, for each metric on the same random tokens."""

    name = "similarity"
    figures: ClassVar = {
        "toy": "three made-up pixels and their similarities (Fig. 6, 7; opens no dataset)",
        "variance": "mR, the variance within instances over that between them, by metric (Fig. 13)",
    }

    def __init__(self, setup: Setup):
        super().__init__(setup)
        self._config = plans.config_of(setup)
        self.settings = tuple(METRICS)
        self.warnings = plans.smaller_N(setup, self._config)
        self.identity = {"M": self._config.M, "N": self._config.N}

    @classmethod
    def check(cls, options: Options, dataset: Dataset) -> None:
        """Raises SpecjaxError if the dataset or the flags do not suit the figure."""
        only_features(options.save)
        if not dataset.annotated:
            raise SpecjaxError(
                f"--figure=variance needs annotated instances, and dataset {dataset.name!r} has no"
                " annotation; --figure=toy needs none"
            )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """The variances of similarities of random tokens under each metric."""
        outcomes = [
            self._of_image(example, features.of(number), settings)
            for number, example in enumerate(examples)
        ]
        return lambda: outcomes

    def _of_image(
        self, example: Example, values: jax.Array, metrics: Sequence[str]
    ) -> dict[str, Outcome]:
        truth, grid = example.truth, example.inputs.tiling.grid
        assert truth is not None  # `check` has seen to it
        foreground = truth.instances > 0
        empty = {"grid": list(grid), "num_instances": truth.count, "tokens": 0}
        lines = {metric: {**empty, "intra": None, "inter": None} for metric in metrics}
        if truth.count >= 2:
            max_instances = padded_instances(truth.count)
            generator = similarity_variance.generator_of(self.setup.options.seed, example.id)
            places, owners = similarity_variance.sample_tokens(
                truth.instances, generator, max_instances=max_instances
            )
            on_device = jnp.asarray(grid, jnp.int32)
            with self.setup.watch("variance"):
                reduced = reduce_features(
                    values, jnp.asarray(foreground), on_device, config=self._config
                )
                for metric, line in lines.items():
                    found = similarity_variance.sampled_variances(
                        reduced,
                        valid_tokens(example.tokens, on_device),
                        jnp.asarray(places),
                        jnp.asarray(owners),
                        metric=metric,
                        max_instances=max_instances,
                    )
                    found = jax.device_get(found)
                    line["tokens"] = int(np.count_nonzero(owners))
                    if found.defined:
                        line.update(intra=float(found.intra), inter=float(found.inter))
        labels = truth.instances
        return {metric: Outcome(line, labels, foreground) for metric, line in lines.items()}

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """The mR of a metric."""
        ratio = similarity_variance.ratio_over_images(lines)
        return {"metric": setting, "M": self._config.M, "N": self._config.N, **ratio}

    def draw(self, folder: RunFolder, results: Results, lines: Lines) -> Sequence[pathlib.Path]:
        """The figures of `--figure`."""
        drawn = similarity_variance.write(folder.figures, results)
        toy = toy_pixels.write(folder.figures) if "toy" in self.setup.options.figures else []
        return [*toy, *drawn]
