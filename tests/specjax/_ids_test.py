"""Ids of photographs: as short as they tell photographs apart, and safe to write."""

import pathlib

import pytest

from specjax._ids import Found, assign_ids, escaped, file_name


def ids(*files, known=()):
    """The ids of files, each written as `base|path below it`."""
    photographs = []
    for file in files:
        base, _, rest = file.partition("|")
        photographs.append(Found(pathlib.Path(base, rest), pathlib.Path(base)))
    return assign_ids(photographs, dict(known))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/p|a.jpg", "/p|day/a.jpg"], ["a", "day/a"]),
        (["/p|a.jpg", "/p|a.png", "/p|b.jpg"], ["a.jpg", "a.png", "b"]),
        (["/p/day1|a.jpg", "/p/day2|a.jpg"], ["day1/a", "day2/a"]),
        (["/p/x/1|a.jpg", "/p/y/1|a.jpg"], ["x/1/a", "y/1/a"]),
        # The suffix only if need be.
        (["/p/day1|a.jpg", "/p/day2|a.png"], ["day1/a", "day2/a"]),
        (["/p/1|a.jpg", "/p/1|a.png", "/p/2|a.jpg"], ["1/a.jpg", "a.png", "2/a"]),
        (["/p|f", "/p|f.jpg"], ["f", "f.jpg"]),
        (["/p|a.jpg", "/p|a.png", "/p|a.jpg.png"], ["a.jpg", "a.png", "a.jpg.png"]),
        (["/p|Mr. Smith.jpg", "/p|.jpg"], ["Mr. Smith", ".jpg"]),
        # As annotation files name them: a path may end another.
        (["/v1|0.jpg", "/v2|0.jpg", "/x/v2|0.jpg"], ["v1/0", "v2/0", "x/v2/0"]),
        (["/|b.jpg", "/b|b.png"], ["b", "b/b"]),
        (["/|c.jpg", "/|c.jpg", "/|c.jpg_2.jpg"], ["c.jpg", "c.jpg_3", "c.jpg_2"]),
        (["/p|a\\b.jpg", "/p|a%5Cb.jpg", "/p|\udcff.jpg"],
         ["a%5Cb.jpg", "p/a%5Cb.jpg", "%FF"]),
    ],
)  # fmt: skip
def test_the_shortest_path_that_tells_apart(files, expected):
    assert ids(*files) == expected


def test_ids_of_an_earlier_run_stay():
    known = {"/p/day1/a.jpg": "a"}
    assert ids("/p/day1|a.jpg", "/p/day2|a.jpg", known=known) == ["a", "day2/a"]
    assert ids("/p/day1|a.jpg", "/p/day1|a.png", known=known) == ["a", "a.png"]
    # Also those of photographs that are not given this time.
    assert ids("/p/day2|a.jpg", known=known) == ["day2/a"]
    known["/p/day2/a.jpg"] = "day2/a"
    assert ids("/p/day2|a.jpg", known=known) == ["day2/a"]


def test_names_of_files():
    for photo_id, file, name in (
        ("day/a", "/p/day/a.jpg", "day/a.jpg"),
        ("a.jpg", "/p/a.jpg", "a.jpg"),
        ("a.jpg", "/p/a.jpg.jpg", "a.jpg.jpg"),
        ("f", "/p/f", "f"),
        ("%FF", "/p/\udcff.JPG", "%FF.JPG"),
    ):
        assert file_name(photo_id, pathlib.Path(file)) == name


def test_names_are_escaped():
    assert escaped("Zürich 1%.jpg") == "Zürich 1%.jpg"
    assert escaped("a\\b\n\udcff\ud800") == "a%5Cb%0A%FF%ED%A0%80"
