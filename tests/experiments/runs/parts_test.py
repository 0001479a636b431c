"""A run in parts: the records of a part, and what parts know of each other."""

import json
import threading

import pytest

from experiments.runs import folder as folder_module
from experiments.runs import parts
from experiments.runs.folder import RunFolder
from experiments.runs.parts import WHOLE, Part, Share, part_of
from specjax._folder import write_json
from specjax.errors import SpecjaxError
from tests.support.parts import FIRST, SECOND, Record, line, opened, report, together


def test_the_forms_of_a_part():
    assert part_of("1/2") == FIRST and part_of(" 2/2") == SECOND and part_of("1/1") == WHOLE
    assert str(part_of("7/12")) == "7/12"
    for text in ("3/2", "0/2", "2", "", "/", "1/0", "-1/2", "a/b", "1/2/3", "1.0/2", "1/10000"):
        with pytest.raises(SpecjaxError, match=rf"--part={text}: .*1/2 and 2/2"):
            part_of(text)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 5, 6])
def test_parts_share_a_stream(count, total):
    ids = [f"image {number}" for number in range(total)]
    records = [Record(name) for name in ids]
    shares = [Share(records, Part(index, count)) for index in range(count)]
    given = [[(place, record.id) for place, record in share] for share in shares]
    for part, placed in zip(Part(0, count).siblings(), given, strict=True):
        assert placed == list(enumerate(ids))[part.index :: count]
        assert len(placed) == part.size(total)
    reports = [report(*(image for _, image in placed)) for placed in given]
    assert parts.together(reports).visited == ids
    assert {share.seen for share in shares} == {total}
    assert len({share.digest() for share in shares}) == 1


def test_another_stream_has_another_digest():
    streams = (["a", "b"], ["b", "a"], ["a"], ["ab"], ["a", "b", "c"], [])
    digests = set()
    for ids in streams:
        share = Share([Record(name) for name in ids], WHOLE)
        assert len(list(share)) == len(ids)
        digests.add(share.digest())
    assert len(digests) == len(streams)


def test_parts_know_what_others_have_done(tmp_path):
    with opened(tmp_path) as store:
        store.lines.append([line("a", by="whole")])
    with opened(tmp_path, FIRST) as first:
        first.lines.append([line("a", by="first"), line("b", by="first")])
        first.segments.append([line("b", masks=[])])
        journal = tmp_path / "parts" / "1-of-2" / "per_image.jsonl"
        assert [json.loads(text)["id"] for text in journal.read_text().splitlines()] == ["b"]
        # An incomplete line, of a process that writes or died: it is ignored and not touched.
        with journal.open("ab") as stream:
            stream.write(b'{"id": "c", "sett')
        before = journal.read_bytes()
        with opened(tmp_path, SECOND) as second:
            assert [second.lines.get(name, "boc") for name in "ab"] == [
                line("a", by="whole"), line("b", by="first")]  # fmt: skip
            assert second.lines.get("c", "boc") is None
            assert second.segments.get("b", "boc") == line("b", masks=[])
            second.lines.append([line("c", by="second")])
        assert journal.read_bytes() == before
    with opened(tmp_path, Part(2, 3)) as third:
        assert [third.lines.get(name, "boc")["by"] for name in "abc"] == [
            "whole", "first", "second"]  # fmt: skip
    # In its own file it is dropped.
    with opened(tmp_path, FIRST):
        assert journal.read_bytes() == before[: before.rindex(b"\n") + 1]


def test_a_damaged_journal_of_another_part_is_named(tmp_path):
    with opened(tmp_path, FIRST):
        (tmp_path / "parts" / "1-of-2" / "per_image.jsonl").write_text("[1]\n")
        with pytest.raises(SpecjaxError, match=r"1-of-2/per_image\.jsonl holds a line"):
            opened(tmp_path, SECOND)
        # The refusal releases the part.
        (tmp_path / "parts" / "1-of-2" / "per_image.jsonl").write_text("")
        opened(tmp_path, SECOND).__exit__()


def test_who_may_work_at_once(tmp_path):
    with opened(tmp_path, FIRST) as store:
        with pytest.raises(SpecjaxError, match="another process is doing part 1/2 of"):
            opened(tmp_path, FIRST)
        with pytest.raises(SpecjaxError, match="another process is doing a part of"):
            opened(tmp_path)
        with store.alone():
            assert [store.at_work(part) for part in FIRST.siblings()] == [True, False]
        with opened(tmp_path, SECOND), opened(tmp_path, Part(0, 3)), store.alone():
            assert [store.at_work(part) for part in FIRST.siblings()] == [True, True]
    with opened(tmp_path), pytest.raises(SpecjaxError, match="another process is writing to"):
        opened(tmp_path, FIRST)
    with opened(tmp_path, SECOND), pytest.raises(SpecjaxError, match="N was 1, now 2"):
        RunFolder(tmp_path, {"N": 2}, ["boc"], overwrite=False, part=FIRST)


def test_one_run_claims_a_new_folder(tmp_path, monkeypatch):
    """Of processes of two runs that start at once, those of one go on."""

    arrived = threading.Semaphore(0)

    def slowly(path, value):
        # Written once all six have asked for the folder.
        for _ in range(6):
            assert arrived.acquire(timeout=60)
        write_json(path, value)

    monkeypatch.setattr(folder_module, "write_json", slowly)
    refused = []

    def claim(part):
        arrived.release()
        try:
            identity = {"N": part.index % 2}
            with RunFolder(tmp_path, identity, ["boc"], overwrite=False, part=part) as store:
                store.lines.append([line(str(part))])
        except SpecjaxError as error:
            refused.append(str(error))

    together(claim, Part(0, 6).siblings())
    assert len(refused) == 3 and all("other settings (N was" in text for text in refused)
    assert len(list((tmp_path / "parts").iterdir())) == 3


def test_overwriting_the_whole_deletes_its_parts(tmp_path):
    with opened(tmp_path, FIRST) as store:
        store.lines.append([line("a"), line("a", "l2")])
        store.path("labels", "l2", "a").parent.mkdir()
    with pytest.raises(SpecjaxError, match="another process"), opened(tmp_path, FIRST):
        RunFolder(tmp_path, {}, ["boc"], overwrite=True)
    assert (tmp_path / "parts").exists()
    with RunFolder(tmp_path, {}, ["boc"], overwrite=True) as store:
        assert store.lines.get("a", "boc") is None
    assert not (tmp_path / "parts").exists() and not (tmp_path / "labels_l2").exists()
    # A folder `parts` in a folder that is not that of a run belongs to somebody else.
    (tmp_path / "other" / "parts").mkdir(parents=True)
    with pytest.raises(SpecjaxError, match=r"'parts' without a run\.json"):
        opened(tmp_path / "other", FIRST)
