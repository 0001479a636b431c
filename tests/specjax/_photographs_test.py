"""Ids and files of photographs given as folders, files, globs and text lists."""

import pytest

from specjax import SpecjaxError
from specjax._photographs import find_photographs


@pytest.fixture
def folder(tmp_path):
    """Files at several depths; they are never opened."""
    names = ("b.jpg", "a.PNG", "day.1/c.d.tiff", "day.1/deep/e.webp", "notes.txt.old",
             ".hidden.png", ".git/x.png", "day.1/.thumbnails/y.jpg")  # fmt: skip
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "photos" / "folder.jpg").mkdir()
    return tmp_path / "photos"


def found(*paths):
    files = find_photographs(paths).files
    assert all(file.is_absolute() and file.is_file() for _, file in files)
    return {name: file.name for name, file in files}


def test_folders(folder):
    assert list(found(folder).items()) == [
        ("a", "a.PNG"), ("b", "b.jpg"), ("day.1/c.d", "c.d.tiff"), ("day.1/deep/e", "e.webp"),
    ]  # fmt: skip
    # A hidden folder is searched where it is given.
    assert found(folder / ".git") == {"x": "x.png"}


def test_files(folder):
    assert found(folder / "day.1" / "c.d.tiff") == {"c.d": "c.d.tiff"}
    # A file that is given is taken, whatever its suffix.
    assert found(folder / "notes.txt.old", folder / ".hidden.png") == {
        "notes.txt": "notes.txt.old", ".hidden": ".hidden.png",
    }  # fmt: skip


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
    assert [name for name, _ in result.files] == [
        "photos/day.1/c.d", "photos/b", "day.1/deep/e", "b",
    ]  # fmt: skip
    assert len(set(result.lists_sha256)) == 2
    # Files outside the folder of the list: ids are relative to the deepest folder that holds all.
    inner = folder / "day.1" / "deep" / "list.txt"
    inner.write_text(f"e.webp\n{folder}/b.jpg\n")
    assert list(found(inner)) == ["day.1/deep/e", "b"]


def test_several_paths(folder):
    """A file is listed once under each of its ids."""
    assert list(found(folder / "b.jpg", f"{folder}/*.jpg", folder / "b.jpg")) == ["b"]
    files = find_photographs([folder, folder / "day.1"]).files
    assert [name for name, _ in files][4:] == ["c.d", "deep/e"]


def test_relative_paths_and_home(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    for path in ("b.jpg", "./day.1/../b.jpg", "~/b.jpg", "*.jpg"):
        assert found(path) == {"b": "b.jpg"}


def test_mistakes(folder):
    listing = folder.parent / "list.txt"
    listing.write_text("photos/b.jpg\n\nphotos/nowhere.jpg\n")
    empty = folder.parent / "empty"
    empty.mkdir()
    for paths, reason in (
        ([], "no images given"),
        ([folder, ""], "a path is empty"),
        ([folder / "nowhere"], "nowhere': no such file or folder"),
        ([f"{folder}/*.gif"], r"no images match .*\*\.gif"),
        ([empty], r"no images in .*empty' \(looked for \.jpg"),
        ([listing], r"list\.txt', line 3: no file .*nowhere\.jpg"),
    ):
        with pytest.raises(SpecjaxError, match=reason) as error:
            find_photographs(paths)
        assert "\n" not in str(error.value)
    for content, reason in ((b"\n# nothing\n", "lists no images"), (b"\xff\xd8", "is not a text")):
        listing.write_bytes(content)
        with pytest.raises(SpecjaxError, match=reason):
            find_photographs([listing])
