"""DAVIS 2016 and 2017: layouts, splits, annotations."""

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from experiments.datasets.davis import read_annotation
from experiments.datasets.records import VOID
from specjax import SpecjaxError
from tests.support import tiny_datasets

FRAMES = "JPEGImages/480p"


def opened(folder, **options):
    return datasets.open_dataset("davis", data_dir=folder, **options)


def ids(dataset):
    return [record.id for record in dataset.records()]


@pytest.fixture
def folder(tmp_path):
    tiny_datasets.write_davis(tmp_path)
    return tmp_path


def test_reads_what_was_written(tmp_path):
    maps = tiny_datasets.write_davis(tmp_path / "DAVIS")
    for given in ("DAVIS", "", "DAVIS/JPEGImages", f"DAVIS/{FRAMES}"):
        dataset = opened(tmp_path / given)
        assert dataset.name == "davis" and not dataset.warnings
        tiny_datasets.check_records(dataset, maps)
    assert len({opened(tmp_path / given).identity["data_dir"] for given in ("", "DAVIS")}) == 1
    record = next(opened(tmp_path).records())
    assert [name.rpartition(".")[2] for name in record.files] == ["jpg", "png"]


@pytest.mark.parametrize("resolution", ["Full-Resolution", "1080p", ""])
def test_resolutions(tmp_path, resolution):
    maps = tiny_datasets.write_davis(tmp_path / "DAVIS")
    for name in ("JPEGImages", "Annotations"):
        (tmp_path / name / resolution).parent.mkdir(exist_ok=True)
        (tmp_path / "DAVIS" / name / "480p").rename(tmp_path / name / resolution)
    tiny_datasets.check_records(opened(tmp_path), maps)


def test_the_resolution_that_has_annotations(folder):
    (folder / FRAMES).rename(folder / "JPEGImages" / "Full-Resolution")
    (folder / "Annotations" / "480p").rename(folder / "Annotations" / "Full-Resolution")
    (folder / FRAMES / "bear").mkdir(parents=True)
    assert len(ids(opened(folder))) == 4
    assert opened(folder).identity["data_dir"].endswith("Full-Resolution")
    with pytest.raises(SpecjaxError, match="no frames in"):
        opened(folder / FRAMES)


def test_annotations_of_the_unsupervised_task(folder):
    maps = {record.id: record.read_instances() for record in opened(folder).records()}
    (folder / "Annotations").rename(folder / "Annotations_unsupervised")
    tiny_datasets.check_records(opened(folder), maps)

    # Beside the others they are not used, unless they are named.
    for sequence in ("bear", "two-cars"):
        path = folder / "Annotations" / "480p" / sequence
        path.mkdir(parents=True)
        for frame in ("00000", "00001"):
            image = next(r for r in opened(folder).records() if r.id == f"{sequence}/{frame}")
            height, width = image.read_image().shape[:2]
            Image.fromarray(np.zeros((height, width), np.uint8)).save(path / f"{frame}.png")
    dataset = opened(folder)
    assert all(record.read_instances().max() == 0 for record in dataset.records())
    (warning,) = dataset.warnings
    assert "Annotations/480p' is used" in warning and "Annotations_unsupervised" in warning
    for name in ("Annotations_unsupervised", "Annotations_unsupervised/480p"):
        chosen = opened(folder, annotations=folder / name)
        assert not chosen.warnings
        tiny_datasets.check_records(chosen, maps)
    with pytest.raises(SpecjaxError, match=r"--annotations .*: no such folder"):
        opened(folder, annotations=folder / "missing")


def test_without_annotations(folder):
    (folder / "Annotations").rename(folder / "elsewhere")
    dataset = opened(folder)
    assert not dataset.annotated and all(r.read_instances is None for r in dataset.records())
    (warning,) = dataset.warnings
    assert "Annotations/480p" in warning and "nothing is scored" in warning


