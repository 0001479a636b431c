"""Vision transformer (ViT) in Flax NNX: patches of one image in, tokens and attention inputs out.

One model for the families of `specjax.models.config`: what differs between them is configuration.

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

import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from specjax.errors import SpecjaxError
from specjax.models.attention import PRECISION, Product, attention, rotate
from specjax.models.config import ViTConfig
from specjax.models.features import BlockOutputs, block_number
from specjax.models.positions import interpolate_positions, resampling_named, rotary_angles
from specjax.tokens import Grid, valid_tokens


class ViT(nnx.Module):
    """A ViT with a class token (CLS), without a head.

    Layer scale is no part of it: checkpoints fold it into the projections that it follows.

    Args:
        config: its shape.
        rngs: of the initial weights.

    Attributes:
        config: its shape.

    Example:
        >>> config = specjax.ViTConfig(
        ...     hidden_size=8, num_layers=2, num_heads=2, mlp_size=16, patch_size=2, image_size=8
        ... )
        >>> model = specjax.random_checkpoint(config, seed=0).model
        >>> block = model(jnp.ones((6, 12)), (2, 3), layer=1)
        >>> block.keys.shape, block.outputs.shape, block.cls.shape
        ((6, 8), (6, 8), (8,))
        >>> len(model.every_block(jnp.ones((6, 12)), (2, 3)))
        2
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        channels = config.hidden_size

        def learned(rows: int) -> nnx.Param:
            return nnx.Param(
                nnx.initializers.normal(0.02)(rngs.params(), (rows, channels), jnp.float32)
            )

        self.config = config
        self.patch_embedding = _linear(config.patch_values, channels, rngs=rngs)
        self.cls_token = learned(1)
        if config.num_registers:
            self.registers = learned(config.num_registers)
        if config.rope_theta is None:
            self.position_embeddings = learned(1 + config.grid_size**2)
        self.blocks = nnx.List([_Block(config, rngs=rngs) for _ in range(config.num_layers)])
        if config.final_norm:
            self.norm = _layer_norm(config, rngs=rngs)

    def __call__(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        *,
        layer: int = -1,
        pos_interpolation: str = "auto",
        attention_chunk: int = 128,
        dtype: str = "float32",
    ) -> BlockOutputs:
        """Keys, queries, values and outputs of one block, for one image.

        Args:
            patches: normalised patches, (row in patch, column in patch, channel) flattened. Rows
                from `height * width` on are padding and change nothing.
            grid: height and width in tokens, Python integers or traced.
            layer: the block, 1 for the first; negative counts from the end, -1 for the last. Later
                blocks are not computed.
            pos_interpolation: position embeddings for other sizes: "auto" as the family's original
                code resamples them, "dino" as DINO's, "hf" as Hugging Face's.
            attention_chunk: queries per step of the attention: its memory is
                `num_heads * attention_chunk * tokens` floats.
            dtype: of what is multiplied, "float32" or "bfloat16"; outputs are float32.

        Returns:
            Float32 arrays over the patch tokens.

        Raises:
            SpecjaxError: the model has no such `layer`, `pos_interpolation`, `attention_chunk` or
                `dtype`, or the patches do not fit the model or the grid.
        """
        depth = self._check(patches, grid, layer, attention_chunk)
        product = Product.named(dtype)
        walk = self._walk(patches, grid, depth, pos_interpolation, attention_chunk, product)
        for outputs in walk:
            last = outputs
        return last

    def every_block(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        *,
        pos_interpolation: str = "auto",
        attention_chunk: int = 128,
        dtype: str = "float32",
    ) -> tuple[BlockOutputs, ...]:
        """What `__call__` gives for each block, first to last, in one pass.

        Args:
            patches: as `__call__` takes them.
            grid: the same.
            pos_interpolation: the same.
            attention_chunk: the same.
            dtype: the same.

        Returns:
            One `BlockOutputs` a block.

        Raises:
            SpecjaxError: as `__call__` does.
        """
        depth = self._check(patches, grid, -1, attention_chunk)
        product = Product.named(dtype)
        return tuple(self._walk(patches, grid, depth, pos_interpolation, attention_chunk, product))

    def _walk(
        self, patches, grid, depth, pos_interpolation, attention_chunk, product
    ) -> Iterator[BlockOutputs]:
        """The outputs of the first `depth` blocks, one after the other."""
        real = valid_tokens(patches.shape[0], grid)
        hidden, angles = self._embed(patches, grid, real, pos_interpolation, product)
        extra = 1 + self.config.num_registers
        key_mask = jnp.concatenate([jnp.ones(extra, bool), real])
        for number, block in enumerate(self.blocks[:depth], start=1):
            hidden, *inputs = block(hidden, key_mask, angles, attention_chunk, product)
            is_last = number == self.config.num_layers
            outputs = self.norm(hidden) if is_last and self.config.final_norm else hidden
            queries, keys, values = (projected[extra:] for projected in inputs)
            yield BlockOutputs(keys, queries, values, outputs[extra:], outputs[0])

    def _embed(
        self, patches, grid, real, pos_interpolation, product
    ) -> tuple[Float[Array, "sequence channels"], Float[Array, "sequence head_size"] | None]:
        """CLS, registers and patches before the first block, and their rotary angles."""
        config, tokens = self.config, patches.shape[0]
        # A masked key still meets its value as 0 * value, and 0 * NaN is NaN.
        hidden = product.linear(self.patch_embedding, jnp.where(real[:, None], patches, 0.0))
        resampling = resampling_named(pos_interpolation, family=config.family)
        cls_token, angles = self.cls_token[...], None
        if config.rope_theta is None:
            positions = self.position_embeddings[...]
            cls_token = cls_token + positions[:1]
            hidden = hidden + interpolate_positions(
                positions[1:], tokens, grid, resampling=resampling
            )
        else:
            turns = rotary_angles(tokens, grid, head_size=config.head_size, theta=config.rope_theta)
            # CLS and registers have no place in the image and are not turned.
            angles = jnp.pad(turns, ((1 + config.num_registers, 0), (0, 0)))
        registers = [self.registers[...]] if config.num_registers else []
        return jnp.concatenate([cls_token, *registers, hidden]), angles

    def _check(
        self,
        patches: Float[Array, "tokens patch_values"],
        grid: Grid,
        layer: int,
        attention_chunk: int,
    ) -> int:
        """The number of blocks to run; raises what `__call__` documents."""
        tokens, values = patches.shape
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
        return block_number(layer, num_layers=self.config.num_layers)


