"""Pictures of segmentations: colours, outlines, numbers, sheets."""

import numpy as np
import pytest
from PIL import Image

from specjax import overlay as overlays
from specjax.overlay import Panel

SIZE = (240, 360)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture
def labels():
    """Two instances side by side, and a third with nothing around it."""
    labels = np.zeros(SIZE, np.int32)
    labels[40:120, 40:120], labels[40:120, 120:200], labels[160:220, 260:340] = 1, 2, 3
    return labels


def is_colour(picture, colour):
    return (np.asarray(picture) == np.array(colour, np.uint8)).all(axis=2)


def test_the_palette_is_that_of_voc():
    colours = overlays.voc_colours()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    known |= {8: (64, 0, 0), 20: (0, 64, 128), 64: (32, 0, 0), 255: (224, 224, 192)}
    for index, colour in known.items():
        assert tuple(colours[index]) == colour
    assert len({tuple(colour) for colour in colours}) == 256


def test_a_label_map_keeps_its_numbers_in_a_file(tmp_path):
    labels = np.arange(256).reshape(8, 32)
    overlays.indexed_png(labels).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.asarray(read), labels)
        np.testing.assert_array_equal(
            np.asarray(read.convert("RGB")), overlays.voc_colours()[labels]
        )


def outline_colours(picture, labels):
    """The colour of each instance at its upper left corner."""
    corners = [np.argwhere(labels == number)[0] for number in np.unique(labels[labels > 0])]
    return [np.asarray(picture)[tuple(corner)] for corner in corners]


def test_an_overlay_tints_outlines_and_numbers(image, labels):
    picture = overlays.overlay(image, labels)
    pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels[labels == 0], image[labels == 0])
    colours = outline_colours(picture, labels)
    assert len({tuple(colour) for colour in colours}) == 3
    for number, colour in enumerate(colours, start=1):
        own = labels == number
        rows, columns = np.nonzero(own)
        box = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(int)
        line = is_colour(box, colour)
        # All around, two pixels wide; also where another instance is next to it.
        for side in (line[:2], line[-2:], line[:, :2], line[:, -2:]):
            assert side.all()
        assert not line[2:-2, 2:-2].any()
        # Inside, between the image and the colour: never further from the colour than before.
        before = np.abs(image[own].astype(int) - colour).mean()
        assert 0.4 * before < np.abs(box[8:-8, 8:-8] - colour).mean() < 0.7 * before
        # The number, white in a black line, is in the middle.
        white = np.argwhere(is_colour(box, (255, 255, 255)))
        np.testing.assert_allclose(white.mean(axis=0), np.array(box.shape[:2]) / 2, atol=4)
        assert is_colour(box, (0, 0, 0)).any()


@pytest.mark.parametrize(
    "below", [(0, 0, 0), (255, 255, 255), (200, 0, 0), (0, 160, 0), (0, 0, 192)]
)
def test_colours_differ_from_what_lies_below_and_from_each_other(labels, below):
    image = np.full((*SIZE, 3), below, np.uint8)
    colours = np.array(outline_colours(overlays.overlay(image, labels), labels), float)
    assert np.linalg.norm(colours - below, axis=1).min() > 120
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.linalg.norm(colours[first] - colours[second]) > 120


def test_an_instance_of_the_colour_it_would_have_gets_another(labels):
    image = np.full((*SIZE, 3), 128, np.uint8)
    first = outline_colours(overlays.overlay(image, labels), labels)
    for number, colour in enumerate(first, start=1):
        image[labels == number] = colour
    second = outline_colours(overlays.overlay(image, labels), labels)
    for one, other in zip(first, second, strict=True):
        assert np.linalg.norm(one.astype(float) - other) > 80


def test_more_instances_than_colours():
    labels = np.arange(300).reshape(15, 20).repeat(12, axis=0).repeat(12, axis=1)
    picture = overlays.overlay(np.zeros((*labels.shape, 3), np.uint8), labels)
    assert len({tuple(colour) for colour in outline_colours(picture, labels)}) > 50


