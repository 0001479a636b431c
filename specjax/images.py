"""From image files to arrays of pixels, in Pillow and numpy.

Images are uint8 `[height, width, 3]`, RGB, range 0..255.
"""

import contextlib
import io
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile

from specjax._depth import FLOATS, load_lower_bytes, scaled, unrecognized
from specjax._exif import Header, header_of, turned
from specjax._remarks import FEW_BITS, no_warnings, remark
from specjax.errors import SpecjaxError

# Files with these suffixes are taken for images, even if they are damaged; of others, those that
# Pillow recognizes.
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff", ".gif",
    ".avif", ".jp2", ".j2k", ".mpo", ".pbm", ".pgm", ".ppm", ".pnm", ".tga",
)  # fmt: skip

# Pillow's own threshold for its warning: 2**30 bytes over 3 channels of 4 bytes.
MAX_PIXELS = 89_478_485

_PNG = b"\x89PNG\r\n\x1a\n"
# Upper bytes below this are those of values of fewer than 16 bits.
_DARK = 2**14 >> 8


@contextlib.contextmanager
def opened(
    source: str | os.PathLike | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    load: Callable[[ImageFile.ImageFile], object] = lambda image: image.load(),
) -> Iterator[Image.Image]:
    """Open an image file (or its bytes), check its size, then decode its first frame.

    For `decode`, and for readers that need the stored values, such as the indices of a palette.

    Args:
        source: path, or content of the file.
        max_pixels: a file with more pixels, by its header, is an error. (Pillow itself refuses more
            than twice `MAX_PIXELS`, whatever `max_pixels` is.)
        load: decodes the image; its errors are those of a bad file.

    Yields:
        The decoded image; it is closed afterwards.

    Raises:
        SpecjaxError: there is no such file, or it is no image, truncated or too large.
    """
    name = _name(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise SpecjaxError(f"{name}: no such file")
    try:
        image = _loaded(source, name, max_pixels, load)
    except SpecjaxError:
        short = _without_texts(source)
        if short is None:
            raise
        image = _loaded(short, name, max_pixels, load)
    with image:
        yield image


def _loaded(
    source: str | os.PathLike | bytes, name: str, max_pixels: int, load: Callable
) -> Image.Image:
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    too_large = f"more than the limit of {max_pixels} pixels: scale the image down first"
    image = None
    try:
        with no_warnings():  # Pillow warns of large images; the limit below is an error
            image = Image.open(stream)
        if image.width * image.height > max_pixels:
            raise SpecjaxError(f"{name} is {image.width} x {image.height}, {too_large}")
        if image.width < 1 or image.height < 1:
            raise SpecjaxError(f"{name} is {image.width} x {image.height}: it has no pixels")
        load(image)
        loaded, image = image, None
        return loaded
    except Image.DecompressionBombError:
        raise SpecjaxError(f"{name} has {too_large}") from None
    except Image.UnidentifiedImageError:
        raise SpecjaxError(f"{name} {unrecognized(source)}") from None
    except (SpecjaxError, MemoryError):
        raise
    except Exception as error:  # Pillow's plug-ins raise errors of all kinds on bad files
        raise SpecjaxError(_unreadable(name, error)) from None
    finally:
        if image is not None:
            image.close()


def _without_texts(source: str | os.PathLike | bytes) -> bytes | None:
    """A PNG file without texts and colour profile, which Pillow refuses if they are large.

    None for other files, and where it has none.
    """
    try:
        content = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    except OSError:
        return None
    if not content.startswith(_PNG):
        return None
    kept, start = [_PNG], len(_PNG)
    while start < len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[start:end])
        start = end
    short = b"".join(kept)
    return short if len(short) < len(content) else None


def is_image(path: str | os.PathLike) -> bool:
    """Whether Pillow recognizes a file by its first bytes."""
    if not os.path.isfile(path):
        return False
    try:
        with no_warnings(), Image.open(path) as image:
            # Formats that Pillow recognizes but cannot decode.
            return not isinstance(image, ImageFile.StubImageFile) and image.format != "MPEG"
    except Image.DecompressionBombError:
        return True
    except Exception:  # errors of all kinds, as above
        return False


