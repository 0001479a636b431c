"""What tests of runs in parts share: folders, lines and reports of parts, and parts at once."""

import dataclasses
import threading

from experiments.runs.folder import RunFolder
from experiments.runs.parts import WHOLE, Part, Report

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
