r"""A plain loop to compare with: one image at a time, compiled anew for each size of image.

    python -m experiments.benchmarking.per_size photos/ 3

reads a folder and labels three instances an image as `experiments.instance` does, with a ViT-S/16
of random weights and nothing saved: what a short script over the library's functions would be.
Nothing is padded, so that each size is compiled; nothing is read ahead, and no program is kept on
disk.
"""

import functools
import json
import sys
import time

import jax

from experiments.datasets import open_dataset
from specjax import VIT_S16, Config, cut_patches, extract_features, random_checkpoint, segment
from specjax._memory import keep_freed_memory


@functools.partial(jax.jit, static_argnames=("grid", "num_instances", "config"))
def label(model, patches, key, *, grid: tuple[int, int], num_instances: int, config: Config):
    """Labels of one image; `grid` is its exact size in tokens."""
    features = extract_features(model, patches, grid)
    return segment(features, grid, num_instances=num_instances, key=key, config=config)


def main(folder: str, num_instances: str) -> None:
    """Label every image; print how many, of how many sizes in tokens, and how fast, as JSON."""
    keep_freed_memory()
    start = time.perf_counter()
    model = random_checkpoint(VIT_S16, seed=0).model
    options, count = {"num_instances": int(num_instances), "config": Config()}, 0
    for record in open_dataset("folder", data_dir=folder).records():
        cut = cut_patches(record.read_image(), patch_size=16, padded=False, name=record.id)
        labels = label(model, cut.values, jax.random.key(0), grid=cut.tiling.grid, **options)
        jax.block_until_ready(labels)
        count += 1
    seconds = time.perf_counter() - start
    print(json.dumps({"images": count, "sizes": label._cache_size(), "seconds": seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
