"""Which records of a dataset are read: a list of frames, the paper's rule, a number of them."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence

from experiments.datasets.records import Dataset, Record, passes_paper_rule
from specjax import SpecjaxError
from specjax._lists import read_list
from specjax.images import SUFFIXES


def select_frames(dataset: Dataset, ids: Sequence[str], frames: pathlib.Path) -> Dataset:
    """Keeps the records that a text file lists, one `video/frame` a line, in the dataset's order.

    A name may have an extension and leading folders; it may also leave out the leading folders of
    an id where that is unambiguous. Empty lines and lines that begin with `#` do not count. Names
    that match no record make a warning of the dataset.

    Args:
      dataset: the dataset.
      ids: the ids of all its records.
      frames: the text file.

    Raises:
      SpecjaxError: no such file, an empty one, a name that fits several records, or no match.
    """
    file = f"--frames {str(frames)!r}"
    listing = read_list(frames, name=file, what="frames")
    names = list(listing.lines.values())
    find = _matcher(ids)
    selected, unmatched = set(), []
    for name in names:
        matches = find(name)
        if len(matches) > 1:
            raise SpecjaxError(
                f"{file}: {name!r} fits {len(matches)} records ({matches[0]!r}, {matches[1]!r}, "
                "...): write the leading folders too"
            )
        if not matches:
            unmatched.append(name)
        selected.update(matches)
    if not selected:
        raise SpecjaxError(
            f"{file}: none of its {len(names)} names is in the dataset (the first is "
            f"{names[0]!r}; an id of the dataset is {ids[0]!r})"
        )
    warnings = dataset.warnings
    if unmatched:
        warnings += (
            f"{file}: {len(unmatched)} of {len(names)} frames are not in the dataset: "
            f"{', '.join(unmatched[:3])}{' ...' if len(unmatched) > 3 else ''}",
        )

    def records() -> Iterator[Record]:
        return (record for record in dataset.records() if record.id in selected)

    identity = {**dataset.identity, "frames_sha256": listing.sha256}
    return dataclasses.replace(
        dataset, identity=identity, records=records, warnings=warnings, count=len(selected)
    )


def apply_paper_rule(dataset: Dataset) -> Dataset:
    """Keeps the records of the paper's test split, judged by their instance maps alone.

    A record whose annotation cannot be read stays, so that its reader records the failure.

    Raises:
      SpecjaxError: the dataset has no annotations.
    """
    if not dataset.annotated:
        raise SpecjaxError(
            f"--paper_filter needs annotations, and dataset {dataset.name!r} has none here: "
            "leave the flag out"
        )

    def passes(record: Record) -> bool:
        assert record.read_instances is not None
        try:
            return passes_paper_rule(record.read_instances())
        except SpecjaxError:
            return True

    identity = {**dataset.identity, "paper_filter": "true"}
    return dataclasses.replace(
        dataset,
        identity=identity,
        records=lambda: filter(passes, dataset.records()),
        count=None,
    )


def take(dataset: Dataset, limit: int) -> Dataset:
    """Keeps the first `limit` records. Not part of the identity: a run may be extended.

    Raises:
      SpecjaxError: a limit below 1.
    """
    if limit < 1:
        raise SpecjaxError(f"--limit={limit}: give 1 or more, or leave it out")
    return dataclasses.replace(
        dataset,
        records=lambda: itertools.islice(dataset.records(), limit),
        count=None if dataset.count is None else min(dataset.count, limit),
    )


def _matcher(ids: Sequence[str]) -> Callable[[str], list[str]]:
    """From a listed name to the ids that it may mean."""
    whole = set(ids)
    by_ending: dict[str, list[str]] = {}
    for record_id in ids:
        for ending in _endings(record_id)[1:]:
            by_ending.setdefault(ending, []).append(record_id)

    def find(name: str) -> list[str]:
        written = name.replace("\\", "/").removeprefix("./")
        stem, dot, suffix = written.rpartition(".")
        bare = stem if dot + suffix.lower() in SUFFIXES else written
        for candidate in dict.fromkeys((bare, written)):
            endings = _endings(candidate)
            for ending in endings:  # the longest that is an id
                if ending in whole:
                    return [ending]
            if endings and endings[0] in by_ending:
                return by_ending[endings[0]]
        return []

    return find


def _endings(path: str) -> list[str]:
    """The path, and what is left of it without its first folder, its first two folders ..."""
    names = [name for name in path.split("/") if name]
    return ["/".join(names[start:]) for start in range(len(names))]
