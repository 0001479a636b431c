"""One run from flags to table: identity, folder, loop, summary."""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl import app, flags

from experiments.datasets.records import Dataset
from experiments.loop import cluster
from experiments.loop.backbone import Backbone, open_backbone
from experiments.loop.batches import open_lanes
from experiments.loop.flags import Options
from experiments.loop.stream import Analyse, Progress, Stopwatch, process
from experiments.results import tables
from experiments.runs import merging
from experiments.runs.parts import Report, Share
from experiments.runs.store import Store
from experiments.runs.writers import Writers
from specjax import _memory as memory
from specjax.config import Config, check_config
from specjax.errors import SpecjaxError

_PACKAGES = ("specjax", "jax", "jaxlib", "flax", "numpy", "scipy", "optax", "pillow")


@dataclasses.dataclass(frozen=True)
class Job:
    """What makes one binary different from another.

    Attributes:
        name: of the binary.
        settings: what is computed for each image, one line of `per_image.jsonl` each.
        identity: what a resumed run must share, beyond what all binaries share.
        config: flags' values for `summary.json`, beyond the identity.
        analyse: from a group of images to outcomes (`specjax` work).
        result: from a setting and its lines to an object of `summary.json`'s `results`.
        columns: keys of `result` for the table, with their headings.
        warnings: what the user was told.
        report: from all results to the texts that are printed; the table alone where None.
        draw: from the run's folder and all results to the plots that it wrote.
        writers: makes what writes files, from the store and the `--save` flag.
    """

    name: str
    settings: Sequence[str]
    identity: Mapping[str, Any]
    config: Mapping[str, Any]
    analyse: Analyse
    result: Callable[[str, list[dict]], dict[str, Any]]
    columns: Mapping[str, str]
    warnings: Sequence[str] = ()
    report: Callable[[Sequence[dict]], Sequence[str]] | None = None
    draw: Callable[[pathlib.Path, Sequence[dict]], list[pathlib.Path]] | None = None
    writers: Callable[[Store, frozenset[str]], Writers] = Writers


def execute(main: Callable[[Sequence[str]], int]) -> None:
    """Run a binary's `main`; a user's mistake ends it with one line and status 2."""

    def guarded(arguments: Sequence[str]) -> None:
        memory.keep_freed_memory()
        logging.getLogger("jax").setLevel(logging.WARNING)
        cache_compiled_programs()
        try:
            status = main(arguments)
        except SpecjaxError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
        except BrokenPipeError:
            # Whoever read the output has seen enough, as `head` does.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 0
        except KeyboardInterrupt:
            print("interrupted; the same command continues where this one ended", file=sys.stderr)
            status = 130
        sys.stdout.flush()
        sys.exit(status)

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    """As absl does it, but a wrong flag is a mistake like any other."""
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        print(f"error: {' '.join(str(error).split())} (--help lists the flags)", file=sys.stderr)
        sys.exit(2)


