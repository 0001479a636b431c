"""How well one channel alone splits the foreground into instances (Fig. 2).

For every channel, the foreground's tokens are clustered by their value in that channel, and the
clusters are scored as instances; the best channel of an image is chosen by that score, with the
annotation at hand. It is the most that any one channel could give, not a method.

The paper gives the result alone. Our reading: all C channels compete, with their values as the
backbone gives them (neither normalised nor filtered); the foreground is the method's own, after
post-processing; clusters are k-means', as many as instances are annotated on the grid.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from experiments.results.tables import mean
from specjax.clustering import kmeans
from specjax.evaluation import instance_scores

# The figure's strata: images of so many instances; the last holds all that have more.
STRATA = ("2", "3", "4", "5+")
# Channels clustered at once: enough to fill the processor, few enough to stay in its cache.
_AT_ONCE = 16


@functools.partial(jax.jit, static_argnames=("max_instances", "capacity", "restarts"))
def channel_mious(
    features: Float[Array, "tokens channels"],
    foreground: Bool[Array, " tokens"],
    truth: Int[Array, " tokens"],
    counted: Bool[Array, " tokens"],
    num_instances: int | Int[Array, ""],
    key: Key[Array, ""],
    *,
    max_instances: int,
    capacity: int,
    restarts: int = 10,
) -> Float[Array, " channels"]:
    """The image's mIoU when each channel alone splits the foreground, in [0, 1].

    Args:
        features: one channel is clustered at a time.
        foreground: what is clustered; all else is background.
        truth: annotated instances, 0 background.
        counted: tokens that take part in the score.
        num_instances: clusters.
        key: of the k-means starts, the same for all channels.
        max_instances: static upper bound of instances and clusters.
        capacity: static upper bound of foreground tokens; more give an undefined result.
        restarts: k-means starts.
    """
    capacity = min(capacity, features.shape[0])
    # What is not there lies behind the last token, where nothing is read.
    index = jnp.nonzero(foreground, size=capacity, fill_value=features.shape[0])[0]
    present = jnp.arange(capacity) < jnp.sum(foreground)
    values = jnp.where(present[:, None], features.at[index].get(mode="fill", fill_value=0.0), 0.0)

    def score(channel: Float[Array, " members"]) -> Float[Array, ""]:
        clusters = kmeans(
            channel[:, None], num_instances, key, max_clusters=max_instances, mask=present,
            restarts=restarts,
        )
        labels = jnp.zeros(features.shape[0], clusters.labels.dtype)
        labels = labels.at[index].set(clusters.labels + 1, mode="drop")
        return instance_scores(labels, truth, counted=counted, max_instances=max_instances).mean

    return jax.lax.map(score, values.T, batch_size=_AT_ONCE)


def by_number_of_instances(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over the images of each stratum: a row each, `None` where it has no image.

    `lines` hold "num_instances", "best_channel_miou" and "method_miou". Images of fewer than two
    instances, where there is nothing to split, are in none.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {stratum: [] for stratum in STRATA}
    for line in lines:
        if line["num_instances"] >= 2:
            groups[STRATA[min(line["num_instances"], 1 + len(STRATA)) - 2]].append(line)
    return [
        {
            "instances": stratum,
            "images": len(group),
            "best_channel_miou": mean(line["best_channel_miou"] for line in group),
            "method_miou": mean(line["method_miou"] for line in group),
        }
        for stratum, group in groups.items()
    ]
