"""Which images a page shows, and its remark on images without a picture."""

import re

import numpy as np

from experiments.reporting.gallery import gallery_of, picked
from experiments.reporting.pictures import Album
from experiments.reporting.runs import read_run
from tests.support.report_runs import colour_of, save_picture, write_page, write_run


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
        "best": ["099", "098", "097"],
        "median": ["051", "050", "049"],
        "worst": ["002", "001", "000"],
    }


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
    alternatives = [text for text in page.named("img", "alt") if ".00 %: the image" in text]
    assert [text.partition(":")[0] for text in alternatives] == [
        *("b, 90.00 %", "b, 90.00 %", "x/a, 30.00 %")
    ]
    assert "mIoU of each image, with boc, the setting with the highest mean." in page.text
    assert re.search(
        r"Best\s+b, 90\.00 %.*Median\s+c, 60\.00 % \(no picture\).*Worst\s+x/a, 30",
        page.text,
        re.DOTALL,
    )
    assert "1 of these images has no picture." in page.text and "--save=overlays" in page.text


def test_a_run_without_annotation(tmp_path):
    write_run(
        tmp_path / "run",
        {"boc": {"a": 0.5, "b": 0.5}},
        binary="segment",
        dataset="folder",
        results=[{"metric": "boc", "images": 0, "images_without_instances": 2}],
    )
    lines = ['{"id": "a", "setting": "boc"}\n', '{"id": "b", "setting": "boc", "miou": null}\n']
    (tmp_path / "run" / "per_image.jsonl").write_text("".join(lines))
    save_picture(tmp_path / "run" / "overlays_boc" / "b.png", (0, 200, 0))
    page = write_page([tmp_path / "run"], tmp_path / "report.html")
    assert page.tables["Scores"] == [["metric", "images"], ["boc", "2"]]
    assert "images have no scores" in page.text and "Confidence" not in page.text
    assert page.tables["Runs"][1][3:] == ["-", "2", "0"]
    np.testing.assert_allclose(colour_of(page.named("img", "src")[0]), (0, 200, 0), atol=4)


def test_figures_have_no_gallery(tmp_path):
    run = write_run(tmp_path, {"oracle": {"a": 0.5}}, binary="channels")
    assert gallery_of(read_run(run), Album()) == ([], [])


def test_pictures_that_cannot_be_shown(tmp_path):
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5}})
    (run / "gallery_boc").mkdir()
    (run / "gallery_boc" / "a.png").write_bytes(b"no picture")
    page = write_page([run], tmp_path / "report.html")
    assert "A picture of a (gallery) is not shown: it cannot be read." in page.text
    save_picture(run / "gallery_boc" / "a.png", (1, 2, 3))
    groups, remarks = gallery_of(read_run(run), Album(10))
    assert "A picture of a (gallery) is not shown: the page would be too large." in remarks
    assert groups[0][1][0]["gallery"] is None
