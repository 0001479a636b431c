"""Whether a line was made from the files as they are."""

import os
import shutil

import pytest

from experiments.runs.sources import Sources


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("photo.jpg", "mask.png")]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


def line_of(files):
    sources = Sources()
    sources.add("a", files)
    line = {"id": "a", "setting": "boc", "read": sources.versions("a")}
    assert sources.fits(line)
    return line


def fits(line, files):
    sources = Sources()
    sources.add("a", files)
    found = sources.fits(line)
    assert sources.fits(line) == found
    return found


def touch(path, seconds):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


@pytest.mark.parametrize("place", [0, 1])
def test_a_changed_file(files, place):
    line, path = line_of(files), files[place]
    assert fits(line, files)
    before = path.read_bytes()
    path.write_bytes(before[::-1])  # of the same size
    touch(path, 5)
    assert not fits(line, files)
    path.write_bytes(before)  # as it was
    touch(path, 9)
    assert fits(line, files)
    path.write_bytes(before + b"!")
    assert not fits(line, files)
    path.unlink()
    assert not fits(line, files)


def test_a_copy_has_other_times_and_is_the_same(files, tmp_path):
    line = line_of(files)
    copies = [shutil.copy(path, tmp_path / f"copy_{path.name}") for path in files]
    touch(tmp_path / "copy_photo.jpg", 7)
    assert fits(line, copies)
    assert not fits(line, copies[:1])


def test_what_was_read_is_known_without_reading_it_again(files, monkeypatch):
    line = line_of(files)
    monkeypatch.setattr("experiments.runs.sources._version", lambda file: pytest.fail("read"))
    assert fits(line, files)


def test_lines_of_unknown_origin_are_valid(files):
    assert fits({"id": "a", "setting": "boc"}, files)  # of an earlier version
    assert fits({"id": "b", "setting": "boc", "read": ["1-2-3"]}, files)  # not in this run
    drawn = ["built-in scene 00"]
    assert fits(line_of(drawn), drawn)
