import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from experiments import datasets
from specjax import SpecjaxError


@pytest.fixture
def photographs(tmp_path):
    """A folder with images at two depths, and what is to be passed over."""
    folder = tmp_path / "photos"
    for name in ("b.jpg", "a.PNG", "sub/deep/c.webp", "sub/d.e.tiff", ".hidden.png", ".git/x.png"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 50, np.uint8)).save(path)
    (folder / "notes.txt").write_text("no image")
    (folder / "folder.jpg").mkdir()
    return folder


def ids(*paths):
    given = paths[0] if len(paths) == 1 else list(paths)
    return [record.id for record in datasets.open_dataset("folder", data_dir=given).records()]


def test_a_folder(photographs):
    dataset = datasets.open_dataset("folder", data_dir=str(photographs))
    assert dataset.name == "folder" and not dataset.annotated
    assert dataset.identity == {"name": "folder", "data_dir": str(photographs)}
    read = list(dataset.records())
    assert [record.id for record in read] == ["a", "b", "sub/d.e", "sub/deep/c"]
    for record in read:
        assert record.read_image().shape == (6, 8, 3) and record.read_instances is None
        assert os.path.isabs(record.source)


def test_files_and_several_arguments(photographs):
    assert ids(photographs / "sub" / "d.e.tiff") == ["d.e"]
    assert ids(photographs / "b.jpg", photographs / "sub") == ["b", "d.e", "deep/c"]
    assert ids(photographs / "b.jpg", photographs / "b.jpg", photographs / "*.jpg") == ["b"]


def test_globs(photographs):
    assert ids(f"{photographs}/*") == ["a", "b"]
    assert ids(f"{photographs}/sub/**/*") == ["d.e", "deep/c"]
    assert ids(f"{photographs}/s*/*.tiff") == ["sub/d.e"]
    literal = photographs / "odd[1].png"
    (photographs / "b.jpg").rename(literal)
    assert ids(literal) == ["odd[1]"]
    with pytest.raises(SpecjaxError, match=r"no images match '.*/\*\.gif'"):
        ids(f"{photographs}/*.gif")


def test_text_lists(photographs, tmp_path):
    listing = photographs / "list.txt"
    listing.write_text(f"sub/deep/c.webp\n\n# comment\n{photographs}/b.jpg\n")
    assert ids(listing) == ["sub/deep/c", "b"]
    elsewhere = tmp_path / "other" / "list.txt"
    elsewhere.parent.mkdir()
    elsewhere.write_text(f"{photographs}/sub/d.e.tiff\n../photos/sub/deep/c.webp\n")
    dataset = datasets.open_dataset("folder", data_dir=elsewhere)
    assert [record.id for record in dataset.records()] == ["d.e", "deep/c"]
    assert len(dataset.identity["lists_sha256"]) == 64
    elsewhere.write_text("nowhere.jpg\n")
    with pytest.raises(SpecjaxError, match=r"list\.txt', line 1: no file '.*/other/nowhere\.jpg'"):
        ids(elsewhere)
    elsewhere.write_text("\n")
    with pytest.raises(SpecjaxError, match="lists no images"):
        ids(elsewhere)
    elsewhere.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(SpecjaxError, match=r"list\.txt' is not a text file"):
        ids(elsewhere)


def test_relative_paths_and_home(photographs, monkeypatch):
    monkeypatch.chdir(photographs.parent)
    monkeypatch.setenv("HOME", str(photographs))
    dataset = datasets.open_dataset("folder", data_dir=pathlib.Path("photos/sub"))
    assert dataset.identity["data_dir"] == str(photographs / "sub")
    record = next(dataset.records())
    monkeypatch.chdir("/")
    assert record.read_image().shape == (6, 8, 3)
    assert ids("~/b.jpg") == ["b"]


def test_clashes(photographs):
    Image.new("RGB", (4, 4)).save(photographs / "b.png")
    assert ids(photographs) == ["a", "b.jpg", "b.png", "sub/d.e", "sub/deep/c"]


def test_names_that_are_escaped(photographs):
    Image.new("RGB", (4, 4)).save(photographs / "line\nbreak.png")
    assert "line%0Abreak" in ids(photographs)


def test_what_is_passed_over_is_a_warning(photographs):
    (line,) = datasets.open_dataset("folder", data_dir=photographs).warnings
    assert line.startswith("passed over 1 file, ") and "notes.txt" in line


def test_nothing_there(tmp_path):
    with pytest.raises(SpecjaxError, match="no images in"):
        ids(tmp_path)
    with pytest.raises(SpecjaxError, match=r"'.*nowhere': no such file or folder"):
        ids(tmp_path / "nowhere")
    for nothing in (None, []):
        with pytest.raises(SpecjaxError, match="no images given"):
            datasets.open_dataset("folder", data_dir=nothing)


def test_a_file_that_is_no_image_fails_when_it_is_read(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"something else")
    (record,) = datasets.open_dataset("folder", data_dir=[path]).records()
    assert record.id == "photo"
    with pytest.raises(SpecjaxError, match=r"photo\.jpg' is not an image"):
        record.read_image()


def test_exif_rotation(tmp_path):
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = 255  # the left half is white as stored, the upper one when upright
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "p.png", exif=exif)
    upright = next(datasets.open_dataset("folder", data_dir=tmp_path).records()).read_image()
    assert upright.shape == (16, 8, 3)
    assert upright[:8].min() == 255 and upright[8:].max() == 0


def test_real_frames(shared_data):
    read = list(datasets.open_dataset("folder", data_dir=shared_data / "frames").records())
    assert len(read) == 10 and read[0].id == "00100"
    assert len({record.read_image().shape for record in read}) == 1
