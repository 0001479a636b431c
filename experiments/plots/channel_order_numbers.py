"""An image's channels in the order of their entropy, and those that the method keeps (Fig. 1, 4).

Entropy is the instance stage's: of the features as the backbone gives them.
"""

import functools
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int

from specjax.channels import channel_deviation, channel_entropy, normalize_tokens
from specjax.config import Config, check_config
from specjax.tokens import Grid, valid_tokens


class ChannelOrder(NamedTuple):
    """Which channels come first, and what they are ranked by.

    Attributes:
        entropy: of each channel, in bits.
        by_entropy: all channels, lowest entropy first; the first M are what NCR keeps.
        selected: the N channels that DCR keeps of these, highest standard deviation first.
        deviation: the standard deviations of `selected`, tokens L2-normalised over the M.
    """

    entropy: Float[Array, " channels"]
    by_entropy: Int[Array, " channels"]
    selected: Int[Array, " kept"]
    deviation: Float[Array, " kept"]


@functools.partial(jax.jit, static_argnames=("config",))
def channel_order(
    features: Float[Array, "tokens channels"], grid: Grid, *, config: Config
) -> ChannelOrder:
    """The order under a configuration: see `specjax.pipeline.reduce_for_instances`."""
    config = check_config(config, features.shape[1])
    valid = valid_tokens(features.shape[0], grid)
    rule = config.protocol.instance_entropy
    entropy = channel_entropy(features, bins=config.bins, rule=rule, valid=valid)
    by_entropy = jax.lax.top_k(-entropy, features.shape[1])[1]
    reduced = normalize_tokens(features[:, by_entropy[: config.M]])
    deviation, places = jax.lax.top_k(channel_deviation(reduced, valid=valid), config.N)
    return ChannelOrder(entropy, by_entropy, by_entropy[places], deviation)
