"""A picture of one result: photograph, foreground, eigensegments, instances, ground truth."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from experiments.runs.palette import voc_colours

if TYPE_CHECKING:
    from experiments.loop.stream import Example, Outcome

# A panel fits into this many pixels (long panoramas exist).
_PANEL_HEIGHT, _PANEL_WIDTH = 240, 960
_GAP = 6
_TITLE = 16
INK, PAPER = (40, 40, 40), (255, 255, 255)
_OPACITY = 0.55


def draw(example: "Example", outcome: "Outcome", labels: np.ndarray) -> Image.Image:
    """All panels side by side, at a common height."""
    from experiments.runs.writers import at_image_resolution

    image = example.image
    size = image.shape[:2]

    def full(flat: np.ndarray) -> np.ndarray:
        height, width = example.features.grid
        tokens = np.asarray(flat)[: height * width].reshape(height, width)
        return at_image_resolution(tokens, size, example.features)

    foreground = full(outcome.foreground)
    panels = [("image", image), ("foreground", _dimmed(image, foreground))]
    if outcome.maps is not None:
        for number, values in enumerate(outcome.maps, start=1):
            panels.append((f"eigensegment {number}", _diverging(full(values))))
        panels.append(("instances", tinted(image, labels)))
    if example.instances is not None:
        panels.append(("ground truth", tinted(image, example.instances)))
    return _side_by_side(panels)


def _dimmed(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    grey = np.broadcast_to(image.mean(axis=2, keepdims=True) * 0.35, image.shape)
    return np.where(mask[:, :, None], image, grey.astype(np.uint8))


def tinted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image with each label's pixels under its colour of the VOC palette."""
    colours = voc_colours()[np.clip(labels, 0, 255)]
    mixed = (1 - _OPACITY) * image + _OPACITY * colours
    return np.where((labels > 0)[:, :, None], mixed.astype(np.uint8), image)


def _diverging(values: np.ndarray) -> np.ndarray:
    """Blue through white to orange, zero white, scaled to the largest magnitude."""
    scaled = values / max(float(np.abs(values).max()), np.finfo(np.float32).tiny)
    low, high = np.array([33, 102, 172]), np.array([230, 97, 1])
    end = np.where((scaled < 0)[:, :, None], low, high)
    strength = np.abs(scaled)[:, :, None]
    return (255 * (1 - strength) + end * strength).astype(np.uint8)


def _side_by_side(panels: list[tuple[str, np.ndarray]]) -> Image.Image:
    height, width = panels[0][1].shape[:2]
    scale = min(_PANEL_HEIGHT / height, _PANEL_WIDTH / width)
    panel_width, panel_height = max(round(width * scale), 1), max(round(height * scale), 1)
    sheet = Image.new(
        "RGB",
        ((panel_width + _GAP) * len(panels) + _GAP, panel_height + _TITLE + 2 * _GAP),
        PAPER,
    )
    pen = ImageDraw.Draw(sheet)
    for index, (title, pixels) in enumerate(panels):
        left = _GAP + index * (panel_width + _GAP)
        pen.text((left, _GAP // 2), title, fill=INK)
        panel = Image.fromarray(np.ascontiguousarray(pixels))
        panel = panel.resize((panel_width, panel_height), Image.Resampling.BILINEAR)
        sheet.paste(panel, (left, _TITLE + _GAP // 2))
    return sheet
