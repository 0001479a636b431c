"""Write pictures as PNG files."""

import io
import pathlib

from PIL import Image

from specjax._folder import write_bytes

# How much to compress colours: Pillow's own level, 6, makes files of photographs 3 to 8 % smaller,
# in twice the time. Of label maps, which have few colours, 6 is as fast.
_COLOURS, _INDICES = 3, 6


def write_png(path: pathlib.Path, picture: Image.Image) -> None:
    """Write a picture, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    content = io.BytesIO()
    level = _COLOURS if picture.mode == "RGB" else _INDICES
    picture.save(content, format="PNG", compress_level=level)
    write_bytes(path, content.getvalue())
