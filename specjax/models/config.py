"""The shape of a vision transformer, and how a Hugging Face `config.json` describes it."""

import dataclasses
import math
from collections.abc import Mapping

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

# Hugging Face's names and the values it assumes for a field that is not written.
_HUGGING_FACE = {
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "mlp_size": ("intermediate_size", 3072),
    "patch_size": ("patch_size", 16),
    "image_size": ("image_size", 224),
    "layer_norm_eps": ("layer_norm_eps", 1e-12),
    "qkv_bias": ("qkv_bias", True),
}


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The shape of a ViT.

    Attributes:
        hidden_size: Channels of a token.
        num_layers: Number of blocks.
        num_heads: Attention heads of a block; divides `hidden_size`.
        mlp_size: Width of a block's perceptron.
        patch_size: Side of a patch in pixels.
        image_size: Side of the training images in pixels: it fixes the stored position embeddings.
        layer_norm_eps: Added to the variance in every LayerNorm.
        qkv_bias: Whether query, key and value projections have a bias.

    Raises:
        SpecjaxError: A value is out of range.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    mlp_size: int
    patch_size: int
    image_size: int = 224
    layer_norm_eps: float = 1e-12
    qkv_bias: bool = True

    def __post_init__(self):
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if not 0 < value <= largest:
                raise SpecjaxError(f"{name} is {value}: it must be from 1 to {largest}")
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

    @property
    def grid_size(self) -> int:
        """Side of the token grid of a training image."""
        return self.image_size // self.patch_size

    @property
    def patch_values(self) -> int:
        """Numbers in one patch: rows, columns and the three colours."""
        return self.patch_size**2 * 3

    @classmethod
    def from_huggingface(cls, fields: Mapping, *, source: str = "config.json") -> "ViTConfig":
        """The config that a parsed `config.json` describes; fields about other things are ignored.

        Raises:
            SpecjaxError: It is no ViT, or one that this model does not compute exactly. The message
                starts with `source`.
        """
        required = {"model_type": "vit", "hidden_act": "gelu", "num_channels": 3}
        assumed = {"model_type": None, "hidden_act": "gelu", "num_channels": 3}
        for name, value in required.items():
            found = fields.get(name, assumed[name])
            if found != value:
                raise SpecjaxError(
                    f"{source}: {name} is {found!r:.80}, but only {value!r} is supported: "
                    "use a ViT checkpoint such as facebook/dino-vits16"
                )
        values = {
            field: fields.get(name, default) for field, (name, default) in _HUGGING_FACE.items()
        }
        for name in ("patch_size", "image_size"):
            values[name] = _square(values[name])
        kinds = {**dict.fromkeys(_LARGEST, int), "layer_norm_eps": float, "qkv_bias": bool}
        for name, kind in kinds.items():
            if type(values[name]) is not kind:  # True is an int otherwise
                raise SpecjaxError(
                    f"{source}: {name} is {values[name]!r:.80}, not a {kind.__name__}"
                )
        try:
            config = cls(**values)
        except SpecjaxError as error:
            raise SpecjaxError(f"{source}: {error}") from None
        head = config.hidden_size // config.num_heads
        if fields.get("head_dim", head) != head:
            raise SpecjaxError(
                f"{source}: head_dim is {fields['head_dim']!r:.80}, but only "
                f"hidden_size / num_attention_heads = {head} is supported"
            )
        return config


def _square(value: object) -> object:
    """The side of `[side, side]`; anything else unchanged, for the range check to judge."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


VIT_S16 = ViTConfig(hidden_size=384, num_layers=12, num_heads=6, mlp_size=1536, patch_size=16)
