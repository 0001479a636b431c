"""Figures as files of a run: drawn from its lines when all images are done."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

from experiments.runs.store import Store
from experiments.runs.writers import Writers
from specjax.errors import SpecjaxError

# From a folder and each setting's lines to the files drawn there.
Draw = Callable[[pathlib.Path, Mapping[str, Sequence[dict]]], list[pathlib.Path]]


class FigureWriters(Writers):
    """What `--save` asks for, and at the end a run's figures."""

    def __init__(self, store: Store, save: frozenset[str], draw: Draw):
        super().__init__(store, save)
        self._store = store
        self._draw = draw

    def finish(self, visited: list[str], settings: list[str]) -> list[pathlib.Path]:
        """Draw the figures; returns every file of them."""
        pictures = super().finish(visited, settings)
        lines = {
            setting: [
                line
                for image in visited
                if (line := self._store.lines.get(image, setting)) is not None
            ]
            for setting in settings
        }
        return [*pictures, *self._draw(self._store.figures, lines)]


def check_save(save: frozenset[str]) -> None:
    """Raises SpecjaxError where `--save` asks for what a binary of figures does not make."""
    for item in sorted(save - {"features"}):
        raise SpecjaxError(
            f"--save={item}: figures come without it; of --save's kinds this binary writes"
            " features alone"
        )