def test_void_and_nothing_leave_the_image(image):
    for labels in (np.zeros(SIZE, int), np.full(SIZE, -1), np.zeros(SIZE, np.uint8)):
        np.testing.assert_array_equal(np.asarray(overlays.overlay(image, labels)), image)


def test_the_number_is_on_the_instance_and_in_the_image():
    """A ring's centroid is outside it; an instance may be a column of pixels at the border."""
    rows, columns = np.mgrid[:200, :200] - 100
    radius = np.hypot(rows, columns)
    ring = ((radius < 95) & (radius > 55)).astype(int)
    side = np.zeros((200, 200), int)
    side[:, 0] = 1
    for labels in (ring, side):
        picture = overlays.overlay(np.zeros((200, 200, 3), np.uint8), labels)
        white = np.argwhere(is_colour(picture, (255, 255, 255)))
        assert len(white) > 8 and white.min() > 0
        if labels is ring:
            assert ring[tuple(white.mean(axis=0).astype(int))]


def test_instances_take_the_numbers_of_what_they_fit():
    annotated = np.array([[0, 3, 3, 1], [0, 3, -1, 1]])
    labels = np.array([[4, 1, 1, 2], [0, 1, 2, 2]])
    assert overlays.matched_numbers(labels, annotated).tolist() == [0, 3, 1, 6, 7]
    # The largest common area comes first, and each number is given once.
    annotated, labels = np.array([[1, 1, 1, 1, 2]]), np.array([[1, 1, 2, 2, 2]])
    labels = np.concatenate([labels, [[2, 2, 2, 2, 2]]])
    annotated = np.concatenate([annotated, [[1, 1, 0, 0, 0]]])
    assert overlays.matched_numbers(labels, annotated).tolist() == [0, 3, 1]
    for empty in (np.zeros((2, 2), int), np.full((2, 2), -1)):
        assert overlays.matched_numbers(np.array([[0, 1], [2, 2]]), empty).tolist() == [0, 1, 2]
        assert overlays.matched_numbers(np.zeros((2, 2), int), empty).tolist() == [0]


def test_dimmed(image):
    mask = np.zeros(SIZE, bool)
    mask[:50] = True
    pixels = np.asarray(overlays.dimmed(image, mask))
    np.testing.assert_array_equal(pixels[mask], image[mask])
    outside = pixels[~mask]
    assert outside.max() <= 0.35 * 255 and (np.ptp(outside, axis=1) == 0).all()


def test_a_map_is_white_at_0_and_full_at_its_largest_magnitude():
    pixels = np.asarray(overlays.diverging(np.array([[-2.0, 0.0, 1.0], [2.0, -1.0, 0.0]])))
    np.testing.assert_array_equal(pixels[0, :2], [(33, 102, 172), (255, 255, 255)])
    np.testing.assert_array_equal(pixels[1, 0], (230, 97, 1))
    np.testing.assert_allclose(pixels[0, 2], (np.array([230, 97, 1]) + 255) / 2, atol=1)
    assert (np.asarray(overlays.diverging(np.zeros((2, 3), np.float32))) == 255).all()


def test_fitted(image):
    whole = np.asarray(Image.fromarray(image).resize((180, 120), Image.Resampling.BOX))
    np.testing.assert_array_equal(overlays.fitted(image, (200, 120)), whole)
    labels = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(
        overlays.fitted(labels, (6, 99)), labels.repeat(2, axis=0).repeat(2, axis=1)
    )
    # The nearest of three pixels is the middle one.
    tall = np.arange(9.0)[:, None]
    assert overlays.fitted(tall, (3, 3)).tolist() == [[1.0], [4.0], [7.0]]
    assert overlays.fitted(tall > 3, (1, 3)).tolist() == [[False], [True], [True]]


def blank(width, height, colour):
    return Image.new("RGB", (width, height), colour)