def decode(
    source: str | os.PathLike | bytes | Image.Image,
    *,
    upright: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "height width 3"]:
    """Read the pixels of an image file, of its bytes, or of a Pillow image, as RGB.

    Grey, palette, CMYK and YCbCr images are converted; transparent images are composited over
    white. Values of 16 bits are scaled to 0..255 from the range of 8, 10, 12, 14 or 16 bits, the
    smallest that holds all of them, with a warning if that is not 16 (of colours, only if they are
    read from a file, as Pillow has dropped their lower bytes). An animation gives its first frame.

    Args:
        source: path, content of the file, or an image that Pillow has opened.
        upright: rotate and flip the image as its EXIF orientation says. Annotations are usually
            drawn on the pixels as stored: leave it off for annotated images.
        max_pixels: a file with more pixels is an error, before it is decoded.

    Returns:
        The pixels, 0 to 255.

    Raises:
        SpecjaxError: the file is missing, unreadable, truncated, too large or no image, or its
            values have an unknown range (floating point; integers beyond 16 bits).

    Example:
        >>> from PIL import Image, ImageFile
        >>> image = specjax.decode(Image.new("L", (4, 2), 128))
        >>> image.shape, image[0, 0].tolist()
        ((2, 4, 3), [128, 128, 128])
    """
    opening: contextlib.AbstractContextManager[Image.Image]
    if isinstance(source, Image.Image):
        name, opening = "the image", contextlib.nullcontext(source)
    else:
        name, opening = _name(source), opened(source, max_pixels=max_pixels)
    with opening as image:
        try:
            image.load()
            orientation = header_of(image).orientation if upright else 1
            pixels, bits = _rgb(image, name)
            if image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA"):
                if not isinstance(source, Image.Image) and pixels.max() < _DARK:
                    pixels, bits = _of_16_bits(image, source, max_pixels) or (pixels, bits)
        except (SpecjaxError, MemoryError):
            raise
        except Exception as error:  # errors of all kinds, as above
            raise SpecjaxError(_unreadable(name, error)) from None
    if bits < 16 and pixels.any():
        remark(
            FEW_BITS,
            f"{name} has values of 16 bits that fit into {bits}; they were scaled from {bits} bits",
        )
    return np.array(turned(pixels, orientation))  # a copy: arrays from Pillow are read-only


def read_header(path: str | os.PathLike) -> Header:
    """The size and the EXIF orientation of an image file, without its pixels.

    Raises:
        SpecjaxError: there is no such file, or it is no image or too large.
    """
    with opened(path, load=lambda image: None) as image:
        return header_of(image)


def resize_short_side(
    image: UInt8[np.ndarray, "height width 3"], short_side: int, *, name: str = "the image"
) -> UInt8[np.ndarray, "new_height new_width 3"]:
    """Resize an image to a given short side, aspect ratio kept (Pillow's bicubic).

    Args:
        image: the pixels.
        short_side: of the result, in pixels.
        name: names the image in error messages.

    Returns:
        The resized image; the image itself where nothing changes.

    Raises:
        SpecjaxError: `short_side` is below 1, or the result would have more than
            `specjax.images.MAX_PIXELS` pixels (a long, thin image).

    Example:
        >>> specjax.resize_short_side(np.zeros((20, 40, 3), np.uint8), 10).shape
        (10, 20, 3)
    """
    if short_side < 1:
        raise SpecjaxError(
            f"the short side is {short_side}: it must be at least 1 pixel", parameter="image_size"
        )
    height, width, _ = image.shape
    scale = short_side / min(height, width)
    new_height, new_width = max(1, round(height * scale)), max(1, round(width * scale))
    if new_height * new_width > MAX_PIXELS:
        raise SpecjaxError(
            f"{name} ({width} x {height}) would be {new_width} x {new_height} at a short side of "
            f"{short_side}, more than {MAX_PIXELS} pixels: choose a smaller one",
            parameter="image_size",
        )
    if (new_height, new_width) == (height, width):
        return image
    resized = Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BICUBIC)
    return np.array(resized)


def _rgb(image: Image.Image, name: str) -> tuple[np.ndarray, int]:
    """The pixels of an image as RGB, and the number of bits that they were scaled from."""
    if image.mode == "F":
        raise SpecjaxError(f"{name} {FLOATS}")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise SpecjaxError(f"{name} holds values beyond 16 bits: save it with 8 or 16 bits")
        grey, bits = scaled(values)
        return np.repeat(grey[:, :, None], 3, axis=2), bits
    if image.mode in ("La", "LA", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        if image.mode == "La":
            image = image.convert("LA")
        colours = image.convert("RGBA")
        white = Image.new("RGBA", colours.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, colours).convert("RGB")), 16
    return np.asarray(image.convert("RGB")), 16


def _of_16_bits(
    upper: Image.Image, source: str | os.PathLike | bytes, max_pixels: int
) -> tuple[np.ndarray, int] | None:
    """The result of `_rgb` for 16-bit colours, of which Pillow has read the upper bytes.

    None for another kind of image.
    """
    found: list[np.ndarray | None] = []
    with opened(source, max_pixels=max_pixels, load=lambda i: found.append(load_lower_bytes(i))):
        lower = found[-1]
    if lower is None:
        return None
    values = np.asarray(upper).astype(np.uint16) << 8 | lower
    colours, bits = scaled(values[:, :, :3])
    alpha = (values[:, :, 3:] >> 8).astype(np.uint8)
    pixels, _ = _rgb(Image.fromarray(np.concatenate([colours, alpha], axis=2)), "")
    return pixels, bits


def _unreadable(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{name} cannot be read: {reason}"


def _name(source: str | os.PathLike | bytes) -> str:
    return "the image data" if isinstance(source, bytes) else repr(os.fspath(source))
