"""A run in parts: the records of a part, its report, and which part merges."""

import dataclasses
import json
import threading

import pytest

from experiments.runs import folder as folder_module
from experiments.runs import parts
from experiments.runs.folder import RunFolder
from experiments.runs.parts import WHOLE, Part, Report, Share, part_of
from specjax._folder import write_json
from specjax.errors import SpecjaxError

FIRST, SECOND = Part(0, 2), Part(1, 2)
WORK = {"settings": ["boc"], "save": [], "images": 3, "ids_sha256": "0"}


@dataclasses.dataclass(frozen=True)
class Record:
    id: str


def opened(folder, part=WHOLE, **more):
    return RunFolder(folder, {"N": 1}, ["boc"], overwrite=False, part=part, **more)


def line(image, setting="boc", **more):
    return {"id": image, "setting": setting, **more}


def report(*visited, work=WORK, failures=(), **seconds):
    failed = [{"id": image, "error": "broken"} for image in failures]
    return Report(dict(work), list(visited), failed, seconds, "cpu: cpu")


def together(work, siblings):
    """Does the work of all parts at the same time."""
    barrier = threading.Barrier(len(siblings))

    def started(part):
        barrier.wait()
        work(part)

    threads = [threading.Thread(target=started, args=[part]) for part in siblings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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


class Conclusion:
    """Records the call that the last part makes, and its arguments."""

    def __init__(self, store):
        self.store, self.calls = store, []

    def __call__(self, whole, entries):
        failed = [failure["id"] for failure in whole.failures]
        self.calls.append((whole.visited, failed, whole.seconds))
        self.store.write_summary({"parts": entries})


def test_the_last_part_merges(tmp_path, capsys):
    with opened(tmp_path, FIRST) as first, opened(tmp_path, SECOND) as second:
        first.lines.append([line("a"), line("a", "l2")])
        first.lines.append([line("c", score=3)])
        second.lines.append([line("b")])
        second.segments.append([line("b", masks=[])])
        ends = Conclusion(first), Conclusion(second)
        first_report, second_report = (
            report("a", "c", failures="ca", write=1.0),
            report("b", failures="b", write=2),
        )
        assert first.finish(first_report, ends[0]) == 1
        assert capsys.readouterr().out.splitlines() == [
            "part 1/2 is done: 2 images",
            "part 2/2 is running",
            f"the last part to finish writes {tmp_path / 'summary.json'} and prints the table",
        ]
        assert not (tmp_path / "summary.json").exists() and ends[0].calls == []
        assert second.finish(second_report, ends[1]) == 1
        assert ends[1].calls == [(["a", "b", "c"], ["a", "b", "c"], {"write": 3.0})]
        # As if the first had seen, only now, that all are finished.
        assert first.finish(first_report, ends[0]) == 1
        assert ends[0].calls == []
        assert "another process has merged" in capsys.readouterr().out
    text = (tmp_path / "per_image.jsonl").read_text()
    assert [json.loads(raw) for raw in text.splitlines()] == [
        line("a"), line("a", "l2"), line("b"), line("c", score=3)]  # fmt: skip
    assert json.loads((tmp_path / "segments.jsonl").read_text()) == line("b", masks=[])


def test_of_parts_that_finish_together_one_merges(tmp_path, monkeypatch):
    siblings = Part(0, 4).siblings()
    all_written = threading.Barrier(4)
    write_report = parts.write_report

    def written(*arguments):
        write_report(*arguments)
        all_written.wait()

    monkeypatch.setattr(parts, "write_report", written)
    stores = [opened(tmp_path, part) for part in siblings]
    ends = [Conclusion(store) for store in stores]

    def end(part):
        own_report = report(str(part.index), work={**WORK, "images": 4})
        stores[part.index].finish(own_report, ends[part.index])

    together(end, siblings)
    for store in stores:
        store.__exit__()
    assert [call[0] for end in ends for call in end.calls] == [["0", "1", "2", "3"]]


@pytest.mark.parametrize(
    "unfit",
    [
        report("b", work={**WORK, "settings": ["l2"]}),
        report("b", work={**WORK, "save": ["labels"]}),
        report("b", work={**WORK, "ids_sha256": "1"}),
        report("b", "d"),
        report(),
    ],
)
def test_only_parts_of_the_same_work_merge(tmp_path, capsys, unfit):
    with opened(tmp_path, SECOND):
        parts.write_report(tmp_path, SECOND, unfit)
    with opened(tmp_path, FIRST) as first:
        end = Conclusion(first)
        assert first.finish(report("a", "c"), end) == 0
        assert end.calls == []
        assert "part 2/2 is missing: run" in capsys.readouterr().out
        parts.write_report(tmp_path, SECOND, report("b"))
        first.finish(report("a", "c"), end)
        assert len(end.calls) == 1


def test_a_part_whose_images_changed_is_done_again(tmp_path, capsys):
    photos = {name: tmp_path / f"{name}.jpg" for name in "abc"}
    for path in photos.values():
        path.write_bytes(b"before")

    def done(part, images, end):
        with opened(tmp_path / "out", part) as store:
            for name, path in photos.items():
                store.sources.add(name, [path])
            for name in images:
                read = store.sources.versions(name)
                store.lines.append([line(name, read=read, seen=photos[name].read_text())])
            store.finish(report(*images), end or Conclusion(store))

    done(FIRST, "ac", None)
    photos["a"].write_bytes(b"afterwards")
    ends = []
    done(SECOND, "b", ends.append)
    assert ends == [] and "part 1/2 is missing: run" in capsys.readouterr().out
    done(FIRST, "ac", None)
    text = (tmp_path / "out" / "per_image.jsonl").read_text()
    lines = [json.loads(raw) for raw in text.splitlines()]
    assert [line["seen"] for line in lines] == ["afterwards", "before", "before"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"visited": 3}', "\xff"])
def test_a_damaged_report_is_none(tmp_path, text):
    with opened(tmp_path, FIRST):
        (tmp_path / "parts" / "1-of-2" / "report.json").write_bytes(text.encode("latin-1"))
    own = report("b")
    assert parts.read_reports(tmp_path, SECOND, own) == {FIRST: None, SECOND: own}


def test_a_part_that_starts_again_is_not_finished(tmp_path):
    with opened(tmp_path, FIRST):
        parts.write_report(tmp_path, FIRST, report("a", "c"))
    own = report("b")
    assert parts.read_reports(tmp_path, SECOND, own)[FIRST] is not None
    with opened(tmp_path, FIRST):
        assert parts.read_reports(tmp_path, SECOND, own)[FIRST] is None


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
