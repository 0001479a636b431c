"""The names and shapes of a ViT's tensors in checkpoint files, as tables.

Three layouts are known: Hugging Face's (on disk), Hugging Face's (as transformers 5 names the
modules in memory), and timm's, which is that of the original DINO files. They are told apart by
their keys. `read_parameters` turns the tensors of a file into the leaves of a `ViT`, and accounts
for every one of both.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from specjax.errors import SpecjaxError
from specjax.models.checkpoints.skeleton import leaf_shapes
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
        return next(name for name, ours in self.modules if module in ours)


def _hugging_face(name: str, block: str, inner: tuple[str, ...]) -> Layout:
    ours = ("query", "key", "value", "projection", "mlp_in", "mlp_out", "norm1", "norm2")
    return Layout(
        name,
        "embeddings.cls_token",
        "embeddings.position_embeddings",
        (
            ("embeddings.patch_embeddings.projection", ("patch_embedding",)),
            *(
                (f"{block}.{theirs}", (f"blocks.{{}}.{our}",))
                for theirs, our in zip(inner, ours, strict=True)
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


class _Source(NamedTuple):
    """Where leaves come from: a key, the shape it must have, and the leaves it yields."""

    key: str
    shape: tuple[int, ...]
    leaves: tuple[str, ...]
    convert: Callable[[np.ndarray], np.ndarray]  # to the leaves, stacked on a new first axis


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
        f"its {len(keys)} keys are {_some(list(keys))}; "
        "use a ViT checkpoint such as facebook/dino-vits16"
    )


def infer_config(shapes: Mapping[str, tuple[int, ...]]) -> ViTConfig:
    """The config that the shapes of a file's tensors imply, with heads of 64 channels.

    64 is the head size of every published DINO and timm ViT of the common sizes; the shapes do not
    tell it.

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
            "no config.json, and the shapes do not tell a ViT with heads of 64 channels "
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


def read_parameters(
    tensors: Mapping[str, np.ndarray], config: ViTConfig
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The leaves of a ViT, float32, by dotted path, and the keys that were ignored.

    Raises:
        SpecjaxError: A leaf has no tensor, a tensor has no leaf, a shape does not fit or a value is
            not finite; all such problems are named together.
    """
    layout, prefix = recognise(tensors)
    sources = _sources(layout, config)
    left = set(tensors)
    parameters, missing, misshapen, not_floats, not_finite = {}, [], [], [], []
    for source in sources:
        key = prefix + source.key
        if key not in left:
            missing.append(key)
            continue
        left.remove(key)
        if tensors[key].shape != source.shape:
            misshapen.append(f"{key} is {tensors[key].shape}, not {source.shape}")
            continue
        if not jnp.issubdtype(tensors[key].dtype, jnp.floating):
            not_floats.append(f"{key} is {tensors[key].dtype}")
            continue
        with np.errstate(over="ignore"):  # an overflow becomes infinite, which is reported
            tensor = np.asarray(tensors[key], np.float32)
        if not np.isfinite(tensor).all():
            not_finite.append(key)
        converted = source.convert(tensor)
        parameters.update(
            (leaf, np.ascontiguousarray(part))
            for leaf, part in zip(source.leaves, converted, strict=True)
        )
    ignored = {key for key in left if _is_ignored(key.removeprefix(prefix), layout)}
    extra = sorted(left - ignored)
    problems = (
        ("missing", missing),
        ("extra", extra),
        ("misshapen", misshapen),
        ("not floating point", not_floats),
        ("not finite", not_finite),
    )
    report = "; ".join(f"{len(keys)} {name} ({_some(keys)})" for name, keys in problems if keys)
    if report:
        raise SpecjaxError(f"the tensors do not fit the config ({layout.name} names): {report}")
    return parameters, tuple(sorted(ignored))


def _sources(layout: Layout, config: ViTConfig) -> list[_Source]:
    shapes = leaf_shapes(config)
    sources = [
        _Source(key, (1, *shapes[leaf]), (leaf,), lambda tensor: tensor)
        for key, leaf in (
            (layout.cls_token, "cls_token"),
            (layout.position_embeddings, "position_embeddings"),
        )
    ]
    for file_name, names in layout.modules:
        for block in range(config.num_layers) if "{}" in file_name else (0,):
            modules = [name.format(block) for name in names]
            sources += _module_sources(file_name.format(block), modules, shapes, config)
    filled = [leaf for source in sources for leaf in source.leaves]
    # A table that forgets or repeats a leaf is a mistake of ours, not of the file.
    if sorted(filled) != sorted(shapes):
        raise AssertionError(f"the {layout.name} table does not fill every leaf once")
    return sources


def _module_sources(
    file_name: str, modules: list[str], shapes: Mapping[str, tuple[int, ...]], config: ViTConfig
) -> list[_Source]:
    """The sources of a module's weight and bias; several modules are fused along the outputs."""
    parts, size = len(modules), config.patch_size

    def leaves(name: str) -> tuple[str, ...]:
        return tuple(f"{module}.{name}" for module in modules)

    def split(tensor: np.ndarray) -> np.ndarray:
        return tensor.reshape(parts, -1, *tensor.shape[1:])

    sources = []
    for name, leaf in (("weight", "scale"), ("bias", "bias")):
        if leaves(leaf)[0] in shapes:
            shape = (parts * shapes[leaves(leaf)[0]][0],)
            sources.append(_Source(f"{file_name}.{name}", shape, leaves(leaf), split))
    kernel = shapes.get(leaves("kernel")[0])
    if kernel and modules == ["patch_embedding"]:
        shape = (kernel[1], 3, size, size)
        sources.append(
            _Source(
                f"{file_name}.weight",
                shape,
                leaves("kernel"),
                # [outputs, colour, row, column] to [row, column, colour, outputs].
                lambda tensor: tensor.transpose(2, 3, 1, 0).reshape(1, *kernel),
            )
        )
    elif kernel:
        shape = (parts * kernel[1], kernel[0])
        sources.append(
            _Source(
                f"{file_name}.weight",
                shape,
                leaves("kernel"),
                lambda tensor: split(tensor).transpose(0, 2, 1),
            )
        )
    return sources


def _is_ignored(key: str, layout: Layout) -> bool:
    """Whether a key without the shared prefix is that of a head, which the backbone lacks."""
    return key.removeprefix("module.").startswith(layout.ignored)


def _some(keys: list[str]) -> str:
    """The first few of a list, on one line."""
    return ", ".join(" ".join(key[:120].split()) for key in keys[:5]) + ", ..." * (len(keys) > 5)
