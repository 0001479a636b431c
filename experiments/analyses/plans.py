"""Instances under several settings; what two settings share is computed once."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.analyses import scoring
from experiments.analyses.scoring import Scoring
from experiments.loop.backbone import Features
from experiments.loop.experiment import Setup
from experiments.loop.reading import Example, Examples, Outcome, Outcomes, Pending
from experiments.loop.stopwatch import Stopwatch
from experiments.results import published, strata
from specjax import (
    Config,
    Foreground,
    channel_count,
    instance_eigenpairs,
    label_instances,
    reduce_features,
    segment_foreground,
)
from specjax._flags import MAX_INSTANCES
from specjax._sizes import one_by_one, padded_instances


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one setting is computed: the configurations of the two stages."""

    foreground: Config
    instances: Config


def config_of(setup: Setup, *, M: str | None = None, N: int | None = None) -> Config:
    """The configuration that the flags describe, or the one with the given M and N; N <= M."""
    options = setup.options
    channels = channel_count(options.Ms[0] if M is None else M, setup.backbone.channels)
    return Config(
        M=channels,
        N=min(options.Ns[0] if N is None else N, channels),
        bins=options.bins,
        metric=options.metrics[0],
        protocol=options.protocol,
        solver=options.solver,
    )


def smaller_N(setup: Setup, config: Config) -> list[str]:
    """A warning if N had to be smaller than the flag says."""
    N = setup.options.Ns[0]
    return [f"N={N} is more than M={config.M}; N={config.N} is used"] if config.N < N else []


def remark(setup: Setup, measured_on: str, here: str) -> str:
    """What the published numbers of a table were measured on, and what ours were."""
    options = setup.options
    return published.remark(
        measured_on,
        dataset=options.dataset,
        backbone=published.backbone_name(
            setup.backbone.kind, checkpoint=options.checkpoint, features_dir=options.features_dir
        ),
        image_size=options.image_size,
        here=here,
    )


