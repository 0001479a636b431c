"""Records, the filters over them, and what `open_dataset` itself refuses."""

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import records
from experiments.datasets.records import VOID, Record
from specjax import SpecjaxError
from tests.support import tiny_datasets


def ids(dataset):
    return [record.id for record in dataset.records()]


def record(record_id, source="x.jpg"):
    return Record(record_id, source, lambda: np.zeros((1, 1, 3), np.uint8), None)


def image_of_areas(*areas, total=1000, void=0):
    instances = np.zeros(total, np.int32)
    start = 0
    for number, area in enumerate(areas, start=1):
        instances[start : start + area] = number
        start += area
    instances[start : start + void] = VOID
    return instances.reshape(10, -1)


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ((70, 70), True),
        ((69, 70), False),
        ((70, 233), True),  # 0.3004
        ((70, 234), False),  # 0.2991
        ((90, 300), True),  # exactly 0.3
        ((500,), False),
        ((), False),
        ((300, 300, 60), False),
    ],
)
def test_paper_rule(areas, expected):
    assert records.passes_paper_rule(image_of_areas(*areas)) is expected
    assert records.passes_paper_rule(image_of_areas(*areas, void=100)) is expected


def test_compact_ids():
    instances = np.array([[0, 7, 3], [VOID, 3, 200]], np.int32)
    compacted = records.compact_ids(instances)
    assert compacted.tolist() == [[0, 2, 1], [VOID, 1, 3]] and compacted.dtype == np.int32
    empty = np.array([[0, VOID]], np.int32)
    np.testing.assert_array_equal(records.compact_ids(empty), empty)


@pytest.mark.parametrize(
    "bad", ["", "/a", "a/../b", "..", "a//b", "a/", "./a", "a\\b", "a\nb", "a\0", "a\udcff"]
)
def test_unsafe_ids(bad):
    with pytest.raises(SpecjaxError) as error:
        records.check_ids([record("fine"), record(bad)])
    assert repr(bad) in str(error.value) and "\n" not in str(error.value)


def test_safe_ids_and_clashes():
    fine = ["a", "a/b", "Bildschirmfoto 9.41\u202fÜ", "..a", "a.b"]
    assert records.check_ids(map(record, fine)) == fine
    with pytest.raises(SpecjaxError, match=r"two images have the id 'a': 'one/a' and 'two/a'"):
        records.check_ids([record("a", "one/a"), record("b"), record("a", "two/a")])


def test_unknown_name_and_unused_options(tmp_path):
    with pytest.raises(SpecjaxError, match="unknown dataset 'kitti': choose one of samples, voc"):
        datasets.open_dataset("kitti")
    with pytest.raises(SpecjaxError, match="--annotations has no meaning for dataset 'voc'"):
        datasets.open_dataset("voc", data_dir=tmp_path, annotations="a.json")
    with pytest.raises(SpecjaxError, match="--data_dir has no meaning for dataset 'samples'"):
        datasets.open_dataset("samples", data_dir=tmp_path)
    with pytest.raises(SpecjaxError, match="--split has no meaning for dataset 'folder'"):
        datasets.open_dataset("folder", data_dir=tmp_path, split="val")
    with pytest.raises(SpecjaxError, match="--frame_step has no meaning for dataset 'coco'"):
        datasets.open_dataset("coco", data_dir=tmp_path, frame_step=2)
    for name in ("voc", "coco", "ytvis", "davis", "saliency"):
        with pytest.raises(SpecjaxError, match="give --data_dir"):
            datasets.open_dataset(name)
        with pytest.raises(SpecjaxError, match=r"missing': no such folder"):
            datasets.open_dataset(name, data_dir=tmp_path / "missing")


@pytest.mark.parametrize(
    "names",
    [
        "video_1/00005\nvideo_0/00000\n",
        "video_1/00005.jpg\n\n# comment\nvideo_0/00000.JPG",
        "\ufeff/data/train/JPEGImages/video_1/00005.jpg\r\n./video_0/00000.png\r\n",
    ],
)
def test_list_of_frames(tmp_path, names):
    tiny_datasets.write_ytvis(tmp_path / "data")
    listing = tmp_path / "frames.txt"
    listing.write_text(names, encoding="utf-8")
    dataset = datasets.open_dataset("ytvis", data_dir=tmp_path / "data", frames=listing)
    assert ids(dataset) == ["video_0/00000", "video_1/00005"]  # the order of the dataset
    assert ids(dataset) == ["video_0/00000", "video_1/00005"]  # again
    assert len(dataset.identity["frames_sha256"]) == 64


