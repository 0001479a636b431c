"""Vision transformer (ViT) in Flax NNX: patches of one image in, tokens and attention inputs out.

Layout: the patches of an image are `[tokens, patch_values]` float32, flat over the token grid (see
`specjax.tokens`), each patch flattened as (row, column, channel) and already normalised. The grid
may be traced and the array may be padded, so that images of many sizes share one compiled program.
Everything is float32, and every matrix product asks for full float32 precision, so that a GPU
(tf32) or TPU (bfloat16) selects the same channels as a CPU. `dtype="bfloat16"` rounds what is
multiplied to bfloat16, sums in float32, and leaves all else as it is: faster where the hardware
has such products, at a relative error of 0.2 to 0.4 % in the keys (`specjax-mini`, three drawn
scenes).

The module knows no files and no network: `specjax.models.checkpoints` fills it. It is never mutated
by a call, so it may be used through `nnx.split` and `nnx.merge` inside `jax.jit` and `jax.vmap`.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from specjax.errors import SpecjaxError
from specjax.models.config import ViTConfig
from specjax.models.positions import interpolate_positions
from specjax.tokens import Grid, valid_tokens

_PRECISION = jax.lax.Precision.HIGHEST
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


class BlockOutputs(NamedTuple):
    """What one block computes for the patch tokens; padding rows are meaningless.

    Attributes:
        keys: Output of the key projection, bias included, heads concatenated.
        queries: The same of the query projection.
        values: The same of the value projection.
        tokens: The block's output; of the last block, after the model's final LayerNorm.
        cls: The same of the class token, which the others leave out.
    """

    keys: Float[Array, "tokens channels"]
    queries: Float[Array, "tokens channels"]
    values: Float[Array, "tokens channels"]
    tokens: Float[Array, "tokens channels"]
    cls: Float[Array, " channels"]


class ViT(nnx.Module):
    """A ViT with a class token (CLS) and learned position embeddings, without a head."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        channels = config.hidden_size
        normal = nnx.initializers.normal(0.02)
        self.config = config
        self.patch_embedding = _linear(config.patch_values, channels, rngs=rngs)
        self.cls_token = nnx.Param(normal(rngs.params(), (1, channels), jnp.float32))
        self.position_embeddings = nnx.Param(
            normal(rngs.params(), (1 + config.grid_size**2, channels), jnp.float32)
        )
        self.blocks = nnx.List([_Block(config, rngs=rngs) for _ in range(config.num_layers)])
        self.norm = _layer_norm(config, rngs=rngs)

    def __call__(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        *,
        layer: int = -1,
        interpolation: str = "dino",
        attention_chunk: int = 128,
        dtype: str = "float32",
    ) -> BlockOutputs:
        """Keys, queries, values and tokens of one block, for one image.

        Args:
            patches: Normalised patches, (row in patch, column in patch, channel) flattened. Rows
                from `height * width` on are padding and change nothing.
            grid: Height and width in tokens, Python integers or traced.
            layer: The block; negative counts from the end. Later blocks are not computed.
            interpolation: Position embeddings for other sizes, see `interpolate_positions`.
            attention_chunk: Queries per step of the attention: its memory is
                `num_heads * attention_chunk * tokens` floats.
            dtype: Of what is multiplied, "float32" or "bfloat16"; outputs are float32.

        Raises:
            SpecjaxError: the model has no such `layer`, `interpolation`, `attention_chunk` or
                `dtype`, or the patches do not fit the model or the grid.
        """
        depth = self._check(patches, grid, layer, attention_chunk)
        product = _Product(_dtype_named(dtype))
        for outputs in self._walk(patches, grid, depth, interpolation, attention_chunk, product):
            last = outputs
        return last

    def every_block(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        *,
        interpolation: str = "dino",
        attention_chunk: int = 128,
        dtype: str = "float32",
    ) -> tuple[BlockOutputs, ...]:
        """What `__call__` gives for each block, first to last, in one pass."""
        depth = self._check(patches, grid, -1, attention_chunk)
        product = _Product(_dtype_named(dtype))
        return tuple(self._walk(patches, grid, depth, interpolation, attention_chunk, product))

    def _walk(
        self, patches, grid, depth, interpolation, attention_chunk, product
    ) -> Iterator[BlockOutputs]:
        """The outputs of the first `depth` blocks, one after the other."""
        real = valid_tokens(patches.shape[0], grid)
        # A masked key still meets its value as 0 * value, and 0 * NaN is NaN.
        hidden = product.linear(self.patch_embedding, jnp.where(real[:, None], patches, 0.0))
        positions = self.position_embeddings[...]
        hidden = hidden + interpolate_positions(
            positions[1:], patches.shape[0], grid, interpolation=interpolation
        )
        hidden = jnp.concatenate([self.cls_token[...] + positions[:1], hidden])
        key_mask = jnp.concatenate([jnp.ones(1, bool), real])
        for number, block in enumerate(self.blocks[:depth], start=1):
            hidden, queries, keys, values = block(hidden, key_mask, attention_chunk, product)
            tokens = self.norm(hidden) if number == self.config.num_layers else hidden
            yield BlockOutputs(keys[1:], queries[1:], values[1:], tokens[1:], tokens[0])

    def _check(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        layer: int,
        attention_chunk: int,
    ) -> int:
        """The number of blocks to run; raises what `__call__` documents."""
        depth, (tokens, values) = self.config.num_layers, patches.shape
        if not -depth <= layer < depth:
            raise SpecjaxError(
                f"layer {layer} is out of range: the model has {depth} blocks, "
                f"0 to {depth - 1} or -{depth} to -1"
            )
        if attention_chunk < 1:
            raise SpecjaxError(f"attention_chunk is {attention_chunk}: it must be at least 1")
        if values != self.config.patch_values:
            size = self.config.patch_size
            raise SpecjaxError(
                f"patches have {values} values each, but the model takes "
                f"{size} x {size} x 3 = {self.config.patch_values}: cut them with "
                f"patch size {size}"
            )
        height, width = grid[0], grid[1]
        if not (isinstance(height, jax.Array) or isinstance(width, jax.Array)):  # maybe traced
            if min(height, width) < 1 or height * width > tokens:
                raise SpecjaxError(
                    f"a grid of {height} x {width} does not fit {tokens} patches: "
                    "pass the grid the patches were cut on"
                )
        return layer % depth + 1


