import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from specjax import images
from specjax.errors import SpecjaxError
from tests.support.images import png_header, save


@pytest.fixture
def photograph():
    return np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_decodes_rgb_from_path_and_bytes(tmp_path, photograph):
    path = save(tmp_path / "a.png", Image.fromarray(photograph))
    for source in (path, str(path), path.read_bytes()):
        decoded = images.decode(source)
        np.testing.assert_array_equal(decoded, photograph)
        assert decoded.dtype == np.uint8 and decoded.flags.writeable


def test_grey_and_one_bit(tmp_path, photograph):
    grey = photograph[:, :, 0]
    decoded = images.decode(save(tmp_path / "grey.png", Image.fromarray(grey)))
    np.testing.assert_array_equal(decoded, np.repeat(grey[:, :, None], 3, axis=2))
    bits = Image.fromarray(grey).point(lambda v: 255 if v > 100 else 0).convert("1")
    decoded = images.decode(save(tmp_path / "bits.png", bits))
    np.testing.assert_array_equal(decoded[:, :, 1], np.where(grey > 100, 255, 0))


def test_palette_gives_its_colours(tmp_path):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    np.testing.assert_array_equal(
        images.decode(save(tmp_path / "p.png", image)), np.broadcast_to([10, 200, 30], (2, 4, 3))
    )


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_transparent_palette_is_white(tmp_path, transparency):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.putpixel((0, 0), 0)
    path = save(tmp_path / "p.png", image, transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = images.decode(path)
    assert decoded[0, 0].tolist() == [0, 0, 0] and decoded[1, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_transparent_colour_is_white(tmp_path, mode):
    image = Image.new(mode, (4, 2), 255 if mode == "1" else "red")
    image.putpixel((0, 0), 0)
    colour = (0, 0, 0) if mode == "RGB" else 0
    decoded = images.decode(save(tmp_path / "t.png", image, transparency=colour))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    expected = {"L": [76, 76, 76], "RGB": [255, 0, 0], "1": [255, 255, 255]}[mode]
    assert decoded[1, 1].tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_over_white(tmp_path, mode):
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[:, :, 3] = [0, 51, 255]  # black at 0, 20 and 100 %
    decoded = images.decode(save(tmp_path / "a.png", Image.fromarray(rgba).convert(mode)))
    np.testing.assert_array_equal(decoded[0], [[255] * 3, [204] * 3, [0] * 3])


def test_premultiplied_alpha():
    stream = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 51)).save(stream, format="TIFF")
    # Pillow does not write this kind: turn the tag ExtraSamples from 2 (plain alpha) to 1.
    plain, premultiplied = (struct.pack("<HHLHH", 338, 3, 1, kind, 0) for kind in (2, 1))
    data = stream.getvalue()
    assert data.count(plain) == 1
    data = data.replace(plain, premultiplied)
    with Image.open(io.BytesIO(data)) as stored:
        assert "RGBa" in (stored.mode, stored.tile[0].args[0])
    assert images.decode(data)[0, 0].tolist() == [204, 204, 204]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_colour_spaces(tmp_path, mode):
    image = Image.new("RGB", (16, 16), (200, 40, 90)).convert(mode)
    decoded = images.decode(save(tmp_path / "c.jpg", image, quality=100))
    assert np.abs(decoded.astype(int) - [200, 40, 90]).max() <= 4


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt", b"iCCP"])
@pytest.mark.parametrize("first", [True, False])
def test_a_png_of_much_text(photograph, kind, first):
    """Pillow refuses it, but the pixels are fine."""
    stream = io.BytesIO()
    Image.fromarray(photograph).save(stream, format="PNG")
    text = b"x" * 2**21
    content = {
        b"zTXt": b"Comment\0\0" + zlib.compress(text),
        b"iTXt": b"Comment\0\1\0\0\0" + zlib.compress(text),
        b"tEXt": b"Comment\0" + text * 33,
        b"iCCP": b"profile\0\0" + zlib.compress(text),
    }[kind]
    data, end = stream.getvalue(), 33 if first else -12
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    data = data[:end] + chunk + data[end:]
    if first or kind != b"iCCP":
        with pytest.raises(ValueError), Image.open(io.BytesIO(data)) as image:
            image.load()
    np.testing.assert_array_equal(images.decode(data), photograph)
    with pytest.raises(SpecjaxError, match="cannot be read"):
        images.decode(data[:-60] if first else data[:80] + chunk)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert images.decode(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_exif_orientation(tmp_path, photograph, orientation, suffix):
    upright = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"o.{suffix}", Image.fromarray(photograph), exif=exif)
    np.testing.assert_array_equal(images.decode(path, upright=True), upright(photograph))
    if suffix == "png":  # Pillow turns TIFF files by itself
        np.testing.assert_array_equal(images.decode(path), photograph)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("loaded", [False, True])
