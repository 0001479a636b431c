"""Find instance masks in your own photographs, without any annotation.

    specjax photos/ --output_dir=out
    specjax photos/ --num_instances=3 --output_dir=out

The arguments are folders, images, globs, or text lists of paths. For each photograph it writes to
--output_dir a label map at the size of the photograph, and the photograph with its instances drawn
on it; then one picture that shows the first 24 photographs, and COCO JSON for all of them. A second
run skips photographs that are done, unless they or the settings have changed.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence

import tqdm
from absl import flags

from specjax._flags import (
    METHOD,
    OTHER_METHODS,
    Flag,
    check_texts,
    chosen,
    counts,
    declare,
    instance_number,
    with_flag,
)
from specjax._folder import Held, OutputError, lock, make_folder
from specjax._ids import assign_ids
from specjax._in_work import NAME as IN_WORK
from specjax._in_work import InWork
from specjax._memory import does_not_fit
from specjax._output import OWNED, SAVES, Output, Photo, known_ids, open_output, stamped
from specjax._photographs import find_photographs
from specjax._program import execute
from specjax.affinity import METRICS
from specjax.errors import SpecjaxError
from specjax.segmentation import Segmentation
from specjax.segmenter import Segmenter

_METHOD = (
    "protocol", "M", "N", "bins", "metric", "solver", "image_size", "features", "layer",
    "pos_interpolation", "dtype", "batch_size", "seed", "overwrite",
)  # fmt: skip
# What only the paper's own method uses.
_OF_THE_PAPER = ("metric", "M", "N", "bins", "protocol")
FLAGS = {
    **OTHER_METHODS,
    **{name: METHOD[name] for name in _METHOD},
    "metric": METHOD["metric"]._replace(
        kind="string",
        default="boc",
        help="How to compare the features of two foreground tokens, one of "
        f"{', '.join(METRICS)}. boc is the paper's own metric.",
    ),
    "N": METHOD["N"]._replace(kind="integer", default=60),
    "features": METHOD["features"]._replace(
        default=None,
        help="Which features of the backbone to compare: keys, queries, values or outputs of a"
        " block. Several with commas (keys,values) are joined. Default: keys, as in the paper; for"
        " TokenCut, MaskCut and DSM with DINOv2: outputs.",
    ),
    "checkpoint": METHOD["checkpoint"]._replace(
        default=None,
        help="Vision transformer (ViT) that computes the features: a Hugging Face id such as"
        " facebook/dino-vits16, a folder or a file. Default: specjax-mini, a small ViT in the"
        " package.",
    ),
    "scales": Flag(
        "string",
        None,
        "Of automatic masks: several short sides in pixels instead of --image_size, as in 480,960."
        " At the first, the whole photograph is seen; at each other one, windows of it that are as"
        " large as the first, for small objects. 480,960 takes ten times as long as 480.",
    ),
    "num_instances": METHOD["num_instances"]._replace(
        default=None,
        help="How many instances to find in each photograph, for --method=dsi. Default: as many"
        " objects as automatic masks find, which use none of --metric, --M, --N, --bins,"
        " --protocol, --solver and --features.",
    ),
    "output_dir": METHOD["output_dir"]._replace(
        default="specjax-out", help="Folder for the results. An interrupted run continues there."
    ),
    "save": Flag(
        "list",
        ["labels", "overlays", "gallery", "coco"],
        "What to write, any of: " + "; ".join(f"{name}, {what}" for name, what in SAVES.items()),
    ),
}


def segment_all(
    segmenter: Segmenter, photos: Sequence[Photo], output: Output, *, num_instances: int | None
) -> list[str]:
    """Segment the photographs that are not done; returns the ids of those that failed."""
    undone = {str(photo.file): photo for photo in photos if not output.is_done(photo)}
    failed = []
    with (
        tqdm.tqdm(total=len(photos), unit=" photographs", disable=None, dynamic_ncols=True) as bar,
        InWork(output.folder / IN_WORK) as in_work,
    ):
        bar.update(len(photos) - len(undone))
        in_work.end(photo.version for photo in photos if str(photo.file) not in undone)

        def begun(group: Iterable[Photo]) -> Iterator[str]:
            for photo in group:
                in_work.begin([photo.version])
                yield str(photo.file)

        def finish(photo: Photo, found: Segmentation | SpecjaxError) -> None:
            if not isinstance(found, SpecjaxError):
                try:
                    output.write(photo, found)
                except MemoryError:
                    found = does_not_fit()
            if isinstance(found, SpecjaxError):
                failed.append(photo.id)
                tqdm.tqdm.write(f"skipped {photo.id}: {with_flag(found)}", file=sys.stderr)
            in_work.end([photo.version])
            bar.update()

        groups: list[list[Photo]] = [[]]
        for photo in undone.values():
            refusal = in_work.refusal(photo.version)
            if refusal:
                finish(photo, refusal)
            elif in_work.is_suspect(photo.version):
                groups.insert(0, [photo])  # alone: what happens is up to it
            else:
                groups[-1].append(photo)
        for group in groups:
            for file, found in segmenter.stream(begun(group), num_instances):
                finish(undone[file], found)
    return failed


def main(arguments: Sequence[str]) -> int:
    """Read the flags and segment; the exit status is 1 where a photograph failed."""
    values = flags.FLAGS
    check_texts(values, ("checkpoint", "output_dir"))
    num_instances = _num_instances(values)
    _warn_of_unused(values, num_instances)
    wanted = [kind for kind in values.save if kind.strip()]
    save = frozenset(chosen("save", wanted, SAVES) if wanted else ())
    photographs = find_photographs(arguments[1:])
    files = [found.file for found in photographs.found]
    folder = pathlib.Path(os.path.expanduser(values.output_dir))
    _refuse_nesting(folder.resolve(), arguments[1:], files)
    method = [
        name for name in (*OTHER_METHODS, *_METHOD) if name not in ("overwrite", "batch_size")
    ]
    settings = {name: getattr(values, name) for name in method}
    settings["scales"] = None if values.scales is None else counts("scales", values.scales)
    segmenter = Segmenter(values.checkpoint, batch_size=values.batch_size, **settings)
    identity = {**settings, "num_instances": num_instances, "of": segmenter.backbone.digest}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    make_folder(folder)
    try:
        with lock(folder / ".lock"):
            known = {} if values.overwrite else known_ids(folder)
            ids = assign_ids(photographs.found, known)
            photos = stamped(zip(ids, files, strict=True), digest)
            output = open_output(folder, save, photos, overwrite=values.overwrite)
            for line in (*photographs.warnings, *photographs.unread):
                print(f"warning: {line}", file=sys.stderr)
            with contextlib.closing(output.journal):
                failed = segment_all(segmenter, photos, output, num_instances=num_instances)
            written = output.finish(photos)
    except Held:
        raise OutputError(
            f"another process is writing to {folder}; wait for it or choose another folder"
        ) from None
    print(f"{len(photos) - len(failed)} of {len(photos)} photographs are in {folder}")
    for path in written:
        print(path)
    return 1 if failed or photographs.unread else 0


def _num_instances(values: flags.FlagValues) -> int | None:
    """The number of instances to find; None if the method finds it."""
    if values.method != "dsi":
        if values.num_instances is not None:
            raise SpecjaxError(
                f"--num_instances={values.num_instances}: {values.method} finds the number of"
                " instances by itself; leave it out"
            )
        return None
    if values.num_instances is None:
        return None
    if values.scales is not None:
        raise SpecjaxError(
            f"--scales={values.scales}: only automatic masks have several; leave out"
            " --num_instances or --scales"
        )
    return instance_number(values.num_instances)


def _warn_of_unused(values: flags.FlagValues, num_instances: int | None) -> None:
    """Warn of flags that were given and change nothing."""
    unused, why = list(_OF_THE_PAPER), f"by --method={values.method}"
    if values.method == "dsi":
        unused, why = [*unused, "solver", "features"], "without --num_instances"
    given = [f"--{name}" for name in unused if values[name].present]
    if given and num_instances is None:
        print(f"warning: {', '.join(given)}: not used {why}", file=sys.stderr)


def _refuse_nesting(
    folder: pathlib.Path, given: Sequence[str], files: Sequence[pathlib.Path]
) -> None:
    """Raise SpecjaxError where the command would read its own results as photographs."""
    for path in given:
        expanded = os.path.expanduser(path)
        if os.path.isdir(expanded) and folder.is_relative_to(os.path.realpath(expanded)):
            raise SpecjaxError(
                f"results would go to {folder}, inside {path}, where photographs are read; choose"
                " an --output_dir outside"
            )
    for file in files:
        if any(file.resolve().is_relative_to(folder / name) for name in OWNED):
            raise SpecjaxError(
                f"{file} is inside the folder of results; leave it out, or choose another"
                " --output_dir"
            )


def run() -> None:
    """The console entry point."""
    declare(FLAGS)
    # --help begins with this module's docstring, and a warning is one line.
    sys.modules["__main__"].__doc__ = __doc__
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    execute(main)
