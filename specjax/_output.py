"""The output folder of the command: the files of each photograph, and which photographs are done.

`photographs.jsonl` has a line for each photograph that is done, with its stamp, which changes when
the photograph or the settings change. Files of a photograph without a line may be unfinished.
"""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterable, Sequence
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
from specjax._ids import earlier_ids, file_name
from specjax._in_work import NAME as IN_WORK
from specjax._png import write_png
from specjax.segmentation import Segmentation

GALLERY = 24
SAVES = {
    "labels": "label maps as PNG files, in which 0 is background",
    "overlays": "the photographs with their instances drawn on them",
    "stages": "pictures of every stage of the method",
    "gallery": f"one picture that shows the first {GALLERY} photographs",
    "coco": "masks as COCO JSON, an annotation file and a results file",
}
_JOURNAL = "photographs.jsonl"
_EACH = ("labels", "overlays", "stages", "gallery")
# Files and folders that the command writes, besides the journal.
OWNED = (*_EACH, "gallery.png", "coco.json", "coco_results.json")


class Photo(NamedTuple):
    """A photograph of a run.

    Attributes:
        place: its number in the run, from 0.
        id: the name of its output files, without suffix.
        file: its path.
        stamp: a text that changes when the settings or the photograph change.
    """

    place: int
    id: str
    file: pathlib.Path
    stamp: str

    @property
    def version(self) -> str:
        """A text that identifies the photograph as it is, and the settings."""
        return f"{self.id} {self.stamp}"


def known_ids(folder: pathlib.Path) -> dict[str, str]:
    """The ids that photographs have in a folder, by path."""
    return earlier_ids(Journal(folder / _JOURNAL).ordered([]))


def stamped(files: Iterable[tuple[str, pathlib.Path]], settings: str) -> list[Photo]:
    """Photographs, given as (id, file), with their stamps; `settings` identifies the settings."""
    photos = []
    for place, (name, file) in enumerate(files):
        try:
            status = file.stat()
            version = f"{status.st_size}-{status.st_mtime_ns}"
        except (OSError, ValueError):  # reading the file will raise the error
            version = "unknown"
        photos.append(Photo(place, name, file, f"{settings}-{version}"))
    return photos


@dataclasses.dataclass(frozen=True)
class Output:
    """The folder that results are written to (`open_output`).

    Attributes:
        folder: its path.
        save: the kinds of files to write, of `SAVES`.
        journal: a line for each photograph that is done.
    """

    folder: pathlib.Path
    save: frozenset[str]
    journal: Journal

    def is_done(self, photo: Photo) -> bool:
        """Whether the photograph has a line and all of its files."""
        known = self.journal.get(photo.id, photo.stamp) is not None
        return known and all(self._path(kind, photo.id).exists() for kind in self._kinds(photo))

    def write(self, photo: Photo, found: Segmentation) -> None:
        """Write the files of a photograph, then its line."""
        if self.journal.get(photo.id, photo.stamp) is None:
            self.remove(photo.id)
        draw: dict[str, Callable[[], Image.Image]] = {
            "labels": lambda: overlay.indexed_png(found.labels),
            "overlays": found.overlay,
            "stages": found.stages,
            "gallery": lambda: overlay.gallery_tile(found.image, found.labels, None),
        }
        for kind in self._kinds(photo):
            write_png(self._path(kind, photo.id), draw[kind]())
        height, width = found.labels.shape
        line = {
            "id": photo.id,
            "setting": photo.stamp,
            "source": str(photo.file),
            "file_name": file_name(photo.id, photo.file),
            "height": height,
            "width": width,
            "masks": coco.instances_of(found.labels),
        }
        if found.proposals is not None:
            line["proposals"] = [
                {**coco.encoded_mask(mask), "score": score}
                for mask, score in found.proposed_masks()
            ]
        self.journal.append([line])

    def remove(self, photo_id: str) -> None:
        """Delete the files of a photograph."""
        for kind in _EACH:
            _delete(self._path(kind, photo_id))

    def finish(self, photos: Sequence[Photo]) -> list[pathlib.Path]:
        """Write the files about all photographs, COCO JSON and gallery; returns their paths."""
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
            ranked = [
                entry._replace(masks=line.get("proposals", entry.masks))
                for entry, (_, line) in zip(entries, known, strict=True)
            ]
            contents = {"coco": coco.dataset(entries), "coco_results": coco.results(ranked)}
            for name, content in contents.items():
                path = self.folder / f"{name}.json"
                written.append(write_json(path, content, indent=None))
        tiles = [self._path("gallery", photo.id) for photo, _ in known if photo.place < GALLERY]
        if tiles and "gallery" in self.save:
            written.append(self.folder / "gallery.png")
            write_png(written[-1], overlay.gallery(map(Image.open, tiles)))
        return written

    def _path(self, kind: str, photo_id: str) -> pathlib.Path:
        return self.folder / kind / f"{photo_id}.png"  # an id may contain a dot

    def _kinds(self, photo: Photo) -> list[str]:
        """The kinds of files to write for a photograph."""
        wanted = self.save if photo.place < GALLERY else self.save - {"gallery"}
        return [kind for kind in _EACH if kind in wanted]


def open_output(
    folder: pathlib.Path, save: frozenset[str], photos: Sequence[Photo], *, overwrite: bool
) -> Output:
    """Open an existing folder, and delete outdated files.

    Outdated are the files of a photograph that has changed, or that other settings made; with
    `overwrite`, all files that the command has written there.

    Raises:
        OutputError: the folder cannot be written, or holds files that the command did not write.
    """
    path = folder / _JOURNAL
    existing = [name for name in OWNED if (folder / name).exists()]
    if existing and not path.exists():
        raise OutputError(
            f"{folder} holds {existing[0]!r} without {_JOURNAL}: this command did not write it;"
            " choose another folder"
        )
    if overwrite:
        for name in existing:
            _delete(folder / name, with_content=True)
        _delete(path)
        _delete(folder / IN_WORK)
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
