r"""A plain loop, one image at a time and compiled for each size, beside `experiments.instance`.

    python -m experiments.benchmarking.per_size photos/ 3

reads a folder and finds three instances in each image as `experiments.instance` does, with a
ViT-S/16 of random weights and without saving anything. This is the short script that one would
write with the functions of the library. Nothing is padded, so each size is compiled; nothing is
read ahead, and no program is kept on disk. Prints the numbers of images and sizes, and the seconds.
"""

import functools
import json
import os
import pathlib
import sys
import tempfile
import time
from typing import Any

import jax

from experiments.benchmarking.commands import timed
from experiments.datasets import open_dataset
from specjax import (
    VIT_S16,
    Config,
    cut_patches,
    extract_features,
    random_checkpoint,
    segment,
)
from specjax._memory import keep_freed_memory

# The stages that work on the device or wait for it; the rest of a run is outside the device.
_DEVICE_STAGES = ("backbone", "foreground", "instances")


@functools.partial(jax.jit, static_argnames=("grid", "num_instances", "config"))
def label(model, patches, key, *, grid: tuple[int, int], num_instances: int, config: Config):
    """The labels of one image; `grid` is its exact size in tokens."""
    features = extract_features(model, patches, grid)
    return segment(features, grid, num_instances=num_instances, key=key, config=config)


def main(folder: str, num_instances: str) -> None:
    """Label every image; print the numbers of images and sizes, and the seconds."""
    keep_freed_memory()
    start = time.perf_counter()
    model = random_checkpoint(VIT_S16, seed=0).model
    config, count, grids = Config(), 0, set()
    for record in open_dataset("folder", data_dir=folder).records():
        cut = cut_patches(record.read_image(), patch_size=16, padded=False, name=record.id)
        grid, key = cut.tiling.grid, jax.random.key(0)
        labels = label(
            model, cut.values, key, grid=grid, num_instances=int(num_instances), config=config
        )
        jax.block_until_ready(labels)
        count += 1
        grids.add(grid)
    seconds = time.perf_counter() - start
    print(f"{count} images, {len(grids)} sizes, {seconds:.2f} s")


def compare(photographs: str) -> dict[str, Any]:
    """The seconds of `experiments.instance`, at the first and the second run, and of the loop.

    Both use a ViT-S/16 of random weights and three instances per image; `experiments.instance` also
    writes label maps. `host_share` is the share of its second run outside the device.
    """
    photographs = os.path.abspath(photographs)
    plain = {key: value for key, value in os.environ.items() if "COMPILATION_CACHE" not in key}
    # Programs are compiled in the first run and kept for the second; the loop keeps none.
    with tempfile.TemporaryDirectory(prefix="specjax-benchmark-") as name:
        images = ["--dataset=folder", f"--data_dir={photographs}", "--checkpoint=random"]
        results = ["--num_instances=3", "--save=labels", "--overwrite", f"--output_dir={name}/run"]
        run = ["experiments.instance", *images, *results]
        cached = {**plain, "XDG_CACHE_HOME": name}
        (first, _), (second, _) = timed(run, cached), timed(run, cached)
        summary = json.loads((pathlib.Path(name) / "run" / "summary.json").read_text())
    stages = summary["seconds"]
    on_devices = sum(stages.get(stage, 0.0) for stage in _DEVICE_STAGES)
    loop, line = timed(["experiments.benchmarking.per_size", photographs, "3"], plain)
    return {
        "images": summary["results"][0]["images_without_instances"],
        "sizes": int(line.split(" images, ")[1].split(" sizes")[0]),
        "first_seconds": first,
        "seconds": second,
        "seconds_per_stage": stages,
        "host_share": 1 - on_devices / stages["total"],
        "loop_seconds": loop,
        "speedup": loop / second,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