class _Block(nnx.Module):
    """Pre-norm transformer block: attention, then a two-layer perceptron."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        channels, bias = config.hidden_size, config.qkv_bias
        self.num_heads = config.num_heads
        self.norm1 = _layer_norm(config, rngs=rngs)
        self.query = _linear(channels, channels, bias=bias, rngs=rngs)
        self.key = _linear(channels, channels, bias=bias, rngs=rngs)
        self.value = _linear(channels, channels, bias=bias, rngs=rngs)
        self.projection = _linear(channels, channels, rngs=rngs)
        self.norm2 = _layer_norm(config, rngs=rngs)
        self.mlp_in = _linear(channels, config.mlp_size, rngs=rngs)
        self.mlp_out = _linear(config.mlp_size, channels, rngs=rngs)

    def __call__(
        self,
        hidden: Float[Array, "sequence channels"],
        key_mask: Bool[Array, "sequence"],
        attention_chunk: int,
        product: "_Product",
    ) -> tuple[Float[Array, "sequence channels"], ...]:
        """The block's output, and its queries, keys and values."""
        normed = self.norm1(hidden)
        queries, keys, values = (
            product.linear(layer, normed) for layer in (self.query, self.key, self.value)
        )
        attended = attention(
            queries, keys, values, key_mask, num_heads=self.num_heads, chunk=attention_chunk,
            dtype=product.dtype,
        )  # fmt: skip
        hidden = hidden + product.linear(self.projection, attended)
        widened = _gelu(product.linear(self.mlp_in, self.norm2(hidden)))
        return hidden + product.linear(self.mlp_out, widened), queries, keys, values


@dataclasses.dataclass(frozen=True)
class _Product:
    """Matrix products of factors rounded to a precision, summed in float32."""

    dtype: jax.typing.DTypeLike

    def linear(self, layer: nnx.Linear, inputs: jax.Array) -> jax.Array:
        """The layer's output."""
        outputs = self(inputs, layer.kernel[...])
        return outputs if layer.bias is None else outputs + layer.bias[...][None, :]

    def __call__(self, left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.matmul(
            left.astype(self.dtype),
            right.astype(self.dtype),
            precision=_PRECISION,
            preferred_element_type=jnp.float32,
        )


def _dtype_named(name: str) -> jax.typing.DTypeLike:
    if name not in DTYPES:
        raise SpecjaxError(f"unknown dtype {name!r}: choose {' or '.join(DTYPES)}")
    return DTYPES[name]


def attention(
    queries: Float[Array, "sequence channels"],
    keys: Float[Array, "sequence channels"],
    values: Float[Array, "sequence channels"],
    key_mask: Bool[Array, "sequence"],
    *,
    num_heads: int,
    chunk: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "sequence channels"]:
    """Softmax attention, at most `chunk` queries at a time; keys outside the mask weigh 0.

    At least one key must be inside the mask. `dtype` is that of what is multiplied.
    """
    product = _Product(dtype)
    length, channels = queries.shape
    size = channels // num_heads
    steps = math.ceil(length / chunk)
    # Equal steps waste fewer padded queries than full ones and a remainder.
    step = min(math.ceil(length / steps), chunk)
    keys, values = keys.astype(dtype), values.astype(dtype)
    queries = jnp.pad(queries * (1 / math.sqrt(size)), ((0, steps * step - length), (0, 0)))
    # Heads first and contiguous: each step is then two plain batched matrix products.
    queries = queries.reshape(steps, step, num_heads, size).transpose(0, 2, 1, 3)
    keys = keys.reshape(length, num_heads, size).transpose(1, 2, 0)
    values = values.reshape(length, num_heads, size).transpose(1, 0, 2)
    penalty = jnp.where(key_mask, 0.0, -jnp.inf)[None, None, :]

    def attend(queries: Float[Array, "heads step size"]) -> Float[Array, "heads step size"]:
        scores = product(queries, keys) + penalty
        weights = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
        # Dividing after the product touches `size` numbers a query instead of `length`.
        total = jnp.sum(weights, axis=-1, keepdims=True)
        return product(weights, values) / total

    attended = attend(queries[0])[None] if steps == 1 else jax.lax.map(attend, queries)
    return attended.transpose(0, 2, 1, 3).reshape(steps * step, channels)[:length]


def _gelu(x: Float[Array, "sequence size"]) -> Float[Array, "sequence size"]:
    """The exact (erf) GELU, as PyTorch computes it; `erfc` would be slower on a CPU."""
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _linear(inputs: int, outputs: int, *, bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, use_bias=bias, precision=_PRECISION, rngs=rngs)


def _layer_norm(config: ViTConfig, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.
    return nnx.LayerNorm(
        config.hidden_size, epsilon=config.layer_norm_eps, use_fast_variance=False, rngs=rngs
    )
