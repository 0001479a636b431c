"""Pictures as addresses within a page that stays small."""

import base64
import warnings

import numpy as np
import pytest
from PIL import Image

from experiments import report
from experiments.reporting import pictures
from experiments.reporting.pictures import Album, Refused
from tests.support.report_runs import save_picture, write_page, write_run


def test_photographs_until_the_page_is_full(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    for name in ("a", "b"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    album = Album(100_000)
    picture = album.photograph(tmp_path / "a.png", alt="noise")
    content = base64.b64decode(picture.source[23:])
    assert picture.size == (400, 300) and album.left == 100_000 - len(content)
    assert (picture.alt, picture.caption, picture.table) == ("noise", "", None)
    assert album.left < 60_000
    with pytest.raises(Refused, match="too large"):
        album.photograph(tmp_path / "b.png", alt="")
    # Small pictures still fit.
    save_picture(tmp_path / "small.png", (9, 9, 9), (9000, 20))
    assert album.photograph(tmp_path / "small.png", alt="").size == (3200, 7)


def test_photographs_that_are_none(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"no picture")
    save_picture(tmp_path / "large.png", (9, 9, 9), (200, 100))
    # As outside of tests, where warnings are no errors.
    warnings.simplefilter("ignore")
    # Pillow warns above this, and refuses twice as many.
    for limit in (15_000, 100):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        for name in ("a.png", "large.png", "absent.png"):
            with pytest.raises(Refused, match="cannot be read"):
                Album().photograph(tmp_path / name, alt="")


def test_a_full_page_has_no_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "Album", lambda: Album(10))
    run = write_run(tmp_path / "run", {"boc": {"a": 0.5, "b": 1}, "dot": {"a": 0, "b": 1}})
    save_picture(run / "gallery_boc" / "a.png", (1, 2, 3))
    page = write_page([run], tmp_path / "report.html")
    assert not page.named("img", "src")
    assert "A picture of a (gallery) is not shown: the page would be too large." in page.text


def test_plots(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "_LARGEST_SVG", 100)
    svg, png = tmp_path / "plot.svg", tmp_path / "plot.png"
    svg.write_text("<svg/>")
    png.write_bytes(b"png")
    assert Album().plot(svg, png).startswith("data:image/svg+xml;base64,")
    assert Album().plot(None, png) == "data:image/png;base64,cG5n"
    svg.write_text("<svg/>" * 99)
    assert Album().plot(svg, png) == "data:image/png;base64,cG5n"
    with pytest.raises(Refused, match="too large"):
        Album().plot(svg, None)
    png.unlink()
    with pytest.raises(Refused, match="cannot be read"):
        Album().plot(svg, png)
