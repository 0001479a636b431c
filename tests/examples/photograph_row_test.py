"""The row of photographs in the README: drawn by the real program with a tiny backbone."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from examples.photograph_row import PANELS, draw
from tests.support.segmenters import opened


def test_a_panel_for_each_photograph(world):
    row = np.asarray(draw(opened(world.checkpoint.removeprefix("--checkpoint="))))
    panels = np.split(row, len(PANELS), axis=1)
    for panel, (name, _) in zip(panels, PANELS, strict=True):
        photograph = Image.fromarray(load_sample_image(name))
        small = np.asarray(photograph.resize(panel.shape[1::-1], Image.Resampling.LANCZOS))
        same = (np.abs(panel.astype(int) - small) <= 2).all(axis=-1)
        assert 0 < same.mean() < 1  # a background that is left as it is, and instances in color
    assert not np.array_equal(panels[0], panels[2])