def cache_compiled_programs() -> None:
    """Keep compiled programs between runs, unless JAX was told where, or not to."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    jax.config.update("jax_compilation_cache_dir", os.path.join(home, "specjax", "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def run(
    options: Options,
    make_job: Callable[[Options, Dataset, Backbone, Stopwatch], Job],
    check: Callable[[Options, Dataset], None] = lambda options, dataset: None,
    loop: Callable[..., Progress] = process,
) -> int:
    """Do the job, or this process's part of it; the exit status is 1 where an image failed.

    Args:
        options: the shared flags.
        make_job: called once the dataset and the backbone are open.
        check: raises SpecjaxError where the flags do not suit the dataset, before a backbone is
            loaded or even downloaded.
        loop: `stream.process`, or what does the same in another way.
    """
    start = time.perf_counter()
    part = cluster.find_part() if options.distributed else options.part
    watch = Stopwatch()
    dataset = options.open_dataset()
    check(options, dataset)
    with watch("load backbone"):
        backbone = open_backbone(options, dataset)
    job = make_job(options, dataset, backbone, watch)

    identity = _identity(options, dataset, backbone, job)
    folder = options.output_dir or _default_folder(job.name, options.dataset, identity)
    _refuse_nesting(options, folder.resolve())
    warnings = [*dataset.warnings, *job.warnings]
    with Store(
        folder, identity, job.settings, overwrite=options.overwrite, part=part
    ) as store:
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        writers = job.writers(store, options.save)
        share = Share(dataset.records(), part)
        progress = loop(
            share,
            backbone,
            store,
            writers,
            job.settings,
            job.analyse,
            image_size=options.image_size,
            watch=watch,
            lanes=open_lanes(options.batch_size),
            total=None if dataset.count is None else part.size(dataset.count),
            first=part.index,
            step=part.count,
        )
        if not share.seen:
            raise SpecjaxError(f"dataset {options.dataset!r} has no image that passes the filters")

        def conclude(visited, failures, seconds, parts) -> int:
            pictures = writers.finish(visited, list(job.settings))
            settings = list(dict.fromkeys([*store.lines.settings(), *job.settings]))
            results = _results(job, store, settings, visited)
            plots = job.draw(folder, results) if job.draw else []
            if not parts:
                watch.seconds["total"] = time.perf_counter() - start
            path = store.write_summary(
                {
                    "results": results,
                    "config": {
                        **identity,
                        **job.config,
                        "settings": settings,
                        "backbone": backbone.kind,
                    },
                    "backbone": backbone.kind,
                    "warnings": warnings,
                    "failures": failures,
                    "versions": versions(),
                    "seconds": {stage: round(value, 3) for stage, value in seconds.items()},
                    **({"parts": parts} if parts else {}),
                }
            )
            texts = job.report(results) if job.report else [tables.render(results, job.columns)]
            print(*texts, sep="\n\n")
            print("", path, *pictures, *plots, sep="\n")
            if failures:
                print(
                    f"{len(failures)} of {len(visited)} images failed; see 'failures' in {path}",
                    file=sys.stderr,
                )
            return 1 if failures else 0

        if part.whole:
            # Lines of parts may lie apart, and those of a batch beside each other.
            store.merge(progress.visited)
            return conclude(progress.visited, progress.failures, watch.seconds, [])
        watch.seconds["total"] = time.perf_counter() - start
        report = Report(
            work={
                "settings": list(job.settings),
                "save": sorted(options.save),
                "images": share.seen,
                "ids_sha256": share.digest(),
            },
            visited=progress.visited,
            failures=progress.failures,
            seconds={stage: round(value, 3) for stage, value in watch.seconds.items()},
            device=versions()["device"],
        )
        return merging.finish(store, part, report, conclude)


def instance_config(
    options: Options, backbone: Backbone, metric: str = "boc", *, M: int | None = None
) -> tuple[Config, list[str]]:
    """The pipeline's configuration under the flags, and what to warn of."""
    M = options.M[0].of(backbone.channels) if M is None else M
    config = check_config(
        Config(
            M=M,
            N=options.N,
            bins=options.bins,
            metric=metric,
            protocol=options.protocol,
            solver=options.solver,
        ),
        backbone.channels,
    )
    warnings = []
    if config.N < options.N:
        warnings.append(f"N={options.N} is more than M={M}; N={config.N} is used")
    return config, warnings


def _identity(
    options: Options, dataset: Dataset, backbone: Backbone, job: Job
) -> dict[str, Any]:
    return {
        "binary": job.name,
        "dataset": dict(dataset.identity),
        **backbone.identity,
        "bins": options.bins,
        "protocol": options.protocol.name,
        "image_size": options.image_size,
        "pos_interpolation": options.pos_interpolation,
        "solver": options.solver,
        "seed": options.seed,
        **job.identity,
    }


def _refuse_nesting(options: Options, folder: pathlib.Path) -> None:
    """A run must not take its own pictures for photographs, nor delete what it reads."""
    given = options.data_dir or ()
    inputs = [pathlib.Path(path) for path in ([given] if isinstance(given, str) else given)]
    for path in inputs if options.dataset == "folder" else ():
        if path.is_dir() and folder.is_relative_to(path.resolve()):
            raise SpecjaxError(
                f"results would go to {folder}, inside {path}, whose images are read; choose an"
                " --output_dir outside"
            )
    others = (options.features_dir, options.annotations, options.frames, options.checkpoint)
    # A checkpoint may be a name ("auto", a hub id) instead of a path.
    inputs += [pathlib.Path(path) for path in others if path and pathlib.Path(path).exists()]
    for path in inputs if options.overwrite else ():
        if path.resolve().is_relative_to(folder):
            raise SpecjaxError(
                f"--overwrite might delete {path}, which is read; choose another --output_dir"
            )


def _default_folder(name: str, dataset: str, identity: Mapping[str, Any]) -> pathlib.Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return pathlib.Path("outputs") / f"{name}-{dataset}-{digest[:8]}"


def _results(
    job: Job, store: Store, settings: Sequence[str], visited: Sequence[str]
) -> list[dict[str, Any]]:
    """One result per setting that the folder knows, over the images of this run."""
    results = []
    for setting in settings:
        lines = (store.lines.get(image, setting) for image in visited)
        results.append(job.result(setting, [line for line in lines if line is not None]))
    return results


def versions() -> dict[str, str]:
    """What computed a result: packages, Python, the first device."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            logging.debug("%s runs from its sources, not installed", name)
            found[name] = "not installed"
    device = jax.local_devices()[0]
    return {**found, "device": f"{device.platform}: {device.device_kind}"}
