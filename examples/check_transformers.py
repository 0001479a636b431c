r"""Compare every family of backbones with `transformers`, or one checkpoint with real weights.

    pip install torch transformers
    python -m examples.check_transformers
    python -m examples.check_transformers --checkpoint=facebook/dinov2-small

Without a checkpoint, a small model of each family gets random weights, is saved by transformers,
and is loaded here. Both compute queries, keys, values and outputs of every block, for images of the
training size and of three others, with position embeddings resampled as Hugging Face does it. The
table has the largest difference relative to the largest value. With a checkpoint, its own weights
are compared on built-in scenes. torch and transformers are needed for this script alone.
"""

import importlib.resources
import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.datasets import samples
from specjax import Checkpoint, Patches, SpecjaxError, cut_patches, load_checkpoint
from specjax._program import execute, refuse_arguments

_SCENES = 3
_SMALL = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 56}
_VIT = {**_SMALL, "intermediate_size": 96, "patch_size": 14}
_DINOV2 = {**_SMALL, "mlp_ratio": 2, "patch_size": 14}
_DINOV3 = {**_VIT, "num_register_tokens": 3}

# Families by the names of their classes in transformers, and the changes to their configs.
FAMILIES: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "DINO, iBOT, ViT": ("ViT", _VIT),
    "ViT without qkv bias": ("ViT", {**_VIT, "qkv_bias": False}),
    "MSN": ("ViTMSN", _VIT),
    "MAE": ("ViTMAE", {**_VIT, "mask_ratio": 0.0}),
    "DINOv2": ("Dinov2", _DINOV2),
    "DINOv2 g": ("Dinov2", {**_DINOV2, "use_swiglu_ffn": True}),
    "DINOv2 with registers": ("Dinov2WithRegisters", _DINOV2),
    "DINOv2 g with registers": ("Dinov2WithRegisters", {**_DINOV2, "use_swiglu_ffn": True}),
    "DINOv3": ("DINOv3ViT", _DINOV3),
    "DINOv3 +": ("DINOv3ViT", {**_DINOV3, "use_gated_mlp": True, "hidden_act": "silu"}),
}
KINDS = ("queries", "keys", "values", "outputs")

# Rows and columns of tokens: the training size of the small models, and three others.
GRIDS = ((4, 4), (7, 7), (3, 6), (9, 2))


