"""An output folder: files written whole, locks, and the journal of what is done."""

import errno
import fcntl
import os
import stat
import subprocess
import sys

import pytest

from specjax._folder import (
    Held,
    Journal,
    OutputError,
    lock,
    refuse_differing,
    write_atomically,
    write_json,
)
from specjax.errors import SpecjaxError
from tests.support.full_disk import no_file_longer_than
from tests.support.run_binary import ROOT


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


def test_lines_that_no_longer_hold_are_replaced(tmp_path):
    good = {1}
    paths = [tmp_path / name for name in ("own.jsonl", "other.jsonl")]
    for path, score in zip(paths, (1, 2), strict=True):
        journal = Journal(path)
        journal.append([line("a", score=score), line("b", score=1)])
        journal.close()

    def opened():
        return Journal(paths[0], paths[1:], lambda found: found["score"] in good)

    assert opened().get("a", "boc")["score"] == 1 and not opened().outdated("a", "boc")
    good = {2}
    assert opened().get("a", "boc")["score"] == 2  # of the other file
    assert opened().outdated("b", "boc") and opened().get("b", "boc") is None
    assert not opened().outdated("c", "boc")
    assert [found["id"] for found in opened().ordered(["b", "a"])] == ["a"]
    good = {3}
    journal = opened()
    journal.append([line("a", score=3)])
    journal.append([line("a", score=3, more=True)])  # known already
    journal.close()
    for again in (journal, opened()):
        assert again.get("a", "boc") == line("a", score=3)
    assert Journal(paths[0]).get("a", "boc")["score"] == 3  # the last line of a file


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
    with no_file_longer_than(len(before) + 9):
        with pytest.raises(SpecjaxError, match="free some space"):
            journal.append([line("b")])
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
    with pytest.raises(SpecjaxError, match=r"file\.bin.*another folder"):
        write_atomically(path / "below", lambda stream: stream.write(b""))
    path.with_name("folder").mkdir()
    with pytest.raises(SpecjaxError, match="folder"):
        write_json(path.with_name("folder"), {})
    assert sorted(other.name for other in path.parent.iterdir()) == ["file.bin", "folder"]


def test_one_process_holds_a_lock(tmp_path):
    path = tmp_path / "lock"
    with lock(path), pytest.raises(Held), lock(path):
        pass
    with lock(path):
        pass


def test_a_killed_process_lets_go(tmp_path):
    code = (
        "import pathlib, sys\n"
        "from specjax._folder import lock\n"
        "with lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()"
    )
    path = tmp_path / "lock"
    command = [sys.executable, "-c", code, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Held), lock(path):
            pass
        process.kill()
        with lock(path, wait=True):
            assert process.wait() != 0


def test_where_no_lock_can_be_had(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot lock .*file.*another folder") as caught:
        with lock(tmp_path / "file" / "lock"):
            pass
    assert caught.value.parameter == "output_dir"

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    # As a network file system without locks does.
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError, match=r"cannot lock .*lock: .*another folder"):
        with lock(tmp_path / "lock"):
            pass


def test_differing_settings_are_named(tmp_path):
    refuse_differing(tmp_path, {"N": 1}, {"N": 1})
    with pytest.raises(OutputError, match="N was 1, now 2; M was null, now 1"):
        refuse_differing(tmp_path, {"N": 1}, {"N": 2, "M": 1})
