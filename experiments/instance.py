r"""Instance segmentation, scored: the default run.

    python -m experiments.instance --metric=boc --M=128 --N=60

runs on the built-in samples, with nothing to download. On a dataset:

    python -m experiments.instance --metric=boc --M=128 --N=60 \
        --dataset=voc --data_dir=VOCdevkit/VOC2012 --checkpoint=facebook/dino-vits16

Prints mIoU and F-score in percent beside the published numbers (Table II), mIoU by how much the
instances overlap and differ in size (Tables III and IV), and writes `summary.json`,
`per_image.jsonl` and a picture of the first images, `gallery.png`. Several metrics are also drawn
side by side, as `strata_mbor.png` and `strata_size_ratio.png` (Fig. 11 and 12).
"""

from experiments.analyses.instance import Instance
from experiments.loop import flags, program

if __name__ == "__main__":
    flags.define(metric=True, save=["gallery"])
    program.run_experiment(Instance)
