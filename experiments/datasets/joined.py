"""Several folders of one format as one dataset."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from experiments.datasets import records, values
from experiments.datasets.records import Dataset, Origin, Record
from specjax import SpecjaxError
from specjax._ids import Found, assign_ids


def join(datasets: Sequence[Dataset], folders: Sequence[pathlib.Path]) -> Dataset:
    """The records of all datasets, one after another; each was opened from one of the folders.

    An id that several of them have is preceded by as many folders as tell it apart.
    """
    if len(datasets) == 1:
        return datasets[0]
    _refuse_repeated(folders)
    by_kind = {dataset.annotated: folder for dataset, folder in zip(datasets, folders, strict=True)}
    if len(by_kind) > 1:
        raise SpecjaxError(
            f"--data_dir: {str(by_kind[True])!r} has annotations, {str(by_kind[False])!r} has none:"
            " run them one by one"
        )
    found, origins = list[Found](), dict[int | str | None, tuple[int, str]]()
    sources: dict[str, int] = {}
    clash = None
    for number, (dataset, folder) in enumerate(zip(datasets, folders, strict=True)):
        records.check_ids(dataset.records())
        for record in dataset.records():
            if sources.setdefault(record.source, number) != number:
                first = str(folders[sources[record.source]])
                raise SpecjaxError(
                    f"--data_dir: {record.source!r} is an image of {first!r} and of"
                    f" {str(folder)!r}: leave one of them out"
                )
            # With a suffix, as that of the file is removed, and an id may have a dot.
            suffix = pathlib.PurePath(record.source).suffix or ".png"
            found.append(Found(folder / (record.id + suffix), folder))
            key = None if record.origin is None else values.identity(record.origin.id)
            other = origins.setdefault(key, (number, record.source))
            if key is not None and other[0] != number:
                clash = clash or (
                    f"--save=coco: {other[1]!r} and {record.source!r} have one id, {key!r}, by"
                    " which COCO files name images: leave out coco, or run the folders one by one"
                )
    ids = assign_ids(found)
    plain = [str(photo.file.relative_to(photo.base).with_suffix("")) for photo in found]
    changed = [name for name, old in zip(ids, plain, strict=True) if name != old]

    def joined() -> Iterator[Record]:
        names = iter(ids)
        for dataset in datasets:
            for record in dataset.records():
                name = next(names)
                origin = _own(record.origin) if name != record.id else record.origin
                yield dataclasses.replace(record, id=name, origin=origin)

    warnings = [warning for dataset in datasets for warning in dataset.warnings]
    if changed:
        warnings.append(
            f"--data_dir: {len(changed)} images have an id that is in several of the folders; they"
            f" are named with a folder in front ({changed[0]!r} ...)"
        )
    categories = [dataset.category for dataset in datasets]
    return dataclasses.replace(
        datasets[0],
        identity=_identity([dataset.identity for dataset in datasets]),
        records=joined,
        warnings=tuple(warnings),
        category=categories[0] if all(other == categories[0] for other in categories) else None,
        id_clash=clash,
    )


def _refuse_repeated(folders: Sequence[pathlib.Path]) -> None:
    counts = collections.Counter(map(os.path.realpath, folders))
    for folder in folders:
        if counts[os.path.realpath(folder)] > 1:
            raise SpecjaxError(f"--data_dir names {str(folder)!r} twice: each image counts once")


def _own(origin: Origin | None) -> Origin | None:
    """The origin of an image whose id was not enough: file names may not be either."""
    return None if origin is None or origin.id is None else origin


def _identity(identities: Sequence[dict[str, str]]) -> dict[str, str]:
    """One identity; what differs is one line for each dataset."""
    keys = dict.fromkeys(key for identity in identities for key in identity)
    found = {key: [identity.get(key, "") for identity in identities] for key in keys}
    return {
        key: of_all[0] if len(set(of_all)) == 1 else "\n".join(of_all)
        for key, of_all in found.items()
    }
