r"""Compare a checkpoint's features here with those of `transformers.ViTModel`.

    pip install torch transformers
    python -m experiments.check_transformers --checkpoint=specjax-mini

Both load the same files; the keys of the last block are compared on built-in scenes, one of them
at the size of the stored position embeddings, the others interpolated as Hugging Face does it.
torch and transformers are needed for this script alone.
"""

import importlib.resources
import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.datasets import samples
from specjax import SpecjaxError, cut_patches, extract_features, load_checkpoint
from specjax import _flags as shared
from specjax._flags import Flag
from specjax._program import execute, refuse_arguments

FLAGS = {
    "checkpoint": Flag(
        "string",
        "specjax-mini",
        "A folder in the Hugging Face layout, or the name of a built-in backbone.",
    ),
    "tolerance": Flag("float", 2e-4, "Largest difference that counts as the same."),
}
_SCENES = 3


def main(arguments: Sequence[str]) -> int:
    """Compare; the exit status is 1 where a difference is too large."""
    refuse_arguments(arguments, "a checkpoint goes to --checkpoint")
    try:
        import torch
        import transformers
    except ImportError as error:
        raise SpecjaxError(
            f"{error.name} is not installed: pip install torch transformers"
        ) from None
    source = flags.FLAGS.checkpoint
    checkpoint = load_checkpoint(source)
    built_in = importlib.resources.files("specjax") / "assets" / source
    reference = transformers.ViTModel.from_pretrained(
        built_in if built_in.is_dir() else source,
        add_pooling_layer=False,
        torch_dtype=torch.float32,
    ).eval()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    config, worst = checkpoint.config, 0.0
    for number, record in enumerate(itertools.islice(samples.records(), _SCENES)):
        image = record.read_image()
        if number == 0:
            image = image[: config.image_size, : config.image_size]
        patches = cut_patches(
            image, patch_size=config.patch_size, mean=checkpoint.mean, std=checkpoint.std
        )
        tiling = patches.tiling
        found = extract_features(
            checkpoint.model, patches.values, jnp.array(tiling.grid), interpolation="hf"
        )
        height, width = (side * config.patch_size for side in tiling.grid)
        pixels = (image[:height, :width] / 255 - checkpoint.mean) / checkpoint.std
        expected = _reference_keys(torch, reference, pixels.astype(np.float32))
        difference = float(np.abs(found[: tiling.tokens] - expected).max())
        print(
            f"{width} x {height}: largest difference {difference:.2e}, features from"
            f" {expected.min():.2f} to {expected.max():.2f}"
        )
        worst = max(worst, difference)
    return 1 if worst > flags.FLAGS.tolerance else 0


def _reference_keys(torch, model, pixels: np.ndarray) -> np.ndarray:
    # The projection's name has changed between versions of transformers.
    *_, (name, projection) = (
        (name, module)
        for name, module in model.named_modules()
        if name.endswith((".key", ".k_proj"))
    )
    kept = []
    hook = projection.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        model(batch, interpolate_pos_encoding=True)
    hook.remove()
    if len(kept) != 1:
        raise SpecjaxError(f"transformers ran {name} {len(kept)} times")
    return kept[0][0, 1:].numpy()


if __name__ == "__main__":
    shared.declare(FLAGS)
    flags.adopt_module_key_flags(shared)
    execute(main)