def test_list_without_the_leading_folders_of_an_id(tmp_path):
    image = next(tiny_datasets.scenes())[0]
    for name in ("train/a/0.png", "train/a/1.png", "train/b/0.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_datasets.Image.fromarray(image).save(path)
    listing = tmp_path / "frames.txt"
    listing.write_text("b/0\n1.png\n")
    dataset = datasets.open_dataset("folder", data_dir=tmp_path / "data", frames=listing)
    assert ids(dataset) == ["train/a/1", "train/b/0"]
    listing.write_text("0\n")
    with pytest.raises(SpecjaxError, match="'0' matches 2 records"):
        datasets.open_dataset("folder", data_dir=tmp_path / "data", frames=listing)


def test_listed_frames_that_are_not_there(tmp_path, caplog):
    tiny_datasets.write_ytvis(tmp_path / "data")
    listing = tmp_path / "frames.txt"

    def opened():
        return datasets.open_dataset("ytvis", data_dir=tmp_path / "data", frames=listing)

    listing.write_text("video_0/00000\n")
    assert opened().warnings == ()
    listing.write_text("video_0/00000\nvideo_9/00000\nvideo_8/1\n")
    assert ids(opened()) == ["video_0/00000"]
    (warning,) = opened().warnings
    assert "frames.txt" in warning and not caplog.records
    assert warning.endswith("2 of 3 frames are not in the dataset: video_9/00000, video_8/1")
    listing.write_text("video_9/00000\n")
    with pytest.raises(SpecjaxError, match="none of its 1 names is in the dataset"):
        opened()
    listing.write_text("\n# nothing\n")
    with pytest.raises(SpecjaxError, match="lists no frames"):
        opened()
    listing.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SpecjaxError, match="not a text file"):
        opened()
    listing.unlink()
    with pytest.raises(SpecjaxError, match="cannot be read"):
        opened()


def test_every_warning_is_kept(tmp_path):
    tiny_datasets.write_coco(tmp_path)
    path = tmp_path / "instances.json"
    path.write_text(path.read_text().replace('"image_id": 9', '"image_id": 1000'))
    listing = tmp_path / "frames.txt"
    listing.write_text("000000000000\n000000000001\nabsent\n")
    options = {"data_dir": tmp_path, "frames": listing}
    orphans, absent = datasets.open_dataset("coco", **options).warnings
    assert "image_id 1000" in orphans and "absent" in absent
    filtered = datasets.open_dataset("coco", **options, paper_filter=True, limit=1)
    assert filtered.warnings == (orphans, absent)


@pytest.mark.parametrize("name", datasets.FORMATS)
def test_count(tmp_path, name):
    options = {}
    if name != "samples":
        write = getattr(tiny_datasets, f"write_{'voc' if name == 'folder' else name}")
        write(tmp_path)
        options["data_dir"] = tmp_path

    def opened(**more):
        return datasets.open_dataset(name, **options, **more)

    total = len(ids(opened()))
    assert opened().count == total > 2
    assert [opened(limit=n).count for n in (2, total, total + 1)] == [2, total, total]
    listing = tmp_path / "frames.txt"
    listing.write_text("\n".join([*ids(opened())[1:], "absent"]))
    assert opened(frames=listing).count == total - 1
    assert opened(frames=listing, limit=1).count == 1
    if opened().annotated:
        assert opened(paper_filter=True).count is None
        assert opened(paper_filter=True, limit=1).count is None


def test_paper_filter_then_limit(tmp_path):
    maps = tiny_datasets.write_ytvis(tmp_path / "data")
    passing = [name for name, instances in maps.items() if records.passes_paper_rule(instances)]
    assert 0 < len(passing) < len(maps)

    def opened(**options):
        return datasets.open_dataset("ytvis", data_dir=tmp_path / "data", **options)

    assert ids(opened(paper_filter=True)) == passing
    assert ids(opened(limit=3)) == list(maps)[:3]
    last = tmp_path / "frames.txt"
    last.write_text("\n".join(list(maps)[1:]))
    expected = [name for name in list(maps)[1:] if name in passing]
    assert ids(opened(paper_filter=True, frames=last)) == expected
    assert ids(opened(paper_filter=True, limit=1)) == passing[:1]
    assert opened(limit=3).identity == opened().identity != opened(paper_filter=True).identity
    with pytest.raises(SpecjaxError, match="--limit=0"):
        opened(limit=0)


def test_paper_filter_reads_no_image_and_keeps_failures(tmp_path):
    maps = tiny_datasets.write_voc(tmp_path)
    for path in (tmp_path / "JPEGImages").iterdir():
        path.write_bytes(b"")
    broken = list(maps)[2]
    (tmp_path / "SegmentationObject" / f"{broken}.png").unlink()
    filtered = ids(datasets.open_dataset("voc", data_dir=tmp_path, paper_filter=True))
    assert filtered == [next(iter(maps)), broken]


def test_paper_filter_needs_annotations(tmp_path):
    tiny_datasets.write_voc(tmp_path)
    with pytest.raises(SpecjaxError, match="needs annotations"):
        datasets.open_dataset("folder", data_dir=tmp_path / "JPEGImages", paper_filter=True)
