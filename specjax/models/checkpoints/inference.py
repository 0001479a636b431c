"""What a file without a config says of its model: family, shape, and the number of heads.

Shapes tell everything but the number of heads. It follows from the family and the width where all
published models of that width agree; where they do not, the file is refused.
"""

import math
from collections.abc import Mapping

import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.layouts import Recognised, block_numbers, recognise
from specjax.models.config import ViTConfig
from specjax.models.positions import sine_cosine_positions

# Heads by channels, of every published model of these widths.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1664: 16}
_FAMILY_HEADS = {
    "moco_v3": {384: 12, 768: 12},
    "dinov2": {384: 6, 768: 12, 1024: 16, 1536: 24},
    "dinov2_with_registers": {384: 6, 768: 12, 1024: 16, 1536: 24},
    "dinov3_vit": {384: 6, 768: 12, 1024: 16, 1280: 20, 4096: 32},
}
_EPS = {"dinov3_vit": 1e-5}
_ROPE_THETA = 100.0
_DEFAULT_IMAGE = 224  # of MAE and MoCo v3, whose positions may be left out

Tensors = Mapping[str, np.ndarray]


def infer_config(tensors: Tensors, *, num_heads: int | None = None) -> ViTConfig:
    """The config that a file's tensors imply.

    Args:
        tensors: of the file, by key.
        num_heads: where something beside the file says it.

    Raises:
        SpecjaxError: the keys are unknown, the shapes are not those of a ViT on a square grid, or
            nothing says how many heads it has.
    """
    found = recognise(tensors)
    kernel = _first_shape(tensors, found, "patch_embedding", dimensions=4)
    if kernel is None or kernel[2] != kernel[3]:
        raise SpecjaxError(
            f"its patch projection has the shape {kernel}, which is none of a ViT's square patches"
        )
    channels, patch_size = kernel[0], kernel[-1]
    mlp_out = _first_shape(tensors, found, "mlp_out", dimensions=2, block=0)
    if mlp_out is None:
        raise SpecjaxError("its first block has no perceptron that is known here")
    positions = _array(tensors, found, "position_embeddings")
    family = family_of(tensors, found)
    side = _side(positions, family, patch_size)
    mlp_in = _first_shape(tensors, found, "mlp_in", dimensions=2, block=0)
    biases = _biases(tensors, found)
    return ViTConfig(
        hidden_size=channels,
        num_layers=max(block_numbers(tensors, found)) + 1,
        num_heads=num_heads or _heads(family, channels),
        mlp_size=mlp_out[1],
        patch_size=patch_size,
        image_size=side * patch_size,
        layer_norm_eps=_EPS.get(family, found.layout.layer_norm_eps if family == "vit" else 1e-6),
        qkv_bias="query" in biases,
        key_bias="key" in biases or "query" not in biases,
        gated_mlp=_has(tensors, found, "mlp_gate") or mlp_in == (2 * mlp_out[1], channels),
        num_registers=_number_of_registers(tensors, found),
        rope_theta=_rope_theta(tensors, found) if family == "dinov3_vit" else None,
        final_norm=_has_final_norm(tensors, found),
        family=family,
    )


def family_of(tensors: Tensors, found: Recognised) -> str:
    """The family that made these tensors, as far as they show it; "vit" where they do not."""
    has_registers = _array(tensors, found, "registers") is not None
    positions = _array(tensors, found, "position_embeddings")
    has_scale = any(
        found.key("{}." + name, 0) in tensors for name in found.layout.scales["projection"]
    )
    if positions is None and has_registers:
        return "dinov3_vit"
    if has_scale and has_registers:
        return "dinov2_with_registers"
    if has_scale and _is_patch(tensors, found, 14):
        return "dinov2"
    if "momentum_encoder" in found.prefix or "base_encoder" in found.prefix:
        return "moco_v3"
    if positions is not None and _is_moco(positions):
        return "moco_v3"
    if any(key.removeprefix(found.prefix).startswith("decoder") for key in tensors):
        return "vit_mae"
    return "vit"


def _is_moco(positions: np.ndarray) -> bool:
    """Whether these are the fixed embeddings of MoCo v3, which no other model has."""
    if positions.ndim != 3 or positions.shape[2] % 4:
        return False
    side = math.isqrt(max(positions.shape[1] - 1, 0))
    if side < 2 or side**2 != positions.shape[1] - 1 or side > 64:
        return False
    made = sine_cosine_positions(side, positions.shape[2], columns_first=False)
    return bool(np.abs(np.asarray(positions[0, 1:], np.float32) - made).max() < 1e-2)


