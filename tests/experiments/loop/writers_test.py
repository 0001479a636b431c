"""What a run writes for each image, and for all of them."""

import numpy as np
from PIL import Image

from experiments.loop.reading import Example, Outcome
from experiments.loop.stored import TokenFeatures
from experiments.loop.writers import Writers
from experiments.runs.folder import RunFolder
from experiments.runs.names import GALLERY
from specjax import Tiling

FEATURES = np.zeros((10, 3), np.float32)


def example(image_id="a.b/c.d", size=(40, 70), place=0, instances=None):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    inputs = TokenFeatures(FEATURES, Tiling(2, 4, 16, size))
    return Example(image_id, place, "/photos/x.JPG", image, instances, None, inputs, ("boc",))


def features():
    return FEATURES


def outcome(labels, maps=None):
    labels = np.asarray(labels, np.int32)
    return Outcome({}, labels, labels > 0, maps)


def test_what_one_folder_holds(tmp_path):
    labels = [0, 1, 1, 0, 2, 2, 0, 0, 9, 9]  # two tokens of padding
    save = frozenset(["labels", "tokens", "coco", "features", "overlays"])
    with RunFolder(tmp_path, {}, ["boc"], overwrite=False) as run:
        writers = Writers(run, save)
        assert writers.lack("a.b/c.d", 0, "boc")
        writers.write(example(), "boc", outcome(labels, np.zeros((4, 10))), features)
        assert not writers.lack("a.b/c.d", 0, "boc")
        writers.finish(["a.b/c.d"], ["boc"])
        run.lines.append([{"id": "a.b/c.d", "setting": "boc"}])
        # A second setting gets folders of its own.
        writers.write(example(), "M=128", outcome([3] * 10), features)
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


def test_gallery_shows_the_first_images_and_outlives_an_interruption(tmp_path):
    def picture():
        with Image.open(tmp_path / "gallery.png") as sheet:
            return np.asarray(sheet)

    labels, truth = [0, 1, 1, 0, 2, 2, 0, 0], np.zeros((40, 70), np.int32)
    truth[:20] = 1
    ids = [f"image {i}" for i in range(GALLERY + 2)]
    with RunFolder(tmp_path, {}, ["boc"], overwrite=False) as run:
        writers = Writers(run, frozenset(["gallery"]))
        for place, image_id in enumerate(ids[:4]):
            assert writers.lack(image_id, place, "boc")
            writers.write(
                example(image_id, place=place, instances=truth), "boc", outcome(labels), features
            )
            assert not writers.lack(image_id, place, "boc")
        # One failed, and so has no tile.
        assert writers.finish(["failed", *ids[:4]], ["boc"]) == [tmp_path / "gallery.png"]
    four = picture()
    colours = {tuple(colour) for colour in four.reshape(-1, 3).tolist()}
    assert four.shape[1] == 6 + 3 * (552 + 6)
    assert len(colours) > 100

    with RunFolder(tmp_path, {}, ["boc"], overwrite=False) as run:
        writers = Writers(run, frozenset(["gallery"]))
        for place, image_id in enumerate(ids):
            if writers.lack(image_id, place, "boc"):
                assert 4 <= place < GALLERY
                writers.write(
                    example(image_id, place=place, instances=truth),
                    "boc",
                    outcome(labels),
                    features,
                )
        writers.finish(ids, ["boc"])
        late = example("late", place=GALLERY)
        writers.write(late, "boc", outcome(labels), features)
    # Eight rows of tiles instead of two, each as high, and 6 pixels around.
    assert 2 * (picture().shape[0] - 6) == 8 * (four.shape[0] - 6)
    assert len(list((tmp_path / "gallery").iterdir())) == GALLERY
    with RunFolder(tmp_path, {}, ["boc"], overwrite=True):
        assert not list(tmp_path.glob("gallery*"))
