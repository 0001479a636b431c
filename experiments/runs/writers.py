"""What `--save` writes for each image: label maps, pictures, COCO masks, features."""

import io
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from experiments.loop.backbone import save_features
from experiments.runs import gallery
from experiments.runs.palette import voc_palette
from experiments.runs.store import Store
from specjax import coco as coco_export
from specjax import overlay as overlays
from specjax._folder import write_atomically

if TYPE_CHECKING:
    from experiments.loop.stream import Example, Outcome


class Writers:
    """The files that a run was asked for; `Store.path` names them."""

    def __init__(self, store: Store, save: frozenset[str]):
        self._store = store
        self._save = save

    def lack(self, image_id: str, position: int, setting: str) -> bool:
        """Whether a file that was asked for of the image, so many-th of its run, is missing."""
        files = [
            self._store.path(kind, setting, image_id)
            for kind in ("labels", "tokens", "overlays", "features", "gallery")
            if kind in self._save and (kind != "gallery" or position < gallery.COUNT)
        ]
        if "coco" in self._save and self._store.segments.get(image_id, setting) is None:
            return True
        return not all(path.exists() for path in files)

    def write(self, example: "Example", setting: str, outcome: "Outcome") -> None:
        """Write everything that was asked for of one image under one setting."""
        features = example.features
        height, width = features.grid
        tokens = np.asarray(outcome.labels)[: height * width].reshape(height, width)
        size = example.image.shape[:2]
        if "features" in self._save:
            path = self._store.path("features", setting, example.id)
            if not path.exists():
                save_features(path, features)
        if "tokens" in self._save:
            _write_indexed(self._store.path("tokens", setting, example.id), tokens)
        shown = "gallery" in self._save and example.position < gallery.COUNT
        if not (self._save & {"labels", "overlays", "coco"} or shown):
            return
        labels = at_image_resolution(tokens, size, features)
        if "labels" in self._save:
            _write_indexed(self._store.path("labels", setting, example.id), labels)
        if "coco" in self._save:
            line = coco_export.segments(labels, example.id + pathlib.Path(example.source).suffix)
            self._store.segments.append([{"id": example.id, "setting": setting, **line}])
        if "overlays" in self._save:
            path = self._store.path("overlays", setting, example.id)
            _write_png(path, overlays.draw(example, outcome, labels))
        if shown:
            path = self._store.path("gallery", setting, example.id)
            _write_png(path, gallery.thumbnail(example, labels))

    def finish(self, visited: list[str], settings: list[str]) -> list[pathlib.Path]:
        """Write what is made of all images at once; returns the galleries."""
        galleries = []
        for setting in settings:
            if "coco" in self._save:
                coco_export.export(self._store, visited, setting)
            if "gallery" in self._save:
                tiles = [self._store.path("gallery", setting, image) for image in visited]
                # Images that failed have none.
                tiles = [path for path in tiles[: gallery.COUNT] if path.exists()]
                if tiles:
                    galleries.append(self._store.path("gallery", setting))
                    _write_png(galleries[-1], gallery.sheet(tiles))
        return galleries


def at_image_resolution(tokens: np.ndarray, size: tuple[int, int], features) -> np.ndarray:
    """A token map as pixels of the native image; the cropped remainder is 0."""
    height, width = tokens.shape
    patch_size, (native_height, native_width) = features.patch_size, size
    scaled_height, scaled_width = features.image_size
    # Centre of each native pixel in the image that the backbone saw.
    rows = (2 * np.arange(native_height) + 1) * scaled_height // (2 * native_height) // patch_size
    columns = (2 * np.arange(native_width) + 1) * scaled_width // (2 * native_width) // patch_size
    padded = np.pad(tokens, ((0, 1), (0, 1)))
    return padded[np.minimum(rows, height)[:, None], np.minimum(columns, width)[None, :]]


def _write_indexed(path: pathlib.Path, labels: np.ndarray) -> None:
    image = Image.fromarray(labels.astype(np.uint8)).convert("P")
    image.putpalette(voc_palette())
    _write_png(path, image)


def _write_png(path: pathlib.Path, image: Image.Image) -> None:
    content = io.BytesIO()
    image.save(content, format="PNG")
    write_atomically(path, lambda stream: stream.write(content.getbuffer()))
