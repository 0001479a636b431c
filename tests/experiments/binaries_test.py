import json
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from specjax import METRICS
from tests.support.run_binary import finish, run, start
from tests.support.sound_run import check_run


def read_png(path):
    with Image.open(path) as image:
        assert image.mode == "P" and image.format == "PNG"
        palette = np.array(image.getpalette()[:12]).reshape(4, 3)
        assert palette.tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
        return np.asarray(image)


def test_fgbg_by_number_of_channels(world, tmp_path):
    flags = [*world.flags("voc"), "--save=labels"]
    finished = run("fgbg", tmp_path, *flags, "--M=C,C/3, 16 ")
    check_run(finished, ["M=48", "M=16"], images=3, instances=False)
    assert [result["M"] for result in finished.summary["results"]] == [48, 16]
    assert [row.split()[0] for row in finished.stdout.splitlines()[2:4]] == ["48", "16"]
    scores = {tuple(line["eigenvalues"]) for line in finished.lines.values()}
    assert len(scores) == 6
    for folder in ("labels_M48", "labels_M16"):
        for record_id, instances in world.maps["voc"].items():
            labels = read_png(tmp_path / folder / f"{record_id}.png")
            assert labels.shape == instances.shape and labels.max() <= 1


def test_several_metrics_and_all(world, tmp_path):
    flags = world.flags("voc")
    finished = run("instance", tmp_path, *flags, "--metric=l2, dot,l2")
    check_run(finished, ["l2", "dot"], images=3)
    before = (tmp_path / "per_image.jsonl").read_text()
    finished = run("instance", tmp_path, *flags, "--metric=all")
    text = (tmp_path / "per_image.jsonl").read_text()
    assert set(before.splitlines()) < set(text.splitlines()) and text.count("\n") == 3 * len(
        METRICS
    )
    results = {result["metric"]: result for result in finished.summary["results"]}
    assert sorted(results) == sorted(METRICS) and list(results)[:2] == ["l2", "dot"]
    # The foreground is the same for all of them, the graphs are not.
    assert len({result["f_score"] for result in results.values()}) == 1
    graphs = {tuple(line["eigenvalues"]) for line in finished.lines.values()}
    assert len(graphs) == 3 * len(METRICS)


def test_protocols_differ(world, voc_run, tmp_path):
    flags = [*world.flags("voc"), "--save=tokens"]
    reference = run("instance", tmp_path / "reference", *flags, "--protocol=reference")
    check_run(reference, ["boc"], images=3)
    assert reference.summary["results"][0]["protocol"] == "reference"
    assert reference.summary["results"][0]["f_score"] != voc_run.summary["results"][0]["f_score"]
    foreground = run("fgbg", tmp_path / "fgbg", *flags, "--protocol=reference")
    for key in ("f_score", "f_score_raw"):
        assert foreground.summary["results"][0][key] == reference.summary["results"][0][key]


def test_saved_features_give_the_same_lines(world, tmp_path):
    for dataset in ("voc", "ytvis"):
        flags = world.flags(dataset)
        first = run("instance", tmp_path / dataset, *flags, "--save=features")
        flags.remove(world.checkpoint)
        flags.append(f"--features_dir={tmp_path / dataset / 'features'}")
        second = run("instance", tmp_path / f"{dataset}_again", *flags)
        assert second.status == 0
        for key, line in second.lines.items():  # which was read from one file more
            assert line.pop("read")[:-1] == (other := first.lines[key]).pop("read")
            assert line == other
        assert second.summary["results"] == first.summary["results"]
        assert second.summary["backbone"] == "features"
    with np.load(tmp_path / "voc" / "features" / "2007_000000.npz") as content:
        assert content["features"].shape == (7 * 8, 48)
        assert content["grid"].tolist() == [7, 8] and content["patch_size"] == 16


def test_solvers_agree(world, tmp_path):
    tokens = {}
    for solver in ("eigh", "krylov"):
        flags = [*world.flags("voc"), "--save=tokens", f"--solver={solver}"]
        finished = run("instance", tmp_path / solver, *flags)
        check_run(finished, ["boc"], images=3)
        assert finished.summary["config"]["solver"] == solver
        tokens[solver] = [read_png(path) for path in sorted(tmp_path.glob(f"{solver}/tokens/*"))]
    for eigh, krylov in zip(tokens["eigh"], tokens["krylov"], strict=True):
        np.testing.assert_array_equal(eigh, krylov)
    assert max(labels.max() for labels in tokens["eigh"]) == 3


