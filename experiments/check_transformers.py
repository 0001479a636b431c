r"""Compare a checkpoint's features here with those of `transformers.ViTModel`.

    pip install torch transformers
    python -m experiments.check_transformers --checkpoint=specjax-mini

Both load the same files; the keys of the last block are compared on built-in scenes, one of them
at the size of the stored position embeddings, the others interpolated as Hugging Face does it.
torch and transformers are needed for this script alone.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.datasets import samples
from experiments.loop import runner
from specjax import images
from specjax.errors import SpecjaxError
from specjax.models.checkpoints.loading import BUILT_IN, Checkpoint, load_checkpoint
from specjax.pipeline import extract_features

_SCENES = 3


def define() -> None:
    """Declare the flags."""
    flags.DEFINE_string("checkpoint", "specjax-mini", "A folder in the Hugging Face layout, or the"
                        " name of a built-in backbone.")
    flags.DEFINE_float("tolerance", 2e-4, "Largest difference that counts as the same.")


def main(arguments: Sequence[str]) -> int:
    """Compare; the exit status is 1 where a difference is too large."""
    if len(arguments) > 1:
        raise SpecjaxError(f"unexpected argument {arguments[1]!r}")
    try:
        import torch
        import transformers
    except ImportError as error:
        raise SpecjaxError(f"{error.name} is not installed: pip install torch transformers") from None
    source = flags.FLAGS.checkpoint
    checkpoint = load_checkpoint(source)
    theirs = transformers.ViTModel.from_pretrained(
        BUILT_IN.get(source, source), add_pooling_layer=False, torch_dtype=torch.float32
    ).eval()
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    worst = 0.0
    for image in _images(checkpoint):
        pixels = images.normalize(image, checkpoint.mean, checkpoint.std)
        expected = _their_keys(torch, theirs, pixels)
        found = _our_keys(checkpoint, pixels)
        difference = float(np.abs(found - expected).max())
        print(f"{image.shape[1]} x {image.shape[0]}: largest difference {difference:.2e},"
              f" features from {expected.min():.2f} to {expected.max():.2f}")
        worst = max(worst, difference)
    return 1 if worst > flags.FLAGS.tolerance else 0


def _images(checkpoint: Checkpoint):
    config = checkpoint.config
    for number, record in zip(range(_SCENES), samples.records(), strict=False):
        image = images.crop_to_patches(record.read_image(), config.patch_size)
        yield image[: config.image_size, : config.image_size] if number == 0 else image


def _our_keys(checkpoint: Checkpoint, pixels: np.ndarray) -> np.ndarray:
    patch_size = checkpoint.config.patch_size
    grid = jnp.array([side // patch_size for side in pixels.shape[:2]])
    patches = jnp.asarray(images.patchify(pixels, patch_size))
    return np.asarray(extract_features(checkpoint.model, patches, grid, interpolation="hf"))


def _their_keys(torch, model, pixels: np.ndarray) -> np.ndarray:
    # The projection's name has changed between versions of transformers.
    name, projection = [
        (name, module) for name, module in model.named_modules()
        if name.endswith((".key", ".k_proj"))
    ][-1]  # fmt: skip
    kept = []
    hook = projection.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        model(batch, interpolate_pos_encoding=True)
    hook.remove()
    if len(kept) != 1:
        raise SpecjaxError(f"transformers ran {name} {len(kept)} times")
    return kept[0][0, 1:].numpy()


if __name__ == "__main__":
    define()
    runner.execute(main)
