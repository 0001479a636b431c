"""What every dataset consists of: records, the rules for their ids, and the choice of records.

An instance map is int32 `[H, W]`: 0 is background, 1 and above are instances (numbers may be
missing from the sequence), `VOID` is ignored in scoring.
"""

import collections
import dataclasses
import itertools
import pathlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from specjax import SpecjaxError
from specjax._lists import read_list
from specjax._remarks import listening
from specjax.images import SUFFIXES

VOID = -1


class Origin(NamedTuple):
    """How the dataset itself names an image; exports carry this."""

    id: int | float | str | None  # None if images have no ids in the dataset
    file_name: str


class Object(NamedTuple):
    """An annotated object with all of its pixels, also those that another object covers."""

    number: int  # in the instance map
    runs: list[int]  # run lengths, as `masks` has them
    crowd: bool
    area: float | None  # in pixels, as the dataset says; None if it does not
    box: tuple[float, float, float, float] | None  # left, top, width, height, as the dataset says


class Objects(NamedTuple):
    """The annotated objects of an image, in the order of the dataset."""

    height: int
    width: int
    objects: Sequence[Object]


@dataclasses.dataclass(frozen=True)
class Record:
    """One image of a dataset; nothing is decoded until one of the two functions is called."""

    id: str  # relative path without extension; a `/` becomes a sub-folder in what is written
    source: str  # the image file, for error messages
    read_image: Callable[[], np.ndarray]  # uint8 `[H, W, 3]`; raises SpecjaxError
    # Returns an instance map; raises SpecjaxError. None if the dataset has no annotation.
    read_instances: Callable[[], np.ndarray] | None
    origin: Origin | None = None
    # Filled while reading: how many things of each kind in `notes` were met.
    notes: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)
    # Whether the annotation was drawn on the image as EXIF turns it; None to decide by the sizes.
    upright: bool | None = None
    annotation: str | None = None  # the file that `read_instances` reads, if it has one of its own
    # Returns the objects that the instance map is painted of; raises SpecjaxError. None if the
    # dataset has nothing else than the map.
    read_objects: Callable[[], Objects] | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the record is read from."""
        return (self.source,) if self.annotation is None else (self.source, self.annotation)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A stream of records; each call of `records` starts it anew."""

    name: str  # of the format
    annotated: bool  # whether the records have instance maps
    identity: dict[str, str]  # differs from that of other datasets; compared by a resumed run
    records: Callable[[], Iterator[Record]]
    warnings: tuple[str, ...] = ()  # one line each, for the caller to print
    count: int | None = None  # None if it cannot be known without decoding
    category: Mapping[str, Any] | None = None  # of every object, if the dataset has only one
    id_clash: str | None = None  # why `Origin.id` does not tell its images apart, if so
    # Ids by source that images have already. Filled by a run that continues; a folder of images,
    # to which images may be added, keeps them.
    known: dict[str, str] = dataclasses.field(default_factory=dict)


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
    """Raises SpecjaxError, naming `what`, if `path` might leave the folder it is joined to."""
    if "\\" in path or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
        raise SpecjaxError(
            f"{what} {path!r} holds a backslash, a control character or undecodable bytes: "
            "rename it"
        )
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise SpecjaxError(
            f"{what} {path!r} is not a plain relative path (no leading '/', no '..'): rename it"
        )


def check_ids(records: Iterable[Record]) -> list[str]:
    """The ids of all records, in order, after a check that they are safe and unique."""
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


def every_nth(dataset: Dataset, ids: Sequence[str], step: int) -> tuple[Dataset, list[str]]:
    """Keeps the first of each `step` frames of a video; also returns the ids that are left."""
    if step < 1:
        raise SpecjaxError(f"--frame_step={step}: give 1 or more, or leave it out")
    places = collections.Counter[str]()
    chosen = []
    for record_id in ids:
        video = record_id.rpartition("/")[0]
        chosen.append(places[video] % step == 0)
        places[video] += 1
    kept = [*itertools.compress(ids, chosen)]
    return _chosen(dataset, chosen, frame_step=str(step)), kept


