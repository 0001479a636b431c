"""From an image to the line of each metric that mR is computed from."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.loop.flags import Options
from experiments.loop.stream import Analyse, Example, Group, Outcome, Outcomes, Stopwatch
from experiments.plots.similarity_variance import generator_of, sample_tokens, sampled_variances
from specjax._sizes import padded_instances
from specjax.config import Config
from specjax.pipeline import reduce_for_instances
from specjax.tokens import valid_tokens


def variance_analysis(
    options: Options, config: Config, watch: Stopwatch
) -> Analyse:
    """An outcome for each of the metrics asked for; the tokens drawn are the same for all."""

    def analyse(group: Group, metrics: Sequence[str]) -> Callable[[], Outcomes]:
        outcomes = [of_one(example, metrics) for example in group.examples]
        return lambda: outcomes

    def of_one(example: Example, metrics: Sequence[str]) -> dict[str, Outcome]:
        truth, features = example.truth, example.features.array
        foreground = truth.instances > 0
        described = {"grid": list(example.features.grid), "num_instances": truth.count}
        lines = {metric: {**described, "tokens": 0, "intra": None, "inter": None}
                 for metric in metrics}  # fmt: skip
        if truth.count >= 2:
            most = padded_instances(truth.count)
            generator = generator_of(options.seed, example.id)
            places, owners = sample_tokens(truth.instances, generator, max_instances=most)
            grid = jnp.asarray(example.features.grid, jnp.int32)
            with watch("variance"):
                reduced = reduce_for_instances(
                    features, jnp.asarray(foreground), grid, config=config
                )
                for metric, line in lines.items():
                    found = sampled_variances(
                        reduced,
                        valid_tokens(features.shape[0], grid),
                        jnp.asarray(places),
                        jnp.asarray(owners),
                        metric=metric,
                        max_instances=most,
                    )
                    found = jax.device_get(found)
                    line["tokens"] = int(np.count_nonzero(owners))
                    if found.defined:
                        line.update(intra=float(found.intra), inter=float(found.inter))
        labels = truth.instances
        return {metric: Outcome(line, labels, foreground) for metric, line in lines.items()}

    return analyse
