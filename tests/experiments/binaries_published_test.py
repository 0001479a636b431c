"""The published numbers beside those of a run, and the plots of both."""

import csv

import numpy as np
import pytest
from PIL import Image

from experiments.results import published
from tests.support import oracles
from tests.support.run_binary import assert_refused, run


@pytest.fixture(scope="module")
def wide(world, tmp_path_factory):
    """Flags of the VOC scenes with as many channels as the paper's backbone has."""
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    for record_id, instances in world.maps["voc"].items():
        grid = np.array(instances.shape) // 4
        # Each instance has directions of its own, under noise of differing strength.
        centres = rng.normal(size=(instances.max() + 2, 384))
        numbers = instances[::4, ::4].ravel() + 1
        noise = rng.normal(size=(numbers.size, 384)) * rng.uniform(0.2, 2, 384)
        features = (centres[numbers] + noise).astype(np.float32)
        np.savez(folder / f"{record_id}.npz", features=features, grid=grid, patch_size=4)
    return [
        "--dataset=voc",
        f"--data_dir={world.folder / 'voc'}",
        f"--features_dir={folder}",
        "--solver=eigh",
    ]


def read_csv(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def check_pictures(folder, stem):
    with Image.open(folder / f"{stem}.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    assert "</svg>" in (folder / f"{stem}.svg").read_text()


def test_instance_in_the_papers_setting(world, wide, tmp_path, monkeypatch):
    for table in (published.MIOU, *published.BY_STRATUM.values()):
        monkeypatch.delitem(table, "l2")  # as if the paper did not have it
    finished = run("instance", tmp_path, *wide, "--metric=boc,dot,l2")
    assert finished.status == 0, finished.stderr
    *results, unpublished = finished.summary["results"]
    assert unpublished["published"] is None and unpublished["miou"] > 0
    for result in results:
        assert result["published"] == published.MIOU[result["metric"]]
        assert result["difference"] == result["miou"] - result["published"]
    overlaps = {name: oracles.mbor(instances) for name, instances in world.maps["voc"].items()}
    lines = finished.lines
    assert {key: line["mbor"] for key, line in lines.items()} == {
        (name, metric): overlaps[name] for name in overlaps for metric in ("boc", "dot", "l2")
    }
    # The first scene's boxes are apart, the third has one. The second one's share 24 x 16 pixels of
    # 54 x 48 + 24 x 48 + 12 x 20 - 24 x 16: two rows of the first object are void.
    assert overlaps["2007_000001"] == 384 / 3600
    strata = results[1]["by_mbor"]
    assert [stratum["images"] for stratum in strata] == [1, 0, 0]
    assert strata[0]["miou"] == lines["2007_000001", "dot"]["miou"]
    assert [stratum["published"] for stratum in strata] == [0.3350, 0.3525, 0.3069]
    assert results[1]["strata_left_out"]["mbor"] == {"below": 2, "not_recorded": 0}
    main, overlap, ratio, flaws, files = finished.stdout.split("\n\n")
    assert flaws.startswith("Images with flaws that can be seen:")
    assert main.splitlines()[2].split()[5] == "34.41"
    assert main.splitlines()[-1].startswith("published: YouTube-VIS 2019 (10,285 frames), DINO")
    assert "here: dataset voc, backbone unknown (features of" in main.splitlines()[-1]
    assert "no image" in overlap and "images below 0.01, in no stratum: 2" in overlap
    assert ratio.splitlines()[0].split()[:2] == ["size", "ratio"]
    for stem in ("strata_mbor", "strata_size_ratio"):
        check_pictures(tmp_path, stem)
        assert str(tmp_path / f"{stem}.png") in files
    rows = read_csv(tmp_path / "strata_mbor.csv")
    assert len(rows) == 9 and rows[4]["metric"] == "dot" and rows[4]["stratum"] == "0.14-0.34"
    assert rows[4]["miou_percent"] == "" and rows[4]["published_percent"] == "35.25"
    assert float(rows[3]["miou_percent"]) == pytest.approx(100 * strata[0]["miou"], abs=1e-4)


def test_one_metric_is_not_drawn_and_a_given_number_is_not_the_papers(wide, tmp_path):
    finished = run("instance", tmp_path, *wide, "--num_instances=2")
    (result,) = finished.summary["results"]
    assert result["published"] is result["difference"] is None
    assert {stratum["published"] for stratum in result["by_mbor"]} == {None}
    assert "N = 60, 2 instances" in finished.stdout
    assert not list(tmp_path.glob("strata_*"))


def test_foreground_curve(wide, tmp_path):
    finished = run("fgbg", tmp_path, *wide, "--M=C/3,100,C")
    assert finished.status == 0, finished.stderr
    results = finished.summary["results"]
    # Of VOC, whose layout this is.
    assert [(r["published"], r["published_raw"]) for r in results] == [
        (0.5856, 0.5776), (None, None), (0.5866, 0.5768),
    ]  # fmt: skip
    assert results[0]["difference_raw"] == results[0]["f_score_raw"] - 0.5776
    assert results[1]["difference"] is results[1]["difference_raw"] is None
    table = finished.stdout.split("\n\n")[0].splitlines()
    assert table[2].split()[3] == "58.56" and table[2].split()[6] == "57.76"
    assert table[-1].startswith("published: PASCAL VOC 2012") and table[-1].endswith("C = 384")
    check_pictures(tmp_path, "foreground_curve")
    rows = read_csv(tmp_path / "foreground_curve.csv")
    ours = [row for row in rows if row["source"] == "this run"]
    assert [row["M"] for row in ours] == ["384", "128", "100"]
    assert float(ours[1]["f_score_percent"]) == pytest.approx(100 * results[0]["f_score"], abs=1e-4)
    assert len(rows) == 3 + 8 + 7
    alone = run("fgbg", tmp_path / "alone", *wide, "--M=C")
    assert alone.status == 0 and not list((tmp_path / "alone").glob("foreground_curve*"))


def test_masks_at_several_numbers_of_channels(world, tmp_path):
    flags = [*world.flags("voc"), "--M=C,C/3", "--save=overlays,labels"]
    finished = run("fgbg", tmp_path, *flags)
    assert finished.status == 0, finished.stderr
    differing = 0
    for record_id, instances in world.maps["voc"].items():
        height, width = instances.shape
        wide = round(240 * width / height)
        masks = []
        for M in (48, 16):
            with Image.open(tmp_path / f"labels_M{M}" / f"{record_id}.png") as image:
                mask = image.resize((wide, 240), Image.Resampling.NEAREST)
                masks.append(np.asarray(mask) > 0)
            with Image.open(tmp_path / f"overlays_M{M}" / f"{record_id}.png") as sheet:
                # Image, foreground, ground truth.
                assert sheet.width == 3 * (wide + 6) + 6
                pixels = np.asarray(sheet, float).mean(axis=2)[19:259]
            image, foreground = (pixels[:, 6 + k * (wide + 6) :][:, :wide] for k in (0, 1))
            assert masks[-1].any() and not masks[-1].all()
            assert np.median(np.abs(image - foreground)[masks[-1]]) == 0
            dimmed = (foreground / image)[~masks[-1]]
            assert np.median(dimmed) == pytest.approx(0.35, abs=0.02)
        differing += np.any(masks[0] != masks[1])
    assert differing


def test_sweep(world, wide, tmp_path):
    finished = run("sweep", tmp_path, *wide, "--M=C/3,C/11", "--N=60,10")
    assert finished.status == 0
    assert finished.stderr == "warning: N=60 left out at M=34: N is at most M\n"
    assert finished.summary["warnings"] == ["N=60 left out at M=34: N is at most M"]
    first = finished.summary["results"]
    results = {(r["M"], r["N"]): r for r in first}
    assert list(results) == [(128, 60), (128, 10), (34, 10)]
    assert {key[1] for key in finished.lines} == {"M=128,N=60", "M=128,N=10", "M=34,N=10"}
    assert [r["published"] for r in results.values()] == [0.3441, None, None]
    assert len({r["miou"] for r in results.values()}) == 3
    # Each pair gives what `experiments.instance` gives with its flags.
    for M, N in results:
        alone = run("instance", tmp_path / f"{M}-{N}", *wide, f"--M={M}", f"--N={N}")
        for key in ("miou", "miou_instances", "f_score", "f_score_raw", "images", "difference"):
            assert results[M, N][key] == alone.summary["results"][0][key]
    check_pictures(tmp_path, "heat_map")
    rows = read_csv(tmp_path / "heat_map.csv")
    assert [(row["M"], row["N"], row["images"]) for row in rows] == [
        ("34", "10", "3"), ("128", "10", "3"), ("128", "60", "3"),
    ]  # fmt: skip
    # More of either may follow; what is done stays.
    before = (tmp_path / "per_image.jsonl").read_text()
    more = run("sweep", tmp_path, *wide, "--M=C/11,C/9", "--N=10")
    assert more.status == 0 and more.stderr == ""
    text = (tmp_path / "per_image.jsonl").read_text()
    assert set(before.splitlines()) < set(text.splitlines()) and text.count("\n") == 12
    assert [(r["M"], r["N"]) for r in more.summary["results"]] == [*results, (42, 10)]
    assert more.summary["results"][:3] == first
    assert len(read_csv(tmp_path / "heat_map.csv")) == 4
    refused = run("sweep", tmp_path, *wide, "--M=C/11", "--N=10", "--metric=dot")
    assert_refused(refused, 'metric was "boc", now "dot"')


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--N=0"], ["--N=0", "20,40,60"]),
        (["--N=5,,6"], ["--N=5,,6"]),
        (["--M=C/3", "--N=17,20"], ["N (17", "M (16"]),
        (["--M=49", "--N=3"], ["M=49", "C=48"]),
        (["--metric=boc,dot"], ["--metric=boc,dot", "takes one"]),
    ],
)
def test_mistakes_in_a_sweep(world, tmp_path, flags, words):
    given = [flag for flag in world.flags("voc") if not flag.startswith("--N=")]
    assert_refused(run("sweep", tmp_path / "out", *given, *flags), *words)
    assert not (tmp_path / "out").exists()


def test_a_sweep_needs_annotation(world, tmp_path):
    refused = run("sweep", tmp_path / "out", *world.flags("folder"))
    assert_refused(refused, "no annotation")