def test_splits(folder):
    sets = folder / "ImageSets"
    for year, sequences in (("2016", "bear\n"), ("2017", "two-cars\nbear\n")):
        (sets / year).mkdir(parents=True)
        (sets / year / "val.txt").write_text(sequences)
    (sets / "2017" / "train.txt").write_text("two-cars\n")
    assert ids(opened(folder, split="2016/val")) == ["bear/00000", "bear/00001"]
    assert ids(opened(folder, split="2017/val"))[::2] == ["two-cars/00000", "bear/00000"]
    assert ids(opened(folder, split="train")) == ["two-cars/00000", "two-cars/00001"]
    assert len(ids(opened(folder))) == 4
    assert opened(folder, split="train").identity != opened(folder).identity
    with pytest.raises(SpecjaxError, match=r"--split=val: .* give 2016/val or 2017/val"):
        opened(folder, split="val")
    with pytest.raises(SpecjaxError, match=r"no split 'dev' .*2016/val, 2017/train, 2017/val"):
        opened(folder, split="dev")
    (sets / "2016" / "val.txt").write_text("bear\nwolf\n")
    dataset = opened(folder, split="2016/val")
    assert ids(dataset) == ["bear/00000", "bear/00001"]
    (warning,) = dataset.warnings
    assert warning.startswith("no frames in") and "wolf" in warning


def test_lists_of_frames_as_in_davis_2016(folder):
    sets = folder / "ImageSets"
    for resolution in ("480p", "1080p"):
        (sets / resolution).mkdir(parents=True)
        names = ("two-cars/00001", "bear/00000", "bear/00007")
        lines = [
            f"/JPEGImages/{resolution}/{n}.jpg /Annotations/{resolution}/{n}.png" for n in names
        ]
        (sets / resolution / "val.txt").write_text("\n".join(lines))
    dataset = opened(folder, split="val")
    assert ids(dataset) == ["two-cars/00001", "bear/00000"]
    assert dataset.identity["split"] == str(sets / "480p" / "val.txt")
    (warning,) = dataset.warnings
    assert "bear' lacks 1 listed frames" in warning


def test_every_nth_frame_of_a_sequence(folder):
    source = folder / FRAMES / "bear" / "00000.jpg"
    for number in (2, 9, 10, 11):
        (source.parent / f"{number}.jpg").write_bytes(source.read_bytes())
    whole = opened(folder)
    in_order = [f"bear/{n}" for n in ("00000", "00001", "2", "9", "10", "11")]
    assert ids(whole)[:6] == in_order
    for step in (2, 4, 7):
        dataset = opened(folder, frame_step=step)
        assert ids(dataset) == in_order[::step] + ids(whole)[6::step]
        assert dataset.count == len(ids(dataset))
        assert dataset.identity["frame_step"] == str(step)
    assert opened(folder, frame_step=2, limit=1).count == 1
    with pytest.raises(SpecjaxError, match="--frame_step=0"):
        opened(folder, frame_step=0)


def test_every_nth_frame_of_youtube_vis(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path)
    dataset = datasets.open_dataset("ytvis", data_dir=tmp_path, frame_step=2)
    assert ids(dataset) == [name for name in maps if name.endswith("00000")]


def test_what_is_missing_or_strange(folder):
    (folder / "Annotations" / "480p" / "bear" / "00001.png").unlink()
    (folder / FRAMES / "two-cars" / "00001.jpg").unlink()
    (folder / FRAMES / "two-cars" / "._00000.jpg").write_bytes(b"")
    (folder / FRAMES / "two-cars" / "Thumbs.db").write_bytes(b"")
    dataset = opened(folder)
    first, second, third = dataset.records()
    assert first.read_instances().max() == 2 and third.id == "two-cars/00000"
    with pytest.raises(SpecjaxError, match=r"Annotations/480p/bear/00001\.png': no such file"):
        second.read_instances()
    (warning,) = dataset.warnings
    assert warning.startswith("1 annotations have no frame") and "two-cars/00001.png" in warning


def test_images_that_differ_in_the_suffix(folder):
    path = folder / FRAMES / "bear" / "00001.jpg"
    Image.open(path).save(path.with_suffix(".png"))
    assert ids(opened(folder))[:3] == ["bear/00000", "bear/00001.jpg", "bear/00001.png"]


def test_no_davis_folder(tmp_path):
    with pytest.raises(SpecjaxError, match="no folder JPEGImages"):
        opened(tmp_path)
    (tmp_path / "JPEGImages" / "480p").mkdir(parents=True)
    with pytest.raises(SpecjaxError, match="no frames in"):
        opened(tmp_path)


def grey(levels, mode=np.uint8):
    return Image.fromarray(np.array(levels, mode))


