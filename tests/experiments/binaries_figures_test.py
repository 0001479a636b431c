"""The binaries of figures, run as they are on tiny datasets."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from specjax.affinity import METRICS
from tests.support.run_binary import assert_refused, run


@pytest.fixture(scope="module")
def channels(world, tmp_path_factory):
    """All three figures of channels; not to be changed."""
    return run("channels", tmp_path_factory.mktemp("channels") / "run", *world.flags("voc"))


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_channels(world, channels):
    assert channels.status == 0, channels.stderr
    figures, ids = channels.folder / "figures", list(world.maps["voc"])
    for name in ("oracle", "deviation"):
        assert pixels(figures / f"{name}.png").std() > 1 and (figures / f"{name}.svg").exists()
    results = {result["figure"]: result for result in channels.summary["results"]}
    assert list(results) == ["oracle", "gallery", "deviation"]
    # The third image has one instance: nothing to split, nothing to tell apart.
    for name in ("oracle", "deviation"):
        assert (results[name]["images"], results[name]["images_left_out"]) == (2, 1)
    strata = table(figures / "oracle.csv")
    assert [(row["instances"], row["images"]) for row in strata] == [
        ("2", "1"), ("3", "1"), ("4", "0"), ("5+", "0"),
    ]  # fmt: skip
    assert strata[2]["best_channel_miou"] == ""
    lines = [channels.lines[image, "oracle"] for image in ids]
    assert lines[2]["best_channel"] is lines[2]["method_miou"] is None
    for line, row in zip(lines[:2], strata[:2], strict=True):
        assert 0 < line["best_channel_miou"] <= 1 and 0 <= line["best_channel"] < 48
        assert float(row["best_channel_miou"]) == line["best_channel_miou"]
        assert float(row["method_miou"]) == line["method_miou"]
    ranks = table(figures / "deviation.csv")
    assert [int(row["rank"]) for row in ranks] == list(range(1, 17))
    deviations = [float(row["deviation"]) for row in ranks]
    assert deviations == sorted(deviations, reverse=True) and deviations[-1] > 0
    assert min(float(row["difference"]) for row in ranks) > 0
    for image in ids:
        rows = table(figures / "channels" / f"{image}.csv")
        entropy = [float(row["entropy_bits"]) for row in rows]
        assert len({row["channel"] for row in rows}) == 48 and entropy == sorted(entropy)
        assert [row["kept_by_ncr"] for row in rows] == ["1"] * 16 + ["0"] * 32
        assert pixels(figures / "channels" / f"{image}.png").std() > 1
    printed = channels.stdout.splitlines()
    assert {str(path) for path in figures.iterdir()} <= {*printed}
    assert len(printed) == 5 + 1 + 1 + 7


def test_the_method_beside_the_oracle_is_that_of_instance(world, channels, tmp_path):
    alone = run("instance", tmp_path, *world.flags("voc"))
    for image in list(world.maps["voc"])[:2]:
        line = channels.lines[image, "oracle"]
        assert line["method_miou"] == alone.lines[image, "boc"]["miou"]


def test_figures_of_channels_resume(world, channels, tmp_path):
    """One figure on two images, then all on all: as all at once, and nothing is done twice."""
    flags = world.flags("voc")
    started = run("channels", tmp_path, *flags, "--figure=deviation", "--limit=2")
    assert [key[1] for key in started.lines] == ["deviation"] * 2
    assert not (tmp_path / "figures" / "oracle.png").exists()
    before = (tmp_path / "per_image.jsonl").read_text()
    grown = run("channels", tmp_path, *flags)
    grown_lines = (tmp_path / "per_image.jsonl").read_text().splitlines()
    assert set(before.splitlines()) < set(grown_lines)
    assert grown.lines == channels.lines
    sheet = tmp_path / "figures" / "channels" / f"{next(iter(world.maps['voc']))}.png"
    drawn = sheet.read_bytes()
    sheet.unlink()
    after = (tmp_path / "per_image.jsonl").read_text()
    assert run("channels", tmp_path, *flags).status == 0
    assert sheet.read_bytes() == drawn
    assert (tmp_path / "per_image.jsonl").read_text() == after
    for path in (channels.folder / "figures").rglob("*.*"):
        copy = tmp_path / "figures" / path.relative_to(channels.folder / "figures")
        assert copy.read_bytes() == path.read_bytes()
    run("channels", tmp_path, *flags, "--overwrite", "--figure=oracle")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "oracle.png", "oracle.svg", "oracle.csv",
    }  # fmt: skip


def test_a_gallery_needs_no_annotation(world, tmp_path):
    finished = run("channels", tmp_path, *world.flags("folder"), "--figure=gallery", "--limit=1")
    assert finished.status == 0, finished.stderr
    (sheet,) = (tmp_path / "figures" / "channels").glob("*.png")
    assert finished.summary["results"] == [{"figure": "gallery", "M": 16, "N": 16, "images": 1}]
    assert pixels(sheet).shape[1] == 1680


@pytest.mark.parametrize(
    ("binary", "dataset", "flags", "words"),
    [
        ("channels", "folder", ["--figure=gallery,oracle"], ["oracle", "no annotation"]),
        ("channels", "folder", ["--figure=deviation"], ["deviation", "no annotation"]),
        ("channels", "voc", ["--figure=histogram"], ["histogram", "oracle, gallery, deviation"]),
        ("channels", "voc", ["--figure="], ["--figure is empty", "gallery"]),
        ("channels", "voc", ["--num_instances=2"], ["--num_instances=2", "leave the flag out"]),
        ("channels", "voc", ["--save=labels"], ["--save=labels", "features"]),
        ("channels", "voc", ["folder"], ["'folder'", "--data_dir"]),
        ("similarity", "folder", [], ["variance", "no annotation", "--figure=toy"]),
        ("similarity", "voc", ["--figure=oracle"], ["oracle", "toy, variance"]),
        ("similarity", "voc", ["--save=coco"], ["--save=coco", "features"]),
        ("similarity", "voc", ["toy"], ["'toy'"]),
    ],
)
def test_mistakes(world, tmp_path, binary, dataset, flags, words):
    refused = run(binary, tmp_path / "out", *world.flags(dataset), *flags)
    assert_refused(refused, *words)
    assert not (tmp_path / "out").exists()


def test_similarity(world, tmp_path):
    finished = run("similarity", tmp_path / "run", *world.flags("ytvis"), "--save=features")
    assert finished.status == 0, finished.stderr
    results = finished.summary["results"]
    assert [result["metric"] for result in results] == list(METRICS)
    rows = table(tmp_path / "run" / "figures" / "variance.csv")
    for result, row in zip(results, rows, strict=True):
        # In frame 5 of the first video one of the two objects is absent.
        assert (result["images"], result["images_left_out"]) == (3, 1)
        assert result["mr"] == pytest.approx(result["intra"] / result["inter"])
        assert 0 < result["mr"] == float(row["mr"]) and row["metric"] == result["metric"]
        lines = [finished.lines[image, result["metric"]] for image in world.maps["ytvis"]]
        scored = [line for line in lines if line["intra"] is not None]
        assert result["inter"] == pytest.approx(sum(line["inter"] for line in scored) / 3)
        assert [line["num_instances"] for line in scored] == [2, 3, 3]
        # At 7 x 8 tokens the second video's third object has fewer than ten.
        assert scored[0]["tokens"] == 20 and 20 < scored[1]["tokens"] <= 30
    assert len({result["mr"] for result in results}) == len(METRICS)
    assert len({path.stem for path in (tmp_path / "run" / "figures").iterdir()}) == 2
    assert len(list((tmp_path / "run" / "features").rglob("*.npz"))) == 4
    # Another seed draws other tokens.
    seeded = run(
        "similarity", tmp_path / "seed", *world.flags("ytvis"), "--seed=1", "--figure=variance"
    )
    assert seeded.summary["results"][0]["mr"] != results[0]["mr"]
    assert not (tmp_path / "seed" / "figures" / "toy.png").exists()


def test_the_toy_needs_no_dataset(tmp_path):
    finished = run("similarity", tmp_path, "--figure=toy", "--dataset=voc")
    assert finished.status == 0 and finished.stderr == ""
    assert {path.name for path in tmp_path.iterdir()} == {"toy.png", "toy.svg", "toy.csv"}
    assert finished.stdout.splitlines() == [
        str(tmp_path / f"toy.{ending}") for ending in ("png", "svg", "csv")
    ]
    rows = table(tmp_path / "toy.csv")
    assert [row["metric"] for row in rows] == ["dot", "braycurtis", "boc"]
    assert json.loads(rows[0]["b-c"]) == pytest.approx(1.69)
