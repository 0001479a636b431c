"""What JPEG leaves of an image, in JAX: for training images that look like files as they are."""

import functools
import io

import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

# Pixels of the side of a block.
_BLOCK = 8
# From red, green and blue to luma, and to the scaled differences of blue and red from it (JFIF).
_LUMA = np.array([0.299, 0.587, 0.114])
_CHANNELS = np.stack([_LUMA, ([0, 0, 1] - _LUMA) / 1.772, ([1, 0, 0] - _LUMA) / 1.402])
# The middle of the range of each channel.
_MIDDLE = np.array([128, 0, 0])


def compress(
    image: Float[Array, "height width 3"], quality: float | Float[Array, ""]
) -> Float[Array, "height width 3"]:
    """The image, of numbers from 0 to 1, after JPEG at a quality from 1 to 100.

    Like Pillow's `save(file, "JPEG", quality=quality, subsampling=0)` and `open`, which compute
    with integers.
    """
    height, width, _ = image.shape
    padding = [(0, -side % _BLOCK) for side in (height, width)]
    pixels = jnp.pad(jnp.round(255 * image), (*padding, (0, 0)), mode="edge")
    rows, columns = (side // _BLOCK for side in pixels.shape[:2])
    scale = jnp.floor(jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality))
    steps = jnp.clip(jnp.floor((_float(_steps()) * scale + 50) / 100), 1, 255)
    steps = steps[None, :, None, :, :]
    product = functools.partial(jnp.einsum, precision="highest")
    cosines = _float(scipy.fft.dct(np.eye(_BLOCK), axis=0, norm="ortho"))
    middle = _float(_MIDDLE)[None, None, :]

    channels = jnp.round(product("yxc,dc->yxd", pixels, _float(_CHANNELS))) - middle
    blocks = channels.reshape(rows, _BLOCK, columns, _BLOCK, 3)
    frequencies = product("iy,jx,aybxd->aibjd", cosines, cosines, blocks)
    kept = jnp.round(frequencies / steps) * steps
    blocks = product("iy,jx,aibjd->aybxd", cosines, cosines, kept)
    channels = jnp.clip(jnp.round(blocks.reshape(pixels.shape)), -128, 127)
    pixels = jnp.round(product("yxd,cd->yxc", channels + middle, _float(np.linalg.inv(_CHANNELS))))
    return jnp.clip(pixels, 0, 255)[:height, :width] / 255


@functools.cache
def _steps() -> np.ndarray:
    """The steps of frequencies at quality 50, for each channel: [8, 8, 3]."""
    file = io.BytesIO()
    Image.new("RGB", (_BLOCK, _BLOCK)).save(file, "JPEG", quality=50)
    opened = Image.open(file)
    assert isinstance(opened, JpegImageFile)
    tables = opened.quantization
    luma, differences = (np.reshape(tables[number], (_BLOCK, _BLOCK)) for number in (0, 1))
    return np.stack([luma, differences, differences], axis=-1)


def _float(values: np.ndarray):
    return jnp.asarray(values, jnp.float32)