def indexed(levels, *colours):
    image = Image.fromarray(np.array(levels, np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


DAVIS = [(n, n, n) for n in range(256)]
DAVIS[1:4] = [(128, 0, 0), (0, 128, 0), (128, 128, 0)]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (grey([[0, 255], [255, 0]]), [[0, 1], [1, 0]]),  # 2016
        (grey([[0, 0], [0, 0]]), [[0, 0], [0, 0]]),  # no object
        (grey([[255, 255], [255, 255]]), [[1, 1], [1, 1]]),
        (grey([[0, 255], [255, 0]]).convert("RGB"), [[0, 1], [1, 0]]),
        (grey([[0, 255], [255, 0]]).convert("RGBA"), [[0, 1], [1, 0]]),
        (grey([[0, 255], [255, 0]]).convert("1"), [[0, 1], [1, 0]]),
        (grey([[0, 255], [255, 0]]).convert("P"), [[0, 1], [1, 0]]),  # a grey palette
        (grey([[0, 65535], [65535, 0]], np.uint16), [[0, 1], [1, 0]]),
        (grey([[0, 1], [2, 3]]), [[0, 1], [2, 3]]),  # indices that lost their palette
        (indexed([[0, 1], [2, 255]], *DAVIS), [[0, 1], [2, VOID]]),  # 2017
        (indexed([[0, 0], [3, 255]], *DAVIS), [[0, 0], [3, VOID]]),
        (indexed([[0, 0], [0, 255]], *DAVIS), [[0, 0], [0, VOID]]),  # void is no object
        (indexed([[0, 0], [0, 0]], *DAVIS), [[0, 0], [0, 0]]),
        (indexed([[0, 1], [1, 1]], (0, 0, 0), (255, 255, 255)), [[0, 1], [1, 1]]),
        (indexed([[0, 30], [40, 1]], *DAVIS), [[0, 30], [40, 1]]),
    ],
)
def test_kinds_of_annotations(tmp_path, image, expected):
    image.save(tmp_path / "x.png")
    instances = read_annotation(tmp_path / "x.png")
    assert instances.tolist() == expected and instances.dtype == np.int32


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (grey([[0, 128], [255, 0]]), "grey levels 128, 255"),  # smoothed
        (grey([[0, 1], [255, 0]]), "grey levels 1, 255"),  # void, or noise of JPEG
        (grey([[0, 40], [80, 120]]), "grey levels 40, 80, 120"),
        (Image.new("RGB", (2, 2), (200, 30, 10)), "several colours"),
        (Image.new("CMYK", (2, 2)), "mode CMYK"),
    ],
)
def test_what_is_neither_binary_nor_a_palette(tmp_path, image, words):
    path = tmp_path / ("x.tif" if image.mode == "CMYK" else "x.png")
    image.save(path)
    with pytest.raises(SpecjaxError) as error:
        read_annotation(path)
    assert words in str(error.value) and "x." in str(error.value) and "\n" not in str(error.value)


def test_a_bad_annotation_costs_its_frame(folder):
    image = Image.open(folder / FRAMES / "bear" / "00000.jpg")
    image.save(folder / "Annotations" / "480p" / "bear" / "00000.png")  # a photograph
    first, *others = opened(folder).records()
    with pytest.raises(SpecjaxError, match="several colours"):
        first.read_instances()
    assert all(record.read_instances().max() > 0 for record in others)


def test_real_videos(shared_data):
    root = shared_data / "davis_dev"
    dataset = opened(root)
    assert dataset.count == 80 and dataset.annotated and not dataset.warnings
    sequences = set()
    for record in dataset.records():
        sequence, frame = record.id.split("/")
        sequences.add(sequence)
        mask = np.asarray(Image.open(root / "Annotations" / "480p" / sequence / f"{frame}.png"))
        np.testing.assert_array_equal(record.read_instances(), mask == 255)
        with Image.open(root / FRAMES / sequence / f"{frame}.jpg") as image:
            assert image.size == mask.shape[::-1]
    assert len(sequences) == 5
    stepped = ids(opened(root, frame_step=4))
    assert stepped == [
        name
        for sequence in sorted(sequences)
        for name in [n for n in ids(dataset) if n.startswith(f"{sequence}/")][::4]
    ]
