r"""Compare specjax's features of a checkpoint with those of `transformers.ViTModel`.

    pip install torch transformers
    python -m examples.check_transformers --checkpoint=specjax-mini

Both load the same files. The keys of the last block are compared on three built-in scenes: the
first is cropped to the size of the stored position embeddings; for the others, these are resampled
as Hugging Face does it. Prints a line for each scene with the largest difference; the exit status
is 1 if one is above `--tolerance`. Nothing else in this repository needs torch or transformers.
"""

import functools
import importlib.resources
import itertools
from collections.abc import Sequence

import numpy as np
from absl import flags

from experiments.datasets import samples
from specjax import Patches, SpecjaxError, cut_patches, extract_features, load_checkpoint
from specjax._program import execute, refuse_arguments

_SCENES = 3


def main(arguments: Sequence[str]) -> int:
    """Compare the features; the exit status is 1 if a difference is too large."""
    refuse_arguments(arguments, "give the checkpoint with --checkpoint")
    try:
        import torch
        import transformers
    except ImportError as error:
        missing = f"{error.name} is not installed: pip install torch transformers"
        raise SpecjaxError(missing) from None
    source = flags.FLAGS.checkpoint
    checkpoint = load_checkpoint(source)
    side, worst = checkpoint.config.image_size, 0.0
    cut = functools.partial(
        cut_patches,
        patch_size=checkpoint.config.patch_size,
        mean=checkpoint.mean,
        std=checkpoint.std,
        padded=False,
    )
    built_in = importlib.resources.files("specjax") / "assets" / source
    path = built_in if built_in.is_dir() else source
    reference = transformers.ViTModel.from_pretrained(
        path, add_pooling_layer=False, torch_dtype=torch.float32
    ).eval()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    for number, record in enumerate(itertools.islice(samples.records(), _SCENES)):
        image = record.read_image()
        patches = cut(image[:side, :side] if number == 0 else image)
        expected = _reference_keys(torch, reference, _pixels(patches))
        grid = patches.tiling.grid
        found = extract_features(checkpoint.model, patches.values, grid, interpolation="hf")
        worst = max(worst, difference := float(np.abs(found - expected).max()))
        print(
            f"{grid[1]} x {grid[0]} tokens: largest difference {difference:.2e}, features from"
            f" {expected.min():.2f} to {expected.max():.2f}"
        )
    return 1 if worst > flags.FLAGS.tolerance else 0


def _pixels(patches: Patches) -> np.ndarray:
    """The normalised image that was cut into these patches, float32 [3, H, W]."""
    (rows, columns), side = patches.tiling.grid, patches.tiling.patch_size
    pixels = patches.values.reshape(rows, columns, side, side, 3)
    return pixels.transpose(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


def _reference_keys(torch, model, pixels: np.ndarray) -> np.ndarray:
    # The projection's name has changed between versions of transformers.
    found = [pair for pair in model.named_modules() if pair[0].endswith((".key", ".k_proj"))]
    name, projection = found[-1]
    kept = []
    hook = projection.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        batch = torch.from_numpy(np.ascontiguousarray(pixels))[None]
        model(batch, interpolate_pos_encoding=True)
    hook.remove()
    if len(kept) != 1:
        raise SpecjaxError(f"transformers ran {name} {len(kept)} times")
    return kept[0][0, 1:].numpy()


if __name__ == "__main__":
    source_help = (
        "A folder in the Hugging Face layout, or a built-in backbone such as specjax-mini."
    )
    flags.DEFINE_string("checkpoint", "specjax-mini", source_help)
    flags.DEFINE_float(
        "tolerance", 2e-4, "Largest absolute difference of two features that passes."
    )
    execute(main)