def test_contact_sheet():
    red, blue, green = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    panels = [Panel(blank(40, 30, red)), Panel(blank(60, 10, blue), "one", "#00ff00"),
              Panel(blank(20, 20, red))]  # fmt: skip
    pixels = np.asarray(overlays.contact_sheet(panels, columns=2))
    # Only the first row has room for captions.
    assert pixels.shape == (6 + 15 + 30 + 6 + 20 + 6, 6 + 2 * (60 + 6), 3)
    for row, column, colour in ((21, 16, red), (21, 72, blue), (57, 26, red)):
        assert tuple(pixels[row, column]) == colour
        assert tuple(pixels[row, column - 3]) == (255, 255, 255)
    assert is_colour(pixels, green).sum() == 2 * (2 * 64 + 2 * 10)
    assert (pixels[6:18, 72:132] < 128).any() and (pixels[6:18, :60] == 255).all()
    titled = np.asarray(overlays.contact_sheet(panels[:1], title="all", width=100))
    assert titled.shape == (6 + 20 + 30 + 6, 112, 3) and (titled[6:22] < 128).any()
    # A sheet of sheets.
    both = [Panel(Image.fromarray(one)) for one in (pixels, titled)]
    assert overlays.contact_sheet(both, columns=1).size == (150, 6 + 83 + 6 + 62 + 6)


def test_stages(image, labels):
    maps = np.random.default_rng(1).normal(0, 1, (4, *SIZE))
    truth = np.choose(labels, [0, 3, 1, 2])
    truth[:9] = -1
    full = overlays.stages(image, labels > 0, maps, labels, truth)
    assert full.size == (8 * (360 + 6) + 6, 6 + 15 + 240 + 6)
    panels = np.asarray(full)[21:261, 6:].reshape(240, 8, 366, 3)[:, :, :360].swapaxes(0, 1)
    np.testing.assert_array_equal(panels[0], image)
    np.testing.assert_array_equal(panels[1][labels > 0], image[labels > 0])
    # The same colours for what was found and what is annotated, whatever the numbers.
    for one, other in zip(
        outline_colours(panels[6], labels), outline_colours(panels[7], labels), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert (panels[6] != panels[7]).any()
    np.testing.assert_array_equal(panels[7][:9], image[:9])
    foreground_alone = overlays.stages(image, labels > 0, None, None, truth)
    assert foreground_alone.size[0] == 3 * 366 + 6
    bare = overlays.stages(image, labels > 0, None, None, None)
    assert bare.size[0] == 2 * 366 + 6


@pytest.mark.parametrize("size", [(40, 70), (300, 1), (1, 300)])
def test_pictures_of_odd_images(size):
    picture, labels = np.zeros((*size, 3), np.uint8), np.ones(size, np.int32)
    scale = min(240 / size[0], 960 / size[1])
    width = max(round(scale * size[1]), 1)
    for annotated in (None, labels, 0 * labels):
        panels = 2 + 4 + 1 + (annotated is not None)
        full = overlays.stages(picture, labels > 0, np.zeros((4, *size)), labels, annotated)
        assert full.size[0] == panels * (width + 6) + 6
        assert overlays.gallery_tile(picture, labels, annotated).size[0] in (370, 552)


def test_gallery(image, labels, tmp_path):
    tile = overlays.gallery_tile(image, labels, labels)
    assert tile.size == (6 + 3 * (176 + 6), 6 + 15 + 117 + 6)
    narrow = overlays.gallery_tile(image, labels, None)
    assert narrow.size == (6 + 2 * (176 + 6), tile.height)
    for number in range(4):
        tile.save(tmp_path / f"{number}.png")
    tiles = (Image.open(tmp_path / f"{number}.png") for number in range(4))
    sheet = overlays.gallery(tiles)
    assert sheet.size == (6 + 3 * (tile.width + 6), 6 + 2 * (tile.height + 6))
    first = np.asarray(sheet)[6 : 6 + tile.height, 6 : 6 + tile.width]
    np.testing.assert_array_equal(first, np.asarray(tile))
    assert overlays.gallery([tile]).size == (tile.width + 12, tile.height + 12)
