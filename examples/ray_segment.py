r"""Instance masks for photographs, on a Ray cluster that may grow and shrink.

    pip install "ray[data]>=2.60"
    python -m examples.ray_segment photos/ --num_instances=3 --workers=2

gives, in --output_dir, what `experiments.segment` gives; either goes on where the other was
interrupted. Each worker is a Ray actor that holds a GPU (a TPU chip; a machine, where there is
neither) with a backbone of its own, and does what `experiments.segment` does, a few images at a
time, in a folder of its own. What it wrote there comes back as rows of bytes. Workers must see the
images and the checkpoint under the same paths as the process that you start.
"""

import dataclasses
import functools
import itertools
import json
import logging
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import tqdm
from absl import flags

from experiments import instance, segment
from experiments.loop import flags as shared
from experiments.loop import runner
from experiments.loop.backbone import open_backbone
from experiments.loop.batches import open_lanes
from experiments.loop.stream import Progress, Stopwatch, process
from experiments.runs.store import RUN, Store
from experiments.runs.writers import Writers
from specjax import _memory as memory
from specjax._folder import write_atomically
from specjax.errors import SpecjaxError

# Images that a worker is given at a time: enough to keep it busy, few enough to do again.
_IMAGES = 16


class Segmenter:
    """A worker; made once for each device, and called with a few images at a time.

    Args:
        options: the shared flags.
        metrics: as the flag says.
        run: the content of the run's `run.json`, by which its files are named.
    """

    def __init__(self, options: shared.Options, metrics: Sequence[str], run: str):
        memory.keep_freed_memory()
        runner.cache_compiled_programs()
        dataset = options.open_dataset()
        self._options, self._run = options, run
        self._records = {record.id: record for record in dataset.records()}
        self._backbone = open_backbone(options, dataset)
        self._watch = Stopwatch()
        self._job = instance.make_job(
            options, dataset, self._backbone, self._watch, metrics, "segment"
        )

    def __call__(self, batch):
        """Files as rows of (path, content), and a last row without path, which tells of all images.

        Args:
            batch: an Arrow table of ids and of their places in the run.
        """
        import pyarrow  # comes with ray[data]

        self._watch.seconds.clear()
        with tempfile.TemporaryDirectory(prefix="specjax-") as name:
            folder = pathlib.Path(name)
            (folder / RUN).write_text(self._run)
            identity, failures = json.loads(self._run)["identity"], []
            with Store(folder, identity, self._job.settings, overwrite=False) as store:
                for first, ids in _stretches(batch.to_pylist()):
                    failures += self._process(store, first, ids).failures
                files = [path for path in folder.glob("*/**/*") if path.is_file()]
                rows = [(str(path.relative_to(folder)), path.read_bytes()) for path in files]
                report = {
                    "segments": store.segments.ordered([]),
                    "lines": store.lines.ordered([]),
                    "images": batch.num_rows,
                    "failures": failures,
                    "seconds": self._watch.seconds,
                    "device": runner.versions()["device"],
                }
        paths, contents = zip(*rows, ("", json.dumps(report).encode()), strict=True)
        # As numpy bytes, contents would lose the zeros that they end in.
        return pyarrow.table({"path": paths, "content": pyarrow.array(contents, pyarrow.binary())})

    def _process(self, store: Store, first: int, ids: Iterable[str]) -> Progress:
        return process(
            [self._records[image] for image in ids],
            self._backbone,
            store,
            Writers(store, self._options.save),
            self._job.settings,
            self._job.analyse,
            image_size=self._options.image_size,
            watch=self._watch,
            lanes=open_lanes(self._options.batch_size),
            first=first,
        )


def _stretches(rows: Sequence[Mapping]) -> Iterator[tuple[int, list[str]]]:
    """Runs of neighbours: the place of the first, and the ids."""
    numbered = enumerate(rows)
    for _, group in itertools.groupby(numbered, lambda pair: pair[1]["place"] - pair[0]):
        stretch = [row for _, row in group]
        yield stretch[0]["place"], [row["id"] for row in stretch]


