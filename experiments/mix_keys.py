r"""Mix queries and inputs of a backbone into its keys, which makes them better for the method.

    python -m experiments.mix_keys --checkpoint=outputs/mine --output_dir=outputs/mixed

writes a backbone whose last keys are a random mixture of the last block's queries, keys and inputs,
and whose last queries are fitted so that its outputs stay as they are
(`experiments.pretraining.mixed_keys`). It is fitted on drawn scenes, in seconds, and needs no
images. Prints how much the outputs change, on drawn scenes that it is not fitted on, and the
folder, which `--checkpoint` reads.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from experiments.datasets.scenes.drawing import TRAIN_STREAM, VALIDATION_STREAM, draw_scene
from experiments.pretraining.mixed_keys import mix_keys, relative_change
from specjax import SpecjaxError, load_checkpoint, save_checkpoint
from specjax._flags import Flag, at_least, check_texts, declare
from specjax._folder import make_folder
from specjax._program import execute, refuse_arguments

# Height and width of scenes, in turn, and how many the change is measured on.
_SIZES, _MEASURED = ((384, 512), (512, 384)), 8
FLAGS = {
    "checkpoint": Flag(
        "string",
        None,
        "Required: the backbone: a Hugging Face id, a folder, a file or specjax-mini.",
    ),
    "output_dir": Flag("string", "outputs/mixed", "Folder for the new backbone."),
    "seed": Flag("integer", 0, "Seed of the random mixture.", at_least(0)),
    "scenes": Flag("integer", 40, "Number of drawn scenes that it is fitted on.", at_least(1)),
}


def main(arguments: Sequence[str]) -> int:
    """Read the flags, mix, and write the backbone."""
    values = flags.FLAGS
    refuse_arguments(arguments, "give the backbone with --checkpoint")
    check_texts(values, ["checkpoint", "output_dir"])
    if values.checkpoint is None:
        raise SpecjaxError("--checkpoint is required: the backbone whose keys are mixed")
    folder = pathlib.Path(values.output_dir)
    if (folder / "model.safetensors").exists():
        raise SpecjaxError(
            f"--output_dir={folder} holds a backbone: name a new folder, or delete it"
        )
    make_folder(folder)
    old = load_checkpoint(values.checkpoint)
    colours = (old.mean, old.std)
    model = mix_keys(old.model, colours, _scenes(TRAIN_STREAM, values.scenes), seed=values.seed)
    change = relative_change(old.model, model, colours, _scenes(VALIDATION_STREAM, _MEASURED))
    print(f"outputs change by {100 * change:.2g} % of their standard deviation")
    save_checkpoint(folder, model, image_mean=old.mean, image_std=old.std, dtype=np.float16)
    print(folder)
    return 0


def _scenes(stream: int, count: int) -> Iterator[np.ndarray]:
    for number in range(count):
        height, width = _SIZES[number % len(_SIZES)]
        yield draw_scene((stream, number), height=height, width=width).image


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
