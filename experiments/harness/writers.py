"""What `--save` writes for each image: label maps, pictures, COCO masks, features."""

import io
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from experiments.harness import coco_export, overlays
from experiments.harness.backbone import save_features
from experiments.harness.files import write_atomically
from experiments.harness.palette import voc_palette
from experiments.harness.store import Store

if TYPE_CHECKING:
    from experiments.harness.stream import Example, Outcome


class Writers:
    """The files that a run was asked for.

    A folder of one setting has `labels/<id>.png`; one of several, `labels/<setting>/<id>.png`.
    What earlier runs left in the folder counts, so that two settings never share a file.
    """

    def __init__(self, store: Store, save: frozenset[str], settings: list[str]):
        self._store = store
        self._save = save
        self._several = len({*store.lines.settings(), *settings}) > 1

    def lack(self, image_id: str, setting: str) -> bool:
        """Whether a file that was asked for is not there yet."""
        files = [
            self._path(kind, image_id, setting)
            for kind in ("labels", "tokens", "overlays", "features")
            if kind in self._save
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
            path = self._path("features", example.id, setting)
            if not path.exists():
                save_features(path, features)
        if "tokens" in self._save:
            _write_indexed(self._path("tokens", example.id, setting), tokens)
        if not self._save & {"labels", "overlays", "coco"}:
            return
        labels = at_image_resolution(tokens, size, features)
        if "labels" in self._save:
            _write_indexed(self._path("labels", example.id, setting), labels)
        if "coco" in self._save:
            line = coco_export.segments(labels, example.id + pathlib.Path(example.source).suffix)
            self._store.segments.append([{"id": example.id, "setting": setting, **line}])
        if "overlays" in self._save:
            picture = overlays.draw(example, outcome, labels)
            write_atomically(
                self._path("overlays", example.id, setting),
                lambda stream: stream.write(_png(picture)),
            )

    def finish(self, visited: list[str], settings: list[str]) -> None:
        """Write what is made of all images at once."""
        if "coco" in self._save:
            for setting in settings:
                suffix = f"_{file_name(setting)}" if self._several else ""
                coco_export.export(self._store, visited, setting, suffix)

    def _path(self, kind: str, image_id: str, setting: str) -> pathlib.Path:
        folder = self._store.folder / kind
        # Features do not depend on the setting.
        if self._several and kind != "features":
            folder = folder / file_name(setting)
        # Not with_suffix: an id may contain a dot.
        return folder / f"{image_id}{'.npz' if kind == 'features' else '.png'}"


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


def file_name(setting: str) -> str:
    """A setting as part of a file name: `M=128` becomes `M128`."""
    return setting.replace("=", "")


def _write_indexed(path: pathlib.Path, labels: np.ndarray) -> None:
    image = Image.fromarray(labels.astype(np.uint8)).convert("P")
    image.putpalette(voc_palette())
    write_atomically(path, lambda stream: stream.write(_png(image)))


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()
