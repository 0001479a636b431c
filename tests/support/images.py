"""Files of images for tests: by Pillow, and PNG files put together by hand."""

import io
import struct
import zlib

from PIL import TiffImagePlugin


def save(path, image, **options):
    image.save(path, **options)
    return path


def png(width, height, kind, rows, *, bits=16):
    """A PNG of a kind of colours, from its rows of pixels as they are stored."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def png_header(width, height):
    """A PNG whose header claims a size, with almost no data."""
    return png(width, height, 2, b"\0" * 10, bits=8)


def tiff_header(start, bits, kind, *, channels=3):
    """A TIFF whose tags claim values of some bits and kind (1 unsigned ... 3 floating point)."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    tags[256], tags[257], tags[262], tags[277] = 8, 8, 1 if channels == 1 else 2, channels
    tags[258], tags[339] = (bits,) * channels, (kind,) * channels
    stream = io.BytesIO()
    tags.save(stream)
    return stream.getvalue()
