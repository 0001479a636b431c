"""Hugging Face's `config.json` of a vision transformer, and timm's, as a `ViTConfig`."""

from collections.abc import Callable, Mapping

from specjax.errors import SpecjaxError
from specjax.models.config import ViTConfig

# Fields by the names of `ViTConfig`: Hugging Face's name, and the value that it assumes where the
# field is not written.
_Fields = Mapping[str, tuple[str, object]]

_COMMON: _Fields = {
    "hidden_size": ("hidden_size", 768),
    "num_layers": ("num_hidden_layers", 12),
    "num_heads": ("num_attention_heads", 12),
    "patch_size": ("patch_size", 16),
    "image_size": ("image_size", 224),
    "qkv_bias": ("qkv_bias", True),
}
_VIT: _Fields = {
    **_COMMON,
    "mlp_size": ("intermediate_size", 3072),
    "layer_norm_eps": ("layer_norm_eps", 1e-12),
}
_DINOV2: _Fields = {
    **_COMMON,
    "patch_size": ("patch_size", 14),
    "layer_norm_eps": ("layer_norm_eps", 1e-6),
    "gated_mlp": ("use_swiglu_ffn", False),
}
_REGISTERS = ("num_register_tokens", 4)
_BY_TYPE: Mapping[str, _Fields] = {
    "vit": _VIT,
    "vit_msn": {**_VIT, "layer_norm_eps": ("layer_norm_eps", 1e-6)},
    "vit_mae": _VIT,
    "dinov2": _DINOV2,
    "dinov2_with_registers": {
        **_DINOV2,
        "patch_size": ("patch_size", 16),
        "num_registers": _REGISTERS,
    },
    "dinov3_vit": {
        "hidden_size": ("hidden_size", 384),
        "num_layers": ("num_hidden_layers", 12),
        "num_heads": ("num_attention_heads", 6),
        "mlp_size": ("intermediate_size", 1536),
        "patch_size": ("patch_size", 16),
        "image_size": ("image_size", 224),
        "layer_norm_eps": ("layer_norm_eps", 1e-5),
        "qkv_bias": ("query_bias", True),
        "key_bias": ("key_bias", False),
        "gated_mlp": ("use_gated_mlp", False),
        "num_registers": ("num_register_tokens", 0),
        "rope_theta": ("rope_theta", 100.0),
    },
}
MODEL_TYPES = tuple(_BY_TYPE)
_MLP_RATIO = ("mlp_ratio", 4)

# What the model computes whatever the config says; another value is refused.
_REQUIRED: Mapping[str, Callable[[Mapping], object]] = {
    "num_channels": lambda fields: 3,
    "hidden_act": lambda fields: "silu" if fields.get("use_gated_mlp") else "gelu",
    "value_bias": lambda fields: fields.get("query_bias", True),
    "proj_bias": lambda fields: True,
    "mlp_bias": lambda fields: True,
}
_KINDS = {"layer_norm_eps": float, "rope_theta": float, "qkv_bias": bool, "key_bias": bool}
_KINDS |= {"gated_mlp": bool}


def config_of(fields: Mapping, *, source: str) -> ViTConfig:
    """The config that a parsed `config.json` describes; fields about other things are ignored.

    Raises:
        SpecjaxError: It is no ViT, or one that this model does not compute exactly. The message
            starts with `source`.
    """
    kind = fields.get("model_type")
    if not isinstance(kind, str) or kind not in _BY_TYPE:
        raise SpecjaxError(
            f"{source}: model_type is {kind!r:.80}, which is none of {', '.join(MODEL_TYPES)}: "
            "use a checkpoint such as facebook/dinov2-small or facebook/dino-vits16"
        )
    for name, wanted in _REQUIRED.items():
        if fields.get(name, wanted(fields)) != wanted(fields):
            raise SpecjaxError(
                f"{source}: {name} is {fields[name]!r:.80}, but only {wanted(fields)!r} is computed"
            )
    values = {field: fields.get(name, assumed) for field, (name, assumed) in _BY_TYPE[kind].items()}
    for name in ("patch_size", "image_size"):
        values[name] = _square(values[name])
    if "mlp_size" not in values:
        values["mlp_size"] = _mlp_size(fields, values["hidden_size"], bool(values["gated_mlp"]))
    for name, value in values.items():
        expected = _KINDS.get(name, int)
        if expected is float and type(value) is int:
            values[name] = value = float(value)
        if type(value) is not expected:  # True is an int otherwise
            raise SpecjaxError(f"{source}: {name} is {value!r:.80}, not a {expected.__name__}")
    try:
        config = ViTConfig(**values, family=kind)
    except SpecjaxError as error:
        raise SpecjaxError(f"{source}: {error}") from None
    if fields.get("head_dim", config.head_size) != config.head_size:
        raise SpecjaxError(
            f"{source}: head_dim is {fields['head_dim']!r:.80}, but only "
            f"hidden_size / num_attention_heads = {config.head_size} is computed"
        )
    return config


def heads_of(fields: Mapping) -> int | None:
    """The number of heads that a config without a model type gives: timm's, or a user's."""
    arguments = fields.get("model_args")
    for given in (fields.get("num_attention_heads"), fields.get("num_heads")):
        if type(given) is int:
            return given
    if isinstance(arguments, dict) and type(arguments.get("num_heads")) is int:
        return arguments["num_heads"]
    name = str(fields.get("architecture", ""))
    return next((heads for part, heads in _BY_ARCHITECTURE if part in name), None)


# timm's names of architectures whose heads do not follow from their channels.
_BY_ARCHITECTURE = (
    ("huge_plus_patch16_dinov3", 20),
    ("giant_patch14_dinov2", 24),
    ("giant_patch14_reg4_dinov2", 24),
    ("vit_huge", 16),
    ("vit_giant", 16),
    ("vit_gigantic", 16),
    ("vit_so400m", 16),
)


def _mlp_size(fields: Mapping, hidden_size: object, gated: bool) -> object:
    """The width that a ratio asks for; anything that is no number is left to the check of types."""
    name, assumed = _MLP_RATIO
    ratio = fields.get(name, assumed)
    if type(hidden_size) is not int or type(ratio) not in (int, float) or not 0 < ratio < 1000:
        return ratio if type(ratio) is not int else None
    size = int(hidden_size * ratio)
    # A gated perceptron keeps two thirds of it, rounded up to a multiple of 8.
    return (int(size * 2 / 3) + 7) // 8 * 8 if gated else size


def _square(value: object) -> object:
    """The side of `[side, side]`; anything else unchanged, for the range check to judge."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


def fields_of(config: ViTConfig) -> dict[str, object]:
    """The `config.json` of a model, for `transformers` and for `config_of`.

    MoCo v3, which Hugging Face has no name for, is written as what computes the same: MSN.
    """
    kind = "vit_msn" if config.family == "moco_v3" else config.family
    named = {name: getattr(config, field) for field, (name, _) in _BY_TYPE[kind].items()}
    if "query_bias" in named:
        named["value_bias"] = named["query_bias"]
    if kind.startswith("dinov2"):
        size = config.mlp_size
        # The smallest whole size whose two thirds, rounded up to a multiple of 8, are this one.
        whole = -(-3 * (size - 7) // 2) if config.gated_mlp else size
        named["mlp_ratio"] = whole / config.hidden_size
    return {
        "model_type": kind,
        **named,
        "num_channels": 3,
        "hidden_act": "silu" if kind == "dinov3_vit" and config.gated_mlp else "gelu",
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        **({"layerscale_value": 1.0} if kind.startswith("dinov") else {}),
    }
