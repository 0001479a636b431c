"""The names of the files of a run.

If a run began with a single setting (say `boc`), the files of this setting have plain names
(`labels/`, `coco.json`); those of every other setting carry its name (`labels_dot/`,
`coco_dot.json`). So no file changes its name when settings are added to a run.
"""

import pathlib
from collections.abc import Iterable

from specjax._in_work import NAME as IN_WORK

RUN, LINES, SUMMARY, SEGMENTS = "run.json", "per_image.jsonl", "summary.json", "segments.jsonl"
PARTS, FIGURES, FEATURES = "parts", "figures", "features"
# Number of images in a run's gallery, the first ones.
GALLERY = 24
# Kinds of files: a folder with a file for each image, and one file for all images.
FOLDERS = ("labels", "tokens", "overlays", "gallery")
_FILES = {"coco": ".json", "coco_results": ".json", "gallery": ".png"}
# The plots of results.
_PLOTS = tuple(
    f"{plot}.{ending}"
    for plot in ("strata_mbor", "strata_size_ratio", "foreground_curve", "heat_map")
    for ending in ("png", "svg", "csv")
)
# Names without a setting.
COMMON = (IN_WORK, LINES, SUMMARY, SEGMENTS, FEATURES, FIGURES, PARTS, *_PLOTS)


def locate(
    folder: pathlib.Path, plain: str | None, kind: str, setting: str, image_id: str | None = None
) -> pathlib.Path:
    """The path of a kind of file: of one image, or of the file that covers all images.

    `plain` is the setting whose files have plain names, `kind` is the file's name in `--save`.
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
    """The names of all that a run with these settings may have written, except `run.json`."""
    suffixes = sorted({_suffix(setting) for setting in settings} | ({""} if plain else set()))
    kinds = [(kind, "") for kind in FOLDERS] + list(_FILES.items())
    named = [f"{kind}{suffix}{ending}" for suffix in suffixes for kind, ending in kinds]
    return [*COMMON, *dict.fromkeys(named)]


def _suffix(setting: str) -> str:
    """A setting as the end of a name: `M=128` becomes `_M128`."""
    return "_" + setting.replace("=", "")
