"""Where detections come from: results files, alone or in the folder of a run, and label maps.

A results file names images by id. Where a program of ours wrote it, as `coco_results.json`, the
`coco.json` beside it says which file has which id. Else the ids are those of the dataset; of a
dataset without ids, an image's id is the id or the file name of its record, or its number in the
stream, from 1.
"""

import functools
import pathlib
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np

from experiments.datasets import values
from experiments.datasets.records import Record
from experiments.evaluating.detections import (
    Detection,
    Entry,
    Key,
    best,
    box_of,
    key_of,
    read_entries,
    read_json,
)
from experiments.runs.names import SUMMARY
from specjax import SpecjaxError, coco
from specjax.images import opened

Size = tuple[int, int]
_RESULTS, _IMAGES, _LABELS = "coco_results", "coco", "labels"


class Source(Protocol):
    """Detections by image."""

    name: str  # in tables
    path: pathlib.Path

    def find(self, record: Record, number: int, size: Size | None) -> list[Detection] | None:
        """The detections of a record, best first; None if the source does not know the image.

        `number` is its place in the stream, from 1. `size` is (height, width) of the annotation;
        None for an image that is not scored, whose detections are passed over.

        Raises:
            SpecjaxError: a detection does not fit the image.
        """

    def unused(self) -> list[str]:
        """Warnings about what belongs to no record that was asked for."""


class ResultsFile:
    """A COCO results file; `listing` has the id of each image by its file name, if it is known."""

    def __init__(self, path: pathlib.Path, name: str, listing: dict[str, Key] | None):
        self.path = path
        self.name = name
        self._listing = listing
        self._entries = read_entries(path)
        self._owners: dict[Key, str] = {}  # the record that an id was found to mean

    def find(self, record: Record, number: int, size: Size | None) -> list[Detection] | None:
        """As `Source` says."""
        keys = self._keys(record, number)
        if keys is None:
            return None
        for key in keys:
            owner = self._owners.setdefault(key, record.id)
            if owner != record.id:
                raise SpecjaxError(
                    f"{str(self.path)!r}: image_id {str(key)[:40]!r} may mean {owner!r} and"
                    f" {record.id!r}: score the folders of the dataset one by one"
                )
        entries: Sequence[Entry] = [entry for key in keys for entry in self._entries[key]]
        entries = best(entries) if len(keys) > 1 else entries
        return [] if size is None else [entry.detection(*size) for entry in entries]

    def unused(self) -> list[str]:
        """As `Source` says."""
        strangers = [key for key in self._entries if key not in self._owners]
        if not strangers:
            return []
        count = sum(len(self._entries[key]) for key in strangers)
        return [
            f"{str(self.path)!r}: {count} detections of {len(strangers)} images that are not in the"
            f" dataset are left out (image_id {str(strangers[0])[:40]!r} ...)"
        ]

    def _keys(self, record: Record, number: int) -> Collection[Key] | None:
        """The keys of an image's entries; None if the file does not know the image."""
        if self._listing is not None:
            listed = next((n for n in _names_of(record) if n in self._listing), None)
            return None if listed is None else self._spellings.get(_one(self._listing[listed]), [])
        if record.origin is not None and record.origin.id is not None:
            return self._spellings.get(_one(record.origin.id))
        keys = [key for key in (record.id, *_names_of(record), number) if key in self._entries]
        return keys[:1] or None

    @functools.cached_property
    def _spellings(self) -> dict[Key | None, list[Key]]:
        """The keys that are one id: 7 and "7"."""
        found: dict[Key | None, list[Key]] = {}
        for key in self._entries:
            found.setdefault(_one(key), []).append(key)
        return found


class LabelMaps:
    """A folder of label maps as PNG files, named by the ids of records; all scores are 1."""

    def __init__(self, path: pathlib.Path, name: str):
        self.path = path
        self.name = name

    def find(self, record: Record, number: int, size: Size | None) -> list[Detection] | None:
        """As `Source` says."""
        path = self.path / f"{record.id}.png"
        if not path.is_file():
            return None
        if size is None:
            return []
        with opened(path) as image:
            labels = np.asarray(image).astype(np.int32)
        if labels.shape != size:
            shape = "x".join(map(str, labels.shape[::-1]))
            raise SpecjaxError(
                f"{str(path)!r} is {shape}, the annotation of {record.id!r} {size[1]}x{size[0]}"
            )
        found = []
        for mask in coco.instances_of(labels):
            code = {"size": list(size), "counts": mask["counts"].encode("ascii")}
            found.append(Detection(1.0, box_of(code), mask["area"], code))
        return found

    def unused(self) -> list[str]:
        """As `Source` says; there may be maps of images that a limit leaves out."""
        return []


def open_sources(path: pathlib.Path) -> list[Source]:
    """The sources in a folder, one for each setting of a run, or that of one file.

    Raises:
        SpecjaxError: there is none, or a file has not the form of results.
    """
    if not path.is_dir():
        return [ResultsFile(path, path.stem, _listing_beside(path))]
    files = sorted(path.glob(f"{_RESULTS}*.json"))
    label_folders = sorted(other for other in path.glob(f"{_LABELS}*") if other.is_dir())
    found: list[tuple[pathlib.Path, str]] = []
    found += [(file, file.stem.removeprefix(_RESULTS)) for file in files]
    if not found:
        found = [(folder, folder.name.removeprefix(_LABELS)) for folder in label_folders]
    if not found:
        raise SpecjaxError(
            f"{path} has no {_RESULTS}.json and no {_LABELS}/: run its command again with"
            " --save=coco"
        )
    sources: list[Source] = []
    for place, ending in found:
        name = f"{path.name}{ending.replace('_', ' ', 1)}"
        if place.is_dir():
            sources.append(LabelMaps(place, name))
        else:
            sources.append(ResultsFile(place, name, _listing_beside(place)))
    return sources


def read_config(path: pathlib.Path) -> dict[str, Any] | None:
    """The configuration in a run's folder, whose `dataset` identifies the dataset; None without."""
    summary = path / SUMMARY
    if not summary.is_file():
        return None
    content = read_json(summary)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict) or not isinstance(config.get("dataset"), dict):
        return None
    return config


def _listing_beside(results: pathlib.Path) -> dict[str, Key] | None:
    """The id of each image by its file name, from the annotation file beside results, if any."""
    path = results.with_name(results.name.replace(_RESULTS, _IMAGES, 1))
    if not results.name.startswith(_RESULTS) or not path.is_file():
        return None
    content = read_json(path)
    rows = content.get("images") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise SpecjaxError(f"{str(path)!r} has no list 'images'")
    listing = {}
    for place, row in enumerate(rows):
        row = row if isinstance(row, dict) else {}
        key, name = key_of(row.get("id")), row.get("file_name")
        if key is None or not isinstance(name, str):
            raise SpecjaxError(f"{str(path)!r}: images[{place}] has no 'id' or no 'file_name'")
        listing[name] = key
    return listing


def _names_of(record: Record) -> list[str]:
    """The file names that results may have for a record."""
    file = pathlib.PurePath(record.source)
    names = [] if record.origin is None else [record.origin.file_name]
    return [*names, record.id + file.suffix, file.name]


def _one(key: Key) -> Key | None:
    """What is equal for all ways to write an id."""
    found = values.identity(key)
    return key if found is None else found
