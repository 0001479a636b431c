"""Ids and files of photographs given as folders, files, globs and text lists."""

import errno
import os

import pytest
from PIL import Image

from specjax import SpecjaxError
from specjax._ids import assign_ids
from specjax._photographs import find_photographs


@pytest.fixture
def folder(tmp_path):
    """Files at several depths; they are never opened."""
    names = ("b.jpg", "a.PNG", "day.1/c.d.tiff", "day.1/deep/e.webp", "notes.old",
             ".hidden.png", ".git/x.png", "day.1/.thumbnails/y.jpg")  # fmt: skip
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "photos" / "folder.jpg").mkdir()
    return tmp_path / "photos"


def found(*paths):
    photographs = find_photographs(paths)
    assert all(photo.file.is_absolute() and photo.file.is_file() for photo in photographs.found)
    names = [photo.file.name for photo in photographs.found]
    return dict(zip(ids(photographs), names, strict=True))


def ids(photographs):
    return assign_ids(photographs.found)


def test_folders(folder):
    assert list(found(folder).items()) == [
        ("a", "a.PNG"), ("b", "b.jpg"), ("day.1/c.d", "c.d.tiff"), ("day.1/deep/e", "e.webp"),
    ]  # fmt: skip
    # A hidden folder is searched where it is given.
    assert found(folder / ".git") == {"x": "x.png"}


def test_files(folder):
    assert found(folder / "day.1" / "c.d.tiff") == {"c.d": "c.d.tiff"}
    assert found(folder / ".hidden.png") == {".hidden": ".hidden.png"}


def test_globs(folder):
    assert found(f"{folder}/*") == {"a": "a.PNG", "b": "b.jpg"}
    assert found(f"{folder}/day*/**/*") == {"day.1/c.d": "c.d.tiff", "day.1/deep/e": "e.webp"}
    (folder / "b.jpg").rename(folder / "odd[1].jpg")
    assert found(folder / "odd[1].jpg") == {"odd[1]": "odd[1].jpg"}


def test_lists(folder):
    listing = folder / "list.lst"
    listing.write_text(f"\ufeff# mine\nday.1/deep/e.webp\n\n  {folder}/b.jpg\n")
    assert list(found(listing)) == ["day.1/deep/e", "b"]
    elsewhere = folder.parent / "list.txt"
    elsewhere.write_text("photos/day.1/c.d.tiff\nphotos/../photos/b.jpg\n")
    result = find_photographs([elsewhere, listing])
    assert ids(result) == ["photos/day.1/c.d", "photos/b", "day.1/deep/e"]
    assert len(set(result.lists_sha256)) == 2
    # Files outside the folder of the list: ids are relative to the deepest folder that holds all.
    inner = folder / "day.1" / "deep" / "list.txt"
    inner.write_text(f"e.webp\n{folder}/b.jpg\n")
    assert list(found(inner)) == ["day.1/deep/e", "b"]


def test_several_paths(folder):
    """A file is listed once, as the first path gives it."""
    assert list(found(folder / "b.jpg", f"{folder}/*.jpg", folder / "b.jpg")) == ["b"]
    assert ids(find_photographs([folder / "day.1", folder])) == ["c.d", "deep/e", "a", "b"]


def picture(path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 2), "red").save(path, **options)


def test_images_of_any_suffix(tmp_path):
    """What Pillow recognizes is an image; what is passed over is named."""
    for name, kind in (
        ("a.avif", "AVIF"), ("b.jp2", "JPEG2000"), ("c.ppm", "PPM"), ("d.JPE", "JPEG"),
        ("e.jfif", "JPEG"), ("f", "PNG"), ("g.photo", "GIF"), ("h.pcx", "PCX"), ("i.mpo", "MPO"),
    ):  # fmt: skip
        picture(tmp_path / name, format=kind)
    (tmp_path / "damaged.jp2").write_bytes(b"none")
    (tmp_path / "link.jpg").symlink_to("nowhere.jpg")
    for name in ("notes.md", "IMG_1.HEIC", "video.mpg", "empty"):
        (tmp_path / name).write_bytes(b"\0\0\1\xb3\4\0\2\0" if name == "video.mpg" else b"")
    result = find_photographs([tmp_path])
    assert ids(result) == [*"abc", "d", "damaged", *"efghi", "link"]
    (line,) = result.warnings
    assert line.startswith("passed over 4 files, ")
    assert all(name in line for name in ("notes.md", "IMG_1.HEIC", "video.mpg", "empty"))
    # Given one by one, they are treated as in a folder.
    result = find_photographs([tmp_path / "f", tmp_path / "notes.md"])
    assert ids(result) == ["f"] and "1 file," in result.warnings[0]
    assert find_photographs([tmp_path / "f"]).warnings == []


