"""What the files of a run are called.

A run that began with one setting (`boc`, say) keeps that setting's files under plain names
(`labels/`, `coco.json`); those of every other setting carry its name (`labels_dot/`,
`coco_dot.json`). So a file never changes its name, whatever is added to a run.
"""

import pathlib
from collections.abc import Iterable

RUN, LINES, SUMMARY, SEGMENTS = "run.json", "per_image.jsonl", "summary.json", "segments.jsonl"
PARTS, FIGURES, FEATURES = "parts", "figures", "features"
# The first images of a run are on its gallery; more would be a sheet that nobody looks at.
GALLERY = 24
# Written for each image, a folder a kind, and for all images at once, a file a kind.
_FOLDERS = ("labels", "tokens", "overlays", "gallery")
_FILES = {"coco": ".json", "coco_results": ".json", "gallery": ".png"}
# What experiments draw of their results.
_PLOTS = tuple(
    f"{plot}.{ending}"
    for plot in ("strata_mbor", "strata_size_ratio", "foreground_curve", "heat_map")
    for ending in ("png", "svg", "csv")
)
# Without a setting in their names.
COMMON = (LINES, SUMMARY, SEGMENTS, FEATURES, FIGURES, PARTS, *_PLOTS)


def locate(
    folder: pathlib.Path, plain: str | None, kind: str, setting: str, image_id: str | None = None
) -> pathlib.Path:
    """Where a run has a kind of file: of one image, or made of all of them.

    `plain` is the setting whose files have plain names, `kind` what `--save` calls the file.
    Features do not depend on the setting.
    """
    if kind == FEATURES:
        return folder / kind / f"{image_id}.npz"
    suffix = "" if setting == plain else _suffix(setting)
    if image_id is None:
        return folder / f"{kind}{suffix}{_FILES[kind]}"
    # Not with_suffix: an id may contain a dot.
    return folder / f"{kind}{suffix}" / f"{image_id}.png"


def owned(plain: bool, settings: Iterable[str]) -> list[str]:
    """Names of everything that a run with these settings may have written, but for `run.json`."""
    suffixes = sorted({_suffix(setting) for setting in settings} | ({""} if plain else set()))
    kinds = [(kind, "") for kind in _FOLDERS] + list(_FILES.items())
    named = [f"{kind}{suffix}{ending}" for suffix in suffixes for kind, ending in kinds]
    return [*COMMON, *dict.fromkeys(named)]


def _suffix(setting: str) -> str:
    """A setting as the end of a name: `M=128` becomes `_M128`."""
    return "_" + setting.replace("=", "")
