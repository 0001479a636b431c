"""Instance maps from palette, grey and colour masks, whatever tool wrote them."""

import numpy as np
import pytest
from PIL import Image

from experiments.datasets import notes
from experiments.datasets.mask_images import read_mask
from specjax import SpecjaxError, overlay
from specjax._remarks import listening

VOID = -1
MAP = np.zeros((24, 32), np.int32)
MAP[2:12, 2:12], MAP[4:20, 16:30], MAP[1, 1:13] = 1, 2, VOID
WITHOUT_VOID = np.maximum(MAP, 0)
# The same map with numbers that are not consecutive.
LARGE = np.select([WITHOUT_VOID == 1, WITHOUT_VOID == 2], [300, 2001], 0)


def same_instances(found, expected):
    """Whether two maps differ in nothing but the numbers of their instances."""
    for value in (0, VOID):
        np.testing.assert_array_equal(found == value, expected == value)
    pairs = {*zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True)}
    return len(pairs) == len(np.unique(found)) == len(np.unique(expected))


def colours(table, instances=MAP):
    """A colour image: the colour of each number in a table."""
    image = np.zeros((*instances.shape, 3), np.uint8)
    for number, colour in table.items():
        image[instances == number] = colour
    return Image.fromarray(image)


def vocs(instances=MAP):
    return overlay.indexed_png(np.where(instances == VOID, 255, instances))


def palette(order, instances=MAP):
    """A palette image of VOC's colours in another order: `order` has the index of each number."""
    image = Image.fromarray(
        np.select([instances == n for n in order], list(order.values())).astype(np.uint8)
    ).convert("P")
    entries = np.full((256, 3), 7, np.uint8)
    for number, index in order.items():
        entries[index] = overlay.voc_colours()[number]
    image.putpalette(entries.tobytes())
    return image


def own_palette(*entries, instances=MAP):
    indices = np.where(instances == VOID, 255, instances).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    table = np.full((256, 3), 7, np.uint8)
    table[: len(entries)] = entries
    table[255] = 255
    image.putpalette(table.tobytes())
    return image


def transparent():
    pixels = np.asarray(colours({0: (9, 9, 9), 1: (200, 0, 0), 2: (1, 2, 3)}, WITHOUT_VOID))
    return Image.fromarray(np.dstack([pixels, np.where(WITHOUT_VOID, 255, 0).astype(np.uint8)]))


def number(dtype, instances=MAP, void=0):
    return Image.fromarray(np.where(instances == VOID, void, instances).astype(dtype))


READABLE = {
    "VOC's own": (vocs(), MAP),
    "palette reordered": (palette({VOID: 0, 2: 1, 1: 2, 0: 3}), MAP),
    "palette reversed": (palette({VOID: 0, 2: 253, 1: 254, 0: 255}), MAP),
    "palette reordered, black first": (palette({0: 0, VOID: 1, 1: 2, 2: 3}), MAP),
    "other colours, black first": (own_palette((0, 0, 0), (1, 2, 3), (250, 1, 1)), MAP),
    "other colours, no black": (own_palette((200, 200, 255), (1, 2, 3), (250, 1, 1)), MAP),
    "palette of one colour": (own_palette(*[(0, 0, 0)] * 256), MAP),
    "palette of the colours in use": (colours({1: (9, 8, 7), 2: (200, 1, 1)}, WITHOUT_VOID)
                                      .quantize(), WITHOUT_VOID),
    "VOC's colours": (vocs().convert("RGB"), MAP),
    "VOC's colours, opaque": (vocs().convert("RGBA"), MAP),
    "other colours": (colours({1: (1, 2, 3), 2: (255, 255, 255)}, WITHOUT_VOID), WITHOUT_VOID),
    "transparent ground": (transparent(), WITHOUT_VOID),
    "grey numbers": (number(np.uint8, void=255), MAP),
    "grey numbers as colours": (number(np.uint8, void=255).convert("RGB"), MAP),
    "grey levels": (number(np.uint8, WITHOUT_VOID * 100), WITHOUT_VOID),
    "16 bits": (number(np.uint16, LARGE), WITHOUT_VOID),
    "16 bits, void 65535": (number(np.uint16, void=65535), MAP),
    "16 bits, void 255": (number(np.uint16, void=255), MAP),
    "32 bits": (number(np.int32, LARGE), WITHOUT_VOID),
}  # fmt: skip


@pytest.mark.parametrize("kind", READABLE)
def test_colours_and_levels_are_instances(tmp_path, kind):
    image, expected = READABLE[kind]
    path = tmp_path / f"mask.{'tif' if kind == '32 bits' else 'png'}"
    image.save(path)
    found = read_mask(path)
    assert found.dtype == np.int32 and same_instances(found, expected)
    if "VOC" in kind or "palette re" in kind:  # VOC's numbers
        np.testing.assert_array_equal(found, expected)


