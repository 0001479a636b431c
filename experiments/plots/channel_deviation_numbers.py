"""Whether channels that vary most also tell instances apart best (Fig. 5).

Channels are those that NCR keeps, tokens L2-normalised over them as in the instance stage, ranked
by standard deviation over all tokens, highest first, as DCR ranks them. Beside it stands the mean,
over pairs of annotated instances of the image, of the absolute difference of a channel's means
over the two. Both have the features' unit.

The paper gives the curves alone; that instances are the annotated ones on the grid, that a pair
counts once whatever its sizes, and that images count equally at each rank, is our reading.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from experiments.results.tables import mean
from specjax.channels import channel_deviation
from specjax.config import Config
from specjax.pipeline import reduce_for_instances
from specjax.tokens import Grid, valid_tokens


class ByRank(NamedTuple):
    """Two values per channel, highest standard deviation first.

    Attributes:
        deviation: standard deviation over the image.
        difference: mean absolute difference between two instances; 0 for fewer than two.
    """

    deviation: Float[Array, " ranks"]
    difference: Float[Array, " ranks"]


@functools.partial(jax.jit, static_argnames=("config", "max_instances"))
def deviation_by_rank(
    features: Float[Array, "tokens channels"],
    grid: Grid,
    truth: Int[Array, " tokens"],
    *,
    config: Config,
    max_instances: int,
) -> ByRank:
    """Both curves of one image, over all M ranks; `truth` holds 1 to `max_instances`, 0 no one."""
    valid = valid_tokens(features.shape[0], grid)
    # With N = M, and nothing masked, DCR only sorts.
    ranked = reduce_for_instances(
        features, valid, grid, config=dataclasses.replace(config, N=config.M)
    )
    difference = _mean_difference(ranked, truth, max_instances)
    return ByRank(channel_deviation(ranked, valid=valid), difference)


def _mean_difference(
    features: Float[Array, "tokens channels"], truth: Int[Array, " tokens"], max_instances: int
) -> Float[Array, " channels"]:
    """Mean over pairs of instances of the absolute difference of their means, by channel."""
    member = truth[None, :] == jnp.arange(1, max_instances + 1)[:, None]
    size = jnp.sum(member, axis=1)
    total = jnp.matmul(
        member.astype(features.dtype), features, precision=jax.lax.Precision.HIGHEST
    )
    means = total / jnp.maximum(size, 1).astype(features.dtype)[:, None]
    there = size > 0
    pair = there[:, None] & there[None, :] & ~jnp.eye(max_instances, dtype=bool)

    def one(channel: Float[Array, " instances"]) -> Float[Array, ""]:
        apart = jnp.abs(channel[:, None] - channel[None, :])
        return jnp.sum(jnp.where(pair, apart, 0.0))

    pairs = jnp.maximum(jnp.sum(pair), 1).astype(features.dtype)
    return jax.lax.map(one, means.T) / pairs


def average_by_rank(lines: Sequence[dict]) -> list[dict]:
    """Means over images of two instances or more: a row per rank, 1 for the highest deviation.

    `lines` hold "num_instances" and the lists "deviation" and "difference".
    """
    told = [line for line in lines if line["num_instances"] >= 2]
    ranks = len(told[0]["deviation"]) if told else 0
    return [
        {
            "rank": rank + 1,
            "deviation": mean(line["deviation"][rank] for line in told),
            "difference": mean(line["difference"][rank] for line in told),
        }
        for rank in range(ranks)
    ]