class _Block(nnx.Module):
    """Pre-norm transformer block: attention, then a perceptron of two layers, gated or not."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        channels, bias = config.hidden_size, config.qkv_bias
        self.num_heads = config.num_heads
        self.gated = config.gated_mlp
        self.norm1 = _layer_norm(config, rngs=rngs)
        self.query = _linear(channels, channels, bias=bias, rngs=rngs)
        self.key = _linear(channels, channels, bias=bias and config.key_bias, rngs=rngs)
        self.value = _linear(channels, channels, bias=bias, rngs=rngs)
        self.projection = _linear(channels, channels, rngs=rngs)
        self.norm2 = _layer_norm(config, rngs=rngs)
        if config.gated_mlp:
            self.mlp_gate = _linear(channels, config.mlp_size, rngs=rngs)
        self.mlp_in = _linear(channels, config.mlp_size, rngs=rngs)
        self.mlp_out = _linear(config.mlp_size, channels, rngs=rngs)

    def __call__(
        self,
        hidden: Float[Array, "sequence channels"],
        key_mask: Bool[Array, "sequence"],
        angles: Float[Array, "sequence head_size"] | None,
        attention_chunk: int,
        product: Product,
    ) -> tuple[Float[Array, "sequence channels"], ...]:
        """The block's output, and its queries, keys and values before any rotation."""
        normed = self.norm1(hidden)
        queries, keys, values = (
            product.linear(layer, normed) for layer in (self.query, self.key, self.value)
        )
        placed = (
            (queries, keys) if angles is None else (rotate(queries, angles), rotate(keys, angles))
        )
        attended = attention(
            *placed, values, key_mask, num_heads=self.num_heads, chunk=attention_chunk,
            dtype=product.dtype,
        )  # fmt: skip
        hidden = hidden + product.linear(self.projection, attended)
        normed = self.norm2(hidden)
        widened = product.linear(self.mlp_in, normed)
        if self.gated:
            widened = jax.nn.silu(product.linear(self.mlp_gate, normed)) * widened
        else:
            widened = _gelu(widened)
        return hidden + product.linear(self.mlp_out, widened), queries, keys, values


def _gelu(x: Float[Array, "sequence size"]) -> Float[Array, "sequence size"]:
    """The exact (erf) GELU, as PyTorch computes it; `erfc` would be slower on a CPU."""
    return 0.5 * x * (1.0 + jax.lax.erf(x * math.sqrt(0.5)))


def _linear(inputs: int, outputs: int, *, bias: bool = True, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, use_bias=bias, precision=PRECISION, rngs=rngs)


def _layer_norm(config: ViTConfig, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The fast variance, E[x^2] - E[x]^2, loses digits where the mean is large.
    return nnx.LayerNorm(
        config.hidden_size, epsilon=config.layer_norm_eps, use_fast_variance=False, rngs=rngs
    )
