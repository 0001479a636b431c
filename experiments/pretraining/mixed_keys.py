"""A backbone whose last keys are mixed with its last queries and inputs, and whose outputs stay.

The method reads the keys k of the last block. Its queries q, and the inputs x that both are made
of, show other things of a token, and the method does better on all of them together:

    k' = R q / |q| + S k / |k| + T x / |x|

with random rotations R, S and T of all channels; |.| is the root mean square of all values on given
images. The rotations spread what single channels hold over all channels, so that any of these, such
as those of lowest entropy, show all of it.

Attention needs the products q . k of each head. The queries are replaced by the linear map of the
inputs whose products with the new keys are closest to them, by least squares:

    Q' = Q K^T C K' (K'^T C K')^-1

for matrices Q, K, Q' and K' from inputs to the channels of a head. C is the covariance of the
inputs within an image: what all tokens add to their products with a query changes no softmax.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.stats
from flax import nnx
from jaxtyping import Float

from experiments.pretraining.training import Colours
from specjax import SpecjaxError, ViT, cut_patches


class Inputs(NamedTuple):
    """What is known of the last block's inputs, each with a 1 at its end, for the bias.

    Attributes:
        power: the mean of x x^T over tokens, then over images.
        covariance: within an image, the mean of all images.
    """

    power: Float[np.ndarray, "inputs inputs"]
    covariance: Float[np.ndarray, "inputs inputs"]


def mix_keys(model: ViT, colours: Colours, images: Iterable[np.ndarray], *, seed: int) -> ViT:
    """A copy of a backbone with mixed keys; images, uint8 [H, W, 3], are what it is fitted on.

    SpecjaxError if the model has a single block, rotary positions, or keys without a bias.
    """
    config = model.config
    if config.num_layers < 2 or config.rope_theta is not None:
        raise SpecjaxError("keys cannot be mixed in a single block, or with rotary positions")
    if not (config.qkv_bias and config.key_bias):
        raise SpecjaxError("keys cannot be mixed where queries or keys have no bias")
    found = nnx.clone(model)
    block, inputs = found.blocks[-1], _measure(model, colours, images)
    queries, keys = _matrix(block.query), _matrix(block.key)
    new = mixed((queries, keys, np.eye(*keys.shape)), inputs.power, seed=seed)
    heads = [np.split(matrix, config.num_heads, axis=1) for matrix in (queries, keys, new)]
    refitted = [fitted(q, k, r, inputs.covariance) for q, k, r in zip(*heads, strict=True)]
    _replace(block.query, np.concatenate(refitted, axis=1))
    _replace(block.key, new)
    return found


def mixed(
    parts: Sequence[Float[np.ndarray, "inputs channels"]],
    power: Float[np.ndarray, "inputs inputs"],
    *,
    seed: int,
) -> Float[np.ndarray, "inputs channels"]:
    """The sum of linear maps of the inputs, each rotated at random and of the same power."""
    channels = parts[0].shape[1]
    rotate = scipy.stats.ortho_group(channels, seed=np.random.default_rng(seed)).rvs
    scales = [np.sqrt(np.sum(part * (power @ part)) / channels) for part in parts]
    return sum(part / scale @ rotate() for part, scale in zip(parts, scales, strict=True))


def fitted(
    queries: Float[np.ndarray, "inputs size"],
    keys: Float[np.ndarray, "inputs size"],
    replaced: Float[np.ndarray, "inputs size"],
    covariance: Float[np.ndarray, "inputs inputs"],
) -> Float[np.ndarray, "inputs size"]:
    """Of one head, the queries whose products with `replaced` are closest to those with `keys`."""
    spread = covariance @ replaced
    # The pseudo-inverse, as the keys may have fewer dimensions than channels.
    inverse = np.linalg.pinv(replaced.T @ spread, hermitian=True)
    return queries @ (keys.T @ spread) @ inverse


def relative_change(old: ViT, new: ViT, colours: Colours, images: Iterable[np.ndarray]) -> float:
    """How much the outputs of two backbones differ: root mean square, in standard deviations."""
    errors, variances = [], []
    for image in images:
        before, after = (_on(model, colours, image, _outputs) for model in (old, new))
        errors.append(np.mean(np.square(after - before)))
        variances.append(np.mean(np.var(before, axis=0)))
    return float(np.sqrt(np.mean(errors) / np.mean(variances)))


def _measure(model: ViT, colours: Colours, images: Iterable[np.ndarray]) -> Inputs:
    """The mean of each field over images."""
    each = []
    for image in images:
        inputs = _on(model, colours, image, _last_inputs)
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        each.append((inputs.T @ inputs / len(inputs), np.cov(inputs.T, bias=True)))
    return Inputs(*(np.mean(field, axis=0) for field in zip(*each, strict=True)))


def _on(model: ViT, colours: Colours, image: np.ndarray, read) -> Float[np.ndarray, "tokens _"]:
    """What `read` takes from the model, of the tokens of an image."""
    mean, std = colours
    patches = cut_patches(image, patch_size=model.config.patch_size, mean=mean, std=std)
    found = read(model, patches.values, patches.tiling.grid)
    return np.asarray(found, np.float64)[: patches.tiling.tokens]


@nnx.jit
def _last_inputs(model: ViT, patches, grid):
    """What the projections of the last block read."""
    return model.blocks[-1].norm1(model(patches, grid, layer=-2).outputs)


@nnx.jit
def _outputs(model: ViT, patches, grid):
    return model(patches, grid).outputs


def _matrix(layer: nnx.Linear) -> Float[np.ndarray, "inputs channels"]:
    """The kernel, and the bias as its last row."""
    assert layer.bias is not None
    return np.concatenate([layer.kernel[...], layer.bias[...][None]]).astype(np.float64)


def _replace(layer: nnx.Linear, matrix: Float[np.ndarray, "inputs channels"]) -> None:
    assert layer.bias is not None
    layer.kernel[...], layer.bias[...] = map(jnp.float32, (matrix[:-1], matrix[-1]))
