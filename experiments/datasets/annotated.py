"""Datasets of the COCO family: image files and one JSON file that annotates them.

Instance numbers follow the order of the annotations; crowds are void. If the file has no
annotations, the records have no instance maps. An image is annotated at its own size, as stored or
as its EXIF orientation shows it; the sizes in the JSON file only help to tell which.
"""

import collections
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.datasets import image_files, json_files, masks, notes, segmentations, values
from experiments.datasets.annotation_file import AnnotationFile, Family, ListedImage
from experiments.datasets.image_files import ImageFiles
from experiments.datasets.records import Dataset, Object, Objects, Origin, Record
from experiments.datasets.segmentations import Shape, Size
from specjax import SpecjaxError, decode
from specjax._exif import Header
from specjax.images import read_header

_FAR = 1e9  # pixels; no area or place in an image is larger


class _Source(NamedTuple):
    """An image with what is known when the dataset is opened."""

    image: ListedImage
    path: Path
    where: str  # for error messages
    problem: str | None
    upright: bool | None  # as in `Record`


def open_annotated(
    family: Family,
    data_dir: Path,
    annotations: Path | None,
    split: str | None,
    orientation: str | None = None,
) -> Dataset:
    """Opens a dataset of the family; the JSON file is parsed once, here."""
    path, split = json_files.find(
        family.patterns, family.default_split, data_dir, annotations, split
    )
    content, sha256 = json_files.read(path)
    file = AnnotationFile(path, content)
    listed, warnings = family.parse(file)
    if not listed:
        raise file.error(" lists no images")
    folders = [data_dir / name.format(split=split) for name in family.folders]
    if path.is_relative_to(data_dir) and path.parent not in folders:
        folders.append(path.parent)
    upright = None if orientation is None else orientation == "upright"
    sources, found_elsewhere = _sources(file, listed, folders, upright)
    names = [image_files.parts_of(image.file_name or "") or [image.label] for image in listed]
    ids = image_files.shortest_ids(names, family.id_parts)

    def records() -> Iterator[Record]:
        for record_id, source in zip(ids, sources, strict=True):
            image, met = source.image, dict[str, int]()
            annotate = functools.partial(_read_instances, source, met)
            origin = Origin(
                image.row.get("id") if image.frame is None else None,
                image.own_name or _below(source.path, data_dir),
            )
            yield Record(
                record_id,
                str(source.path),
                functools.partial(_read_image, source, file.annotated),
                annotate if file.annotated else None,
                origin=origin,
                notes=met,
                read_objects=functools.partial(_read_objects, source, met)
                if file.annotated
                else None,
            )

    identity = {"name": family.name, "data_dir": str(data_dir), "annotations": str(path)}
    identity |= {"annotations_sha256": sha256, "split": split}
    warnings += found_elsewhere
    return Dataset(
        family.name, file.annotated, identity, records, warnings, category=file.category()
    )


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name


def _sources(
    file: AnnotationFile,
    listed: Sequence[ListedImage],
    folders: Sequence[Path],
    upright: bool | None,
) -> tuple[list[_Source], tuple[str, ...]]:
    """The source of each image, and a warning about images that are not where they should be."""
    files = ImageFiles(folders)
    found = [files.find(image.file_name) if image.file_name else None for image in listed]
    if not any(found):
        raise SpecjaxError(
            f"none of the annotated images was found (the first is {listed[0].file_name!r}; looked "
            f"in {', '.join(repr(str(folder)) for folder in folders)}): check --data_dir"
        )
    # How much of its name leads to a file, for the image that is nearest to its name.
    nearest: dict[Path, int] = {}
    for file_found in found:
        if file_found is not None:
            dropped = nearest.get(file_found.path, file_found.dropped)
            nearest[file_found.path] = min(file_found.dropped, dropped)
    sources, elsewhere = [], []
    for image, place in zip(listed, found, strict=True):
        problem = image.problem
        if place is None:
            path = folders[0] / "/".join(image_files.parts_of(image.file_name or image.label))
        else:
            path = place.path
            if place.dropped > nearest[path]:
                problem = problem or f"no file {image.file_name!r}"
            elif place.dropped and image_files.is_relative(image.file_name or ""):
                elsewhere.append(f"{image.file_name!r} as {str(path)!r}")
        where = f"{str(file.path)!r}: {image.label}"
        sources.append(_Source(image, path, where, problem, upright))
    if not elsewhere:
        return sources, ()
    return sources, (
        f"{str(file.path)!r}: {len(elsewhere)} images were found in other folders than it says "
        f"({elsewhere[0]} ...)",
    )