def select_frames(dataset: Dataset, ids: Sequence[str], frames: pathlib.Path) -> Dataset:
    """Keeps the records that a text file lists, one `video/frame` a line, in the dataset's order.

    A name may have an extension and leading folders. It may also omit the leading folders of an id
    if only one id matches. Names that match no record cause a warning.
    """
    file = f"--frames {str(frames)!r}"
    listing = read_list(frames, name=file, what="frames")
    names, selected, unmatched = list(listing.lines.values()), set(), []
    whole, by_ending = set(ids), collections.defaultdict(list)
    for record_id in ids:
        for ending in _endings(record_id)[1:]:
            by_ending[ending].append(record_id)
    for name in names:
        matches = _matches(name, whole, by_ending)
        if len(matches) > 1:
            raise SpecjaxError(
                f"{file}: {name!r} matches {len(matches)} records ({matches[0]!r}, {matches[1]!r}, "
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

    chosen = [record_id in selected for record_id in ids]
    dataset = dataclasses.replace(dataset, warnings=warnings)
    return _chosen(dataset, chosen, frames_sha256=listing.sha256)


def _chosen(dataset: Dataset, chosen: Sequence[bool], **identity: str) -> Dataset:
    """Keeps records by their place: the ids of a run that continues may be others (`known`)."""
    return dataclasses.replace(
        dataset,
        records=lambda: itertools.compress(dataset.records(), chosen),
        identity=dataset.identity | identity,
        count=sum(chosen),
    )


def apply_paper_rule(dataset: Dataset) -> Dataset:
    """Keeps the records of the paper's test split, chosen by their instance maps alone.

    A record whose annotation cannot be read is kept, so that the run reports the failure.
    """
    if not dataset.annotated:
        raise SpecjaxError(
            f"--paper_filter needs annotations, and dataset {dataset.name!r} has none: leave it out"
        )

    def passes(record: Record) -> bool:
        assert record.read_instances is not None  # as the dataset is annotated
        try:
            with listening():  # what there is to say is said when the record is read
                return passes_paper_rule(record.read_instances())
        except SpecjaxError:
            return True

    return dataclasses.replace(
        dataset,
        records=lambda: filter(passes, dataset.records()),
        identity=dataset.identity | {"paper_filter": "true"},
        count=None,
    )


def drawn_on(dataset: Dataset, orientation: str) -> Dataset:
    """Says how annotations were drawn: on images as "upright" by EXIF, or as "stored"."""
    if not dataset.annotated:
        raise SpecjaxError(
            f"--orientation says how annotations were drawn, and dataset {dataset.name!r} has none:"
            " leave it out"
        )
    upright = orientation == "upright"
    return dataclasses.replace(
        dataset,
        records=lambda: (
            dataclasses.replace(record, upright=upright) for record in dataset.records()
        ),
        identity=dataset.identity | {"orientation": orientation},
    )


def take(dataset: Dataset, limit: int) -> Dataset:
    """Keeps the first `limit` records. Not part of the identity, so that a run may be extended."""
    if limit < 1:
        raise SpecjaxError(f"--limit={limit}: give 1 or more, or leave it out")
    count = None if dataset.count is None else min(dataset.count, limit)
    return dataclasses.replace(
        dataset, records=lambda: itertools.islice(dataset.records(), limit), count=count
    )


def _matches(name: str, whole: set[str], by_ending: dict[str, list[str]]) -> list[str]:
    """The ids that a listed name may mean."""
    written = name.replace("\\", "/").removeprefix("./")
    stem, dot, suffix = written.rpartition(".")
    bare = stem if dot + suffix.lower() in SUFFIXES else written
    for candidate in dict.fromkeys((bare, written)):
        endings = _endings(candidate)
        for ending in endings:  # longest first
            if ending in whole:
                return [ending]
        if endings and endings[0] in by_ending:
            return by_ending[endings[0]]
    return []


def _endings(path: str) -> list[str]:
    """The path, the path without its first folder, without its first two folders, and so on."""
    names = [name for name in path.split("/") if name]
    return ["/".join(names[start:]) for start in range(len(names))]
