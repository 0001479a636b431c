"""The resumable store, and the files that are whole or absent."""

import json
import os
import resource
import stat

import pytest

from experiments.runs.journal import Journal
from experiments.runs.store import Store
from specjax._folder import write_atomically, write_json
from specjax.errors import SpecjaxError


def line(image, setting="boc", **more):
    return {"id": image, "setting": setting, **more}


def test_a_journal_remembers(tmp_path):
    path = tmp_path / "lines.jsonl"
    journal = Journal(path)
    journal.append([line("a", score=1), line("a", "l2", score=2)])
    journal.append([line("ä/b", "l2", score=0.1)])
    journal.append([line("a", score=7)])  # known already
    journal.close()
    again = Journal(path)
    assert again.get("a", "boc")["score"] == 1 and again.get("ä/b", "l2")["score"] == 0.1
    assert again.get("ä/b", "boc") is None and again.settings() == ["boc", "l2"]
    assert len(path.read_text().splitlines()) == 3


def test_a_journal_survives_being_cut_anywhere(tmp_path):
    path = tmp_path / "lines.jsonl"
    journal = Journal(path)
    for index in range(3):
        journal.append([line(f"image {index}", score=index)])
    journal.close()
    whole = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        journal = Journal(path)
        known = [index for index in range(3) if journal.get(f"image {index}", "boc")]
        assert known == [index for index in range(3) if ends[index] <= length]
        for index in range(3):
            journal.append([line(f"image {index}", score=index)])
        journal.close()
        assert path.read_bytes() == whole