def random_model(family: str, seed: int = 0):
    """A model of transformers whose every parameter is random, norms and layer scales too."""
    import torch
    import transformers

    name, settings = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**settings)
    model = getattr(transformers, f"{name}Model")(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if key.endswith("lambda1") or ("norm" in key and key.endswith("weight")):
                parameter.copy_(1 + 0.2 * values)
            elif parameter.ndim > 1 and "embeddings." not in key:
                parameter.copy_(values / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(0.3 * values)
    return model


def reference_blocks(model, patches: Patches) -> list[dict[str, np.ndarray]]:
    """What transformers computes of the tokens of an image: `KINDS` by name, block by block."""
    import torch

    tokens = patches.tiling.rows * patches.tiling.columns
    kept: dict[str, list] = {"queries": [], "keys": [], "values": []}
    endings = {".query": "queries", ".key": "keys", ".value": "values"}
    # The names of the projections have changed between versions of transformers.
    endings |= {".q_proj": "queries", ".k_proj": "keys", ".v_proj": "values"}
    hooks = []
    for name, module in model.named_modules():
        kind = next((kind for ending, kind in endings.items() if name.endswith(ending)), None)
        if kind:
            keep = kept[kind].append
            hooks.append(module.register_forward_hook(lambda _, __, out, keep=keep: keep(out[0])))
    options: dict[str, object] = {}
    if model.config.model_type in ("vit", "vit_msn", "vit_mae"):
        options["interpolate_pos_encoding"] = True
    if model.config.model_type == "vit_mae":
        # MAE shuffles patches by the order of this noise: an increasing one keeps them in place.
        options["noise"] = torch.arange(tokens, dtype=torch.float32)[None]
    with torch.no_grad():
        batch = torch.from_numpy(np.ascontiguousarray(as_pixels(patches)))[None]
        found = model(batch, output_hidden_states=True, **options)
    for hook in hooks:
        hook.remove()
    outputs = [states[0] for states in found.hidden_states[1:]]
    outputs[-1] = found.last_hidden_state[0]
    return [
        {kind: part[-tokens:].numpy() for kind, part in zip(KINDS, block, strict=True)}
        for block in zip(*kept.values(), outputs, strict=True)
    ]


def as_pixels(patches: Patches) -> np.ndarray:
    """The normalized image that the patches make up, float32 [3, H, W]."""
    (rows, columns), side = patches.tiling.grid, patches.tiling.patch_size
    pixels = patches.values[: rows * columns].reshape(rows, columns, side, side, 3)
    return pixels.transpose(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


def errors(
    reference, checkpoint: Checkpoint, images: Iterator[np.ndarray]
) -> Iterator[tuple[tuple[int, int], dict[str, float]]]:
    """Of each image: its grid, and the largest relative error of each kind over all blocks."""
    for image in images:
        patches = cut_patches(
            image,
            patch_size=checkpoint.config.patch_size,
            mean=checkpoint.mean,
            std=checkpoint.std,
        )
        grid = patches.tiling.grid
        found = _every_block(
            checkpoint.model, jnp.asarray(patches.values), jnp.asarray(grid, jnp.int32)
        )
        worst = dict.fromkeys(KINDS, 0.0)
        for block, expected in zip(found, reference_blocks(reference, patches), strict=True):
            for kind, values in expected.items():
                ours = np.asarray(getattr(block, kind))[: len(values)]
                difference = np.abs(ours - values).max()
                worst[kind] = max(worst[kind], float(difference / np.abs(values).max()))
        yield grid, worst


@jax.jit
def _every_block(model, patches, grid):
    return model.every_block(patches, grid, pos_interpolation="hf")


def random_images(side: int) -> Iterator[np.ndarray]:
    """Noise, of the `GRIDS` of patches of this side."""
    generator = np.random.default_rng(0)
    for rows, columns in GRIDS:
        yield generator.integers(0, 256, (side * rows, side * columns, 3), np.uint8)


def main(arguments: Sequence[str]) -> int:
    """Compare; the exit status is 1 where a difference is too large."""
    refuse_arguments(arguments, "a checkpoint goes to --checkpoint")
    try:
        import torch
        import transformers
    except ImportError as error:
        missing = f"{error.name} is not installed: pip install torch transformers"
        raise SpecjaxError(missing) from None
    transformers.utils.logging.disable_progress_bar()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"{'':24} {'tokens':>8}", *(f"{kind:>8}" for kind in KINDS))
    worst = 0.0
    for name, reference, checkpoint, images in _pairs(flags.FLAGS.checkpoint):
        for (rows, columns), found in errors(reference, checkpoint, images):
            print(f"{name:24} {f'{rows}x{columns}':>8}", *(f"{x:8.0e}" for x in found.values()))
            worst = max(worst, *found.values())
    return 1 if worst > flags.FLAGS.tolerance else 0


def _pairs(source: str | None) -> Iterator[tuple[str, object, Checkpoint, Iterator[np.ndarray]]]:
    """Models of transformers, and what is loaded from their files; with images to compare on."""
    if source is None:
        for family in FAMILIES:
            reference = random_model(family)
            with tempfile.TemporaryDirectory() as folder:
                reference.save_pretrained(folder)
                checkpoint = load_checkpoint(folder)
            yield family, reference, checkpoint, random_images(checkpoint.config.patch_size)
        return
    import torch
    import transformers

    built_in = importlib.resources.files("specjax") / "assets" / source
    path = str(built_in) if built_in.is_dir() else source
    reference = transformers.AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    checkpoint = load_checkpoint(source)
    side = checkpoint.config.image_size
    scenes = (record.read_image() for record in itertools.islice(samples.records(), _SCENES))
    images = (image[:side, :side] if number == 0 else image for number, image in enumerate(scenes))
    yield pathlib.Path(source).name, reference, checkpoint, images


if __name__ == "__main__":
    source_help = (
        "A folder in the Hugging Face layout, a hub id, or the name of a built-in backbone."
        " Default: small models of every family, with random weights."
    )
    flags.DEFINE_string("checkpoint", None, source_help)
    flags.DEFINE_float("tolerance", 1e-4, "Largest relative difference that counts as the same.")
    execute(main)
