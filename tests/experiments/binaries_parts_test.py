"""Runs in parts, in processes of their own, beside the same run in one process."""

import json
import signal

import pytest

from tests.support.run_binary import (
    assert_refused,
    contents,
    finish,
    read_lines,
    run,
    stalled,
    start,
    wait_for_lines,
)
from tests.support.tiny_datasets import repeat_voc


@pytest.fixture(scope="module")
def many(world, tmp_path_factory):
    """Flags of a dataset of 27 images, and their ids."""
    folder = tmp_path_factory.mktemp("many") / "voc"
    ids = repeat_voc(world.folder / "voc", folder, 9)
    flags = [world.checkpoint, "--N=16", "--image_size=112", "--dataset=voc"]
    return [*flags, f"--data_dir={folder}", "--save=labels,tokens,gallery,coco"], ids


@pytest.fixture(scope="module")
def whole(many, tmp_path_factory):
    """The run in one process."""
    finished = run("instance", tmp_path_factory.mktemp("whole") / "run", *many[0])
    assert finished.status == 0 and finished.stderr == ""
    return finished


@pytest.fixture(scope="module")
def foreground(many, tmp_path_factory):
    """The run of a smaller binary, for processes of their own, which must start and compile."""
    finished = run("fgbg", tmp_path_factory.mktemp("foreground") / "run", *many[0])
    assert finished.status == 0 and finished.stderr == ""
    return finished


def assert_same(finished, whole):
    """The same numbers and bytes as from one process."""
    assert contents(finished.folder) == contents(whole.folder)
    found, expected = finished.summary, whole.summary
    for key in ("results", "config", "warnings", "failures", "versions"):
        assert found[key] == expected[key]
    assert set(found) == {*expected, "parts"}


def part_lines(folder, name):
    return list(read_lines(folder / "parts" / name))


def test_two_parts_at_once_equal_the_whole(many, foreground, tmp_path):
    flags, ids = many
    folder = tmp_path / "parts"
    started = [start("fgbg", folder, *flags, f"--part={part}/2") for part in (1, 2)]
    ended = [finish(process, folder) for process in started]
    assert [(one.status, one.stderr) for one in ended] == [(0, ""), (0, "")]
    assert_same(ended[0], foreground)
    assert part_lines(folder, "1-of-2") == [(name, "M=16") for name in ids[::2]]
    assert part_lines(folder, "2-of-2") == [(name, "M=16") for name in ids[1::2]]
    # One of the two has merged and printed the table.
    table = foreground.stdout.splitlines()[:3]
    merged = [one.stdout.splitlines()[:3] == table for one in ended]
    assert sorted(merged) == [False, True]
    assert ended[merged.index(False)].stdout.startswith(f"part {merged.index(False) + 1}/2 is done")
    entries = ended[0].summary["parts"]
    assert [(entry["part"], entry["images"]) for entry in entries] == [("1/2", 14), ("2/2", 13)]
    seconds = ended[0].summary["seconds"]
    for stage in ("backbone", "foreground", "total"):
        parts = sum(entry["seconds"][stage] for entry in entries)
        assert seconds[stage] == pytest.approx(parts, abs=0.002)


def test_a_killed_part_is_done_by_the_same_command_again(many, foreground, tmp_path):
    flags, ids = many
    folder = tmp_path / "killed"
    lines = folder / "parts" / "2-of-2" / "per_image.jsonl"
    # One batch of four is done, the next lacks its last image.
    with stalled("fgbg", folder, *flags, "--part=2/2", image=ids[1::2][7]) as victim:
        wait_for_lines(lines, 4, victim)
        first = run("fgbg", folder, *flags, "--part=1/2")
        assert first.status == 0 and first.stderr == ""
        assert first.stdout.splitlines()[:2] == [
            "part 1/2 is done: 14 images", "part 2/2 is running",
        ]  # fmt: skip
    assert victim.returncode == -signal.SIGKILL
    before = lines.read_bytes()
    assert before.count(b"\n") == 4
    assert not (folder / "summary.json").exists() and not (folder / "per_image.jsonl").exists()
    made = {path: path.stat().st_mtime_ns for path in (folder / "labels").rglob("*.png")}
    assert len(made) == 14 + 4
    others = (folder / "parts" / "1-of-2" / "per_image.jsonl").read_bytes()
    first = run("fgbg", folder, *flags, "--part=1/2")
    assert first.stdout.splitlines()[1].startswith(
        "part 2/2 is missing: run the same command with --part=2/2"
    )

    second = run("fgbg", folder, *flags, "--part=2/2")
    assert second.status == 0 and second.stderr == ""
    assert_same(second, foreground)
    # It continued where it was killed, and did not touch what was there.
    assert lines.read_bytes().startswith(before)
    assert part_lines(folder, "2-of-2") == [(name, "M=16") for name in ids[1::2]]
    assert (folder / "parts" / "1-of-2" / "per_image.jsonl").read_bytes() == others
    assert {path: path.stat().st_mtime_ns for path in made} == made
    # A third run finds all done, also in the other part, and merges again.
    again = run("fgbg", folder, *flags, "--part=2/2")
    assert again.status == 0 and again.stdout == second.stdout
    assert "foreground" not in again.summary["parts"][1]["seconds"]
    assert again.summary["parts"][0] == second.summary["parts"][0]
    assert_same(again, foreground)