ONE = np.minimum(WITHOUT_VOID, 1)
BINARY = {
    "grey": number(np.uint8, ONE * 255),
    "grey, any level": number(np.uint8, ONE * 77),
    "1 bit": number(bool, ONE),
    "16 bits": number(np.uint16, ONE * 65535),
    "colour": colours({1: (255, 255, 255)}, ONE),
    "grey palette": number(np.uint8, ONE * 255).convert("P"),
    "palette, white at 255": own_palette((0, 0, 0), instances=-ONE),
    "white first": colours({1: (255, 255, 255)}, ONE).quantize(2),
    "alpha": number(np.uint8, ONE * 255).convert("LA"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_a_binary_mask_is_one_object(tmp_path, kind):
    BINARY[kind].save(tmp_path / "mask.png")
    assert same_instances(read_mask(tmp_path / "mask.png"), ONE)


def test_masks_of_one_value(tmp_path):
    for value, objects in ((0, 0), (255, 1), (3, 1)):
        number(np.uint8, np.full((4, 5), value)).save(tmp_path / "mask.png")
        assert (read_mask(tmp_path / "mask.png") > 0).sum() == 20 * objects
    vocs(np.full((4, 5), VOID)).save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png") == VOID).all()


CITYSCAPES = np.zeros((24, 32), np.int32)
CITYSCAPES[0:4], CITYSCAPES[4:8], CITYSCAPES[8:12], CITYSCAPES[12:16] = 1, 7, 23, 26
CITYSCAPES[16:20], CITYSCAPES[20:24, :9], CITYSCAPES[20:24, 9:] = 24, 26000, 33002


def test_instance_ids_of_cityscapes(tmp_path):
    """Values below 1000 are classes; those of objects are groups, which are void."""
    expected = np.select([CITYSCAPES >= 1000, CITYSCAPES >= 24], [CITYSCAPES, VOID], 0)
    only_classes = np.where(CITYSCAPES >= 1000, 0, CITYSCAPES)
    for name, dtype, values in (
        ("any", np.uint16, CITYSCAPES),
        ("a_0_gtFine_instanceIds", np.uint16, CITYSCAPES),
        ("a_1_gtFine_instanceIds", np.int32, CITYSCAPES),
        ("a_2_gtFine_instanceIds", np.uint16, only_classes),
    ):
        path = tmp_path / f"{name}.{'png' if dtype == np.uint16 else 'tif'}"
        number(dtype, values).save(path)
        with listening() as remarks:
            found = read_mask(path)
        assert remarks == [notes.CLASSES] and found.dtype == np.int32
        wanted = expected if values is CITYSCAPES else np.minimum(expected, 0)
        np.testing.assert_array_equal(found, wanted)
    with pytest.warns(UserWarning, match="'.*any.png' is an instanceIds map of Cityscapes"):
        read_mask(tmp_path / "any.png")
    # Nothing to say of a map of numbers that are instances in any case.
    number(np.uint16, np.where(CITYSCAPES >= 1000, CITYSCAPES, 0)).save(tmp_path / "mask.png")
    assert np.unique(read_mask(tmp_path / "mask.png")).tolist() == [0, 26000, 33002]


SMOOTHLY = (57, 41), Image.Resampling.BICUBIC
UNCLEAR = {
    "VOC's colours in grey": (vocs().convert("L"), "converted to grey, which merges"),
    "white beside levels": (number(np.uint8, np.where(MAP == VOID, 255, WITHOUT_VOID * 100)),
                            "level 255, which may be void or an instance"),
    "no black": (colours({0: (255, 255, 255), 1: (1, 2, 3), 2: (3, 2, 1)}, WITHOUT_VOID),
                 "has no black pixel"),
    "a palette without black": (
        own_palette((1, 2, 3), (255, 255, 250), (3, 2, 1), instances=(WITHOUT_VOID + 1) % 3),
        "has no black pixel"),
    "resized": (number(np.uint8, WITHOUT_VOID * 100).resize(*SMOOTHLY),
                "resized with smoothing"),
    "resized colours": (vocs(WITHOUT_VOID).convert("RGB").resize(*SMOOTHLY),
                        "resized with smoothing"),
    "floats": (Image.fromarray(np.ones((3, 3), np.float32)), "has mode F"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_not_clear_is_refused(tmp_path, kind):
    image, words = UNCLEAR[kind]
    path = tmp_path / ("mask.tif" if image.mode == "F" else "mask.png")
    image.save(path)
    with pytest.raises(SpecjaxError, match=words) as refused:
        read_mask(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_photograph_is_no_mask(tmp_path):
    generator = np.random.default_rng(0)
    Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(SpecjaxError):
        read_mask(tmp_path / "a.png")
