"""Pictures as addresses within a page that stays small; the plots of a folder."""

import base64
import warnings

import numpy as np
import pytest
from PIL import Image

from experiments import report
from experiments.reporting import pictures
from experiments.reporting.pictures import Album, Refused, plots_of, read_table
from experiments.reporting.runs import read_run
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


def test_tables_of_numbers(tmp_path):
    path = tmp_path / "plot.csv"
    path.write_text("x,y\n1,2\n3\n")
    assert read_table(path).headings == ["x", "y"] and read_table(path).rows == [["1", "2"]]
    path.write_text("x\n" + "1\n" * 500)
    table = read_table(path)
    assert len(table.rows) == 100 and table.remarks == ["More rows are in plot.csv."]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\n", b"x" * 2_000_000, b'"' + b"x" * 200_000])
def test_tables_that_are_none(tmp_path, content):
    (tmp_path / "odd.csv").write_bytes(content)
    assert read_table(tmp_path / "odd.csv") is None
    assert read_table(tmp_path / "absent.csv") is None


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run", {"boc": {"a": 0.5}})


def shown(folder, album=None):
    return plots_of(read_run(folder), album or Album())


def test_plots_of_a_folder_and_its_figures(folder):
    (folder / "figures").mkdir()
    for name in ("heat_map", "figures/my_plot"):
        (folder / f"{name}.csv").write_text("x,y\n1,2\n")
        (folder / f"{name}.svg").write_text("<svg/>")
    (folder / "table_alone.csv").write_text("x,y\n1,2\n")
    (folder / "drawing_alone.svg").write_text("<svg/>")
    pictures, remarks = shown(folder)
    assert [picture.caption for picture in pictures] == ["mIoU over M and N.", "my plot."]
    assert [picture.table.rows for picture in pictures] == [[["1", "2"]]] * 2
    assert pictures[1].alt == "Plot: my plot; its numbers follow" and not remarks
    (folder / "figures" / "my_plot.csv").write_text("")
    assert shown(folder)[0][1].table is None and shown(folder)[0][1].alt == "Plot: my plot"
    assert shown(folder, Album(7))[1] == [
        "figures/my_plot is not shown: the page would be too large."
    ]


@pytest.mark.parametrize("outside", ["svg", "png", "csv"])
def test_links_that_lead_out_are_not_followed(folder, tmp_path, outside):
    (folder / "plot.csv").write_text("x,y\n1,2\n")
    (folder / "plot.svg").write_text("<svg/>")
    (folder / "plot.png").write_bytes(b"png")
    secret = tmp_path / "secret"
    secret.write_text("secret,\n1,2\n")
    (folder / f"plot.{outside}").unlink()
    (folder / f"plot.{outside}").symlink_to(secret)
    ((picture,), remarks) = shown(folder)
    assert picture.source.startswith("data:image/png" if outside == "svg" else "data:image/svg")
    assert (picture.table is None) == (outside == "csv") and not remarks
    if outside != "csv":
        (folder / f"plot.{'png' if outside == 'svg' else 'svg'}").unlink()
        assert shown(folder) == ([], [])


def test_sheets_of_channels(folder, tmp_path):
    channels = folder / "figures" / "channels"
    for number in range(5):
        save_picture(channels / "v" / f"{number}.png", (number, 0, 0))
    pictures, remarks = shown(folder)
    assert [picture.caption.split()[3] for picture in pictures] == ["v/0", "v/1", "v/2"]
    assert {picture.size for picture in pictures} == {(40, 20)}
    assert remarks == ["The folder has 2 more sheets of channels."]
    (channels / "v" / "1.png").write_bytes(b"no picture")
    save_picture(tmp_path / "secret.png", (9, 9, 9))
    (channels / "v" / "0.png").unlink()
    (channels / "v" / "0.png").symlink_to(tmp_path / "secret.png")
    pictures, remarks = shown(folder)
    assert [picture.caption.split()[3] for picture in pictures] == ["v/2", "v/3"]
    assert remarks[0] == "The sheet of channels of v/1 is not shown: it cannot be read."
