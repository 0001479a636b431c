"""The shape of a vision transformer: its variants are fields, not classes of their own."""

import dataclasses
import math
from typing import NamedTuple

from specjax.errors import SpecjaxError

# Far above any published ViT: they keep a corrupt config from asking for absurd allocations.
_LARGEST = {
    "hidden_size": 16384,
    "num_layers": 256,
    "num_heads": 1024,
    "mlp_size": 131072,
    "patch_size": 256,
    "image_size": 16384,
}
_MOST_REGISTERS = 256


class Resampling(NamedTuple):
    """How stored position embeddings are resampled to a grid of another size.

    Attributes:
        offset: added to the number of tokens along a side before the scale is computed.
        antialias: whether the kernel widens where the grid shrinks.
    """

    offset: float = 0.0
    antialias: bool = False


class Family(NamedTuple):
    """What the code of a family of models does that its weights do not show.

    Attributes:
        original: how the family's original code resamples position embeddings.
        huggingface: how transformers does it.
        layer_scale: whether every block of such a model has one.
    """

    original: Resampling
    huggingface: Resampling = Resampling()
    layer_scale: bool = False


_DINO = Resampling(offset=0.1)

# By the `model_type` of Hugging Face, which lacks MoCo v3.
FAMILIES = {
    "vit": Family(original=_DINO),  # DINO's, iBOT's and, any other ViT of this shape
    "vit_msn": Family(original=Resampling()),
    "vit_mae": Family(original=Resampling()),
    "moco_v3": Family(original=Resampling()),
    "dinov2": Family(original=_DINO, layer_scale=True),
    "dinov2_with_registers": Family(
        original=Resampling(antialias=True),
        huggingface=Resampling(antialias=True),
        layer_scale=True,
    ),
    "dinov3_vit": Family(original=Resampling(), layer_scale=True),  # rotary: nothing to resample
}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The shape of a ViT.

    Attributes:
        hidden_size: channels of a token.
        num_layers: number of blocks.
        num_heads: attention heads of a block; divides `hidden_size`.
        mlp_size: width of a block's perceptron.
        patch_size: side of a patch in pixels.
        image_size: side of the training images in pixels: it fixes the stored position embeddings.
        layer_norm_eps: added to the variance in every LayerNorm.
        qkv_bias: whether query, key and value projections have a bias.
        key_bias: whether the key projection has one, where the other two do.
        gated_mlp: whether the perceptron is a SwiGLU, `mlp_out(silu(mlp_gate(x)) * mlp_in(x))`,
            instead of `mlp_out(gelu(mlp_in(x)))`.
        num_registers: learned tokens beside the class token, left out of every result like it.
        rope_theta: base of rotary positions, which replace position embeddings; None for these.
        final_norm: whether a LayerNorm follows the last block.
        family: whose code the weights are from, one of `FAMILIES`.

    Raises:
        SpecjaxError: a value is out of range.

    Example:
        >>> config = specjax.ViTConfig(
        ...     hidden_size=384, num_layers=12, num_heads=6, mlp_size=1536, patch_size=14,
        ...     image_size=518, family="dinov2",
        ... )
        >>> config.grid_size
        37
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    mlp_size: int
    patch_size: int
    image_size: int = 224
    layer_norm_eps: float = 1e-12
    qkv_bias: bool = True
    key_bias: bool = True
    gated_mlp: bool = False
    num_registers: int = 0
    rope_theta: float | None = None
    final_norm: bool = True
    family: str = "vit"

    def __post_init__(self):
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if not 0 < value <= largest:
                raise SpecjaxError(f"{name} is {value}: it must be from 1 to {largest}")
        if not 0 <= self.num_registers <= _MOST_REGISTERS:
            raise SpecjaxError(
                f"num_registers is {self.num_registers}: it must be from 0 to {_MOST_REGISTERS}"
            )
        if self.hidden_size % self.num_heads:
            raise SpecjaxError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )
        if self.patch_size > self.image_size:
            raise SpecjaxError(
                f"patch_size {self.patch_size} is larger than image_size {self.image_size}"
            )
        if not (math.isfinite(self.layer_norm_eps) and self.layer_norm_eps >= 0):
            raise SpecjaxError(
                f"layer_norm_eps is {self.layer_norm_eps!r}: it must not be negative"
            )
        if self.family not in FAMILIES:
            raise SpecjaxError(f"family is {self.family!r}: choose one of {', '.join(FAMILIES)}")
        if self.rope_theta is not None:
            self._check_rope(self.rope_theta)

    def _check_rope(self, theta: float) -> None:
        if not (math.isfinite(theta) and theta > 1):
            raise SpecjaxError(f"rope_theta is {theta!r}: it must be more than 1")
        if self.head_size % 4:
            raise SpecjaxError(
                f"heads of {self.head_size} channels cannot have rotary positions: it must be a"
                " multiple of 4"
            )

    @property
    def grid_size(self) -> int:
        """Side of the token grid of a training image."""
        return self.image_size // self.patch_size

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_heads

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: rows, columns and the three colours."""
        return self.patch_size**2 * 3


VIT_S16 = ViTConfig(hidden_size=384, num_layers=12, num_heads=6, mlp_size=1536, patch_size=16)
