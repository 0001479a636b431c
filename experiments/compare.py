r"""TokenCut, MaskCut, Deep Spectral Methods and this package's method, on the same features.

    python -m experiments.compare --method=all

runs on the built-in samples; on a dataset, with the flags of `experiments.instance`:

    python -m experiments.compare --method=all --image_size=448 \
        --dataset=voc --data_dir=VOC2007 --checkpoint=facebook/dinov2-small

Prints a row per method, with the same scores: mIoU (each annotated instance with the object matched
to it) and F-score of all objects together, in percent; how many objects it finds in an image; and
the seconds that an image takes after the backbone, the median over images, batched as they are.
Writes `summary.json` and `per_image.jsonl`.

"dsi", the method of this package, is given the number of annotated instances, or `--num_instances`;
the others find it by themselves: compare F-scores, which do not depend on it.
"""

from experiments.analyses.compare import Compare
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(methods=True)
    program.run_experiment(Compare)
