"""Draw pictures without an object, to see whether something is found in them.

    python -m examples.empty_pictures pictures/
    specjax pictures/ --output_dir=found/

40 pictures each of flat colors, noise, gradients, textures and skies, 448x336 pixels; and 40 of a
ground below a sky or a wall (`--kinds=landscapes`), in which a person may see two regions.
"""

import io
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags
from numpy.random import Generator
from PIL import Image

from experiments.datasets.scenes import backgrounds, textures
from specjax import SpecjaxError
from specjax._flags import Flag, at_least, declare
from specjax._folder import write_bytes
from specjax._program import execute

_HEIGHT, _WIDTH = 336, 448


def _flat(rng: Generator) -> np.ndarray:
    """One color, and in half of them grain too faint to see."""
    canvas = np.ones((3, _HEIGHT, _WIDTH)) * textures.palette(rng)[0][:, None, None]
    return canvas + rng.choice([0.0, 0.01]) * rng.standard_normal(canvas.shape)


def _noise(rng: Generator) -> np.ndarray:
    """Grey or colored noise, from single pixels to soft blots."""
    channels = rng.choice([1, 3])
    canvas = rng.random((channels, _HEIGHT, _WIDTH)).repeat(3 // channels, axis=0)
    radius = rng.choice([0.0, 1.0, 3.0, 8.0])
    # Blurring averages: stretched so that the noise stays visible.
    blurred = textures.blur(canvas.astype(np.float32), radius) if radius else canvas
    return 0.5 + (blurred - 0.5) * max(2 * radius, 1.0)


def _gradient(rng: Generator) -> np.ndarray:
    """Two colors that pass into each other along a line, or around a point."""
    y, x = textures.rows_and_columns(_HEIGHT, _WIDTH)
    one, other = textures.palette(rng)[:2]
    if rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
        along = np.cos(angle) * x + np.sin(angle) * y
    else:
        along = np.hypot(x - rng.uniform(0, _WIDTH), y - rng.uniform(0, _HEIGHT))
    return textures.mix(one, other, (along - along.min()) / np.ptp(along))


def _texture(rng: Generator) -> np.ndarray:
    return backgrounds.surface(rng, _HEIGHT, _WIDTH, None)


def _sky(rng: Generator) -> np.ndarray:
    """From a blue, grey or evening tone above to another below, with or without clouds."""
    y, x = textures.rows_and_columns(_HEIGHT, _WIDTH)
    tones = textures.colours_of("739ed9 bfd6eb edd1b3 99a1ad 2e4a7d e8a87c")
    above, below = tones[rng.permutation(len(tones))[:2]]
    along, down = rng.uniform(0, 10_000, 2)
    clouds = textures.fractal(x * 0.7 + along, y * 1.6 + down) * 0.5 + rng.uniform(-0.7, 0.4)
    canvas = textures.mix(above, below, y / _HEIGHT + 0 * x)
    return canvas + (0.95 - canvas) * np.clip(clouds, 0, 1) * rng.uniform(0.4, 0.9)


def _landscape(rng: Generator) -> np.ndarray:
    paint = backgrounds.studio if rng.random() < 0.5 else backgrounds.field
    return paint(rng, _HEIGHT, _WIDTH, _HEIGHT * rng.uniform(0.3, 0.5))


KINDS: dict[str, Callable[[Generator], np.ndarray]] = {
    "flat": _flat,
    "noise": _noise,
    "gradients": _gradient,
    "textures": _texture,
    "skies": _sky,
    "landscapes": _landscape,
}
FLAGS = {
    "kinds": Flag(
        "list", ",".join(list(KINDS)[:5]), f"Kinds of pictures to draw, any of: {', '.join(KINDS)}."
    ),
    "count": Flag("integer", 40, "How many pictures of each kind.", at_least(1)),
}


def draw(kind: str, number: int) -> Image.Image:
    """A picture; the same for the same kind and number."""
    rng = np.random.default_rng([list(KINDS).index(kind), number])
    return Image.fromarray(textures.to_pixels(np.asarray(KINDS[kind](rng), np.float32)))


def main(arguments: Sequence[str]) -> int:
    """Read the flags, draw, write."""
    if len(arguments) != 2:
        raise SpecjaxError("give the folder to write to")
    unknown = [kind for kind in flags.FLAGS.kinds if kind not in KINDS]
    if unknown:
        raise SpecjaxError(f"--kinds={unknown[0]}: choose among {', '.join(KINDS)}")
    for kind in flags.FLAGS.kinds:
        for number in range(flags.FLAGS.count):
            content = io.BytesIO()
            draw(kind, number).save(content, "png")
            write_bytes(pathlib.Path(arguments[1]) / f"{kind}-{number:02}.png", content.getvalue())
    return 0


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
