"""Label maps, their colours, and COCO masks."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from experiments.loop.backbone import Features
from experiments.loop.stream import Example, Outcome
from experiments.runs import gallery
from experiments.runs.palette import voc_colours
from experiments.runs.store import Store
from experiments.runs.writers import Writers, at_image_resolution
from specjax import overlay as overlays
from specjax.coco import segments


def features(grid, image_size, patch_size=16):
    return Features(np.zeros((grid[0] * grid[1], 3)), grid, patch_size, image_size)


@pytest.mark.parametrize(
    ("size", "scaled", "patch_size"),
    [
        ((64, 96), (64, 96), 16),
        ((70, 99), (70, 99), 16),
        ((50, 31), (112, 69), 16),
        ((333, 500), (112, 168), 16),
        ((17, 40), (17, 40), 8),
        ((5, 1), (16, 80), 16),
    ],
)
def test_labels_at_image_resolution(size, scaled, patch_size):
    grid = (scaled[0] // patch_size, scaled[1] // patch_size)
    tokens = np.arange(1, grid[0] * grid[1] + 1).reshape(grid)
    labels = at_image_resolution(tokens, size, features(grid, scaled, patch_size))
    assert labels.shape == size
    for row in range(size[0]):
        for column in range(size[1]):
            # The token under the centre of the pixel; none behind the last whole patch.
            i = int((row + 0.5) * scaled[0] / size[0] / patch_size)
            j = int((column + 0.5) * scaled[1] / size[1] / patch_size)
            inside = i < grid[0] and j < grid[1]
            assert labels[row, column] == (tokens[i, j] if inside else 0)


def test_the_palette_is_that_of_voc():
    colours = voc_colours()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    known |= {8: (64, 0, 0), 20: (0, 64, 128), 64: (32, 0, 0), 255: (224, 224, 192)}
    for index, colour in known.items():
        assert tuple(colours[index]) == colour
    assert len({tuple(colour) for colour in colours}) == 256


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
def test_segments_are_run_lengths():
    labels = np.zeros((20, 30), np.int32)
    labels[2:9, 3:8], labels[10:20, 20:30], labels[0, 0] = 1, 3, 3
    line = segments(labels, "a/b.jpg")
    assert (line["file_name"], line["height"], line["width"]) == ("a/b.jpg", 20, 30)
    for number, mask in zip((1, 3), line["masks"], strict=True):
        code = {"size": [20, 30], "counts": mask["counts"].encode()}
        np.testing.assert_array_equal(coco_mask.decode(code), labels == number)
        assert mask["area"] == np.count_nonzero(labels == number)
    assert line["masks"][0]["bbox"] == [3, 2, 5, 7]
    assert segments(np.zeros((4, 4), np.int32), "a.png")["masks"] == []


def example(image_id="a.b/c.d", size=(40, 70), position=0, instances=None):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    return Example(
        image_id, position, "/photos/x.JPG", image, features((2, 4), size), None, instances
    )


def outcome(labels, maps=None):
    labels = np.asarray(labels, np.int32)
    return Outcome({}, labels, labels > 0, maps)


def test_what_one_folder_holds(tmp_path):
    labels = [0, 1, 1, 0, 2, 2, 0, 0, 9, 9]  # two tokens of padding
    save = frozenset(["labels", "tokens", "coco", "features", "overlays"])
    with Store(tmp_path, {}, ["boc"], overwrite=False) as store:
        writers = Writers(store, save)
        assert writers.lack("a.b/c.d", 0, "boc")
        writers.write(example(), "boc", outcome(labels, np.zeros((4, 10))))
        assert not writers.lack("a.b/c.d", 0, "boc")
        writers.finish(["a.b/c.d"], ["boc"])
        store.lines.append([{"id": "a.b/c.d", "setting": "boc"}])
        # A second setting gets folders of its own.
        writers.write(example(), "M=128", outcome([3] * 10))
    with Image.open(tmp_path / "tokens/a.b/c.d.png") as image:
        assert np.asarray(image).tolist() == [labels[:4], labels[4:8]]
    for name, value in (("labels/a.b/c.d.png", 2), ("labels_M128/a.b/c.d.png", 3)):
        with Image.open(tmp_path / name) as image:
            pixels = np.asarray(image)
        assert image.mode == "P" and pixels.shape == (40, 70) and pixels.max() == value
        assert not pixels[32:].any() and not pixels[:, 64:].any()
    with np.load(tmp_path / "features/a.b/c.d.npz") as content:
        assert content["features"].shape == (8, 3) and content["grid"].tolist() == [2, 4]
    assert '"a.b/c.d.JPG"' in (tmp_path / "coco.json").read_text()


def test_overlays_of_odd_images():
    # A single column of pixels, maps of zeros, no maps at all.
    for maps, panels in ((None, 2), (np.zeros((4, 8)), 7), (np.eye(4, 8), 7)):
        for size in ((40, 70), (300, 1), (1, 300)):
            drawn = Example("a", 0, "a.png", np.zeros((*size, 3), np.uint8),
                            features((2, 4), (32, 64)), None, None)  # fmt: skip
            found = outcome([0, 1] * 4, maps)
            picture = overlays.draw(drawn, found, np.zeros(size, np.int32))
            scale = min(240 / size[0], 960 / size[1])
            width = max(round(scale * size[1]), 1)
            assert picture.size[0] == panels * (width + 6) + 6


def test_gallery_shows_the_first_images_and_outlives_an_interruption(tmp_path):
    def picture():
        with Image.open(tmp_path / "gallery.png") as sheet:
            return np.asarray(sheet)

    labels, truth = [0, 1, 1, 0, 2, 2, 0, 0], np.zeros((40, 70), np.int32)
    truth[:20] = 1
    ids = [f"image {i}" for i in range(gallery.COUNT + 2)]
    with Store(tmp_path, {}, ["boc"], overwrite=False) as store:
        writers = Writers(store, frozenset(["gallery"]))
        for position, image_id in enumerate(ids[:4]):
            assert writers.lack(image_id, position, "boc")
            writers.write(example(image_id, position=position, instances=truth), "boc",
                          outcome(labels))  # fmt: skip
            assert not writers.lack(image_id, position, "boc")
        # One failed, and so has no tile.
        assert writers.finish(["failed", *ids[:4]], ["boc"]) == [tmp_path / "gallery.png"]
    four = picture()
    colours = {tuple(colour) for colour in four.reshape(-1, 3).tolist()}
    assert four.shape[1] == 3 * (3 * (176 + 4) - 4 + 16) and four.shape[0] == 16 + 2 * (132 + 4)
    assert len(colours) > 100

    with Store(tmp_path, {}, ["boc"], overwrite=False) as store:
        writers = Writers(store, frozenset(["gallery"]))
        for position, image_id in enumerate(ids):
            if writers.lack(image_id, position, "boc"):
                assert 4 <= position < gallery.COUNT
                writers.write(example(image_id, position=position, instances=truth), "boc",
                              outcome(labels))  # fmt: skip
        writers.finish(ids, ["boc"])
        late = example("late", position=gallery.COUNT)
        writers.write(late, "boc", outcome(labels))
    assert picture().shape[0] == 16 + 8 * (132 + 4)
    assert len(list((tmp_path / "gallery").iterdir())) == gallery.COUNT
    with Store(tmp_path, {}, ["boc"], overwrite=True):
        assert not list(tmp_path.glob("gallery*"))


def test_instances_take_the_colours_of_what_they_fit():
    truth = np.array([[0, 3, 3, 1], [0, 3, -1, 1]])
    labels = np.array([[4, 1, 1, 2], [0, 1, 2, 2]])
    np.testing.assert_array_equal(
        gallery.recoloured(labels, truth), [[7, 3, 3, 1], [0, 3, 1, 1]]
    )
    for empty in (np.zeros((2, 2), int), np.full((2, 2), -1)):
        assert np.unique(gallery.recoloured(np.array([[0, 1], [2, 2]]), empty)).size == 3
        assert not gallery.recoloured(np.zeros((2, 2), int), empty).any()