def find_foreground(features: Features, config: Config, watch: Stopwatch) -> Foreground:
    """The foreground stage on a batch."""
    with watch("foreground"):
        run = features.batch.run
        found = run(segment_foreground, features.values, features.grids, config=config)
        return jax.block_until_ready(found)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InstanceAnalysis:
    """Segments the instances of a batch under several settings, each with its plan.

    `num_instances` is None for the annotated number; `label` gives what the lines of a setting
    hold besides scores.
    """

    plans: Mapping[str, Plan] = dataclasses.field(kw_only=False)
    num_instances: int | None
    seed: int
    watch: Stopwatch
    label: Callable[[str], dict[str, Any]]

    def __call__(self, examples: Examples, features: Features, settings: Sequence[str]) -> Pending:
        """Compute a batch; calling the result fetches the outcomes from the devices."""
        batch = features.batch
        clusters = [self._clusters(example) for example in examples]
        numbers = [number_of(example.id) for example in examples]
        scores = Scoring(examples, features, max(clusters))
        per_image = [batch.stack(list(map(np.int32, clusters))), batch.stack(numbers)]
        foregrounds: dict[Config, Any] = {}
        found: dict[str, Any] = {}
        for plan, group in self._groups(settings, batch.graphs):
            if plan.foreground not in foregrounds:
                foreground = find_foreground(features, plan.foreground, self.watch)
                with self.watch("score"):
                    f_scores = scores.of_foreground(foreground)
                foregrounds[plan.foreground] = foreground, f_scores
            mask = foregrounds[plan.foreground][0].mask
            with self.watch("instances"):
                # Two programs, as only the second depends on the largest number of clusters.
                pairs = batch.run(
                    _eigenpairs,
                    features.values,
                    mask,
                    features.grids,
                    config=plan.instances,
                    metrics=tuple(self.plans[setting].instances.metric for setting in group),
                )
                instances = batch.run(
                    _labels,
                    pairs,
                    mask,
                    features.grids,
                    *per_image,
                    shared=(np.uint32(self.seed),),
                    config=plan.instances,
                    max_instances=padded_instances(max(clusters)),
                )
                jax.block_until_ready(instances)
            with self.watch("score"):
                scored = instances, scores.of_instances(instances.labels)
            found.update({setting: (place, scored) for place, setting in enumerate(group)})
        return functools.partial(self._fetch, examples, features, settings, foregrounds, found)

    def _clusters(self, example: Example) -> int:
        """The given number of instances or the annotated one; 1 if nothing is annotated."""
        if self.num_instances is not None:
            return self.num_instances
        count = 0 if example.truth is None else example.truth.count
        return min(max(count, 1), MAX_INSTANCES)

    def _groups(self, settings: Sequence[str], size: int) -> Iterator[tuple[Plan, Sequence[str]]]:
        """Groups of at most `size` settings that differ only in the metric, with their plan.

        Their channels are the same, and one pass over the pairs of tokens serves all metrics.
        """
        groups: dict[Plan, list[str]] = {}
        for setting in settings:
            plan = self.plans[setting]
            instances = dataclasses.replace(plan.instances, metric="dot")
            groups.setdefault(Plan(plan.foreground, instances), []).append(setting)
        for plan, group in groups.items():
            for first in range(0, len(group), size):
                yield plan, group[first : first + size]

    def _fetch(self, examples, features, settings, foregrounds, found) -> Outcomes:
        """The outcomes of each image, with the results brought to the host."""
        with self.watch("score"):
            fetch = features.batch.fetch
            foregrounds = {config: fetch(scored) for config, scored in foregrounds.items()}
            # Settings share results: each is fetched once.
            fetched = {id(scored): fetch(scored) for _, scored in found.values()}
            outcomes: Outcomes = []
            for number, example in enumerate(examples):
                measures = strata.measures(example.instances)
                outcomes.append({})
                for setting in settings:
                    foreground, f_scores = foregrounds[self.plans[setting].foreground][number]
                    place, scored = found[setting]
                    instances, ious = jax.tree.map(
                        lambda leaf, place=place: leaf[place], fetched[id(scored)][number]
                    )
                    line = {
                        **self.label(setting),
                        **scoring.describe(example, foreground),
                        **measures,
                        **scoring.f_scores(example, f_scores),
                        "num_clusters": int(instances.labels.max()),
                        "eigenvalues": scoring.eigenvalues(instances.eigenvalues),
                        **scoring.ious(example, ious),
                        **scoring.flaws_of(example, instances.labels),
                    }
                    outcomes[-1][setting] = Outcome(
                        line, instances.labels, foreground.mask, instances.maps
                    )
            return outcomes


def too_many_asked(setting: str, lines: Sequence[dict], num_instances: int | None) -> list[str]:
    """A warning if more instances were asked for than an image has.

    Tokens that do not differ in the eigensegments make one instance.
    """
    asked = [line["num_instances"] if num_instances is None else num_instances for line in lines]
    count = sum(
        wanted > min(line["num_foreground"], MAX_INSTANCES, line.get("num_clusters", wanted))
        for wanted, line in zip(asked, lines, strict=True)
    )
    warning = (
        f"{setting}: images with fewer instances than asked for: {count} (an image has at most one"
        f" for each foreground token, and at most {MAX_INSTANCES})"
    )
    return [warning] if count else []


def number_of(image_id: str) -> np.uint32:
    """A number from which an image gets its own random key, whatever images came before."""
    return np.uint32(zlib.crc32(image_id.encode()))


def _eigenpairs(features, mask, grid, *, config, metrics):
    """From one image's features to the eigenpairs of its instance graphs."""
    reduced = reduce_features(features, mask, grid, config=config)
    return instance_eigenpairs(reduced, mask, grid, config=config, metrics=metrics)


def _labels(seed, pairs, mask, grid, clusters, number, *, config, max_instances):
    """The labels from the eigenpairs of each of several metrics."""
    key = jax.random.fold_in(jax.random.key(seed), number)

    def label(pairs):
        return label_instances(
            pairs, mask, grid, clusters, key, config=config, max_instances=max_instances
        )

    return one_by_one(label, pairs)
