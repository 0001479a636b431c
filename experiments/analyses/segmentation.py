"""From a group of images' features to scored outcomes: what the binaries compute."""

import dataclasses
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.loop.flags import MAX_INSTANCES, Options
from experiments.loop.stream import Analyse, Example, Group, Outcome, Outcomes, Stopwatch
from experiments.results import strata
from experiments.results.tables import mean
from specjax._sizes import padded_instances
from specjax.config import Config
from specjax.pipeline import (
    ForegroundResult,
    instance_eigenpairs,
    label_instances_by_metric,
    reduce_for_instances,
    score_foreground,
    score_instances,
    segment_foreground,
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one setting is computed.

    Attributes:
        foreground: configuration of the foreground stage; its metric means nothing.
        instances: configuration of the instance stage.
    """

    foreground: Config
    instances: Config


def foreground_of(group: Group, config: Config, watch: Stopwatch) -> ForegroundResult:
    """The foreground stage, batched."""
    with watch("foreground"):
        result = group.batch.run(segment_foreground, group.features, group.grids, config=config)
        return jax.block_until_ready(result)


def instance_analysis(
    options: Options,
    plans: Mapping[str, Plan],
    watch: Stopwatch,
    *,
    label: Callable[[str], dict],
) -> Analyse:
    """Segment instances under several settings; what two settings share is computed once.

    Args:
        options: the shared flags.
        plans: how each setting is computed.
        watch: where the time goes.
        label: what a setting's lines carry besides scores.
    """
    seed = np.uint32(options.seed)

    def analyse(group: Group, settings: Sequence[str]) -> Callable[[], Outcomes]:
        batch = group.batch
        clusters = [_number_of_clusters(example, options) for example in group.examples]
        names = [_number_of(example.id) for example in group.examples]
        scoring = _Scoring(group, max(clusters))
        per_image = [batch.stack(values) for values in (np.int32(clusters), names)]

        foregrounds, found = {}, {}
        for plan, alike in _alike(plans, settings, batch.graphs):
            if plan.foreground not in foregrounds:
                result = foreground_of(group, plan.foreground, watch)
                with watch("score"):
                    foregrounds[plan.foreground] = result, scoring.of_foreground(result)
            mask = foregrounds[plan.foreground][0].mask
            with watch("instances"):
                # Two programs: how many clusters there may be concerns the second alone.
                pairs = batch.run(
                    _eigenpairs, group.features, mask, group.grids, config=plan.instances,
                    metrics=tuple(plans[setting].instances.metric for setting in alike),
                )  # fmt: skip
                result = batch.run(
                    _labels, pairs, mask, group.grids, *per_image, shared=(seed,),
                    config=plan.instances, max_instances=padded_instances(max(clusters)),
                )  # fmt: skip
                jax.block_until_ready(result)
            with watch("score"):
                scores = scoring.of_instances(result.labels)
            for place, setting in enumerate(alike):
                found[setting] = place, result, scores

        def outcomes() -> Outcomes:
            with watch("score"):
                return _outcomes(group, settings, plans, foregrounds, found, label)

        return outcomes

    return analyse


def _alike(
    plans: Mapping[str, Plan], settings: Sequence[str], most: int
) -> Iterator[tuple[Plan, Sequence[str]]]:
    """Settings that differ in the metric alone, up to `most` together, and what they share.

    Channels do not depend on the metric, and metrics share passes over the pairs.
    """
    alike: dict[Plan, list[str]] = {}
    for setting in settings:
        instances = dataclasses.replace(plans[setting].instances, metric="dot")
        alike.setdefault(Plan(plans[setting].foreground, instances), []).append(setting)
    for plan, together in alike.items():
        for first in range(0, len(together), most):
            yield plan, together[first : first + most]


def _eigenpairs(features, mask, grid, *, config, metrics):
    """From one image's features to the eigenpairs of its instance graphs."""
    reduced = reduce_for_instances(features, mask, grid, config=config)
    return instance_eigenpairs(reduced, mask, grid, config=config, metrics=metrics)


def _labels(seed, pairs, mask, grid, clusters, name, *, config, max_instances):
    return label_instances_by_metric(
        pairs, mask, grid, clusters, _key(seed, name), config=config, max_instances=max_instances
    )


def _outcomes(group, settings, plans, foregrounds, found, label) -> Outcomes:
    """What a group's results say of each image, brought to the host."""
    foregrounds = {config: group.batch.fetch(both) for config, both in foregrounds.items()}
    # Settings share results: each is fetched once.
    fetched = {id(result): group.batch.fetch((result, s)) for _, result, s in found.values()}
    outcomes: Outcomes = []
    for number, example in enumerate(group.examples):
        measures = strata.measures(example.instances)
        outcomes.append({})
        for setting in settings:
            foreground, f_scores = foregrounds[plans[setting].foreground][number]
            place, result = found[setting][:2]
            results, scores = fetched[id(result)][number]
            one, scores = jax.tree.map(lambda leaf, place=place: leaf[place], (results, scores))
            line = {
                **label(setting),
                **_description(example, foreground),
                **measures,
                **_f_scores(example, f_scores),
                "num_clusters": int(one.labels.max()),
                "eigenvalues": [float(v) for v in one.eigenvalues if v < 2.0],
                **_ious(example, scores),
            }
            outcomes[-1][setting] = Outcome(line, one.labels, foreground.mask, one.maps)
    return outcomes


def foreground_analysis(configs: Mapping[str, Config], watch: Stopwatch) -> Analyse:
    """Segment the foreground under several numbers of channels."""

    def analyse(group: Group, settings: Sequence[str]) -> Callable[[], Outcomes]:
        scoring = _Scoring(group, 1)
        found = {}
        for setting in settings:
            result = foreground_of(group, configs[setting], watch)
            with watch("score"):
                found[setting] = result, scoring.of_foreground(result)

        def outcomes() -> Outcomes:
            with watch("score"):
                fetched = {setting: group.batch.fetch(both) for setting, both in found.items()}
                return [
                    {setting: outcome(setting, example, *fetched[setting][number])
                     for setting in settings}
                    for number, example in enumerate(group.examples)
                ]  # fmt: skip

        return outcomes

    def outcome(setting: str, example: Example, foreground, f_scores) -> Outcome:
        line = {
            "M": configs[setting].M,
            **_description(example, foreground),
            "eigenvalues": [float(v) for v in foreground.eigenvalues if v < 2.0],
            **_f_scores(example, f_scores),
        }
        return Outcome(line, foreground.mask.astype(np.int32), foreground.mask)

    return analyse


class _Scoring:
    """Scores of a whole group, against annotations that lie where the results do.

    Images without annotation are compared with nothing, to no effect.
    """

    def __init__(self, group: Group, clusters: int):
        self._batch = group.batch
        tokens = group.features.shape[1]
        nothing = np.zeros(tokens, np.int32), np.zeros(tokens, bool)
        truths = [
            nothing if example.truth is None else (example.truth.instances, example.truth.counted)
            for example in group.examples
        ]
        self._truth = [self._batch.stack(arrays) for arrays in zip(*truths, strict=True)]
        counts = [0 if one.truth is None else one.truth.count for one in group.examples]
        self._most = padded_instances(max(clusters, *counts))

    def of_foreground(self, result: ForegroundResult) -> jax.Array:
        """F-scores with and without post-processing."""
        return self._batch.run(_score_foreground, result.mask, result.raw, *self._truth)

    def of_instances(self, labels: jax.Array) -> jax.Array:
        """IoU of each annotated instance, under each metric."""
        return self._batch.run(_score_labels, labels, *self._truth, max_instances=self._most)


def _score_foreground(mask, raw, instances, counted):
    return score_foreground(mask, instances, counted), score_foreground(raw, instances, counted)


def _score_labels(labels, instances, counted, *, max_instances):
    def score(labels):
        scores = score_instances(labels, instances, counted, max_instances=max_instances)
        return scores.ious

    return jax.vmap(score)(labels)


def aggregate(lines: Sequence[dict]) -> dict:
    """Dataset scores of one setting: means over images that have an instance on the grid.

    `images` and `instances` count what was scored, `images_without_instances` what was left out.
    """
    scored = [line for line in lines if line["f_score"] is not None]
    result = {
        "f_score": mean(line["f_score"] for line in scored),
        "f_score_raw": mean(line["f_score_raw"] for line in scored),
        "images": len(scored),
        "instances": sum(line["num_instances"] for line in scored),
        "images_without_instances": len(lines) - len(scored),
    }
    if any("ious" in line for line in lines):
        result["miou"] = mean(line["miou"] for line in scored)
        result["miou_instances"] = mean(iou for line in scored for iou in line["ious"])
    return result


def _description(example: Example, foreground: ForegroundResult) -> dict[str, Any]:
    return {
        "grid": list(example.features.grid),
        "num_instances": None if example.truth is None else example.truth.count,
        "num_foreground": int(foreground.mask.sum()),
    }


def _f_scores(example: Example, scores) -> dict[str, float | None]:
    """With and without post-processing; None where there is nothing to find."""
    if example.truth is None or example.truth.count == 0:
        return {"f_score": None, "f_score_raw": None}
    return {"f_score": float(scores[0]), "f_score_raw": float(scores[1])}


def _ious(example: Example, found: np.ndarray) -> dict[str, Any]:
    if example.truth is None or example.truth.count == 0:
        return {"ious": [], "miou": None}
    ious = [float(iou) for iou in found[: example.truth.count]]
    return {"ious": ious, "miou": mean(ious)}


def _number_of_clusters(example: Example, options: Options) -> int:
    """As asked for, or as annotated; one where nothing is annotated."""
    if options.num_instances is not None:
        return options.num_instances
    return min(max(example.truth.count, 1), MAX_INSTANCES)


def _number_of(image_id: str) -> np.uint32:
    return np.uint32(zlib.crc32(image_id.encode()))


def _key(seed, name) -> jax.Array:
    """A key of the image's own: results do not depend on which images came before."""
    return jax.random.fold_in(jax.random.key(seed), name)
