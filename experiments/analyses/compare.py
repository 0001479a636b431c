"""Several methods on the same features of each image, under the same scores."""

import dataclasses
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analyses import plans, scoring
from experiments.analyses.plans import InstanceAnalysis, Plan, number_of
from experiments.analyses.scoring import Scoring, aggregate
from experiments.loop.backbone import Features
from experiments.loop.experiment import Experiment, Setup
from experiments.loop.reading import Examples, Outcome, Outcomes, Pending
from experiments.results.tables import mean
from specjax import Foreground
from specjax.methods.choice import Choice, choice_of, label_by


class Compare(Experiment):
    """Each method of `--method`."""

    name = "compare"
    needs_annotation = True

    def __init__(self, setup: Setup):
        super().__init__(setup)
        options, config = setup.options, plans.config_of(setup)
        self._choices = {
            method: choice_of(
                method,
                tau=options.tau,
                rounds=options.rounds,
                center=options.center,
                solver=options.solver,
                family=setup.backbone.family,
                features=options.features,
            )
            for method in options.methods
        }
        self.settings = tuple(self._choices)
        self.warnings = plans.smaller_N(setup, config) if "dsi" in self.settings else []
        self.identity: Mapping[str, Any] = {
            "M": config.M,
            "N": config.N,
            "num_instances": options.num_instances or "oracle",
            "tau": options.tau,
            "rounds": options.rounds,
            "center": options.center,
        }
        self._dsi = InstanceAnalysis(
            {"dsi": Plan(config, config)},
            num_instances=options.num_instances,
            seed=options.seed,
            watch=setup.watch,
            label=lambda _: {},
        )

    def analyse(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """The objects that some of the methods find in a batch, and the seconds that it takes."""
        found: dict[str, tuple[Pending, float]] = {}
        for method in settings:
            choice, start = self._choices[method], time.perf_counter()
            if choice is None:
                pending = self._dsi(examples, features, ["dsi"])
            else:
                pending = self._other(examples, features, choice)
            found[method] = pending, (time.perf_counter() - start) / len(examples)
        return lambda: _joined(found, len(examples))

    def _other(self, examples: Examples, features: Features, choice: Choice) -> Pending:
        batch, watch, method = features.batch, self.setup.watch, choice.method
        with watch(method):
            numbers = batch.stack([number_of(example.id) for example in examples])
            seed = (np.uint32(self.setup.options.seed),)
            arrays = (features.values, features.grids, numbers)
            found = jax.block_until_ready(batch.run(_label, *arrays, shared=seed, choice=choice))
        with watch("score"):
            scores = Scoring(examples, features, found.maps.shape[1])
            foreground = batch.run(_as_foreground, found.foreground)
            scored = found, scores.of_foreground(foreground), scores.of_instances(found.labels)

        def fetch() -> Outcomes:
            return [
                {method: _outcome(method, example, *result)}
                for example, result in zip(examples, batch.fetch(scored), strict=True)
            ]

        return fetch

    def result(self, setting: str, lines: Sequence[dict]) -> dict[str, Any]:
        """The scores of a method, how many objects it finds in an image, and its seconds."""
        return {
            "method": setting,
            "miou": None,
            "miou_instances": None,
            **aggregate(lines),
            "objects": mean(line["num_clusters"] for line in lines),
            "seconds": statistics.median(line["seconds"] for line in lines) if lines else None,
        }


def _label(seed, features, grid, number, *, choice):
    """The objects of one image; labels with a leading axis, as scores take them."""
    key = jax.random.fold_in(jax.random.key(seed), number)
    found = label_by(features, grid, key, choice=choice)
    return found._replace(labels=found.labels[None])


def _as_foreground(mask):
    return Foreground(mask, mask, jnp.zeros(2))


def _outcome(method, example, found, f_scores, ious) -> Outcome:
    labels = found.labels[0]
    line = {
        "grid": list(example.inputs.tiling.grid),
        "num_instances": None if example.truth is None else example.truth.count,
        "num_foreground": int(found.foreground.sum()),
        **scoring.f_scores(example, f_scores),
        "num_clusters": int(labels.max()),
        **scoring.ious(example, ious[0]),
    }
    return Outcome(line, labels, found.foreground, found.maps)


def _joined(found: Mapping[str, tuple[Pending, float]], images: int) -> Outcomes:
    """The outcomes of all methods for each image, with their seconds."""
    outcomes: Outcomes = [{} for _ in range(images)]
    for method, (pending, seconds) in found.items():
        for of_image, each in zip(outcomes, pending(), strict=True):
            line = {"method": method, **each[method].line, "seconds": seconds}
            of_image[method] = dataclasses.replace(each[method], line=line)
    return outcomes
