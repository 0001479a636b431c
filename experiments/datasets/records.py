"""What every dataset is made of: records, the maps they return, and the rules for their ids.

An instance map is int32 `[H, W]`: 0 is background, 1 and above are instances (numbers may be
missing from the sequence), `VOID` is ignored in scoring.
"""

import dataclasses
import unicodedata
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from specjax import SpecjaxError

VOID = -1


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a dataset; nothing is decoded before one of the two functions is called.

    Attributes:
      id: relative path without extension; a `/` becomes a sub-folder in what is written.
      source: the image file, for error messages.
      read_image: gives the image, uint8 `[H, W, 3]`; raises SpecjaxError.
      read_instances: gives the instance map, int32 `[H, W]`; raises SpecjaxError. None where the
        dataset has no annotation.
    """

    id: str
    source: str
    read_image: Callable[[], np.ndarray]
    read_instances: Callable[[], np.ndarray] | None


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A stream of records.

    Attributes:
      name: the name of the format.
      annotated: whether the records have instance maps.
      identity: what makes it this dataset and not another one; a run that is resumed compares it.
      records: starts the stream anew on each call.
      warnings: what the user should know of it, one line each, for the caller to print.
      count: the number of records; None where it takes decoding to know it.
    """

    name: str
    annotated: bool
    identity: dict[str, str]
    records: Callable[[], Iterator[Record]]
    warnings: tuple[str, ...] = ()
    count: int | None = None


def passes_paper_rule(instances: np.ndarray) -> bool:
    """Whether an instance map belongs to the paper's test split.

    At least two instances, each at least 0.07 of the image, the smallest at least 0.3 of the
    largest. Void pixels count as image, never as an instance.
    """
    _, areas = np.unique(instances[instances > 0], return_counts=True)
    if len(areas) < 2:
        return False
    smallest, largest = int(areas.min()), int(areas.max())
    # In integers: a float comparison would depend on rounding at equality.
    return 100 * smallest >= 7 * instances.size and 10 * smallest >= 3 * largest


def compact_ids(instances: np.ndarray) -> np.ndarray:
    """Renumbers the instances of an int32 map 1..G in ascending order; 0 and void stay."""
    ids = np.unique(instances[instances > 0])
    compacted = np.where(instances > 0, np.searchsorted(ids, instances) + 1, instances)
    return compacted.astype(np.int32)


def check_relative_path(path: str, what: str) -> None:
    """Raises SpecjaxError unless `path` stays below the folder it is joined to.

    `what` names the thing that the path belongs to, for the message.
    """
    if "\\" in path or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
        raise SpecjaxError(
            f"{what} {path!r} holds a backslash, a control character or undecodable bytes: "
            "rename the file"
        )
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise SpecjaxError(
            f"{what} {path!r} is not a plain relative path (no leading '/', no '..'): rename it"
        )


def check_ids(records: Iterable[Record]) -> list[str]:
    """The ids of all records, in order.

    Raises:
      SpecjaxError: an id that is no safe relative path, or that two records share.
    """
    sources: dict[str, str] = {}
    for record in records:
        check_relative_path(record.id, f"{record.source!r}: the id")
        if record.id in sources:
            raise SpecjaxError(
                f"two images have the id {record.id!r}: {sources[record.id]!r} and "
                f"{record.source!r}: rename one, or give the folder that holds both"
            )
        sources[record.id] = record.source
    return list(sources)
