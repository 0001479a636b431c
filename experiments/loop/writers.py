"""What `--save` writes for each image: label maps, pictures, COCO masks, features."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from experiments.datasets.records import Origin
from experiments.loop.reading import Example, Outcome
from experiments.loop.stored import save_features
from experiments.runs.folder import RunFolder
from experiments.runs.names import GALLERY
from specjax import as_grid, coco, overlay, to_pixels
from specjax._folder import write_json
from specjax._ids import file_name
from specjax._png import write_png


class Writers:
    """Writes the files that `--save` asks for; `RunFolder.path` names them.

    `category` is that of all objects in COCO files, if the dataset has one.
    """

    def __init__(
        self,
        folder: RunFolder,
        save: frozenset[str],
        category: Mapping[str, Any] | None = None,
    ):
        self.folder = folder
        self.save = save
        self._category = category or coco.OBJECT

    def lack(self, image_id: str, place: int, setting: str) -> bool:
        """Whether a file of an image is missing; `place` is the image's place in the run."""
        gallery = {"gallery"} if self.in_gallery(place) else set()
        kinds = self.save & {"labels", "tokens", "overlays", "features"} | gallery
        if "coco" in self.save and self.folder.segments.get(image_id, setting) is None:
            return True
        return not all(self.folder.path(kind, setting, image_id).exists() for kind in kinds)

    def write(
        self, example: Example, setting: str, outcome: Outcome, features: Callable[[], jax.Array]
    ) -> None:
        """Write the files of one image under one setting; `features` returns [tokens, C]."""

        def path(kind: str) -> pathlib.Path:
            return self.folder.path(kind, setting, example.id)

        tiling, size = example.inputs.tiling, example.image.shape[:2]
        if "features" in self.save and not path("features").exists():
            save_features(path("features"), np.asarray(features()), tiling)
        tokens = np.asarray(as_grid(outcome.labels, tiling.grid))
        if "tokens" in self.save:
            write_png(path("tokens"), overlay.indexed_png(tokens))
        labels = to_pixels(tokens, tiling, size)
        if "labels" in self.save:
            write_png(path("labels"), overlay.indexed_png(labels))
        if "coco" in self.save:
            own_name = file_name(example.id, pathlib.Path(example.source))
            origin = example.origin or Origin(None, own_name)
            masks = {
                "image_id": origin.id,
                "file_name": origin.file_name,
                "height": size[0],
                "width": size[1],
                "masks": coco.instances_of(labels),
            }
            line = {"id": example.id, "setting": setting, **masks, "read": example.read}
            self.folder.segments.append([line])
        if "overlays" in self.save:
            write_png(path("overlays"), stages(example, outcome, labels))
        if self.in_gallery(example.place):
            write_png(
                path("gallery"), overlay.gallery_tile(example.image, labels, example.instances)
            )

    def remove(self, image_id: str, setting: str) -> None:
        """Delete the files of one image under one setting, made from what has changed since."""
        self.folder.remove(image_id, setting)

    def in_gallery(self, place: int) -> bool:
        """Whether the image at a place of the run appears in the gallery."""
        return "gallery" in self.save and place < GALLERY

    def finish(self, visited: Sequence[str], settings: Sequence[str]) -> list[pathlib.Path]:
        """Write the files that cover all images; returns the paths of the galleries."""
        galleries = []
        for setting in settings:
            if "coco" in self.save:
                self._write_coco(visited, setting)
            tiles = [self.folder.path("gallery", setting, image) for image in visited[:GALLERY]]
            # Images that failed have no tile.
            tiles = [path for path in tiles if "gallery" in self.save and path.exists()]
            if tiles:
                galleries.append(self.folder.path("gallery", setting))
                write_png(galleries[-1], overlay.gallery(map(Image.open, tiles)))
        return galleries

    def _write_coco(self, visited: Sequence[str], setting: str) -> None:
        """Write `coco.json` and `coco_results.json`.

        Images have the ids of the dataset; without any, they are numbered from 1 in stream order.
        """
        found = []
        for number, image in enumerate(visited, start=1):
            line = self.folder.segments.get(image, setting)
            if line is not None:
                image_id = line.get("image_id")
                fields = (line[key] for key in ("file_name", "height", "width", "masks"))
                found.append(coco.Entry(number if image_id is None else image_id, *fields))
        for kind, content in (("coco", coco.dataset), ("coco_results", coco.results)):
            path = self.folder.path(kind, setting)
            write_json(path, content(found, category=self._category), indent=None)


def stages(example: Example, outcome: Outcome, labels: np.ndarray) -> Image.Image:
    """A picture of every stage of one image."""

    def full(flat: np.ndarray) -> np.ndarray:
        tiling = example.inputs.tiling
        return to_pixels(np.asarray(as_grid(flat, tiling.grid)), tiling, labels.shape)

    maps = None if outcome.maps is None else np.stack([full(segment) for segment in outcome.maps])
    return overlay.stages(
        example.image,
        full(outcome.foreground),
        maps,
        None if maps is None else labels,
        example.instances,
    )
