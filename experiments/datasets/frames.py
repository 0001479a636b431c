"""Which records of a dataset are read: a list of frames, the paper's rule, a number of them."""

import dataclasses
import hashlib
import itertools
import pathlib
from collections.abc import Callable, Iterator, Sequence

from experiments.datasets.records import Dataset, Record, passes_paper_rule
from specjax.errors import SpecjaxError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")


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
      SpecjaxError: no such file, an empty one, a name that fits several records, or no match at all.
    """
    try:
        data = frames.read_bytes()
        lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
    except OSError as error:
        raise SpecjaxError(f"--frames {str(frames)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SpecjaxError(f"--frames {str(frames)!r} is no text file") from None
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise SpecjaxError(f"--frames {str(frames)!r} lists no frames")
    find = _matcher(ids)
    selected, unmatched = set(), []
    for name in names:
        matches = find(name)
        if len(matches) > 1:
            raise SpecjaxError(
                f"--frames {str(frames)!r}: {name!r} fits {len(matches)} records "
                f"({matches[0]!r}, {matches[1]!r}, ...): write the leading folders too"
            )
        if not matches:
            unmatched.append(name)
        selected.update(matches)
    if not selected:
        raise SpecjaxError(
            f"--frames {str(frames)!r}: none of its {len(names)} names is in the dataset "
            f"(the first is {names[0]!r}; an id of the dataset is {ids[0]!r})"
        )
    warnings = dataset.warnings
    if unmatched:
        warnings += (
            f"--frames {str(frames)!r}: {len(unmatched)} of {len(names)} frames are not in the "
            f"dataset: {', '.join(unmatched[:3])}{' ...' if len(unmatched) > 3 else ''}",
        )

    def records() -> Iterator[Record]:
        return (record for record in dataset.records() if record.id in selected)

    identity = {**dataset.identity, "frames_sha256": hashlib.sha256(data).hexdigest()}
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
        parts = record_id.split("/")
        for start in range(1, len(parts)):
            by_ending.setdefault("/".join(parts[start:]), []).append(record_id)

    def find(name: str) -> list[str]:
        written = name.replace("\\", "/").removeprefix("./")
        stem, dot, suffix = written.rpartition(".")
        bare = stem if dot and "." + suffix.lower() in _SUFFIXES else written
        for candidate in dict.fromkeys((bare, written)):
            parts = [part for part in candidate.split("/") if part]
            for start in range(len(parts)):  # the longest ending that is an id
                ending = "/".join(parts[start:])
                if ending in whole:
                    return [ending]
            if "/".join(parts) in by_ending:
                return by_ending["/".join(parts)]
        return []

    return find
