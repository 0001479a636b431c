"""The binaries on every kind of dataset, drawn and real."""

import pytest

from tests.support.run_binary import run
from tests.support.sound_run import check_run

DATASETS = ["samples", "voc", "coco", "ytvis", "davis", "saliency", "folder"]
PHOTOGRAPHS = [
    ("voc_mini", "voc", 4),
    ("coco_mini", "coco", 3),
    ("ytvis_mini", "ytvis", 3),
    ("davis_dev", "davis", 2),
    ("sod_dev", "saliency", 2),
]


@pytest.mark.parametrize("dataset", DATASETS)
def test_instance_on_every_dataset(world, tmp_path, dataset):
    finished = run("instance", tmp_path, *world.flags(dataset), "--limit=2")
    check_run(finished, ["boc"], images=2, annotated=dataset != "folder")
    ids = [key[0] for key in finished.lines]
    expected = {"samples": ["scene_00", "scene_01"], "folder": sorted(world.maps["voc"])[:2]}
    assert ids == expected.get(dataset) or ids == list(world.maps[dataset])[:2]
    config = finished.summary["config"]
    assert config["backbone"] == finished.summary["backbone"] == "checkpoint"
    assert (config["M"], config["N"], config["bins"], config["limit"]) == (16, 16, 30, 2)
    assert config["dataset"]["name"] == dataset and len(config["checkpoint"]) == 64
    result = finished.summary["results"][0]
    row = finished.stdout.splitlines()[2].split()
    if dataset == "folder":
        assert row == ["boc", "16", "16", "paper", "2"]
    else:
        assert row[:4] == ["boc", "16", "16", "paper"]
        # The paper has no number for 16 channels.
        assert row[5:7] == ["-", "-"] and "published: YouTube-VIS 2019" in finished.stdout
        assert [float(cell) / 100 for cell in [row[4], *row[7:10]]] == pytest.approx(
            [result[key] for key in ("miou", "miou_instances", "f_score", "f_score_raw")],
            abs=5e-5,
        )


@pytest.mark.parametrize("dataset", DATASETS)
def test_fgbg_on_every_dataset(world, tmp_path, dataset):
    finished = run("fgbg", tmp_path, *world.flags(dataset), "--limit=2")
    check_run(finished, ["M=16"], images=2, annotated=dataset != "folder", instances=False)
    assert finished.stdout.splitlines()[2].split()[:2] == ["16", "paper"]


@pytest.mark.parametrize("binary", ["instance", "fgbg"])
@pytest.mark.parametrize(("name", "dataset", "images"), PHOTOGRAPHS)
def test_real_photographs(world, tmp_path, shared_data, binary, name, dataset, images):
    flags = [world.checkpoint, "--N=16", "--image_size=112", f"--limit={images}"]
    flags += [f"--dataset={dataset}", f"--data_dir={shared_data / name}"]
    setting = {"instance": "boc", "fgbg": "M=16"}[binary]
    finished = run(binary, tmp_path, *flags)
    check_run(finished, [setting], images=images, instances=binary == "instance")


def test_real_frames(world, tmp_path, shared_data):
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--num_instances=2", "--limit=2"]
    flags += ["--dataset=folder", f"--data_dir={shared_data / 'frames'}", "--save=overlays"]
    finished = run("instance", tmp_path, *flags)
    check_run(finished, ["boc"], images=2, annotated=False)
    assert len(list(tmp_path.glob("overlays/*.png"))) == 2
