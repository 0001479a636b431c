"""Results files: what is read of them, and one line about what is wrong."""

import json

import pytest

from experiments.evaluating import detections
from experiments.evaluating.detections import MOST, read_entries, read_json
from specjax import SpecjaxError
from tests.support.scores import entry, rectangle
from tests.support.tiny_datasets import run_lengths

MASK = rectangle(2, 3, 10, 20)
GOOD = entry(7, MASK, 0.5)


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "results.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def refused(path, *words, size=(40, 50)):
    """The one line about a file, which names it."""
    with pytest.raises(SpecjaxError) as caught:
        for entries in read_entries(path).values():
            for found in entries:
                found.detection(*size)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400 and str(path) in message
    for word in words:
        assert word in message


def test_reads_masks_and_boxes(written):
    path = written(
        [
            entry(7, MASK, 0.25),
            {"image_id": 7, "bbox": [1, 2.5, 3, 4], "score": 0.75},
            entry("a/b", MASK, 1, bbox=[0, 0, 50, 40]),
            {"image_id": 8, "segmentation": run_lengths(MASK), "bbox": [], "score": "0.5"},
            {"image_id": 8, "segmentation": [[3, 2, 20, 2, 20, 10, 3, 10]], "score": 0.25},
        ]
    )
    found = {key: [one.detection(40, 50) for one in v] for key, v in read_entries(path).items()}
    boxed, masked = found[7]
    assert boxed == (0.75, (1, 2.5, 3, 4), 12, None)
    assert masked[:3] == (0.25, (3, 2, 17, 8), 136)
    ((_, box, area, code),) = found["a/b"]
    # As pycocotools does it: the area is that of the box.
    assert (box, area) == ((0, 0, 50, 40), 2000)
    assert code == masked.code
    assert [one.score for one in found[8]] == [0.5, 0.25]
    assert all(one.code == code and one.area == 136 for one in found[8])


def test_what_counts_is_kept(written):
    """Of all and of those with masks, the best; the first of equal ones."""
    rows = [entry(1, MASK, 0.5) for _ in range(MOST + 5)]
    rows += [{"image_id": 1, "bbox": [place, 0, 1, 1], "score": 0.75} for place in range(MOST + 5)]
    kept = read_entries(written(rows))[1]
    assert len(kept) == 2 * MOST
    assert [one.box[0] for one in kept[:MOST]] == list(range(MOST))
    assert kept[-1].name.endswith(f"entry {MOST - 1}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ["not valid JSON"]),
        ("[" * 100_000, ["not valid JSON"]),
        ("[1" + "0" * 5000 + "]", ["not valid JSON"]),
        ({"annotations": [GOOD]}, ["no list", "annotations"]),
        (7, ["no list"]),
        ([GOOD, 7], ["entry 1", "7"]),
        ([GOOD, {**GOOD, "image_id": None}], ["entry 1", "image_id", "None"]),
        ([{**GOOD, "image_id": True}], ["entry 0", "image_id"]),
        ([{**GOOD, "image_id": [1]}], ["entry 0", "image_id"]),
        ([{**GOOD, "score": float("nan")}], ["entry 0", "score", "nan"]),
        ([{**GOOD, "score": float("inf")}], ["entry 0", "score"]),
        ([{**GOOD, "score": 10**300}], ["entry 0", "score"]),
        ([{"image_id": 7, "segmentation": GOOD["segmentation"]}], ["entry 0", "score"]),
        ([{"image_id": 7, "score": 1}], ["entry 0", "segmentation", "bbox"]),
        ([{**GOOD, "segmentation": "x" * 1000}], ["entry 0", "segmentation"]),
        ([{"image_id": 7, "score": 1, "bbox": [1, 2, 3]}], ["entry 0", "bbox"]),
        ([{"image_id": 7, "score": 1, "bbox": [1, 2, -3, 4]}], ["entry 0", "bbox"]),
        ([{"image_id": 7, "score": 1, "bbox": [1, 2, 1e300, 4]}], ["entry 0", "bbox"]),
        ([{"image_id": 7, "score": 1, "bbox": [1, 2, float("nan"), 4]}], ["entry 0", "bbox"]),
        ([{"image_id": 7, "score": 1, "bbox": {"x": 1}}], ["entry 0", "bbox"]),
        ([GOOD, entry(7, MASK.T)], ["entry 1", "[50, 40]", "[40, 50]"]),
    ],
)
def test_bad_files(written, content, words):
    refused(written(content), *words)


@pytest.mark.parametrize(
    "counts",
    [
        "",
        "P",
        "oooooo1",
        "0" * 100,
        "\u00e9",
        [2000, -1, 1],
        [1999],
        [10**400],
        [9 * 10**4299] * 2,
        [0.5],
        None,
        7,
        [[]],
    ],
)
def test_bad_run_lengths(written, counts):
    code = {"size": [40, 50], "counts": counts}
    refused(written([{"image_id": 7, "score": 1, "segmentation": code}]), "entry 0")


@pytest.mark.parametrize(
    "polygons", [[[0, 0, 1e9, 0, 1e9, 1e9]], [[0, 0, 1]], [["x"] * 6], [7], [[float("nan")] * 6]]
)
def test_bad_polygons(written, polygons):
    refused(written([{"image_id": 7, "score": 1, "segmentation": polygons}]), "entry 0")


def test_bad_paths(tmp_path, monkeypatch):
    for path in (tmp_path / "missing.json", tmp_path, "/dev/zero"):
        with pytest.raises(SpecjaxError, match="no such file"):
            read_json(type(tmp_path)(path))
    path = tmp_path / "large.json"
    path.write_text("[" + " " * 100)
    monkeypatch.setattr(detections, "_MAX_BYTES", 100)
    with pytest.raises(SpecjaxError, match="larger"):
        read_json(path)
