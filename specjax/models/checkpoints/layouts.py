"""The names of a ViT's tensors in checkpoint files, as tables.

Three layouts are known: Hugging Face's (on disk), Hugging Face's (as transformers 5 names the
modules in memory), and timm's, which is that of the original DINO files. They are recognised by
their keys.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from specjax.errors import SpecjaxError
from specjax.models.config import ViTConfig


class Layout(NamedTuple):
    """How one family of files names the modules; `{}` is the number of the block.

    Each of `modules` pairs a module of the file with the module of the model that it fills, or
    the three of them that a fused one fills. The first pair is the patch embedding.
    """

    name: str
    cls_token: str
    position_embeddings: str
    modules: tuple[tuple[str, tuple[str, ...]], ...]
    ignored: tuple[str, ...]
    layer_norm_eps: float  # what such a model assumes where no config says

    @property
    def patch_kernel(self) -> str:
        """The key by which the layout is recognised."""
        return self.modules[0][0] + ".weight"

    @property
    def block(self) -> str:
        """The first block's prefix, by which the two Hugging Face layouts differ."""
        return self.file_name("blocks.{}.norm1").split("{}")[0] + "0."

    def file_name(self, module: str) -> str:
        """The file's name of a module of the model."""
        return next(name for name, filled in self.modules if module in filled)


def _hugging_face(name: str, block: str, inner: tuple[str, ...]) -> Layout:
    modules = ("query", "key", "value", "projection", "mlp_in", "mlp_out", "norm1", "norm2")
    return Layout(
        name,
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        (
            ("embeddings.patch_embeddings.projection", ("patch_embedding",)),
            *(
                (f"{block}.{file_name}", (f"blocks.{{}}.{module}",))
                for file_name, module in zip(inner, modules, strict=True)
            ),
            ("layernorm", ("norm",)),
        ),
        ("pooler.", "classifier.", "embeddings.mask_token"),
        1e-12,
    )


_NORMS = ("layernorm_before", "layernorm_after")
LAYOUTS = (
    _hugging_face(
        "Hugging Face",
        "encoder.layer.{}",
        (
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
            *_NORMS,
        ),
    ),
    _hugging_face(
        "Hugging Face (transformers 5)",
        "layers.{}",
        (
            "attention.q_proj",
            "attention.k_proj",
            "attention.v_proj",
            "attention.o_proj",
            "mlp.fc1",
            "mlp.fc2",
            *_NORMS,
        ),
    ),
    Layout(
        "timm or DINO",
        "cls_token",
        "pos_embed",
        (
            ("patch_embed.proj", ("patch_embedding",)),
            ("blocks.{}.attn.qkv", ("blocks.{}.query", "blocks.{}.key", "blocks.{}.value")),
            ("blocks.{}.attn.proj", ("blocks.{}.projection",)),
            ("blocks.{}.mlp.fc1", ("blocks.{}.mlp_in",)),
            ("blocks.{}.mlp.fc2", ("blocks.{}.mlp_out",)),
            ("blocks.{}.norm1", ("blocks.{}.norm1",)),
            ("blocks.{}.norm2", ("blocks.{}.norm2",)),
            ("norm", ("norm",)),
        ),
        ("head.", "fc_norm."),
        1e-6,
    ),
)

# What a wrapper around the backbone puts before every key.
_PREFIXES = ("", "vit.", "model.", "backbone.", "module.", "module.backbone.", "module.vit.")


class Recognised(NamedTuple):
    """The layout of a file's keys, and the prefix they all share."""

    layout: Layout
    prefix: str


def recognise(keys: Mapping[str, object]) -> Recognised:
    """The layout and prefix of these keys.

    Raises:
        SpecjaxError: They are those of no known ViT.
    """
    for layout in LAYOUTS:
        for prefix in _PREFIXES:
            if prefix + layout.patch_kernel in keys and any(
                key.startswith(prefix + layout.block) for key in keys
            ):
                return Recognised(layout, prefix)
    raise SpecjaxError(
        "no ViT in the Hugging Face, timm or DINO layout: "
        f"its {len(keys)} keys are {first_few(list(keys))}; "
        "use a ViT checkpoint such as facebook/dino-vits16"
    )


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> ViTConfig:
    """The config that the shapes of a file's tensors imply, with heads of 64 channels.

    64 is the head size of every published DINO and timm ViT of the common sizes; it does not follow
    from the shapes.

    Raises:
        SpecjaxError: The keys are unknown, or the shapes are not those of a square-grid ViT.
    """
    layout, prefix = recognise(shapes)
    mlp_key = prefix + layout.file_name("blocks.{}.mlp_in").format(0) + ".weight"
    kernel = shapes[prefix + layout.patch_kernel]
    position = shapes.get(prefix + layout.position_embeddings, ())
    mlp = shapes.get(mlp_key, ())
    cells = position[1] - 1 if len(position) == 3 else 0
    side = round(max(cells, 0) ** 0.5)
    if len(kernel) != 4 or len(mlp) != 2 or side < 1 or side**2 != cells or kernel[0] % 64:
        raise SpecjaxError(
            "no config.json, and the shapes are not those of a ViT with heads of 64 channels "
            f"(patch kernel {kernel}, position embeddings {position}, {mlp_key} {mlp}): "
            "put the config.json of the checkpoint beside the file"
        )
    pattern = re.compile(re.escape(prefix + layout.block[:-2]) + r"(\d{1,4})\.")
    numbers = [int(found[1]) for key in shapes if (found := pattern.match(key))]
    qkv = prefix + layout.file_name("blocks.{}.query").format(0) + ".bias"
    return ViTConfig(
        hidden_size=kernel[0],
        num_layers=max(numbers) + 1,
        num_heads=kernel[0] // 64,
        mlp_size=mlp[0],
        patch_size=kernel[-1],
        image_size=side * kernel[-1],
        layer_norm_eps=layout.layer_norm_eps,
        qkv_bias=qkv in shapes,
    )


def first_few(keys: list[str]) -> str:
    """The first few of a list, on one line."""
    return ", ".join(" ".join(key[:120].split()) for key in keys[:5]) + ", ..." * (len(keys) > 5)
