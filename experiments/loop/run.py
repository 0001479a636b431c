"""One run, from the flags to the table: identity, folder, stream, summary."""

import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from experiments import datasets
from experiments.datasets.records import Record
from experiments.loop import coverage
from experiments.loop.backbone import open_backbone
from experiments.loop.experiment import Experiment, Setup
from experiments.loop.flags import Options
from experiments.loop.stopwatch import Stopwatch
from experiments.loop.stream import Stream
from experiments.runs.folder import RunFolder
from experiments.runs.parts import Report, Share
from specjax import SpecjaxError
from specjax._batching import open_lanes

_PACKAGES = ("specjax", "jax", "jaxlib", "flax", "numpy", "scipy", "optax", "pillow")


def run(options: Options, kind: type[Experiment]) -> int:
    """Run an experiment, or this process's part of it; the exit status is 1 if an image failed.

    The dataset is opened first, then the backbone, then the folder, which stays locked until the
    table is printed.
    """
    watch = Stopwatch()
    dataset = options.open_dataset()
    kind.check(options, dataset)
    with watch("load backbone"):
        backbone = open_backbone(options, dataset)
    setup = Setup(options, dataset, backbone, watch)
    experiment = kind(setup)
    identity = _identity(setup, experiment)
    path = options.output_dir or _default_folder(experiment.name, options.dataset, identity)
    _refuse_nesting(options, path.resolve())
    settings = list(experiment.settings)
    with RunFolder(path, identity, settings, options.overwrite, options.part) as folder:
        warnings = [*dataset.warnings, *experiment.warnings]
        for warning in warnings:  # the table is followed by them too, but a run may take hours
            print(f"warning: {warning}", file=sys.stderr)
        writers = experiment.writers(folder, options.save)
        stream = Stream(setup, experiment, folder, writers, open_lanes(options.batch_size))

        def note(record: Record) -> None:
            files: list[str | pathlib.Path] = [*record.files, *backbone.files(record.id)]
            folder.sources.add(record.id, files)

        dataset.known.update(folder.known_ids())
        share = Share(dataset.records(), options.part, note)
        total = None if dataset.count is None else options.part.size(dataset.count)
        progress = stream.process(share, total=total)
        if not share.seen:
            raise SpecjaxError(f"dataset {options.dataset!r} has no image that passes the filters")
        watch.seconds["total"] = watch.total()
        report = Report(
            work={
                "settings": settings,
                "save": sorted(options.save),
                "images": share.seen,
                "ids_sha256": share.digest(),
            },
            visited=progress.visited,
            failures=progress.failures,
            seconds={stage: round(value, 3) for stage, value in watch.seconds.items()},
            device=versions()["device"],
        )
        config = {**identity, "limit": options.limit}
        return folder.finish(report, functools.partial(_conclude, stream, config, warnings))


def _conclude(
    stream: Stream,
    config: Mapping[str, Any],
    warnings: Sequence[str],
    merged: Report,
    entries: Sequence[dict[str, Any]],
) -> None:
    """Write the files that cover all images, the summary last, and print the results."""
    experiment, folder, kind = stream.experiment, stream.folder, stream.setup.backbone.kind
    pictures = stream.writers.finish(merged.visited, list(experiment.settings))
    settings = list(dict.fromkeys([*folder.lines.settings(), *experiment.settings]))
    lines = {
        setting: [line for image in merged.visited if (line := folder.lines.get(image, setting))]
        for setting in settings
    }
    results = [experiment.result(setting, of_setting) for setting, of_setting in lines.items()]
    plots = experiment.draw(folder, results, lines)
    remarks = [remark for item in lines.items() for remark in experiment.remarks(*item)]
    remarks += _incomplete(folder, merged, settings)
    left_out = coverage.gaps(lines, merged.failures, annotated=stream.setup.dataset.annotated)
    warnings = [*warnings, *remarks, *left_out]
    summary = {
        "results": results,
        "config": {**config, "settings": settings, "backbone": kind},
        "backbone": kind,
        "warnings": warnings,
        "failures": merged.failures,
        "versions": versions(),
        "seconds": merged.seconds,
    }
    folder.write_summary({**summary, "parts": entries} if entries else summary)
    print(*experiment.report(results), sep="\n\n")
    for warning in warnings:
        print(f"warning: {warning}")
    print("", folder.summary_path, *pictures, *plots, sep="\n")
    if merged.failures:
        failed = f"{len(merged.failures)} of {len(merged.visited)} images failed"
        print(f"{failed}; see 'failures' in {folder.summary_path}", file=sys.stderr)


def _incomplete(folder: RunFolder, merged: Report, settings: Sequence[str]) -> Iterator[str]:
    """Warnings about settings of earlier runs in which images of this run are missing."""
    failed = {failure["id"] for failure in merged.failures}
    done = [image for image in merged.visited if image not in failed]
    for setting in settings:
        if count := sum(folder.lines.get(image, setting) is None for image in done):
            yield (
                f"{setting}: {count} of {len(merged.visited)} images are not in its scores: an"
                " earlier run with this setting did not have them, or their files have changed"
                " since; run it again"
            )


def _identity(setup: Setup, experiment: Experiment) -> dict[str, Any]:
    options = setup.options
    return {
        "binary": experiment.name,
        "dataset": dict(setup.dataset.identity),
        **setup.backbone.identity,
        "bins": options.bins,
        "protocol": options.protocol.name,
        "image_size": options.image_size,
        "solver": options.solver,
        "seed": options.seed,
        **experiment.identity,
    }


def _refuse_nesting(options: Options, folder: pathlib.Path) -> None:
    """Raises SpecjaxError if a run would read its own pictures, or delete what it reads."""
    inputs = datasets.paths_of(options.data_dir)
    for path in inputs if options.dataset == "folder" else ():
        if path.is_dir() and folder.is_relative_to(path.resolve()):
            raise SpecjaxError(
                f"results would go to {folder}, inside {path}, from which images are read; choose"
                " an --output_dir outside"
            )
    optional = (options.features_dir, options.annotations, options.frames, options.checkpoint)
    # A checkpoint may be a name ("auto", a hub id) instead of a path.
    inputs += [pathlib.Path(path) for path in optional if path and pathlib.Path(path).exists()]
    for path in inputs if options.overwrite else ():
        if path.resolve().is_relative_to(folder):
            raise SpecjaxError(
                f"--overwrite might delete {path}, which this run reads; choose another"
                " --output_dir"
            )


def _default_folder(name: str, dataset: str, identity: Mapping[str, Any]) -> pathlib.Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return pathlib.Path("outputs") / f"{name}-{dataset}-{digest[:8]}"


def versions() -> dict[str, str]:
    """The versions by name; "not installed" for a package that runs from its source folder."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    device = jax.local_devices()[0]
    return {**found, "device": f"{device.platform}: {device.device_kind}"}
