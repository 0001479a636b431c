"""The report of real runs, as the binary writes it and as a browser shows it."""

import base64
import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from experiments import report
from tests.support.browser import show
from tests.support.report_runs import Page, run_report, write_run
from tests.support.run_binary import ROOT, World, run

RUNS = {
    "instance": ("instance", "voc", "--metric=boc,dot", "--save=overlays,gallery"),
    "videos": ("instance", "ytvis", "--metric=boc,dot"),
    "fgbg": ("fgbg", "voc", "--M=C,C/3"),
    "photographs": ("instance", "folder", "--save=overlays"),
    "channels": ("channels", "voc", "--figure=deviation"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Finished runs, and `report.html` of them."""
    folder, world = tmp_path_factory.mktemp("runs"), World(tmp_path_factory.mktemp("world"))
    (folder / "features").mkdir()
    for record_id, instances in world.maps["voc"].items():
        # As many channels as the paper's backbone has, so that its table has numbers for them.
        grid = np.array(instances.shape) // 4
        numbers = instances[::4, ::4].ravel()
        features = np.random.default_rng(0).normal(size=(numbers.size, 384)) + 3 * numbers[:, None]
        arrays = {"grid": grid, "patch_size": 4, "features": features.astype(np.float32)}
        np.savez(folder / "features" / f"{record_id}.npz", **arrays)
    for name, (binary, dataset, *more) in RUNS.items():
        given = world.flags(dataset)
        if binary == "fgbg":
            data, features = world.folder / dataset, folder / "features"
            given = [given[0], f"--data_dir={data}", f"--features_dir={features}"]
        finished = run(binary, folder / name, *given, *more)
        assert finished.status == 0, finished.stderr
    report.write([folder / name for name in RUNS], folder / "report.html", seed=0, resamples=200)
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "report.html").read_text())


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_every_run_has_its_scores(folder, page):
    titles = [
        f"{number}. {binary} on {dataset}"
        for number, (binary, dataset, *_) in enumerate(RUNS.values(), start=1)
    ]
    assert [row[0] for row in page.tables["Runs"][1:]] == titles
    for name in RUNS:
        for result in summary(folder / name)["results"]:
            for key in ("miou", "f_score"):
                if result.get(key) is not None:
                    assert f"{100 * result[key]:.2f}" in page.text
    assert "short side 112 pixels" in page.text
    assert {"mIoU by MBOR", "mIoU by size ratio"} <= page.tables.keys()
    assert "3 of these images have no picture" in page.text  # of the runs that saved none


def test_published_numbers_stand_beside_ours(folder, tmp_path):
    output = tmp_path / "report.html"
    finished = run_report(folder / "fgbg", "--resamples=200", f"--output={output}")
    assert (finished.status, finished.stderr) == (0, "")
    page, results = Page(output.read_text()), summary(folder / "fgbg")["results"]
    headings, *rows = page.tables["Scores"]
    assert headings[:4] == ["M", "F %", "published", "difference"]
    paper = ((384, 58.66), (128, 58.56))
    for row, result, (M, published) in zip(rows, results, paper, strict=True):
        ours = 100 * result["f_score"]
        assert row[:4] == [str(M), f"{ours:.2f}", f"{published}", f"{ours - published:+.2f}"]
    assert "Published: PASCAL VOC 2012 train+val" in page.text
    assert "backbone features" in page.text
    assert "short side" not in page.text


def test_plots_are_in_the_page_and_intervals_beside_it(folder, page):
    plots = [path for name in RUNS for path in (folder / name).rglob("*.svg")]
    made = sorted((folder / "report_plots").glob("*.svg"))
    # One of each run of several scored settings.
    assert [path.name for path in made] == [f"run{n}_intervals.svg" for n in (1, 2, 3)]
    sources = page.named("img", "src")
    for path in (*plots, *made):
        encoded = base64.b64encode(path.read_bytes()).decode()
        assert f"data:image/svg+xml;base64,{encoded}" in sources, path
    with (folder / "report_plots" / "run1_intervals.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for row, result in zip(rows, summary(folder / "instance")["results"], strict=True):
        assert row["setting"] == result["metric"]
        assert float(row["mean_percent"]) == pytest.approx(100 * result["miou"], abs=1e-4)
        assert float(row["low_percent"]) <= float(row["mean_percent"])
        assert float(row["mean_percent"]) <= float(row["high_percent"])


def test_the_same_runs_give_the_same_page(folder, tmp_path):
    report.write([folder / "instance"], tmp_path / "a.html", seed=0, resamples=200)
    report.write([folder / "instance"], tmp_path / "b.html", seed=0, resamples=200)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_binary(folder, tmp_path):
    """As a user starts it; a run that is named twice appears once."""
    output = tmp_path / "new" / "page.html"
    command = [sys.executable, "-m", "experiments.report", f"--output={output}"]
    finished = subprocess.run(
        [*command, folder / "instance", folder / "instance"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    stem = tmp_path / "new" / "page_plots" / "run1_intervals"
    plots = [f"{stem}.{kind}" for kind in ("png", "svg", "csv")]
    assert finished.stdout.splitlines() == [str(output), *plots]
    assert "10,000 times (seed 0)" in " ".join(Page(output.read_text()).text.split())


def test_mistakes(folder, tmp_path):
    output = tmp_path / "report.html"
    output.write_text("what was there")
    (tmp_path / "folder.html").mkdir()
    good = folder / "instance"
    for arguments, words in [
        ([], ["no runs given", "--output_dir"]),
        ([good, tmp_path], [f"{tmp_path} is not the folder of a run"]),
        ([good, tmp_path / "absent"], [tmp_path / "absent", "no such folder"]),
        ([good, f"--output={tmp_path / 'page.txt'}"], ["page.txt", ".html"]),
        ([good, f"--output={tmp_path / 'folder.html'}"], ["folder.html", "is a folder"]),
        ([good, f"--output={output / 'inside.html'}"], ["cannot write"]),
        ([good, "--resamples=3"], ["resamples"]),
        ([good, "--output_dir=here"], ["output_dir"]),
    ]:
        given = [] if "--output=" in str(arguments) else [f"--output={output}"]
        finished = run_report(*given, *arguments)
        assert (finished.status, finished.stdout) == (2, ""), arguments
        line, *more = finished.stderr.splitlines()
        assert line.startswith("error: ") and not more
        assert all(str(word) in line for word in words), line
    assert output.read_text() == "what was there"


def assert_sound(found, images):
    assert found["images"] == images > 0 and found["broken"] == 0
    assert found["scroll"] <= found["width"] and found["spilling"] == []
    assert found["violations"] == [] and not found["alerts"]
    assert all(name.startswith("data:") for name in found["requests"])


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser(folder, page, tmp_path, width):
    found = show(folder / "report.html", tmp_path, width=width)
    assert found["width"] == width
    assert_sound(found, len(page.named("img", "src")))
    assert found["background"] == "rgb(255, 255, 255)"
    assert found["boxes"] == len([v for v in page.named("div", "class") if v == "wide"])


def test_hostile_names_in_a_browser_in_the_dark(tmp_path):
    names = [
        "<script>alert(1)</script>",
        "<img src=http://example.org/x onerror=alert(1)>",
        "w" * 400,
        "\u202eabc",
    ]
    scores = {setting: {name: 0.5 for name in names} for setting in ("boc", "x" * 99)}
    failures = [{"id": name, "error": name} for name in names]
    write_run(tmp_path / "run", scores, failures=failures, warnings=names)
    report.write([tmp_path / "run"], tmp_path / "report.html", seed=0, resamples=200)
    dark = "--blink-settings=preferredColorScheme=0"
    found = show(tmp_path / "report.html", tmp_path, dark, width=390)
    assert_sound(found, 1)
    assert found["background"] == "rgb(20, 24, 28)"


def test_the_probe_sees_what_it_is_for(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text(
        "<!doctype html><meta http-equiv='Content-Security-Policy' content=\"default-src 'none';"
        " img-src data: http:\"><meta name='viewport' content='width=device-width'><title></title>"
        "<img src='data:image/png;base64,AAAA'><img src='http://example.org/a.png'>"
        f"<script>alert(1)</script><table><tr><td>{'w' * 999}</td></tr></table>"
    )
    found = show(path, tmp_path)
    assert found["broken"] == found["images"] == 2 and found["scroll"] > found["width"]
    assert found["spilling"] and found["violations"]
    assert any("example.org" in name for name in found["requests"])