def process_on_workers(
    records, backbone, store, writers, settings, analyse, *, first, step, watch, start, devices, **_
) -> Progress:
    """`stream.process`, done elsewhere, by what `devices` gets to name.

    `start` gives rows as `Segmenter` does, in any order.
    """
    progress, undone = Progress(), []
    for place, record in zip(itertools.count(first, step), records, strict=False):
        progress.visited.append(record.id)
        if any(
            store.lines.get(record.id, setting) is None or writers.lack(record.id, place, setting)
            for setting in settings
        ):
            undone.append({"place": place, "id": record.id})
    if not undone:
        return progress
    # Rows come as workers finish; the lines are brought into the order of the stream at the end.
    with tqdm.tqdm(total=len(undone), unit=" images", disable=None, dynamic_ncols=True) as bar:
        for row in start(undone, (store.folder / RUN).read_text()):
            content = row["content"]
            if row["path"]:
                path = store.folder / row["path"]
                write_atomically(path, lambda file, content=content: file.write(content))
                continue
            report = json.loads(content)
            store.segments.append(report["segments"])
            store.lines.append(report["lines"])
            for failure in report["failures"]:
                progress.failures.append(failure)
                tqdm.tqdm.write(f"skipped {failure['id']}: {failure['error']}", file=sys.stderr)
            for stage, seconds in report["seconds"].items():
                watch.seconds[stage] += seconds
            devices[:] = sorted({*devices, report["device"]})
            bar.update(report["images"])
    place = {image: number for number, image in enumerate(progress.visited)}
    progress.failures.sort(key=lambda failure: place[failure["id"]])
    store.merge(progress.visited)
    return progress


def start_workers(ray, options, metrics, workers: int | None, undone, run) -> Iterator[Mapping]:
    """Rows of all workers, as they come; as many workers as there are devices, unless told."""
    resources = ray.cluster_resources()
    if resources.get("GPU"):
        needs = {"num_gpus": 1}
    elif resources.get("TPU"):
        needs = {"resources": {"TPU": 1}}
    else:
        # XLA uses all cores of a machine: more workers than machines would fight for them.
        needs = {"num_cpus": 1}
        workers = workers or sum(node["Alive"] for node in ray.nodes())
    strategy = ray.data.ActorPoolStrategy
    # Without a number, the pool grows and shrinks with the cluster.
    pool = strategy(size=workers) if workers else strategy(min_size=1, max_size=None)
    images = min(_IMAGES, -(-len(undone) // (workers or 1)))
    rows = ray.data.from_items(undone, override_num_blocks=-(-len(undone) // images))
    arguments = (options, metrics, run)
    return rows.map_batches(
        Segmenter, fn_constructor_args=arguments, compute=pool, batch_format="pyarrow", **needs
    ).iter_rows()


def _import_ray():
    # Ray reports its use to its makers unless told otherwise, and to the user more than this needs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray.data
    except ImportError as error:
        raise SpecjaxError(
            f"examples.ray_segment needs Ray ({error}): pip install 'ray[data]>=2.60', which is"
            " the extra 'ray' of this package"
        ) from None
    return ray


def main(arguments: Sequence[str]) -> int:
    """Read the flags and run."""
    options = segment.with_images(shared.read(flags.FLAGS), arguments[1:])
    metrics = shared.metric_names(flags.FLAGS.metric)
    if options.distributed:
        raise SpecjaxError("--distributed: here it is Ray that knows the cluster; leave it out")
    ray = _import_ray()
    # This process computes nothing; a worker may need the accelerator beside it.
    jax.config.update("jax_platforms", "cpu")
    ray.init(
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        runtime_env={"env_vars": {"OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"]}},
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    devices: list[str] = []

    def make_job(*parts) -> runner.Job:
        job = instance.make_job(*parts, metrics, "segment")
        return dataclasses.replace(job, config={**job.config, "devices": devices})

    start = functools.partial(start_workers, ray, options, metrics, flags.FLAGS.workers)
    try:
        return runner.run(
            options,
            make_job,
            instance.check,
            functools.partial(process_on_workers, start=start, devices=devices),
        )
    finally:
        ray.shutdown()


if __name__ == "__main__":
    shared.define(dataset="folder", save=("labels", "overlays", "gallery", "coco"))
    shared.define_metric()
    flags.DEFINE_integer(
        "workers",
        None,
        "How many workers. Default: one on each GPU or TPU chip of the Ray cluster, also on those"
        " that join later; one on each machine where there is neither.",
        lower_bound=1,
    )
    flags.adopt_module_key_flags(shared)
    runner.execute(main)
