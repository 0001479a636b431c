r"""Train a small backbone: on drawn scenes, or on your own images.

    python -m experiments.pretrain --output_dir=outputs/specjax-mini

trains a backbone on drawn scenes alone, the first step to the built-in one. The objective uses
their exact masks (`experiments.pretraining.scene_objective`).

    python -m experiments.pretrain --objective=dino --data_dir=photos --init=dino-vits16 \
        --output_dir=outputs/mine --steps=1000

adapts a backbone to a folder of images, without labels, by self-distillation
(`experiments.pretraining.dino_objective`).

    python -m experiments.pretrain --objective=distill --teacher=facebook/dinov2-small \
        --data_dir=photos --output_dir=outputs/small

trains a small backbone on a folder of images, without labels, and on drawn scenes: it learns the
features of a larger one, and the objects that these show
(`experiments.pretraining.distill_objective`).

Prints a line with the loss every `--log_every` steps and scores on drawn scenes every
`--validate_every` steps. At the end the folder holds a ViT in the Hugging Face layout, to be used
with `--checkpoint=outputs/mine`. The same command continues an interrupted training from its last
saved state.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.pretraining import loop
from experiments.pretraining.flags import FLAGS, WATCHING, training_of
from specjax._flags import check_texts, declare
from specjax._program import execute, refuse_arguments


def main(arguments: Sequence[str]) -> int:
    """Read the flags and train."""
    values = flags.FLAGS
    refuse_arguments(arguments, "give images with --data_dir")
    check_texts(values, ["output_dir", "init", "data_dir"])
    folder = pathlib.Path(values.output_dir)
    loop.train(training_of(values), folder, **{name: getattr(values, name) for name in WATCHING})
    print(folder)
    return 0


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
