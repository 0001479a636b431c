"""The pictures of a page: which images, how large, and what is said of those left out."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from experiments import report
from experiments.reporting import pictures
from experiments.reporting.gallery import picked
from experiments.reporting.pictures import Album, Refused
from experiments.reporting.plots import read_table
from tests.support.report_runs import save_picture, write_page, write_run


def colour_of(source):
    """The colour of a picture of one colour, from its `data:` address."""
    kind, content = source.split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image).mean(axis=(0, 1))


def test_picked_images():
    assert picked({}) == {}
    assert picked({"a": 0.5}) == {"best": ["a"]}
    assert picked({"a": 0.5, "b": 0.7}) == {"best": ["b"], "worst": ["a"]}
    scores = dict(zip("abcdefg", (0.1, 0.7, 0.5, 0.2, 0.5, 0.9, 0.3), strict=True))
    # f .9, b .7, c .5, e .5, g .3, d .2, a .1
    assert picked(scores, 1) == {"best": ["f"], "median": ["e"], "worst": ["a"]}
    assert picked(scores) == {"best": ["f", "b"], "median": ["c", "e"], "worst": ["d", "a"]}
    many = {f"{number:03d}": number / 100 for number in range(100)}
    assert picked(many) == {
        "best": ["099", "098", "097"], "median": ["051", "050", "049"],
        "worst": ["002", "001", "000"],
    }  # fmt: skip


def test_gallery(tmp_path):
    scores = {"dot": {"a": 0, "b": 0, "c": 0}, "boc": {"x/a": 0.3, "b": 0.9, "c": 0.6}}
    run = write_run(tmp_path / "run", scores)
    save_picture(run / "gallery_boc" / "b.png", (200, 0, 0))
    save_picture(run / "overlays_boc" / "b.png", (0, 200, 0))
    save_picture(run / "overlays_boc" / "x" / "a.png", (0, 0, 200))
    save_picture(run / "overlays_dot" / "c.png", (9, 9, 9))
    page = write_page([run], tmp_path / "report.html")
    photographs = [s for s in page.named("img", "src") if s.startswith("data:image/jpeg")]
    colours = [colour_of(source) for source in photographs]
    np.testing.assert_allclose(colours, [(200, 0, 0), (0, 200, 0), (0, 0, 200)], atol=4)
    assert "of boc: the setting with the highest mean" in page.text
    assert re.search(r"Best\s+b, 90\.00 %.*Median\s+c, 60\.00 % \(no picture\).*Worst\s+x/a, 30",
                     page.text, re.DOTALL)  # fmt: skip
    assert "Of 1 there is no picture here." in page.text and "--save=overlays" in page.text


def test_a_run_without_annotation(tmp_path):
    write_run(tmp_path / "run", {"boc": {"a": 0.5, "b": 0.5}}, binary="segment", dataset="folder",
              results=[{"metric": "boc", "images": 0, "images_without_instances": 2}])  # fmt: skip
    lines = ['{"id": "a", "setting": "boc"}\n', '{"id": "b", "setting": "boc", "miou": null}\n']
    (tmp_path / "run" / "per_image.jsonl").write_text("".join(lines))
    save_picture(tmp_path / "run" / "overlays_boc" / "b.png", (0, 200, 0))
    page = write_page([tmp_path / "run"], tmp_path / "report.html")
    assert page.tables["Scores"] == [["metric", "images"], ["boc", "2"]]
    assert "no image is scored" in page.text and "How sure they are" not in page.text
    assert page.tables["Runs"][1][3:] == ["-", "2", "0"]
    np.testing.assert_allclose(colour_of(page.named("img", "src")[0]), (0, 200, 0), atol=4)


def test_the_page_stays_small(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    album = Album(100_000)
    source, size = album.photograph(tmp_path / "a.png")
    assert size == (400, 300) and album.left == 100_000 - len(base64.b64decode(source[23:]))
    assert album.left < 60_000
    with pytest.raises(Refused, match="too large"):
        album.photograph(tmp_path / "b.png")
    # Small things still have room.
    save_picture(tmp_path / "small.png", (9, 9, 9), (9000, 20))
    assert album.photograph(tmp_path / "small.png")[1] == (3200, 7)

    monkeypatch.setattr(pictures, "BUDGET", 10)
    monkeypatch.setattr(report, "Album", lambda: Album(10))
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5}})
    save_picture(run / "gallery_boc" / "a.png", (1, 2, 3))
    page = write_page([run], tmp_path / "report.html")
    assert not page.named("img", "src")
    assert "A picture of a (gallery) is not shown: the page would be too large." in page.text


def test_plots_that_cannot_be_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_LARGEST_SVG", 100)
    svg, png = tmp_path / "plot.svg", tmp_path / "plot.png"
    svg.write_text("<svg/>")
    png.write_bytes(b"png")
    assert Album().plot(svg, png).startswith("data:image/svg+xml;base64,")
    svg.write_text("<svg/>" * 99)
    assert Album().plot(svg, png) == "data:image/png;base64,cG5n"
    png.unlink()
    with pytest.raises(Refused, match="too large"):
        Album().plot(svg, png)
    (tmp_path / "plot.csv").write_text("x,y\n1,2\n3\n")
    assert read_table(tmp_path / "plot.csv", "numbers").rows == [["1", "2"]]
    (tmp_path / "many.csv").write_text("x\n" + "1\n" * 500)
    table = read_table(tmp_path / "many.csv", "numbers")
    assert len(table.rows) == 100 and table.remarks == ["More rows are in many.csv."]
    for content in (b"", b"\xff\xfe\n", b"x" * 2_000_000):
        (tmp_path / "odd.csv").write_bytes(content)
        assert read_table(tmp_path / "odd.csv", "numbers") is None


def test_pictures_that_are_none(tmp_path):
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5}})
    (run / "gallery_boc").mkdir()
    (run / "gallery_boc" / "a.png").write_bytes(b"no picture")
    page = write_page([run], tmp_path / "report.html")
    assert "A picture of a (gallery) is not shown: it cannot be read." in page.text
