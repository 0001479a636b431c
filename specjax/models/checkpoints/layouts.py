"""The names of a ViT's tensors in checkpoint files, as two tables.

Hugging Face's names, on disk and as transformers 5 has them in memory; and timm's, which go back to
the original code of DINO, DINOv2, DINOv3, MAE and MoCo v3. A table holds every name that a tensor
has had; the one that is in the file is read. The layout is recognised by its patch projection, and
what precedes that is the prefix of the backbone in the file.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from specjax.errors import SpecjaxError

# Of several backbones in one training checkpoint: the averaged one before the one it averages.
_PREFERRED = ("teacher", "momentum", "ema")
_LAST = ("student", "base")


@dataclasses.dataclass(frozen=True)
class Layout:
    """The names that one family of files has for the parts of the model.

    Attributes:
        name: for messages.
        layer_norm_eps: what such a model assumes where no config says.
        blocks: what precedes the number of a block, one of these.
        arrays: parameters by their names in the model, outside of blocks.
        modules: pairs of a name in the file and the modules of the model that it fills: one, or
            several that the file stacks along the outputs. Modules of blocks start with "{}.".
            Where a module has several names, the first that is in the file is read.
        scales: vectors by the module of a block whose outputs they multiply (layer scale).
        ignored: beginnings of keys that belong to heads and decoders.
        separate_biases: names of biases that lie apart from their module's weight, in the block.
    """

    name: str
    layer_norm_eps: float
    blocks: tuple[str, ...]
    arrays: Mapping[str, tuple[str, ...]]
    modules: tuple[tuple[str, tuple[str, ...]], ...]
    scales: Mapping[str, tuple[str, ...]]
    ignored: tuple[str, ...]
    separate_biases: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def patch_kernels(self) -> list[str]:
        """The keys by which the layout is recognised."""
        return [f"{name}.weight" for name, filled in self.modules if filled == ("patch_embedding",)]

    def names_of(self, module: str) -> list[str]:
        """The file's names of a module of the model, fused ones included."""
        return [name for name, filled in self.modules if module in filled]


HUGGING_FACE = Layout(
    name="Hugging Face",
    layer_norm_eps=1e-12,
    blocks=("encoder.layer.", "layers.", "layer.", "model.layer."),
    arrays={
        "cls_token": ("embeddings.cls_token",),
        "position_embeddings": ("embeddings.position_embeddings",),
        "registers": ("embeddings.register_tokens",),
    },
    modules=(
        ("embeddings.patch_embeddings.projection", ("patch_embedding",)),
        ("embeddings.patch_embeddings", ("patch_embedding",)),
        ("{}.attention.attention.query", ("query",)),
        ("{}.attention.q_proj", ("query",)),
        ("{}.attention.attention.key", ("key",)),
        ("{}.attention.k_proj", ("key",)),
        ("{}.attention.attention.value", ("value",)),
        ("{}.attention.v_proj", ("value",)),
        ("{}.attention.output.dense", ("projection",)),
        ("{}.attention.o_proj", ("projection",)),
        ("{}.intermediate.dense", ("mlp_in",)),
        ("{}.mlp.weights_in", ("mlp_gate", "mlp_in")),
        ("{}.mlp.gate_proj", ("mlp_gate",)),
        ("{}.mlp.up_proj", ("mlp_in",)),
        ("{}.mlp.fc1", ("mlp_in",)),
        ("{}.output.dense", ("mlp_out",)),
        ("{}.mlp.weights_out", ("mlp_out",)),
        ("{}.mlp.down_proj", ("mlp_out",)),
        ("{}.mlp.fc2", ("mlp_out",)),
        ("{}.layernorm_before", ("norm1",)),
        ("{}.norm1", ("norm1",)),
        ("{}.layernorm_after", ("norm2",)),
        ("{}.norm2", ("norm2",)),
        ("layernorm", ("norm",)),
        ("norm", ("norm",)),
    ),
    scales={
        "projection": ("layer_scale1.lambda1",),
        "mlp_out": ("layer_scale2.lambda1",),
    },
    ignored=("pooler.", "classifier.", "decoder.", "embeddings.mask_token"),
)

