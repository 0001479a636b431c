"""Files as `data:` addresses within a page that stays small enough to send.

Plots go in as they are; photographs are encoded again, so that what goes in is a picture and
nothing else. A browser runs no script of an SVG that an `img` element shows.
"""

import base64
import io
import pathlib
import warnings

from PIL import Image

from experiments.reporting.page import Picture

# Bytes of all pictures of a page, before they are encoded as text.
BUDGET = 16 * 2**20
# A plot that is larger as SVG is taken as PNG.
_LARGEST_SVG, _LARGEST_PNG = 2**19, 2**20
# Photographs are scaled down to this; a row of panels is wide.
_WIDTH, _HEIGHT = 3200, 1600
_QUALITY = 85


class Refused(Exception):
    """Why a picture is not in the page, as a short phrase."""


class Album:
    """Pictures for one page, until its budget is used up; both methods raise `Refused`."""

    def __init__(self, budget: int = BUDGET):
        self.left = budget  # bytes that may still be added

    def plot(self, svg: pathlib.Path | None, png: pathlib.Path | None) -> str:
        """The address of a plot as SVG, or as PNG where that is too large or missing."""
        for path, largest, kind in ((svg, _LARGEST_SVG, "svg+xml"), (png, _LARGEST_PNG, "png")):
            try:
                if path and path.stat().st_size <= largest:
                    return self._address(path.read_bytes(), kind)
            except OSError as error:
                raise Refused(f"it cannot be read: {error.strerror}") from error
        raise Refused("it is too large")

    def photograph(self, path: pathlib.Path, *, alt: str, caption: str = "") -> Picture:
        """A picture as JPEG, scaled down where it is large."""
        try:
            # Pillow only warns of a picture that would fill the memory.
            with warnings.catch_warnings(action="error"), Image.open(path) as image:
                picture = image.convert("RGB")
        except (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError) as error:
            raise Refused("it cannot be read") from error
        picture.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        picture.save(content, format="JPEG", quality=_QUALITY, optimize=True)
        return Picture(self._address(content.getvalue(), "jpeg"), alt, caption, picture.size)

    def _address(self, content: bytes, kind: str) -> str:
        if len(content) > self.left:
            raise Refused("the page would be too large")
        self.left -= len(content)
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
