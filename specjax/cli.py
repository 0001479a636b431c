"""The command: instance masks for your own photographs; no annotation needed.

    specjax photos/ --num_instances=3 --output_dir=out

takes folders, images, globs and text lists of paths. For each photograph it writes, to
--output_dir, a label map at the size of the photograph and a picture to look at; for all of them
one sheet of the first 24 and COCO JSON. What is done is not done again, unless the photograph or
the settings have changed.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import tqdm
from absl import flags
from PIL import Image

from specjax import coco, overlay
from specjax._flags import METHOD, Flag, check_texts, declare, instance_count, with_flag
from specjax._folder import (
    Held,
    Journal,
    OutputError,
    encoded,
    lock,
    make_folder,
    remove_remains,
    write_bytes,
    write_json,
)
from specjax._photographs import find_photographs
from specjax._program import execute
from specjax.errors import SpecjaxError
from specjax.segmentation import Segmentation
from specjax.segmenter import Segmenter

GALLERY = 24
SAVES = {
    "labels": "indexed PNGs, 0 is background",
    "overlays": "the photograph with its instances",
    "stages": "a picture of every stage",
    "gallery": f"one sheet of the first {GALLERY}",
    "coco": "two JSON files of run-length masks",
}
_JOURNAL = "photographs.jsonl"
_METHOD = (
    "protocol", "M", "N", "bins", "metric", "solver", "image_size", "pos_interpolation", "dtype",
    "batch_size", "seed", "overwrite",
)  # fmt: skip
FLAGS = {
    **{name: METHOD[name] for name in _METHOD},
    "metric": METHOD["metric"]._replace(kind="string", default="boc"),
    "N": METHOD["N"]._replace(kind="integer", default=60),
    "checkpoint": METHOD["checkpoint"]._replace(
        default=None,
        help="Backbone: a Hugging Face id (facebook/dino-vits16), or a folder or a file with a ViT."
        " Default: the small one that comes with the package, specjax-mini.",
    ),
    "num_instances": METHOD["num_instances"]._replace(
        default=None, help="How many instances to find in each photograph."
    ),
    "output_dir": METHOD["output_dir"]._replace(
        default="specjax-out", help="Where results go. An interrupted run continues there."
    ),
    "save": Flag(
        "list",
        ["labels", "overlays", "gallery", "coco"],
        "What to write, any of: " + "; ".join(f"{name}, {what}" for name, what in SAVES.items()),
    ),
}


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder that results go to.

    Attributes:
        folder: the folder.
        save: kinds of files, of `SAVES`.
        settings: digest of what the results depend on besides the photograph.
        journal: a line for each photograph that is done, under its `stamp`.
    """

    folder: pathlib.Path
    save: frozenset[str]
    settings: str
    journal: Journal

    def stamp(self, file: pathlib.Path) -> str:
        """Changes when the settings or the photograph do."""
        try:
            status = file.stat()
        except OSError:  # reading it says what is wrong
            return ""
        return f"{self.settings}-{status.st_size}-{status.st_mtime_ns}"

    def path(self, kind: str, photograph_id: str) -> pathlib.Path:
        """A file of one photograph."""
        return self.folder / kind / f"{photograph_id}.png"  # an id may contain a dot

    def kinds(self, place: int) -> list[str]:
        """What is written of the photograph at a place of the run."""
        each = [kind for kind in ("labels", "overlays", "stages") if kind in self.save]
        return [*each, "gallery"] if "gallery" in self.save and place < GALLERY else each

    def is_done(self, place: int, photograph_id: str, file: pathlib.Path) -> bool:
        """Whether nothing is left to do."""
        known = self.journal.get(photograph_id, self.stamp(file)) is not None
        return known and all(self.path(k, photograph_id).exists() for k in self.kinds(place))

    def write(
        self, place: int, photograph_id: str, file: pathlib.Path, found: Segmentation
    ) -> None:
        """Write everything of one photograph, its line last."""
        draw: dict[str, Callable[[], Image.Image]] = {
            "labels": lambda: overlay.indexed_png(found.labels),
            "overlays": found.overlay,
            "stages": found.stages,
            "gallery": lambda: overlay.gallery_tile(found.image, found.labels, None),
        }
        for kind in self.kinds(place):
            _write_png(self.path(kind, photograph_id), draw[kind]())
        height, width = found.labels.shape
        line = {
            "id": photograph_id,
            "setting": self.stamp(file),
            "file_name": photograph_id + file.suffix,
            "height": height,
            "width": width,
            "masks": coco.instances_of(found.labels),
        }
        self.journal.append([line])

    def finish(self, photographs: Sequence[tuple[str, pathlib.Path]]) -> list[pathlib.Path]:
        """Write what is made of all photographs at once; returns its paths."""
        lines = [self.journal.get(name, self.stamp(file)) for name, file in photographs]
        known = [(number, line) for number, line in enumerate(lines, 1) if line is not None]
        # Lines of earlier settings and earlier versions of a photograph go.
        write_bytes(self.folder / _JOURNAL, encoded(line for _, line in known))
        remove_remains(self.folder)
        written = []
        if "coco" in self.save:
            keys = ("file_name", "height", "width", "masks")
            entries = [coco.Entry(number, *(line[key] for key in keys)) for number, line in known]
            for name, content in (("coco", coco.dataset), ("coco_results", coco.results)):
                path = self.folder / f"{name}.json"
                written.append(write_json(path, content(entries), indent=None))
        tiles = [self.path("gallery", name) for name, _ in photographs[:GALLERY]]
        tiles = [path for path in tiles if "gallery" in self.save and path.exists()]
        if tiles:
            written.append(self.folder / "gallery.png")
            _write_png(written[-1], overlay.gallery(map(Image.open, tiles)))
        return written


