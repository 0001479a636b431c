"""The files of the figures of channels: a sheet per image, and plots over all images."""

import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.loop.stream import Example, Outcome
from experiments.plots import channel_deviation, channel_oracle, channel_sheet
from experiments.plots.channel_deviation_numbers import average_by_rank
from experiments.plots.channel_oracle_numbers import by_number_of_instances
from experiments.plots.channel_order_numbers import channel_order
from experiments.runs import gallery
from experiments.runs.figures import FigureWriters
from experiments.runs.store import Store
from experiments.runs.writers import at_image_resolution
from specjax._folder import write_atomically
from specjax.config import Config
from specjax.foreground import as_grid
from specjax.overlay import tinted
from specjax.pipeline import reduce_for_instances


class ChannelFigures(FigureWriters):
    """Files of the figures "oracle", "gallery" and "deviation", which are a run's settings."""

    def __init__(self, store: Store, save: frozenset[str], config: Config):
        super().__init__(store, save, self._plots)
        self._config = config
        self._sheets = store.figures / "channels"

    def lack(self, image_id: str, position: int, setting: str) -> bool:
        """Whether a file of the image, so many-th of its run, is missing."""
        if setting == "gallery" and position < gallery.COUNT:
            if not all(path.exists() for path in self._sheet(image_id)):
                return True
        return super().lack(image_id, position, setting)

    def write(self, example: Example, setting: str, outcome: Outcome) -> None:
        """Write the image's sheet where it has one, and what `--save` asks for."""
        super().write(example, setting, outcome)
        if setting == "gallery" and example.position < gallery.COUNT:
            order, sheet = _contact_sheet(example, outcome.foreground, self._config)
            picture, table = self._sheet(example.id)
            text = channel_sheet.table(order, M=self._config.M)
            write_atomically(table, lambda stream: stream.write(text.encode()))
            write_atomically(picture, lambda stream: sheet.save(stream, format="PNG"))

    def _sheet(self, image_id: str) -> list[pathlib.Path]:
        # Not with_suffix: an id may contain a dot.
        return [self._sheets / f"{image_id}{ending}" for ending in (".png", ".csv")]

    def _plots(
        self, folder: pathlib.Path, lines: Mapping[str, Sequence[dict]]
    ) -> list[pathlib.Path]:
        written = []
        if "oracle" in lines:
            rows = by_number_of_instances(lines["oracle"])
            written += channel_oracle.draw(rows, folder / "oracle")
        if "gallery" in lines:
            # One folder instead of up to 24 names.
            written += [self._sheets] if self._sheets.exists() else []
        if "deviation" in lines:
            rows = average_by_rank(lines["deviation"])
            written += channel_deviation.draw(rows, folder / "deviation", N=self._config.N)
        return written


def _contact_sheet(example: Example, foreground: np.ndarray, config: Config):
    """The order of an image's channels, and its sheet."""
    features, size = example.features, example.features.grid
    grid = jnp.asarray(size, jnp.int32)
    order = jax.device_get(channel_order(features.array, grid, config=config))
    flat = jnp.asarray(foreground)
    selected = reduce_for_instances(features.array, flat, grid, config=config)
    mask = np.asarray(as_grid(flat, size))
    shown = at_image_resolution(mask.astype(np.int32), example.image.shape[:2], features)
    pictures = [("image", example.image), ("foreground", tinted(example.image, shown))]
    if example.instances is not None:
        pictures.append(("annotated", tinted(example.image, np.maximum(example.instances, 0))))
    sheet = channel_sheet.draw(
        pictures,
        np.asarray(as_grid(features.array.T, size)),
        np.asarray(as_grid(selected.T, size)),
        mask,
        order,
        M=config.M,
    )
    return order, sheet
