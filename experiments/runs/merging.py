"""The end of a part: say that it is finished, and merge all of them where it was the last."""

from collections.abc import Callable, Sequence
from typing import Any

from experiments.runs import parts
from experiments.runs.folder import RunFolder
from experiments.runs.parts import Part, Report, Whole

# From all parts together, and each one's entry in the summary: write what is made of all images at
# once, and print it.
Conclude = Callable[[Whole, Sequence[dict[str, Any]]], None]

_MISSING = {True: "at work", False: "missing: run the same command with --part={}"}


def finish(folder: RunFolder, part: Part, report: Report, conclude: Conclude) -> int:
    """Leave the report of a part; the exit status is 1 where an image failed.

    Of processes that finish at the same time one merges, and the others find that done.
    """
    # What is closed is there for every machine to see, before the report says so.
    folder.close()
    parts.write_report(folder.folder, part, report)
    with folder.alone():
        reports = parts.read_reports(folder.folder, part, report)
        missing = {
            sibling: folder.at_work(sibling) for sibling, found in reports.items() if found is None
        }
        if not missing:
            entries = [found.entry(sibling) for sibling, found in reports.items() if found]
            if not part.whole and folder.read_summary().get("parts") == entries:
                print(f"part {part} is done; another process has merged all parts")
                return 1 if report.failures else 0
            whole = parts.together([found for found in reports.values() if found])
            folder.merge(whole.visited)
            conclude(whole, [] if part.whole else entries)
            return 1 if whole.failures else 0
    print(f"part {part} is done: {len(report.visited)} images")
    for sibling, at_work in missing.items():
        print(f"part {sibling} is {_MISSING[at_work].format(sibling)}")
    print(f"the last to finish writes {folder.summary_path} and prints the table")
    return 1 if report.failures else 0