def segment_all(
    segmenter: Segmenter,
    photographs: Sequence[tuple[str, pathlib.Path]],
    output: Output,
    *,
    num_instances: int,
) -> list[str]:
    """Segment what is not done yet; returns the ids of photographs that failed."""
    missing = {
        str(file): (place, name, file)
        for place, (name, file) in enumerate(photographs)
        if not output.is_done(place, name, file)
    }
    failed = []
    with tqdm.tqdm(
        total=len(photographs), unit=" photographs", disable=None, dynamic_ncols=True
    ) as bar:
        bar.update(len(photographs) - len(missing))
        for key, found in segmenter.stream(list(missing), num_instances):
            place, name, file = missing[str(key)]
            if isinstance(found, SpecjaxError):
                failed.append(name)
                tqdm.tqdm.write(f"skipped {name}: {with_flag(found)}", file=sys.stderr)
            else:
                output.write(place, name, file, found)
            bar.update()
    return failed


def main(arguments: Sequence[str]) -> int:
    """Read the flags and segment; the exit status is 1 where a photograph failed."""
    values = flags.FLAGS
    check_texts(values, ("checkpoint", "output_dir"))
    if values.num_instances is None:
        raise SpecjaxError(
            "how many instances? give --num_instances=3, or another number, for each photograph"
        )
    num_instances = instance_count(values.num_instances, oracle=False)
    save = frozenset(kind.strip() for kind in values.save if kind.strip())
    for kind in sorted(save - SAVES.keys()):
        raise SpecjaxError(f"--save={kind}: choose from {', '.join(SAVES)}")
    photographs = find_photographs(arguments[1:]).files
    _check_ids(photographs)
    folder = pathlib.Path(values.output_dir).expanduser()
    _refuse_nesting(folder.resolve(), arguments[1:])
    method = [name for name in _METHOD if name not in ("overwrite", "batch_size")]
    settings = {name: values[name].value for name in method}
    segmenter = Segmenter(values.checkpoint, batch_size=values.batch_size, **settings)
    identity = {**settings, "num_instances": num_instances, "of": segmenter.backbone.digest}
    make_folder(folder)
    try:
        with lock(folder / ".lock"):
            if values.overwrite:
                (folder / _JOURNAL).unlink(missing_ok=True)
            output = Output(folder, save, _digest(identity), Journal(folder / _JOURNAL))
            failed = segment_all(segmenter, photographs, output, num_instances=num_instances)
            output.journal.close()
            written = output.finish(photographs)
    except Held:
        raise OutputError(
            f"another process is writing to {folder}; wait for it or choose another folder"
        ) from None
    print(f"{len(photographs) - len(failed)} of {len(photographs)} photographs are in {folder}")
    print(*written, sep="\n")
    return 1 if failed else 0


def _check_ids(photographs: Sequence[tuple[str, pathlib.Path]]) -> None:
    """Raises SpecjaxError where two files would be written under one name."""
    files: dict[str, pathlib.Path] = {}
    for name, file in photographs:
        if name in files:
            raise SpecjaxError(
                f"two images have the id {name!r}: {str(files[name])!r} and {str(file)!r}: rename"
                " one, or give the folder that holds both"
            )
        files[name] = file


def _refuse_nesting(folder: pathlib.Path, given: Sequence[str]) -> None:
    """The command must not take its own pictures for photographs."""
    for path in given:
        if os.path.isdir(path) and folder.is_relative_to(pathlib.Path(path).resolve()):
            raise SpecjaxError(
                f"results would go to {folder}, inside {path}, whose images are read; choose an"
                " --output_dir outside"
            )


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _write_png(path: pathlib.Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, format="PNG")
    write_bytes(path, content.getvalue())


def run() -> None:
    """The console entry point."""
    declare(FLAGS)
    # What --help begins with, and a warning is one line.
    sys.modules["__main__"].__doc__ = __doc__
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    execute(main)