def test_a_journal_refuses_what_is_no_number(tmp_path):
    journal = Journal(tmp_path / "lines.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        journal.append([line("a", score=float("nan"))])
    assert journal.get("a", "boc") is None


def test_a_journal_that_cannot_be_used(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.mkdir()
    with pytest.raises(SpecjaxError, match="cannot read"):
        Journal(path)
    for content in (b"\xff\n", b"{}\n", b"3\n", b'{"id": [], "setting": ""}\n', b"\n"):
        other = tmp_path / "other.jsonl"
        other.write_bytes(content)
        with pytest.raises(SpecjaxError, match=r"other\.jsonl holds a line"):
            Journal(other)
        assert other.read_bytes() == content


def test_half_a_line_does_not_stay(tmp_path):
    journal = Journal(tmp_path / "lines.jsonl")
    journal.append([line("a")])
    before = (tmp_path / "lines.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 9, limits[1]))
    try:
        with pytest.raises(SpecjaxError, match="free some space"):
            journal.append([line("b")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "lines.jsonl").read_bytes() == before and journal.get("b", "boc") is None
    journal.append([line("b")])
    journal.close()
    assert Journal(tmp_path / "lines.jsonl").get("b", "boc") == line("b")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full device here")
def test_a_full_disk(tmp_path):
    path = tmp_path / "lines.jsonl"
    journal = Journal(path)
    path.symlink_to("/dev/full")
    with pytest.raises(SpecjaxError, match=r"cannot write .*free some space"):
        journal.append([line("a")])
    journal.close()


def test_a_store_holds_its_folder(tmp_path):
    folder = tmp_path / "deep" / "er"
    with Store(folder, {"N": 1}, ["boc"], overwrite=False) as store:
        store.lines.append([line("a")])
        with pytest.raises(SpecjaxError, match="another process"):
            Store(folder, {"N": 1}, ["boc"], overwrite=False)
    with Store(folder, {"N": 1}, ["boc"], overwrite=False) as store:
        assert store.lines.get("a", "boc") == line("a")
    with pytest.raises(SpecjaxError, match="N was 1, now 2"):
        Store(folder, {"N": 2}, ["boc"], overwrite=False)
    with pytest.raises(SpecjaxError, match="N was 1, now null; M was null, now 1"):
        Store(folder, {"M": 1}, ["boc"], overwrite=False)
    # A refusal lets go of the folder.
    with Store(folder, {"N": 2}, ["boc"], overwrite=True) as store:
        assert store.lines.get("a", "boc") is None


def test_identities_are_compared_as_they_are_stored(tmp_path):
    for _ in range(2):
        with Store(tmp_path, {"sizes": (1, 2), "none": None}, [], overwrite=False) as store:
            store.write_summary({"results": []})
    assert json.loads((tmp_path / "summary.json").read_text()) == {"results": []}


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "new" / "file.bin"
    write_atomically(path, lambda stream: stream.write(b"first"))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask

    def fail(stream):
        stream.write(b"second")
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_atomically(path, fail)
    assert path.read_bytes() == b"first"
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"score": float("nan")})
    with pytest.raises(SpecjaxError, match=r"file\.bin.*--output_dir"):
        write_atomically(path / "below", lambda stream: stream.write(b""))
    path.with_name("folder").mkdir()
    with pytest.raises(SpecjaxError, match="folder"):
        write_json(path.with_name("folder"), {})
    assert sorted(other.name for other in path.parent.iterdir()) == ["file.bin", "folder"]


def names(store, setting):
    kinds = ("coco", "coco_results", "gallery")
    files = [store.path(kind, setting) for kind in kinds]
    files += [store.path(kind, setting, "a/b.c") for kind in ("labels", "features")]
    return [path.relative_to(store.folder).as_posix() for path in files]


def test_a_file_keeps_its_name_whatever_is_added(tmp_path):
    plain = ["coco.json", "coco_results.json", "gallery.png", "labels/a/b.c.png",
             "features/a/b.c.npz"]  # fmt: skip
    dot = ["coco_dot.json", "coco_results_dot.json", "gallery_dot.png", "labels_dot/a/b.c.png",
           "features/a/b.c.npz"]  # fmt: skip
    for settings in (["boc"], ["dot"], ["boc", "dot"]):
        with Store(tmp_path / "alone", {}, settings, overwrite=False) as store:
            assert names(store, "boc") == plain and names(store, "dot") == dot
    for settings in (["M=128", "dot"], ["M=128"]):
        with Store(tmp_path / "several", {}, settings, overwrite=False) as store:
            assert names(store, "dot") == dot
            assert store.path("labels", "M=128", "a") == tmp_path / "several/labels_M128/a.png"


@pytest.mark.parametrize("damage", [None, "run.json", "per_image.jsonl"])
def test_overwriting_deletes_what_a_run_wrote_and_nothing_else(tmp_path, damage):
    with Store(tmp_path, {}, ["boc"], overwrite=False) as store:
        store.lines.append([line("a"), {**line("a"), "setting": "dot"}])
        made = [store.path(kind, name, "a") for kind in ("labels", "overlays", "features")
                for name in ("boc", "dot")]  # fmt: skip
        made += [store.path(kind, name) for kind in ("coco", "gallery") for name in ("boc", "dot")]
        mine = [tmp_path / name for name in ("coco_gt.json", "gallery2.png", "labels_l1/a.png")]
        for path in (*made, *mine):
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
    if damage:
        (tmp_path / damage).write_text("{")
    with Store(tmp_path, {}, ["boc"], overwrite=True):
        assert all(path.exists() for path in mine)
        left = [path.name for path in made if path.exists()]
        # Without the lines nobody knows of "dot".
        unknown = {"a.png", "coco_dot.json", "gallery_dot.png"}
        assert set(left) == (unknown if damage == "per_image.jsonl" else set())


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path):
    with Store(tmp_path, {}, ["boc"], overwrite=False) as store:
        (tmp_path / "labels").mkdir()
        old, new, kept = (
            tmp_path / "labels" / name for name in (".writing-a", ".writing-b", "c.png")
        )
        for path in (old, new, kept):
            path.write_bytes(b"x")
        for path in (old, kept):
            os.utime(path, (1e9, 1e9))
        store.merge([])
        assert [path.exists() for path in (old, new, kept)] == [False, True, True]
