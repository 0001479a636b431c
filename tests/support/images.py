"""Files of images for tests: by Pillow, and PNG files put together by hand."""

import struct
import zlib


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
