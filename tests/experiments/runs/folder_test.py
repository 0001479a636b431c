"""The folder of a run: who may use it, what its files are called, what overwriting deletes."""

import json
import os

import pytest

from experiments.runs.folder import RunFolder
from specjax.errors import SpecjaxError


def line(image, setting="boc", **more):
    return {"id": image, "setting": setting, **more}


def test_a_run_holds_its_folder(tmp_path):
    folder = tmp_path / "deep" / "er"
    with RunFolder(folder, {"N": 1}, ["boc"], overwrite=False) as run:
        run.lines.append([line("a")])
        with pytest.raises(SpecjaxError, match="another process"):
            RunFolder(folder, {"N": 1}, ["boc"], overwrite=False)
    with RunFolder(folder, {"N": 1}, ["boc"], overwrite=False) as run:
        assert run.lines.get("a", "boc") == line("a")
    with pytest.raises(SpecjaxError, match="N was 1, now 2"):
        RunFolder(folder, {"N": 2}, ["boc"], overwrite=False)
    with pytest.raises(SpecjaxError, match="N was 1, now null; M was null, now 1"):
        RunFolder(folder, {"M": 1}, ["boc"], overwrite=False)
    # A refusal releases the folder.
    with RunFolder(folder, {"N": 2}, ["boc"], overwrite=True) as run:
        assert run.lines.get("a", "boc") is None


def test_identities_are_compared_as_they_are_stored(tmp_path):
    for _ in range(2):
        with RunFolder(tmp_path, {"sizes": (1, 2), "none": None}, [], overwrite=False) as run:
            run.write_summary({"results": []})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"results": []}


def names(run, setting):
    kinds = ("coco", "coco_results", "gallery")
    files = [run.path(kind, setting) for kind in kinds]
    files += [run.path(kind, setting, "a/b.c") for kind in ("labels", "features")]
    return [path.relative_to(run.folder).as_posix() for path in files]


def test_a_file_keeps_its_name_whatever_is_added(tmp_path):
    plain = ["coco.json", "coco_results.json", "gallery.png", "labels/a/b.c.png",
             "features/a/b.c.npz"]  # fmt: skip
    dot = ["coco_dot.json", "coco_results_dot.json", "gallery_dot.png", "labels_dot/a/b.c.png",
           "features/a/b.c.npz"]  # fmt: skip
    for settings in (["boc"], ["dot"], ["boc", "dot"]):
        with RunFolder(tmp_path / "alone", {}, settings, overwrite=False) as run:
            assert names(run, "boc") == plain and names(run, "dot") == dot
    for settings in (["M=128", "dot"], ["M=128"]):
        with RunFolder(tmp_path / "several", {}, settings, overwrite=False) as run:
            assert names(run, "dot") == dot
            assert run.path("labels", "M=128", "a") == tmp_path / "several/labels_M128/a.png"


@pytest.mark.parametrize("damage", [None, "run.json", "per_image.jsonl"])
def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(tmp_path, damage):
    with RunFolder(tmp_path, {}, ["boc"], overwrite=False) as run:
        run.lines.append([line("a"), {**line("a"), "setting": "dot"}])
        made = [run.path(kind, name, "a") for kind in ("labels", "overlays", "features")
                for name in ("boc", "dot")]  # fmt: skip
        made += [run.path(kind, name) for kind in ("coco", "gallery") for name in ("boc", "dot")]
        foreign = [tmp_path / name for name in ("coco_gt.json", "gallery2.png", "labels_l1/a.png")]
        for path in (*made, *foreign):
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
    if damage:
        (tmp_path / damage).write_text("{")
    with RunFolder(tmp_path, {}, ["boc"], overwrite=True):
        assert all(path.exists() for path in foreign)
        left = [path.name for path in made if path.exists()]
        # Without the lines nobody knows of "dot".
        unknown = {"a.png", "coco_dot.json", "gallery_dot.png"}
        assert set(left) == (unknown if damage == "per_image.jsonl" else set())


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path):
    with RunFolder(tmp_path, {}, ["boc"], overwrite=False) as run:
        (tmp_path / "labels").mkdir()
        old, new, kept = (
            tmp_path / "labels" / name for name in (".writing-a", ".writing-b", "c.png")
        )
        for path in (old, new, kept):
            path.write_bytes(b"x")
        for path in (old, kept):
            os.utime(path, (1e9, 1e9))
        run.merge([])
        assert [path.exists() for path in (old, new, kept)] == [False, True, True]
