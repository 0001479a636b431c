"""DAVIS 2016 and 2017: videos, and a picture of the objects of each frame.

`data_dir` is the folder that holds `JPEGImages`, or one with `DAVIS` in it, or
`JPEGImages/<resolution>` itself. Frames are `JPEGImages/<resolution>/<sequence>/00000.jpg`, their
annotations `Annotations/<resolution>/<sequence>/00000.png`, or `Annotations_unsupervised`. Ids are
`<sequence>/00000`. A split is a list in `ImageSets`, of sequences or of frames.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from experiments.datasets import image_files, pairs
from experiments.datasets.mask_images import read_mask, stored
from experiments.datasets.records import VOID, Dataset, Record
from specjax import SpecjaxError, decode
from specjax._lists import read_list
from specjax.images import SUFFIXES, opened

_IMAGES = "JPEGImages"
_MASKS = ("Annotations", "Annotations_unsupervised")
_RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
_VOID = 255
# Grey levels up to here number objects, as in a palette; DAVIS has at most twenty in a sequence.
_MAX_NUMBER = 31


def open_davis(
    data_dir: pathlib.Path, annotations: pathlib.Path | None, split: str | None
) -> Dataset:
    """Opens a DAVIS dataset: all its sequences, or those of a split."""
    root, resolution = _find(data_dir)
    images = root / _IMAGES / resolution
    masks, warnings = _masks(root, resolution, annotations)
    identity = {"name": "davis", "data_dir": str(images), "annotations": str(masks or "")}
    wanted: Mapping[str, set[str]] = {folder.name: set() for folder in pairs.folders_in(images)}
    if split is not None:
        wanted, list_path, sha256 = _listed(root, resolution, split)
        identity |= {"split": str(list_path), "split_sha256": sha256}
    frames: list[tuple[pathlib.Path, pathlib.Path | None]] = []
    strangers = list[pathlib.Path]()
    for sequence, numbers in wanted.items():
        found = pairs.images_in(images / sequence)
        stems = {frame.stem for frame in found}
        chosen = [frame for frame in found if not numbers or frame.stem in numbers]
        if not found:
            warnings.append(f"no frames in {str(images / sequence)!r}")
        elif lacking := numbers - stems:
            warnings.append(f"{str(images / sequence)!r} lacks {len(lacking)} listed frames")
        annotated = pairs.by_name(pairs.images_in(masks / sequence), masks) if masks else {}
        strangers += [path for path in annotated.values() if path.stem not in stems]
        for frame in chosen:
            expected = None if masks is None else masks / sequence / f"{frame.stem}.png"
            frames.append((frame, annotated.get(f"{sequence}/{frame.stem}", expected)))
    if not frames:
        raise SpecjaxError(
            f"no frames in {str(images)!r} (looked for <sequence>/00000.jpg): check --data_dir"
        )
    if strangers:
        warnings.append(
            f"{len(strangers)} annotations have no frame in {str(images)!r} and are left out (the"
            f" first is {str(strangers[0])!r})"
        )
    ids = image_files.shortest_ids([frame.parts[-2:] for frame, _ in frames], 2)

    def records() -> Iterator[Record]:
        for record_id, (frame, mask) in zip(ids, frames, strict=True):
            yield Record(
                record_id,
                str(frame),
                functools.partial(decode, frame),
                None if mask is None else functools.partial(read_annotation, mask),
                annotation=None if mask is None else str(mask),
            )

    return Dataset("davis", masks is not None, identity, records, tuple(warnings))


def read_annotation(path: pathlib.Path) -> np.ndarray:
    """The instance map of a binary image, or of a palette image whose indices number the objects.

    In a palette image, index 255 is void.

    Raises:
        SpecjaxError: it cannot be read, or is neither.
    """
    with opened(path) as image:
        mode, palette = image.mode, image.getpalette("RGB") if image.mode == "P" else None
        values = np.asarray(image).astype(np.int32) if mode == "P" else None
        found = stored(image)
    if values is not None and palette is not None:
        colours = np.array(palette, np.int32).reshape(-1, 3)
        if colours[:1].any():  # index 0 is not black: another program numbered the colours
            return read_mask(path)
        if (colours != np.arange(len(colours))[:, None]).any():
            return np.where(values == _VOID, VOID, values).astype(np.int32)
        found = values, None  # a grey image, written with a palette
    levels, colours_used = found or (None, None)
    if levels is not None and colours_used is None:
        used = np.unique(levels)
        objects = used[used != 0]
        if len(objects) < 2 and used[0] >= 0:
            return np.where(levels >= _VOID, 1, levels).astype(np.int32)
        if used[0] >= 0 and objects[-1] <= _MAX_NUMBER:
            return levels.astype(np.int32)
    what = (
        f"mode {mode}" if levels is None else "several colours" if colours_used is not None else ""
    )
    if not what:
        what = f"the grey levels {', '.join(map(str, objects[:5]))}{' ...' * (len(objects) > 5)}"
    raise SpecjaxError(
        f"{str(path)!r} has {what}: an annotation of DAVIS is binary (0 and 255), or a palette"
        " image of which the indices are objects"
    )


def has_layout(data_dir: pathlib.Path) -> bool:
    """Whether a folder has frames and annotations of one resolution, as DAVIS does."""
    return any(_annotated(root) for root in _roots(data_dir))


def _roots(data_dir: pathlib.Path) -> tuple[pathlib.Path, ...]:
    """The folders that may hold `JPEGImages`."""
    return data_dir, data_dir / "DAVIS"


def _resolutions(root: pathlib.Path) -> list[str]:
    return [name for name in _RESOLUTIONS if (root / _IMAGES / name).is_dir()]


def _annotated(root: pathlib.Path) -> list[str]:
    """The resolutions that have annotations."""
    return [name for name in _resolutions(root) if any((root / m / name).is_dir() for m in _MASKS)]


def _find(data_dir: pathlib.Path) -> tuple[pathlib.Path, str]:
    """The folder that holds `JPEGImages`, and the name of the folder of a resolution in it."""
    if data_dir.parent.name == _IMAGES:
        return data_dir.parent.parent, data_dir.name
    if data_dir.name == _IMAGES:
        data_dir = data_dir.parent
    root = next((root for root in _roots(data_dir) if (root / _IMAGES).is_dir()), None)
    if root is None:
        raise SpecjaxError(
            f"no folder {_IMAGES} in {str(data_dir)!r}, nor in DAVIS below it: give the DAVIS"
            " folder as --data_dir"
        )
    return root, next(iter(_annotated(root) or _resolutions(root)), "")


def _masks(
    root: pathlib.Path, resolution: str, annotations: pathlib.Path | None
) -> tuple[pathlib.Path | None, list[str]]:
    """The folder of the annotations, if there is one, and warnings."""
    if annotations is not None:
        if not annotations.is_dir():
            raise SpecjaxError(f"--annotations {str(annotations)!r}: no such folder")
        below = annotations / resolution
        return below if below.is_dir() else annotations, []
    there = [path for name in _MASKS if (path := root / name / resolution).is_dir()]
    if len(there) > 1:
        return there[0], [
            f"{str(there[0])!r} is used, and not {str(there[1])!r} (--annotations chooses)"
        ]
    if there:
        return there[0], []
    return None, [f"no annotations in {str(root / _MASKS[0] / resolution)!r}: nothing is scored"]


def _listed(
    root: pathlib.Path, resolution: str, split: str
) -> tuple[dict[str, set[str]], pathlib.Path, str]:
    """The sequences of a split, with their frames if these are listed; the list, its digest."""
    sets, name = root / "ImageSets", f"{split.removesuffix('.txt')}.txt"
    exact = [path for path in (sets / name, sets / resolution / name) if path.is_file()]
    paths = exact[:1] or sorted(path for path in sets.glob(f"*/{name}") if path.is_file())
    if not paths:
        there = sorted(path.relative_to(sets).with_suffix("") for path in sets.rglob("*.txt"))
        raise SpecjaxError(
            f"no split {split!r} in {str(sets)!r} (splits there:"
            f" {', '.join(map(str, there)) or 'none'})"
        )
    listings = [read_list(path, name=repr(str(path)), what="sequences") for path in paths]
    found = [_sequences(list(listing.lines.values())) for listing in listings]
    if any(other != found[0] for other in found):
        choices = " or ".join(str(path.relative_to(sets).with_suffix("")) for path in paths)
        raise SpecjaxError(f"--split={split}: {str(sets)!r} has several, give {choices}")
    return found[0], paths[0], listings[0].sha256


def _sequences(lines: Sequence[str]) -> dict[str, set[str]]:
    """Sequences, each with the stems of its listed frames; DAVIS 2016 lists frames and masks."""
    found: dict[str, set[str]] = {}
    for line in lines:
        parts = image_files.parts_of(line.split()[0]) or [line]
        stem, dot, suffix = parts[-1].rpartition(".")
        if len(parts) > 1 and dot + suffix.lower() in SUFFIXES:
            found.setdefault(parts[-2], set()).add(stem)
        else:
            found.setdefault(parts[-1], set())
    return found