def test_a_given_number_of_instances(world, tmp_path):
    finished = run("instance", tmp_path, *world.flags("voc"), "--num_instances=3")
    assert finished.status == 0
    # The eigensegments of the last image are flat after the median filter: one cluster.
    assert [line["num_clusters"] for line in finished.lines.values()] == [3, 3, 1]
    assert [line["num_instances"] for line in finished.lines.values()] == [2, 3, 1]
    assert finished.summary["config"]["num_instances"] == 3


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
def test_everything_that_can_be_saved(world, tmp_path):
    finished = run(
        "instance", tmp_path, *world.flags("voc"), "--save=labels,tokens,coco,overlays,gallery"
    )
    check_run(finished, ["boc"], images=3)
    dataset = COCO(tmp_path / "coco.json")
    predictions = dataset.loadRes(str(tmp_path / "coco_results.json"))
    assert list(dataset.cats) == [1] and len(dataset.imgs) == 3
    seen = []
    for (record_id, truth), image_id in zip(
        world.maps["voc"].items(), sorted(dataset.imgs), strict=True
    ):
        labels = read_png(tmp_path / "labels" / f"{record_id}.png")
        tokens = read_png(tmp_path / "tokens" / f"{record_id}.png")
        line = finished.lines[record_id, "boc"]
        assert labels.shape == truth.shape and list(tokens.shape) == line["grid"]
        assert np.count_nonzero(tokens) == line["num_foreground"]
        assert sorted(np.unique(labels)) == list(range(line["num_clusters"] + 1))
        # 112 pixels are 7 tokens; the long side, 140 or 168, loses its remainder.
        scaled = np.array(truth.shape) * 112 / min(truth.shape)
        covered = np.ceil(16 * np.array(tokens.shape) / scaled * truth.shape).astype(int)
        assert not labels[covered[0] :].any() and not labels[:, covered[1] :].any()
        assert covered.tolist() != list(truth.shape)
        image = dataset.imgs[image_id]
        assert image["file_name"] == f"{record_id}.jpg"
        assert (image["height"], image["width"]) == truth.shape
        for source in (dataset, predictions):
            annotations = source.loadAnns(source.getAnnIds(imgIds=[image_id]))
            assert len(annotations) == line["num_clusters"]
            painted = np.zeros_like(labels)
            for number, annotation in enumerate(annotations, start=1):
                mask = source.annToMask(annotation).astype(bool)
                assert annotation["category_id"] == 1 and annotation["area"] == mask.sum()
                painted[mask] = number
            np.testing.assert_array_equal(painted, labels)
        seen.append(labels.max())
        with Image.open(tmp_path / "overlays" / f"{record_id}.png") as overlay:
            assert overlay.mode == "RGB"
            # Eight panels: image, foreground, four eigensegments, instances, ground truth.
            panel = round(240 * truth.shape[1] / truth.shape[0])
            assert overlay.width == 8 * (panel + 6) + 6
    assert max(seen) == 3
    with Image.open(tmp_path / "gallery.png") as sheet:
        assert sheet.width > 3 * 3 * 176
    results = json.loads((tmp_path / "coco_results.json").read_text())
    assert {result["score"] for result in results} == {1.0}


def test_photographs_without_annotation(world, tmp_path):
    # Turned by a quarter: what the camera stored, and what it should look like.
    photos = tmp_path / "photos" / "holiday"
    photos.mkdir(parents=True)
    with Image.open(world.photos / "2007_000001.jpg") as image:
        upright = image.copy()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.save(photos / "upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(photos / "turned.PNG", exif=exif)
    out = tmp_path / "out"
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--num_instances=3"]
    flags.append("--dataset=folder")
    save = "--save=labels,overlays,gallery,coco"
    finished = run("instance", out, *flags, f"--data_dir={photos.parent}", save)
    check_run(finished, ["boc"], images=2, annotated=False)
    names = ("upright", "turned")
    labels = [read_png(out / "labels" / "holiday" / f"{name}.png") for name in names]
    assert labels[0].shape == (64, 96) and labels[0].max() == 3
    np.testing.assert_array_equal(labels[0], labels[1])
    content = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [
        "holiday/turned.PNG",
        "holiday/upright.png",
    ]
    with Image.open(out / "overlays" / "holiday" / "turned.png") as overlay:
        assert overlay.width == 7 * (360 + 6) + 6  # no ground truth
    assert not (out / "tokens").exists()
    # Nothing to save.
    finished = run("instance", tmp_path / "bare", *flags, "--save=", f"--data_dir={photos}")
    assert finished.status == 0 and [key[0] for key in finished.lines] == ["turned", "upright"]
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {
        "run.json",
        ".lock",
        ".lock.door",
        "per_image.jsonl",
        "summary.json",
    }


def test_an_image_does_not_depend_on_the_others(world, tmp_path):
    (tmp_path / "frames.txt").write_text("somewhere/video_1/00005.jpg\n")
    whole = run("instance", tmp_path / "whole", *world.flags("ytvis"))
    alone = run(
        "instance", tmp_path / "alone", *world.flags("ytvis"), f"--frames={tmp_path}/frames.txt"
    )
    assert list(alone.lines) == [("video_1/00005", "boc")]
    assert alone.lines.items() <= whole.lines.items()


def test_progress_is_shown_on_a_terminal_only(world, tmp_path):
    flags = [*world.flags("voc"), "--limit=2"]
    assert run("fgbg", tmp_path / "quiet", *flags).stderr == ""
    shown = run("fgbg", tmp_path / "shown", *flags, terminal=True)
    assert "images/s" in shown.stderr and "2/2" in shown.stderr
    assert "images/s" not in shown.stdout


def test_the_default_run_in_a_process_of_its_own(world, tmp_path):
    flags = ["--metric=boc", "--M=C/3", "--limit=2", world.checkpoint, "--image_size=112"]
    finished = finish(start("instance", tmp_path, *flags), tmp_path)
    assert finished.status == 0
    assert finished.stderr == "warning: N=60 is more than M=16; N=16 is used\n"
    assert finished.stdout.startswith("metric ")
    lines = finished.lines
    assert [key[0] for key in lines] == ["scene_00", "scene_01"]
    assert all(math.isfinite(line["miou"]) for line in lines.values())
