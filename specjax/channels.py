"""Channel reduction: noise (NCR, by entropy) and deviation (DCR, by standard deviation).

Features are `[tokens, channels]`, floating point, row-major over the token grid. `valid` marks
the tokens that exist; the others are padding and do not count. Reductions return indices of
channels, so that the caller chooses which features to select from.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from specjax._numerics import masked_mean, safe_divide, safe_norm, safe_sqrt, safe_x_log2_x

# Tokens that are counted in bytes before the counts are added up: at most 255.
_COUNTED_TOKENS = 128


@dataclasses.dataclass(frozen=True)
class EntropyRule:
    """How the entropy of a channel follows from its histogram.

    The default is the paper's Eq. 1-2; the other values are choices of the released code.

    Attributes:
        over_all_channels: divide counts by `tokens * channels` instead of by `tokens`. A channel's
            probabilities then do not sum to 1.
        smoothing: added to every count.
        empty_bin_entropy: entropy given to a channel with an empty bin (before smoothing); None
            sums over its other bins, as usual.

    Example:
        >>> features = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        >>> rule = specjax.EntropyRule(empty_bin_entropy=5.0)
        >>> print(specjax.channel_entropy(features, bins=4, rule=rule))
        [2. 5.]
    """

    over_all_channels: bool = False
    smoothing: float = 0.0
    empty_bin_entropy: float | None = None


def channel_histogram(
    features: Float[Array, "tokens channels"],
    *,
    bins: int = 30,
    valid: Bool[Array, " tokens"] | None = None,
) -> Int[Array, "channels bins"]:
    """Histogram of each channel over the image, from its minimum to its maximum.

    Equals `numpy.histogram(features[:, c], bins)[0]` for each channel: the last bin is closed, and
    a constant channel has a range of 1 around its value. Features that are NaN or infinite give an
    undefined result.
    """
    number = _bin_numbers(features, bins, valid)
    tokens, channels = features.shape
    blocks = jnp.pad(number, ((0, -tokens % _COUNTED_TOKENS), (0, 0)), constant_values=bins)
    every_bin = jnp.arange(bins, dtype=number.dtype)[:, None, None]

    def count(total, block):
        # The count of one block fits a byte, and many bytes fit a vector register.
        found = jnp.sum((block[None] == every_bin).astype(jnp.uint8), axis=1, dtype=jnp.uint8)
        return total + found.astype(jnp.int32), None

    start = jnp.zeros((bins, channels), jnp.int32)
    return jax.lax.scan(count, start, blocks.reshape(-1, _COUNTED_TOKENS, channels))[0].T


def _bin_numbers(features, bins, valid):
    """The bin of each value, `bins` for padding, in a small integer type where that is enough."""
    if valid is None:
        valid = jnp.ones(features.shape[0], bool)
    present = valid[:, None]
    low = jnp.min(jnp.where(present, features, jnp.inf), axis=0)
    high = jnp.max(jnp.where(present, features, -jnp.inf), axis=0)
    constant = low == high
    low, high = jnp.where(constant, low - 0.5, low), jnp.where(constant, high + 0.5, high)
    # Edges equal numpy's to the last bit, also when compiled. Without the barrier, XLA would
    # multiply by 1 / bins; without the maximum, which changes no value, it would fuse the sum.
    width = (high - low) / jax.lax.optimization_barrier(jnp.full_like(high, bins))

    def edge(number):
        return low[None, :] + jnp.maximum(number * width[None, :], 0.0)

    # The quotient may be off by one; the edges decide, as in numpy.
    number = safe_divide(features - low[None, :], width[None, :])
    number = jnp.clip(jnp.floor(number), 0.0, bins - 1.0)
    number = jnp.where(features < edge(number), number - 1.0, number)
    above = (features >= edge(number + 1.0)) & (number < bins - 1.0)
    number = jnp.where(above, number + 1.0, number)
    kind = jnp.uint8 if bins < 256 else jnp.int32
    return jnp.where(present, number, bins).astype(kind)


@functools.partial(jax.jit, static_argnames=("bins", "rule"))
def channel_entropy(
    features: Float[Array, "tokens channels"],
    *,
    bins: int = 30,
    rule: EntropyRule = EntropyRule(),
    valid: Bool[Array, " tokens"] | None = None,
) -> Float[Array, " channels"]:
    """Entropy of each channel's histogram in bits (Eq. 1-2).

    The histogram runs from the channel's minimum to its maximum over the image. With the default
    rule the entropy equals `scipy.stats.entropy(numpy.histogram(channel, bins)[0], base=2)`. A
    constant channel has entropy 0. The entropy is piecewise constant: its gradient is 0.

    Args:
        features: of one image, finite.
        bins: of the histogram (B); static.
        rule: how the entropy follows from the histogram; static.
        valid: the tokens that exist; None for all.

    Returns:
        In [0, log2(bins)] with the default rule.

    Example:
        >>> features = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [3.0, 1.0]])
        >>> print(specjax.channel_entropy(features, bins=4))
        [2. 1.]
    """
    counts = channel_histogram(features, bins=bins, valid=valid)
    present = features.shape[0] if valid is None else jnp.maximum(jnp.sum(valid), 1)
    total = jnp.asarray(present, features.dtype)
    if rule.over_all_channels:
        total = total * features.shape[1]
    probability = (counts.astype(features.dtype) + rule.smoothing) / total
    entropy = -jnp.sum(safe_x_log2_x(probability), axis=1)
    if rule.empty_bin_entropy is not None:
        entropy = jnp.where(jnp.any(counts == 0, axis=1), rule.empty_bin_entropy, entropy)
    return entropy


@jax.jit
def channel_deviation(
    features: Float[Array, "tokens channels"], *, valid: Bool[Array, " tokens"] | None = None
) -> Float[Array, " channels"]:
    """Standard deviation of each channel over the image (Eq. 3), divisor n.

    Equals `numpy.std(features, axis=0)`. Its gradient is 0 where a channel is constant.

    Args:
        features: of one image.
        valid: the tokens that exist; None for all.

    Returns:
        At least 0, in the unit of the features.

    Example:
        >>> print(specjax.channel_deviation(jnp.array([[1.0, 5.0], [3.0, 5.0]])))
        [1. 0.]
    """
    if valid is None:
        valid = jnp.ones(features.shape[0], bool)
    # Subtracting a token first makes a constant channel exactly 0 and loses less to rounding. The
    # deviation does not depend on it, so the gradient need not pass through it.
    centred = features - jax.lax.stop_gradient(features[:1])
    centred = centred - masked_mean(centred, valid)[None, :]
    return safe_sqrt(masked_mean(centred * centred, valid))


@functools.partial(jax.jit, static_argnames=("keep", "bins", "rule"))
def noise_channel_reduction(
    features: Float[Array, "tokens channels"],
    *,
    keep: int,
    bins: int = 30,
    rule: EntropyRule = EntropyRule(),
    valid: Bool[Array, " tokens"] | None = None,
) -> Int[Array, " keep"]:
    """NCR, noise channel reduction: the channels of lowest entropy, lowest first.

    Equals `numpy.argsort(entropy, stable=True)[:keep]` of `channel_entropy`.

    Args:
        features: of one image, finite.
        keep: how many channels to keep (M), at most all; static.
        bins: of the histogram (B); static.
        rule: how the entropy follows from the histogram; static.
        valid: the tokens that exist; None for all.

    Returns:
        Indices of channels: select with `features[:, indices]`.

    Example:
        >>> features = jnp.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]])
        >>> print(specjax.noise_channel_reduction(features, keep=1, bins=4))
        [1]
    """
    return jax.lax.top_k(-channel_entropy(features, bins=bins, rule=rule, valid=valid), keep)[1]


@functools.partial(jax.jit, static_argnames=("keep",))
def deviation_channel_reduction(
    features: Float[Array, "tokens channels"],
    *,
    keep: int,
    valid: Bool[Array, " tokens"] | None = None,
) -> Int[Array, " keep"]:
    """DCR, deviation channel reduction: the channels of highest standard deviation.

    Equals `numpy.argsort(-deviation, stable=True)[:keep]` of `channel_deviation`.

    Args:
        features: of one image.
        keep: how many channels to keep (N), at most all; static.
        valid: the tokens that exist; None for all.

    Returns:
        Indices of channels, highest deviation first: select with `features[:, indices]`.

    Example:
        >>> features = jnp.array([[0.0, 7.0, 1.0], [2.0, 7.0, 9.0]])
        >>> print(specjax.deviation_channel_reduction(features, keep=2))
        [2 0]
    """
    return jax.lax.top_k(channel_deviation(features, valid=valid), keep)[1]


@jax.jit
def normalize_tokens(
    features: Float[Array, "tokens channels"],
) -> Float[Array, "tokens channels"]:
    """Divide each token by its Euclidean norm; a zero token stays zero.

    Equals `sklearn.preprocessing.normalize(features)`. Its gradient at a zero token is 0.

    Args:
        features: of one image.

    Returns:
        Rows of length 1 or 0.

    Example:
        >>> print(specjax.normalize_tokens(jnp.array([[3.0, 4.0], [0.0, 0.0]])))
        [[0.6 0.8]
         [0.  0. ]]
    """
    return safe_divide(features, safe_norm(features)[:, None])
