"""Segmentation by Ray workers; what needs Ray is skipped where it is not installed."""

import importlib.util
import shutil

import pytest

from examples.ray_segment import _stretches
from tests.support.run_binary import World, assert_refused, finish, run, start

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (the extra 'ray')")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Flags and a folder of nine photographs, of which one is broken."""
    world = World(tmp_path_factory.mktemp("world"))
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        for path in world.photos.iterdir():
            shutil.copy(path, folder / f"{path.stem}_{number}.jpg")
    broken = folder / "2007_000001_1.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--num_instances=3"]
    return [*flags, "--save=labels,tokens,overlays,gallery,coco,features", folder]


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if not name.startswith(".lock") and "/.writing-" not in name and name != "summary.json"
    }


def assert_same(finished, whole):
    assert contents(finished.folder) == contents(whole.folder)
    assert finished.stdout.replace(str(finished.folder), "") == whole.stdout.replace(
        str(whole.folder), ""
    )
    told, expected = finished.summary, whole.summary
    for key in ("results", "failures", "warnings"):
        assert told[key] == expected[key]
    assert told["config"] == {**expected["config"], "devices": told["config"]["devices"]}
    assert len(told["config"]["devices"]) == 1


@needs_ray
def test_two_workers_give_what_one_process_gives(photos, tmp_path):
    whole = run("segment", tmp_path / "whole", *photos)
    folder = tmp_path / "ray"
    finished = finish(start("ray_segment", folder, *photos, "--workers=2"), folder)
    assert (finished.status, whole.status) == (1, 1), finished.stderr
    assert_same(finished, whole)
    assert [failure["id"] for failure in finished.summary["failures"]] == ["2007_000001_1"]
    assert "skipped 2007_000001_1" in finished.stderr and "Traceback" not in finished.stderr
    assert finished.summary["seconds"]["foreground"] > 0


@needs_ray
def test_workers_go_on_where_a_process_was_interrupted(photos, tmp_path):
    whole = run("segment", tmp_path / "whole", *photos, "--metric=boc,l2")
    folder = tmp_path / "ray"
    run("segment", folder, *photos, "--metric=boc,l2")
    # Two images are to be done again, one of them for want of a file.
    lines = (folder / "per_image.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"2007_000000_2"' not in line]
    assert len(kept) == len(lines) - 2
    (folder / "per_image.jsonl").write_text("".join(kept))
    (folder / "overlays_l2" / "2007_000002_0.png").unlink()
    made = {path: path.stat().st_mtime_ns for path in folder.glob("*/*.png")}
    finished = finish(start("ray_segment", folder, *photos, "--metric=boc,l2"), folder)
    assert finished.status == 1, finished.stderr
    assert_same(finished, whole)
    again = {path.stem for path, stamp in made.items() if path.stat().st_mtime_ns != stamp}
    assert again == {"2007_000000_2", "2007_000002_0"}


def test_neighbours_are_done_together():
    rows = [{"place": place, "id": str(place)} for place in (3, 4, 5, 9, 11, 12)]
    found = [(3, ["3", "4", "5"]), (9, ["9"]), (11, ["11", "12"])]
    assert list(_stretches(rows)) == found and list(_stretches([])) == []


def test_mistakes(photos, tmp_path):
    assert_refused(run("ray_segment", tmp_path), "no images given")
    assert_refused(run("ray_segment", tmp_path, *photos, "--distributed"), "--distributed", "Ray")
    if not HAS_RAY:
        assert_refused(run("ray_segment", tmp_path, *photos), "needs Ray", "pip install 'ray[data]")
    assert not any(tmp_path.iterdir())
