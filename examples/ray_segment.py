r"""Instance masks for photographs on a Ray cluster: Ray Data around `specjax.Segmenter`.

    pip install "ray[data]>=2.60"
    python -m examples.ray_segment photos/ out/ --num_instances=3

Each GPU or TPU chip of the cluster (or each machine, if there are none) runs a worker, which holds
a `Segmenter` and receives a few photographs at a time. The label maps go to `out/`, one indexed PNG
for each photograph. Photographs that already have one are skipped, so the same command continues an
interrupted run. All workers must see the photographs and `out/` under the same paths.
"""

import argparse
import functools
import logging
import pathlib
import sys
from typing import Any

from specjax import Segmenter, SpecjaxError
from specjax._folder import write_atomically
from specjax._photographs import find_photographs
from specjax.overlay import indexed_png

# Photographs in a worker's batch: enough to keep it busy, few enough to repeat after a failure.
_PHOTOGRAPHS = 16


class Worker:
    """Created once for each device, then called with one batch of photographs after another."""

    def __init__(self, output: pathlib.Path, num_instances: int, settings: dict):
        self._output, self._num_instances = output, num_instances
        self._segmenter = Segmenter(settings.pop("checkpoint"), **settings)

    def __call__(self, batch: dict) -> dict:
        """Write the label maps of a batch of paths and ids; returns a line for each failure."""
        ids, failed = dict(zip(map(str, batch["path"]), batch["id"], strict=True)), []
        for path, found in self._segmenter.stream(list(ids), self._num_instances):
            name = ids[str(path)]
            if isinstance(found, SpecjaxError):
                failed.append(f"skipped {name}: {found}")
                continue
            save = functools.partial(indexed_png(found.labels).save, format="PNG")
            write_atomically(self._output / f"{name}.png", save)
        return {"failed": failed}


def segment(paths, output: pathlib.Path, num_instances: int, workers: int | None, **settings):
    """Segment the photographs without a label map, with Ray running; yields a line per failure."""
    import ray

    files = find_photographs(paths).files
    missing = [
        {"id": name, "path": str(file)}
        for name, file in files
        if not (output / f"{name}.png").exists()
    ]
    if not missing:
        return
    resources = ray.cluster_resources()
    accelerators: dict[str, dict[str, Any]] = {
        "GPU": {"num_gpus": 1},
        "TPU": {"resources": {"TPU": 1}},
    }
    kind = next(filter(resources.get, accelerators), None)
    # Without accelerators XLA uses all cores of a machine: one worker on each is enough.
    needs = accelerators[kind] if kind else {"num_cpus": 1}
    workers = workers or int(resources[kind] if kind else len(ray.nodes()))
    size = min(_PHOTOGRAPHS, -(-len(missing) // workers))
    rows = ray.data.from_items(missing, override_num_blocks=-(-len(missing) // size)).map_batches(
        Worker,
        fn_constructor_args=(output.resolve(), num_instances, settings),
        compute=ray.data.ActorPoolStrategy(size=workers),
        batch_size=size,
        **needs,
    )
    yield from (row["failed"] for row in rows.iter_rows())


def main() -> int:
    """Read the arguments, start Ray, segment; the exit status is 1 if a photograph failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photographs", nargs="+", help="folders, images, globs or text lists")
    parser.add_argument("output", type=pathlib.Path, help="folder for the label maps")
    parser.add_argument(
        "--num_instances", type=int, required=True, help="instances to find in each photograph"
    )
    parser.add_argument("--workers", type=int, help="number of workers; default: one per device")
    parser.add_argument(
        "--checkpoint", default="specjax-mini", help="backbone; default: the built-in specjax-mini"
    )
    parser.add_argument(
        "--image_size", type=int, help="short side in pixels; default: photographs keep their size"
    )
    arguments = vars(parser.parse_args())
    import ray

    ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = sys.stderr.isatty()
    failed = list(segment(arguments.pop("photographs"), **arguments))
    print(*failed, sep="\n", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
