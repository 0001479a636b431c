"""The end of a part: say that it is finished, and merge where it was the last."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.runs import parts
from experiments.runs.parts import Part, Report
from experiments.runs.store import Store

# From the ids of all images, what failed, seconds per stage, and each part's entry in the summary:
# write what is made of all images at once, print it, and give the exit status.
Conclude = Callable[
    [Sequence[str], Sequence[Mapping[str, str]], Mapping[str, float], Sequence[dict[str, Any]]], int
]

_MISSING = {
    True: "at work",
    False: "missing: run the same command with --part={} (in place of --distributed)",
}


def finish(store: Store, part: Part, report: Report, conclude: Conclude) -> int:
    """Leave the report of a part; the exit status is 1 where an image failed.

    Of processes that finish at the same time one merges, and the others find that done.
    """
    # What is closed is there for every machine to see, before the report says so.
    store.lines.close()
    store.segments.close()
    parts.write_report(store.folder, part, report)
    with store.alone():
        reports = parts.read_reports(store.folder, part, report.work)
        missing = {
            sibling: store.at_work(sibling) for sibling, found in reports.items() if found is None
        }
        if not missing:
            entries = [found.summary(sibling) for sibling, found in reports.items()]
            if store.read_summary().get("parts") == entries:
                print(f"part {part} is done; another process has merged all parts")
                return 1 if report.failures else 0
            visited = parts.in_order([found.visited for found in reports.values()])
            place = {image: number for number, image in enumerate(visited)}
            failures = [failure for found in reports.values() for failure in found.failures]
            failures.sort(key=lambda failure: place[failure["id"]])
            store.merge(visited)
            return conclude(visited, failures, parts.total_seconds(reports.values()), entries)
    print(f"part {part} is done: {len(report.visited)} images")
    for sibling, at_work in missing.items():
        print(f"part {sibling} is {_MISSING[at_work].format(sibling)}")
    print(f"whoever finishes last writes {store.summary_path} and prints the table")
    return 1 if report.failures else 0

