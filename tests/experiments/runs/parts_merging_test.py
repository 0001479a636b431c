"""The end of a run in parts: reports, and which part merges."""

import json
import threading

import pytest

from experiments.runs import parts
from experiments.runs.parts import Part
from tests.support.parts import FIRST, SECOND, WORK, line, opened, report, together


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