def test_links_to_folders(tmp_path):
    picture(tmp_path / "photos" / "z" / "a.jpg")
    picture(tmp_path / "elsewhere" / "deep" / "b.jpg")
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "again").symlink_to("z")
    (tmp_path / "photos" / "z" / "round").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "itself").symlink_to("itself")
    assert found(tmp_path / "photos") == {"z/a": "a.jpg", "link/deep/b": "b.jpg"}


@pytest.mark.parametrize("beside", ["JPEGImages", "images"])
@pytest.mark.parametrize("annotations", ["Annotations", "masks", "SegmentationObject"])
def test_annotations_beside_images(tmp_path, beside, annotations):
    picture(tmp_path / beside / "480p" / "dog" / "0.jpg")
    picture(tmp_path / annotations / "480p" / "dog" / "0.png")
    result = find_photographs([tmp_path])
    assert ids(result) == [f"{beside}/480p/dog/0"]
    assert len(result.warnings) == 1 and repr(str(tmp_path / annotations)) in result.warnings[0]
    # Without images beside them, or by name, they are photographs as any.
    assert list(found(tmp_path / annotations)) == ["480p/dog/0"]
    (tmp_path / beside).rename(tmp_path / "other")
    assert len(find_photographs([tmp_path]).found) == 2


def test_folders_that_cannot_be_read(folder, monkeypatch):
    """A test as root cannot take its own permission."""
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("day.1"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    result = find_photographs([folder])
    assert ids(result) == ["a", "b"]
    (line,) = result.unread
    assert "day.1' cannot be read: Permission denied" in line
    with pytest.raises(SpecjaxError, match=r"day\.1' cannot be read: Permission denied"):
        find_photographs([folder / "day.1"])


def test_brackets_in_the_name_of_a_folder(tmp_path):
    picture(tmp_path / "photos [2024]" / "a.jpg")
    picture(tmp_path / "photos [2024]" / "day[1]" / "b.jpg")
    given = str(tmp_path / "photos [2024]")
    assert found(given + "/*.jpg") == {"a": "a.jpg"}
    assert found(given + "/**/*.jpg") == {"a": "a.jpg", "day[1]/b": "b.jpg"}
    assert found(given + "/day[1]/*") == {"b": "b.jpg"}
    assert found(given + "/day*/b.[j]pg") == {"day[1]/b": "b.jpg"}


def test_texts_beside_images_that_are_no_lists(tmp_path):
    """As YOLO's annotations are; a shell makes such paths of `folder/*`."""
    for name in "ab":
        picture(tmp_path / f"{name}.jpg")
        (tmp_path / f"{name}.txt").write_text("0 0.25 0.5 0.2 0.3\n")
    (tmp_path / "c.txt").write_text("")
    (tmp_path / "d.lst").write_bytes(b"\xff\xd8")
    result = find_photographs(sorted(tmp_path.iterdir()))
    assert ids(result) == ["a", "b"]
    (line,) = result.warnings
    assert "4 files" in line and "nor lists" in line and "d.lst" in line


def test_lines_of_a_list_without_a_file(folder):
    """They fail alone."""
    listing = folder.parent / "list.txt"
    listing.write_text("photos/b.jpg\nphotos/nowhere.jpg\n")
    assert ids(find_photographs([listing])) == ["photos/b", "photos/nowhere"]


def test_relative_paths_and_home(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    for path in ("b.jpg", "./day.1/../b.jpg", "~/b.jpg", "*.jpg"):
        assert found(path) == {"b": "b.jpg"}


def test_mistakes(folder):
    listing = folder.parent / "list.txt"
    listing.write_text("\nphotos/nowhere.jpg\n")
    empty = folder.parent / "empty"
    empty.mkdir()
    for paths, reason in (
        ([], "no images given"),
        ([folder, ""], "a path is empty"),
        ([folder / "nowhere"], "nowhere': no such file or folder"),
        ([f"{folder}/*.gif"], r"no images match .*\*\.gif"),
        ([empty], r"no images in .*empty' \(looked for \.jpg"),
        ([listing], r"list\.txt', line 2: no file .*nowhere\.jpg"),
    ):
        with pytest.raises(SpecjaxError, match=reason) as error:
            find_photographs(paths)
        assert "\n" not in str(error.value)
    for content, reason in ((b"\n# nothing\n", "lists no images"), (b"\xff\xd8", "is not a text")):
        listing.write_bytes(content)
        with pytest.raises(SpecjaxError, match=reason):
            find_photographs([listing])
