"""The command's output folder: what is written of each photograph, and what is done.

`photographs.jsonl` has a line for each photograph whose files are whole, under its stamp, which
changes when the photograph or the settings do. Files without a line are nobody's.
"""

import dataclasses
import io
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import NamedTuple

from PIL import Image

from specjax import coco, overlay
from specjax._folder import (
    Journal,
    OutputError,
    encoded,
    remove_remains,
    write_bytes,
    write_json,
)
from specjax.segmentation import Segmentation

GALLERY = 24
SAVES = {
    "labels": "indexed PNGs, 0 is background",
    "overlays": "the photograph with its instances",
    "stages": "a picture of every stage",
    "gallery": f"one sheet of the first {GALLERY}",
    "coco": "two JSON files of run-length masks",
}
_JOURNAL = "photographs.jsonl"
_EACH = ("labels", "overlays", "stages", "gallery")
# What the command writes, beside the journal.
OWNED = (*_EACH, "gallery.png", "coco.json", "coco_results.json")


class Photo(NamedTuple):
    """A photograph of this run.

    Attributes:
        place: its number in the run, from 0.
        id: what its files are called.
        file: where it lies.
        stamp: changes when the settings or the photograph do.
    """

    place: int
    id: str
    file: pathlib.Path
    stamp: str


def stamped(files: Sequence[tuple[str, pathlib.Path]], settings: str) -> list[Photo]:
    """Photographs by id and file, with stamps for settings."""
    photos = []
    for place, (name, file) in enumerate(files):
        try:
            status = file.stat()
            version = f"{status.st_size}-{status.st_mtime_ns}"
        except OSError:  # reading it says what is wrong
            version = "unknown"
        photos.append(Photo(place, name, file, f"{settings}-{version}"))
    return photos


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder that results go to; `open_output` opens it.

    Attributes:
        folder: the folder.
        save: kinds of files, of `SAVES`.
        journal: a line for each photograph that is done.
    """

    folder: pathlib.Path
    save: frozenset[str]
    journal: Journal

    def is_done(self, photo: Photo) -> bool:
        """Whether nothing is left to do."""
        known = self.journal.get(photo.id, photo.stamp) is not None
        return known and all(self._path(kind, photo.id).exists() for kind in self._kinds(photo))

    def write(self, photo: Photo, found: Segmentation) -> None:
        """Write everything of one photograph, its line last."""
        if self.journal.get(photo.id, photo.stamp) is None:
            self.remove(photo.id)
        draw: dict[str, Callable[[], Image.Image]] = {
            "labels": lambda: overlay.indexed_png(found.labels),
            "overlays": found.overlay,
            "stages": found.stages,
            "gallery": lambda: overlay.gallery_tile(found.image, found.labels, None),
        }
        for kind in self._kinds(photo):
            _write_png(self._path(kind, photo.id), draw[kind]())
        height, width = found.labels.shape
        line = {
            "id": photo.id,
            "setting": photo.stamp,
            "file_name": photo.id + photo.file.suffix,
            "height": height,
            "width": width,
            "masks": coco.instances_of(found.labels),
        }
        self.journal.append([line])

    def remove(self, photo_id: str) -> None:
        """Delete the files of one photograph."""
        for kind in _EACH:
            _delete(self._path(kind, photo_id))

    def finish(self, photos: Sequence[Photo]) -> list[pathlib.Path]:
        """Write what is made of all photographs at once; returns its paths."""
        lines = self.journal.ordered([photo.id for photo in photos])
        write_bytes(self.folder / _JOURNAL, encoded(lines))
        remove_remains(self.folder)
        every = [(photo, self.journal.get(photo.id, photo.stamp)) for photo in photos]
        known = [(photo, line) for photo, line in every if line is not None]
        written = []
        if "coco" in self.save:
            keys = ("file_name", "height", "width", "masks")
            entries = [
                coco.Entry(photo.place + 1, *(line[key] for key in keys)) for photo, line in known
            ]
            for name, content in (("coco", coco.dataset), ("coco_results", coco.results)):
                path = self.folder / f"{name}.json"
                written.append(write_json(path, content(entries), indent=None))
        tiles = [self._path("gallery", photo.id) for photo, _ in known if photo.place < GALLERY]
        if tiles and "gallery" in self.save:
            written.append(self.folder / "gallery.png")
            _write_png(written[-1], overlay.gallery(map(Image.open, tiles)))
        return written

    def _path(self, kind: str, photo_id: str) -> pathlib.Path:
        return self.folder / kind / f"{photo_id}.png"  # an id may contain a dot

    def _kinds(self, photo: Photo) -> list[str]:
        """What is written of a photograph."""
        wanted = self.save if photo.place < GALLERY else self.save - {"gallery"}
        return [kind for kind in _EACH if kind in wanted]


def open_output(
    folder: pathlib.Path, save: frozenset[str], photos: Sequence[Photo], *, overwrite: bool
) -> Output:
    """Open a folder that exists, and delete what is out of date.

    That is what other settings, or an earlier version, gave of a photograph; with `overwrite`, all
    that the command has written there.

    Raises:
        OutputError: it cannot be written, or holds what the command did not write.
    """
    path = folder / _JOURNAL
    strangers = [name for name in OWNED if (folder / name).exists()]
    if strangers and not path.exists():
        raise OutputError(
            f"{folder} holds {strangers[0]!r} without {_JOURNAL}: this command did not write it;"
            " choose another folder"
        )
    if overwrite:
        for name in strangers:
            _delete(folder / name, with_content=True)
        _delete(path)
    output = Output(folder, save, Journal(path))
    stamps, kept = {photo.id: photo.stamp for photo in photos}, []
    for line in output.journal.ordered([]):
        if stamps.get(line["id"], line["setting"]) == line["setting"]:
            kept.append(line)
        else:
            output.remove(line["id"])
    write_bytes(path, encoded(kept))
    return dataclasses.replace(output, journal=Journal(path))


def _delete(path: pathlib.Path, *, with_content: bool = False) -> None:
    try:
        if with_content and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot delete {path}: {error.strerror}; choose another folder"
        ) from error


def _write_png(path: pathlib.Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, format="PNG")
    write_bytes(path, content.getvalue())