def test_failures_of_all_parts_are_reported(world, many, tmp_path):
    """The images that fail in one process fail in parts, in the order of the stream."""
    folder = tmp_path / "voc"
    ids = repeat_voc(world.folder / "voc", folder, 2)
    for name in (ids[1], ids[2], ids[3]):
        path = folder / "JPEGImages" / f"{name}.jpg"
        content = path.read_bytes()
        path.unlink()  # the others' link to it stays whole
        path.write_bytes(content[:200])
    flags = [*many[0], f"--data_dir={folder}"]
    whole = run("instance", tmp_path / "whole", *flags)
    assert [failure["id"] for failure in whole.summary["failures"]] == [ids[1], ids[2], ids[3]]
    first = run("instance", tmp_path / "parts", *flags, "--part=2/2")
    second = run("instance", tmp_path / "parts", *flags, "--part=1/2")
    assert (whole.status, first.status, second.status) == (1, 1, 1)
    assert_same(second, whole)
    assert second.stderr.splitlines()[-1].startswith("3 of 6 images failed; see 'failures'")


def test_other_numbers_of_parts_and_none_go_on_with_what_is_there(many, whole, tmp_path):
    flags, ids = many
    first = run("instance", tmp_path, *flags, "--limit=4", "--part=1/2")
    assert first.status == 0 and part_lines(tmp_path, "1-of-2") == [
        (ids[0], "boc"), (ids[2], "boc")]  # fmt: skip
    run("instance", tmp_path, *flags, "--limit=6", "--part=2/3")
    assert part_lines(tmp_path, "2-of-3") == [(ids[1], "boc"), (ids[4], "boc")]
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "labels").rglob("*.png")}
    assert len(made) == 4
    finished = run("instance", tmp_path, *flags)
    assert contents(tmp_path) == contents(whole.folder)
    assert finished.summary["results"] == whole.summary["results"]
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_the_gallery_shows_the_first_images_of_the_stream(many, whole, tmp_path):
    # Five parts have not equally many of the 24 images that are shown.
    for part in range(5, 0, -1):
        finished = run("instance", tmp_path, *many[0], f"--part={part}/5")
    assert len(list((tmp_path / "gallery").iterdir())) == 24
    assert_same(finished, whole)


def test_more_parts_than_images(many, tmp_path):
    flags = [*many[0], "--limit=1"]
    whole = run("instance", tmp_path / "whole", *flags)
    for part in ("3/3", "1/3", "2/3"):
        finished = run("instance", tmp_path / "parts", *flags, f"--part={part}")
        assert finished.status == 0
    assert_same(finished, whole)
    assert [entry["images"] for entry in finished.summary["parts"]] == [1, 0, 0]


def test_a_metric_that_is_added_to_parts(many, tmp_path):
    flags = [*many[0], "--limit=3"]
    for metric in ("boc", "l2"):
        whole = run("instance", tmp_path / "whole", *flags, f"--metric={metric}")
        first = run("instance", tmp_path / "parts", *flags, f"--metric={metric}", "--part=1/2")
        # The second part's report is for another metric, so it does not count here.
        assert "part 2/2 is missing" in first.stdout
        last = run("instance", tmp_path / "parts", *flags, f"--metric={metric}", "--part=2/2")
        assert last.summary["results"] == whole.summary["results"]
    assert last.lines == whole.lines
    assert (last.folder / "coco_l2.json").read_bytes() == (
        whole.folder / "coco_l2.json").read_bytes()  # fmt: skip


def test_fgbg_and_one_part_that_is_all(world, tmp_path):
    flags = world.flags("voc")
    whole = run("fgbg", tmp_path / "whole", *flags, "--M=C,C/3", "--part=1/1", "--overwrite")
    assert not (tmp_path / "whole" / "parts").exists() and "parts" not in whole.summary
    for part in (1, 2):
        finished = run("fgbg", tmp_path / "parts", *flags, "--M=C,C/3", f"--part={part}/2")
    assert_same(finished, whole)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--part=3/2"], ["--part=3/2", "1/2 and 2/2"]),
        (["--part="], ["--part=", "1/2 and 2/2"]),
        (["--part=1/2", "--overwrite"], ["--overwrite with --part would delete"]),
    ],
)
def test_mistakes(many, tmp_path, flags, words):
    run("instance", tmp_path / "out", *many[0], "--limit=1")
    before = contents(tmp_path / "out")
    assert_refused(run("instance", tmp_path / "out", *many[0], *flags), *words)
    assert contents(tmp_path / "out") == before
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["failures"] == []
    assert not (tmp_path / "out" / "parts").exists()
