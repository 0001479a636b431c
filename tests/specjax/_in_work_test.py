"""Images in work when a process is killed: `InWork` that is not left is a killed process."""

import pytest

from specjax import SpecjaxError
from specjax._in_work import InWork


def test_an_image_that_kills_twice(tmp_path):
    path = tmp_path / ".in_work"
    first = InWork(path)
    first.begin("abc")
    first.end("a")
    second = InWork(path)
    assert [name for name in "abcd" if second.is_suspect(name)] == ["b", "c"]
    assert second.refusal("b") is None
    second.begin("b")
    third = InWork(path)
    refusal = third.refusal("b")
    assert isinstance(refusal, SpecjaxError) and str(path) in str(refusal)
    assert "\n" not in str(refusal) and "twice" in str(refusal)
    assert third.refusal("c") is None and third.is_suspect("c")
    with third:
        third.begin("c")
        third.end("c")
    # It is remembered, until someone deletes the file.
    assert InWork(path).refusal("b") and not InWork(path).is_suspect("c")


def test_nothing_is_left_of_work_that_was_done(tmp_path):
    path = tmp_path / ".in_work"
    with InWork(path) as in_work:
        in_work.begin("ab")
        in_work.end("a")
        assert path.exists()
    assert not path.exists()
    with InWork(path):
        pass
    assert not path.exists()


def test_an_interruption_is_no_kill(tmp_path):
    path = tmp_path / ".in_work"
    InWork(path).begin("a")
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), InWork(path) as in_work:
            assert in_work.is_suspect("a") and not in_work.refusal("a")
            in_work.begin("a")
            raise KeyboardInterrupt


def test_a_line_that_was_cut(tmp_path):
    path = tmp_path / ".in_work"
    InWork(path).begin("a")
    path.write_bytes(path.read_bytes() + b'[true, ["b')
    in_work = InWork(path)
    assert in_work.is_suspect("a") and not in_work.is_suspect("b")


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for act in (InWork, lambda path: InWork(path / "nowhere" / "x").begin("a")):
        with pytest.raises(SpecjaxError, match=r"cannot write .*folder"):
            act(tmp_path / "folder")