TIMM = Layout(
    name="timm or original",
    layer_norm_eps=1e-6,
    blocks=("blocks.",),
    arrays={
        "cls_token": ("cls_token",),
        "position_embeddings": ("pos_embed",),
        "registers": ("reg_token", "register_tokens", "storage_tokens"),
    },
    modules=(
        ("patch_embed.proj", ("patch_embedding",)),
        ("{}.attn.qkv", ("query", "key", "value")),
        ("{}.attn.proj", ("projection",)),
        ("{}.mlp.w12", ("mlp_gate", "mlp_in")),  # DINOv2
        ("{}.mlp.w1", ("mlp_gate",)),  # DINOv3
        ("{}.mlp.w2", ("mlp_in",)),
        ("{}.mlp.fc1_g", ("mlp_gate",)),  # timm's DINOv3
        ("{}.mlp.fc1_x", ("mlp_in",)),
        ("{}.mlp.fc1", ("mlp_gate", "mlp_in")),  # timm's DINOv2
        ("{}.mlp.fc1", ("mlp_in",)),
        ("{}.mlp.w3", ("mlp_out",)),
        ("{}.mlp.fc2", ("mlp_out",)),
        ("{}.norm1", ("norm1",)),
        ("{}.norm2", ("norm2",)),
        ("norm", ("norm",)),
    ),
    scales={
        "projection": ("ls1.gamma", "gamma_1"),
        "mlp_out": ("ls2.gamma", "gamma_2"),
    },
    ignored=(
        *("head.", "head_dist.", "fc_norm.", "mask_token", "decoder_", "projection_head.", "fc."),
        *("local_cls_norm.", "rope_embed.", "rope."),
    ),
    separate_biases={"query": "attn.q_bias", "value": "attn.v_bias"},
)

LAYOUTS = (HUGGING_FACE, TIMM)


class Recognised(NamedTuple):
    """The layout of a file's keys, the prefix of the backbone's, and that of its blocks."""

    layout: Layout
    prefix: str
    blocks: str

    def key(self, name: str, block: int | None = None) -> str:
        """The full key of a name of the table; "{}." stands for the block."""
        return self.prefix + name.replace("{}.", f"{self.blocks}{block}.", 1)


def recognise(keys: Iterable[str]) -> Recognised:
    """The layout of these keys, and the prefix of the backbone's.

    Of several backbones the teacher's, momentum encoder's or averaged one is taken.

    Raises:
        SpecjaxError: They are those of no known ViT, or of several with nothing to choose by.
    """
    keys = set(keys)
    found = []
    for layout in LAYOUTS:
        for kernel in layout.patch_kernels:
            for key in keys:
                prefix = key.removesuffix(kernel)
                if prefix != key and (not prefix or prefix.endswith(".")):
                    blocks = _blocks_after(prefix, layout, keys)
                    if blocks is not None:
                        found.append(Recognised(layout, prefix, blocks))
    if not found:
        raise SpecjaxError(
            f"no ViT in the Hugging Face, timm or original layout: {_kind_of(keys)}"
            f"its {len(keys)} keys are {first_few(sorted(keys))}; "
            "use a ViT checkpoint such as facebook/dinov2-small"
        )
    best = min(map(_rank, found))
    chosen = [one for one in found if _rank(one) == best]
    if len(chosen) > 1:
        prefixes = sorted(repr(one.prefix) for one in chosen)
        raise SpecjaxError(
            f"several ViTs, under {first_few(prefixes)}: save the tensors of the one to use alone"
        )
    return chosen[0]


def _blocks_after(prefix: str, layout: Layout, keys: set[str]) -> str | None:
    """What precedes a block's number, by the first norm, which every block has."""
    norms = [name.removeprefix("{}") for name in layout.names_of("norm1")]
    for blocks in layout.blocks:
        if any(f"{prefix}{blocks}0{norm}.weight" in keys for norm in norms):
            return blocks
    return None


def _rank(found: Recognised) -> int:
    if any(word in found.prefix for word in _PREFERRED):
        return 0
    return 2 if any(word in found.prefix for word in _LAST) else 1


def block_numbers(keys: Iterable[str], found: Recognised) -> set[int]:
    """The numbers of the blocks that these keys are of."""
    pattern = re.compile(re.escape(found.prefix + found.blocks) + r"(\d{1,4})\.")
    return {int(match[1]) for key in keys if (match := pattern.match(key))}


# Keys of other models that people try, by what they end in; the first that fits names the file.
_OTHERS = (
    ("relative_position_bias_table", "a Swin or BEiT transformer"),
    ("downsample.0.weight", "a ResNet"),
    ("layer4.0.conv1.weight", "a ResNet"),
    ("dwconv.weight", "a ConvNeXt"),
    ("depthwise_conv.weight", "a ConvNeXt"),
    ("conv_proj.weight", "torchvision's ViT, whose names are not known here"),
    ("visual.conv1.weight", "a CLIP model"),
    ("vision_model.embeddings.patch_embedding.weight", "a CLIP or SigLIP model"),
)


def _kind_of(keys: set[str]) -> str:
    for ending, kind in _OTHERS:
        if any(key.endswith(ending) for key in keys):
            return f"this looks like {kind}; "
    return ""


def first_few(keys: list[str]) -> str:
    """The first few of a list, on one line."""
    return ", ".join(" ".join(key[:120].split()) for key in keys[:5]) + ", ..." * (len(keys) > 5)