def test_pillow_images(tmp_path, photograph, suffix, loaded):
    """They give the same as their files, whether or not Pillow has read the pixels yet."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / f"o.{suffix}", Image.fromarray(photograph), exif=exif)
    for upright in (False, True):
        with Image.open(path) as image:
            if loaded:
                image.load()
            found = images.decode(image, upright=upright)
        np.testing.assert_array_equal(found, images.decode(path, upright=upright))
        assert found.flags.writeable
    assert found.shape == (30, 20, 3)
    grey = Image.fromarray(photograph[:, :, 0])
    np.testing.assert_array_equal(images.decode(grey)[:, :, 2], photograph[:, :, 0])


def test_pillow_images_that_cannot_be_read(photograph):
    stream = io.BytesIO()
    Image.fromarray(photograph).save(stream, format="PNG")
    with Image.open(io.BytesIO(stream.getvalue()[:-300])) as cut:
        with pytest.raises(SpecjaxError, match="the image cannot be read") as error:
            images.decode(cut)
    one_line(error)
    with pytest.raises(SpecjaxError, match="the image holds floating-point"):
        images.decode(Image.new("F", (3, 3)))


def test_damaged_exif_is_no_obstacle(tmp_path, photograph):
    path = tmp_path / "e.jpg"
    Image.fromarray(photograph).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.decode(path, upright=True).shape == (20, 30, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_truncated_files(tmp_path, photograph, suffix):
    path = save(tmp_path / f"cut.{suffix}", Image.fromarray(photograph))
    data = path.read_bytes()
    for length in (0, 10, len(data) // 2, int(len(data) * 0.9)):
        path.write_bytes(data[:length])
        with pytest.raises(SpecjaxError) as error:
            images.decode(path)
        assert f"cut.{suffix}" in one_line(error)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_text("not an image")
    with pytest.raises(SpecjaxError, match=r"a\.jpg.*not an image"):
        images.decode(tmp_path / "a.jpg")
    with pytest.raises(SpecjaxError, match=r"b\.jpg.*no such file"):
        images.decode(tmp_path / "b.jpg")
    with pytest.raises(SpecjaxError, match="no such file"):
        images.decode(tmp_path)
    with pytest.raises(SpecjaxError, match="image data"):
        images.decode(b"")
    with pytest.raises(SpecjaxError):
        images.decode(png_header(0, 5))


@pytest.mark.parametrize("action", ["error", "default"])
@pytest.mark.parametrize("size", [(9500, 9500), (20000, 20000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bomb(action, size):
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings(record=action != "error") as seen:
        warnings.simplefilter(action)
        with pytest.raises(SpecjaxError, match="limit of 89478485 pixels"):
            images.decode(png_header(*size))
    assert not seen
    assert limit == Image.MAX_IMAGE_PIXELS


def test_pixel_limit_is_the_callers(photograph, tmp_path):
    path = save(tmp_path / "a.png", Image.fromarray(photograph))
    assert images.decode(path, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(SpecjaxError, match=r"30 x 20, more than the limit of 599 pixels"):
        images.decode(path, max_pixels=599)


def test_resize_keeps_the_aspect_ratio(photograph):
    assert images.resize_short_side(photograph, 40).shape == (40, 60, 3)
    assert images.resize_short_side(photograph.transpose(1, 0, 2), 10).shape == (15, 10, 3)
    np.testing.assert_array_equal(images.resize_short_side(photograph, 20), photograph)
    expected = Image.fromarray(photograph).resize((45, 30), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(images.resize_short_side(photograph, 30), np.asarray(expected))
    with pytest.raises(SpecjaxError, match="at least 1") as error:
        images.resize_short_side(photograph, 0)
    assert error.value.parameter == "image_size"
    with pytest.raises(SpecjaxError, match="more than 89478485 pixels") as error:
        images.resize_short_side(np.zeros((1, 2000, 3), np.uint8), 480)
    assert error.value.parameter == "image_size"
