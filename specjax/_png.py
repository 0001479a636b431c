"""Write pictures as PNG files."""

import io
import pathlib

from PIL import Image

from specjax._folder import write_bytes


def write_png(path: pathlib.Path, picture: Image.Image) -> None:
    """Write a picture, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    content = io.BytesIO()
    picture.save(content, format="PNG")
    write_bytes(path, content.getvalue())
