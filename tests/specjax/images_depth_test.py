"""Images of 16 and 32 bits: scaled from the range that they use."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from specjax import images
from specjax._remarks import FEW_BITS, listening
from specjax.errors import SpecjaxError
from tests.support.images import png, save, tiff_header


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled(tmp_path, suffix):
    values = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    path = save(tmp_path / f"deep.{suffix}", Image.fromarray(values))
    assert images.decode(path)[0, :, 0].tolist() == [0, 0, 1, 100, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_sixteen(tmp_path, suffix, bits):
    """As cameras and depth sensors write them; divided by 257, they would be nearly black."""
    values = np.linspace(0, 2**bits - 1, 256).round().astype(np.uint16)[None]
    path = save(tmp_path / f"camera.{suffix}", Image.fromarray(values))
    with listening() as remarks:
        assert images.decode(path)[0, :, 1].tolist() == list(range(256))
    assert remarks == [FEW_BITS] * (bits < 16)
    if bits < 16:
        with pytest.warns(UserWarning, match=f"camera.* values of 16 bits that fit into {bits};"):
            images.decode(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", [2, 4, 6])  # of PNG: RGB, grey with alpha, RGB with alpha
def test_fewer_bits_in_sixteen_of_colours(tmp_path, kind, bits):
    """Of these, Pillow reads the upper bytes alone."""
    channels = {2: 3, 4: 2, 6: 4}[kind]
    generator = np.random.default_rng(bits)
    values = generator.integers(0, 2**bits, (5, 7, channels)).astype(">u2")
    values[0, 0] = 2**bits - 1
    if kind != 2:
        values[:, :, -1] = 65535
    path = tmp_path / "camera.png"
    path.write_bytes(png(7, 5, kind, b"".join(b"\0" + row.tobytes() for row in values)))
    with listening() as remarks:
        decoded = images.decode(path)
    colours = values[:, :, :1] if kind == 4 else values[:, :, :3]
    expected = np.broadcast_to(colours // 256 if bits == 16 else
                               np.round(colours / (2**bits - 1) * 255), decoded.shape)  # fmt: skip
    np.testing.assert_array_equal(decoded, expected)
    assert remarks == [FEW_BITS] * (bits < 16)


@pytest.mark.parametrize("order", ["<", ">"])
def test_fewer_bits_in_sixteen_of_a_tiff(order):
    """Pillow does not write such a file: it is put together by hand."""
    values = np.arange(4 * 5 * 3).reshape(4, 5, 3) * 69  # up to 4071: 12 bits
    pixels = values.astype(f"{order}u2").tobytes()
    bits_at, pixels_at = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6
    tags = [(256, 5), (257, 4), (258, bits_at), (259, 1), (262, 2), (273, pixels_at), (277, 3),
            (278, 4), (279, len(pixels))]  # fmt: skip
    data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HLH", 42, 8, len(tags))
    for tag, value in tags:
        data += struct.pack(f"{order}HHLL", tag, *((3, 3) if tag == 258 else (4, 1)), value)
    data += struct.pack(f"{order}L3H", 0, 16, 16, 16) + pixels
    with pytest.warns(UserWarning, match="fit into 12"):
        decoded = images.decode(data)
    np.testing.assert_array_equal(decoded, np.round(values / 4095 * 255))


def test_a_dark_image_of_8_bits_stays_dark(tmp_path):
    path = save(tmp_path / "dark.png", Image.new("RGB", (4, 4), (3, 2, 1)))
    assert images.decode(path)[0, 0].tolist() == [3, 2, 1]


def test_black_sixteen_bits(tmp_path):
    path = save(tmp_path / "black.png", Image.fromarray(np.zeros((2, 3), np.uint16)))
    assert not images.decode(path).any()


def test_big_endian_sixteen_bits():
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257 * 7, 65535))
    stream = io.BytesIO()
    image.save(stream, format="TIFF")
    assert images.decode(stream.getvalue())[0, :, 2].tolist() == [7, 255]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.array([[0, 70000]], np.int32), "16 bits"),
        (np.array([[0, -1]], np.int32), "16 bits"),
        (np.array([[0.0, 0.5]], np.float32), "floating-point"),
    ],
)
def test_values_of_unknown_range_are_refused(tmp_path, values, reason):
    path = save(tmp_path / "wide.tif", Image.fromarray(values))
    with pytest.raises(SpecjaxError, match=reason) as error:
        images.decode(path)
    assert "wide.tif" in str(error.value) and "\n" not in str(error.value)


def test_32_bit_integers_within_16_bits(tmp_path):
    path = save(tmp_path / "i.tif", Image.fromarray(np.array([[0, 65535]], np.int32)))
    assert images.decode(path)[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize(
    "start", [b"II*\0\b\0\0\0", b"MM\0*\0\0\0\b", b"II+\0\b\0\0\0\x10" + bytes(7)]
)
@pytest.mark.parametrize(
    ("bits", "kind", "channels", "reason"),
    [
        (32, 3, 3, "holds floating-point values of unknown range: convert it to 8 or 16 bits"),
        (64, 3, 4, "holds floating-point values"),
        (16, 3, 1, "holds floating-point values"),
        (64, 6, 1, "holds floating-point values"),  # complex
        (16, 1, 5, "is a TIFF of 5 x 16 bits a pixel, which Pillow does not read: convert it to"),
        (64, 2, 1, "is a TIFF of 1 x 64 bits a pixel"),
    ],
)
def test_tiffs_that_pillow_does_not_recognize(tmp_path, start, bits, kind, channels, reason):
    path = tmp_path / "measured.tif"
    path.write_bytes(tiff_header(start, bits, kind, channels=channels))
    for source in (path, path.read_bytes()):
        with pytest.raises(SpecjaxError, match=reason) as error:
            images.decode(source)
        assert "\n" not in str(error.value)
    assert not images.is_image(path)
    path.write_bytes(path.read_bytes()[:6])
    with pytest.raises(SpecjaxError, match="is not an image in a format that Pillow reads"):
        images.decode(path)