def _refuse(source: _Source) -> None:
    if source.problem is not None:
        raise SpecjaxError(f"{source.where} {source.problem}")


def _read_image(source: _Source, annotated: bool) -> np.ndarray:
    """The image as stored; without annotation, as shown, unless the file says the other size."""
    _refuse(source)
    if annotated:
        return decode(source.path)
    header, listed_size = read_header(source.path), source.image.size
    return decode(
        source.path, upright=listed_size != header.stored or header.stored == header.shown
    )


def _read_instances(source: _Source, met: dict[str, int]) -> np.ndarray:
    found = _read_objects(source, met)
    instances = [(thing.number, thing.runs) for thing in found.objects if not thing.crowd]
    crowds = [thing.runs for thing in found.objects if thing.crowd]
    return masks.paint(found.height, found.width, instances, crowds)


def _read_objects(source: _Source, met: dict[str, int]) -> Objects:
    _refuse(source)
    image, path = source.image, source.where.removesuffix(source.image.label)
    shapes: list[tuple[int, bool, str, Shape]] = []
    counts = collections.Counter[str]()
    for number, annotation in enumerate(image.annotations, start=1):
        where = path + annotation.name
        crowd = values.flag(annotation.row.get("iscrowd"))
        if crowd is None:
            value = repr(annotation.row["iscrowd"])[:40]
            raise SpecjaxError(f"{where}: 'iscrowd' is {value}, neither 0 nor 1")
        segmentation = annotation.row.get("segmentation")
        if image.frame is not None:
            where += f", frame {image.frame}"
            segmentation = annotation.row["segmentations"][image.frame]
        shape = segmentations.read(segmentation, where)
        if shape is not None:
            counts[notes.RINGS] += shape.degenerate
            shapes.append((number, crowd, where, shape))
        elif image.frame is None:  # in a video, the object is not in this frame
            counts[notes.EMPTY] += 1
    size = _size(source, [shape for *_, shape in shapes], counts)
    objects = []
    for number, crowd, where, shape in shapes:
        runs, row = shape.run_lengths(size, where), {}
        if image.frame is None:
            counts[notes.EMPTY] += not any(runs[1::2])
            row = image.annotations[number - 1].row
        objects.append(Object(number, runs, crowd, _measure(row.get("area")), _box(row)))
    if objects and all(thing.crowd for thing in objects):
        counts[notes.CROWDS] = len(objects)
    met.clear()
    met.update({kind: count for kind, count in counts.items() if count})
    return Objects(*size, objects)


def _box(row: dict) -> tuple[float, float, float, float] | None:
    """The box of an annotation: left, top, width, height."""
    listed = row.get("bbox")
    sides = [_measure(side) for side in listed] if isinstance(listed, list) else []
    known = [side for side in sides if side is not None]
    if len(sides) != 4 or len(known) != 4 or min(known[2:]) < 0:
        return None
    return known[0], known[1], known[2], known[3]


def _measure(value: object) -> float | None:
    """A number of pixels."""
    found = values.number(value)
    return float(found) if found is not None and abs(found) < _FAR else None


def _size(source: _Source, shapes: Sequence[Shape], counts: collections.Counter[str]) -> Size:
    """The size that an image is annotated at: that of the image as shown, or as stored."""
    header, listed_size = read_header(source.path), source.image.size
    sizes = _choices(header, source.upright)
    # Run lengths know their size best; then outlines that fit the size that the file says.
    named = {shape.size for shape in shapes if shape.size is not None}
    if named:
        found = [size for size in sizes if size in named]
    elif listed_size is None or listed_size in sizes:
        preferred = dict.fromkeys([*(size for size in sizes if size == listed_size), *sizes])
        found = [size for size in preferred if all(shape.fits(size) for shape in shapes)]
        counts[notes.UNCLEAR] += listed_size is None and len(found) > 1
        found = found or list(preferred)
    else:
        exchanged = [size for size in sizes if size == listed_size[::-1]]
        found = [size for size in exchanged if all(shape.fits(size) for shape in shapes)]
        counts[notes.SWAPPED] += bool(found)
    if found:
        return found[0]
    height, width = next(iter(named), listed_size or header.stored)
    raise SpecjaxError(
        f"{source.where}: the image is {header.stored[1]}x{header.stored[0]}, its annotation "
        f"{width}x{height}; one of them belongs to another image"
    )


def _choices(header: Header, upright: bool | None) -> list[Size]:
    sizes = {True: header.shown, False: header.stored}
    return [sizes[upright]] if upright is not None else list(dict.fromkeys(sizes.values()))