def _heads(family: str, channels: int) -> int:
    known = _FAMILY_HEADS.get(family, _HEADS)
    if channels not in known:
        raise SpecjaxError(
            f"nothing says how many attention heads a model of {channels} channels has: put a"
            ' config.json beside it that does, such as {"num_attention_heads": 12}'
        )
    return known[channels]


def _side(positions: np.ndarray | None, family: str, patch_size: int) -> int:
    if positions is None:
        if family in ("dinov3_vit", "vit_mae", "moco_v3"):
            return max(_DEFAULT_IMAGE // patch_size, 1)
        raise SpecjaxError("it has no position embeddings, and is of no family that lacks them")
    # One more for the class token, two for a distilled model, or none.
    cells = positions.shape[1] if positions.ndim == 3 else 0
    for extra in (1, 0, 2):
        side = math.isqrt(max(cells - extra, 0))
        if side and side**2 == cells - extra:
            return side
    raise SpecjaxError(
        f"its position embeddings have the shape {positions.shape}, which is none of a square grid"
    )


def _number_of_registers(tensors: Tensors, found: Recognised) -> int:
    registers = _array(tensors, found, "registers")
    if registers is not None and registers.ndim == 3:
        return registers.shape[1]
    return int(found.prefix + "dist_token" in tensors)  # the second token of a distilled DeiT


def _rope_theta(tensors: Tensors, found: Recognised) -> float:
    """The base of all published models; a file that holds other periods is refused."""
    periods = tensors.get(found.prefix + "rope_embed.periods")
    if periods is not None:
        count = max(periods.size, 1)
        expected = _ROPE_THETA ** (np.arange(count) / count)
        if not np.allclose(np.asarray(periods, np.float64).ravel(), expected, rtol=2e-2):
            raise SpecjaxError(f"its rotary periods are not those of base {_ROPE_THETA:g}")
    return _ROPE_THETA


def _biases(tensors: Tensors, found: Recognised) -> set[str]:
    """Which of "query", "key" and "value" have a bias in the first block."""
    layout, has = found.layout, set()
    for name, filled in layout.modules:
        if found.key(f"{name}.bias", 0) in tensors:
            has |= set(filled)
    for module, name in layout.separate_biases.items():
        if found.key("{}." + name, 0) in tensors:
            has.add(module)
    if any(found.key("{}.attn.qkv.bias_mask", 0) == key for key in tensors):
        has.discard("key")  # DINOv3 masks that third of a fused bias
    return has


def _has(tensors: Tensors, found: Recognised, module: str) -> bool:
    """Whether the file has a module of its own, not stacked with others, in the first block."""
    return any(
        found.key(f"{name}.weight", 0) in tensors
        for name in found.layout.names_of(module)
        if name != "{}.mlp.fc1"
    )


def _has_final_norm(tensors: Tensors, found: Recognised) -> bool:
    """False for a classifier made of mean features, which has a norm of its own instead."""
    has = any(found.key(f"{name}.weight") in tensors for name in found.layout.names_of("norm"))
    return has or found.key("fc_norm.weight") not in tensors


def _is_patch(tensors: Tensors, found: Recognised, size: int) -> bool:
    kernel = _first_shape(tensors, found, "patch_embedding", dimensions=4)
    return kernel is not None and kernel[-1] == size


def _array(tensors: Tensors, found: Recognised, array: str) -> np.ndarray | None:
    for name in found.layout.arrays[array]:
        if found.prefix + name in tensors:
            return tensors[found.prefix + name]
    return None


def _first_shape(
    tensors: Tensors, found: Recognised, module: str, *, dimensions: int, block: int | None = None
) -> tuple[int, ...] | None:
    for name in found.layout.names_of(module):
        key = found.key(f"{name}.weight", block)
        if key in tensors and tensors[key].ndim == dimensions:
            return tensors[key].shape
    return None


def fixed_positions(config: ViTConfig) -> np.ndarray | None:
    """The position embeddings that a file of this family may leave out, CLS included; else None."""
    if config.family not in ("vit_mae", "moco_v3"):
        return None
    made = sine_cosine_positions(
        config.grid_size, config.hidden_size, columns_first=config.family == "vit_mae"
    )
    return np.concatenate([np.zeros_like(made[:1]), made])[None]
