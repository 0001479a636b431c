"""Studies on photographs: the runs that each needs. Their tables are in the documentation.

A study has rows, the same on each set of photographs. A row is a setting of a run.
"""

import pathlib
from typing import NamedTuple

from experiments.results.published import ABLATION, MIOU


class PhotographSet(NamedTuple):
    """Photographs with annotation: the format, and folders below a common one.

    `several` says whether images have several annotated objects.
    """

    dataset: str
    folders: tuple[str, ...]
    several: bool = True

    def flags(self, root: pathlib.Path) -> list[str]:
        """`--dataset` and `--data_dir`."""
        folders = ",".join(str(root / folder) for folder in self.folders)
        return [f"--dataset={self.dataset}", f"--data_dir={folders}"]


class Row(NamedTuple):
    """A setting of a run, with the flags of the run beside those of the set.

    `setting` is its name or its place among the settings of the run. `checkpoint` is None for the
    one that the user chose. Rows with the same program, flags and checkpoint share a run.
    """

    name: str
    setting: str | int = "boc"
    program: str = "instance"
    flags: tuple[str, ...] = ("--metric=all",)
    checkpoint: str | None = None

    @property
    def run_name(self) -> str:
        """What tells its run from others on the same set; part of the name of a folder."""
        parts = [self.program, self.checkpoint or "chosen", *self.flags]
        return "_".join(part.strip("-").replace("/", "") for part in parts)

    def command(self, checkpoint: str, *, several: bool) -> list[str]:
        """The module and its flags, less those of the set and of the output.

        A single object is the whole foreground under any metric: one is enough then.
        """
        flags = [flag if several else flag.replace("=all", "=boc") for flag in self.flags]
        return [
            f"experiments.{self.program}",
            f"--checkpoint={self.checkpoint or checkpoint}",
            "--save=",
            *flags,
        ]


class Study(NamedTuple):
    """What a table is about, and its rows; the others are compared with the first.

    `scores` are keys of `experiments.results.tables.SCORES`; differences are of the first.
    """

    about: str
    rows: tuple[Row, ...]
    scores: tuple[str, ...] = ("miou", "f_score")
    several: bool = False  # whether it is only for sets whose images have several objects
    flaws: bool = False  # whether the flaws of each row are counted, too


SETS = {
    "coco": PhotographSet("coco", ("coco_mini", "coco_dev")),
    "voc": PhotographSet("voc", ("voc2007_dev",)),
    "pennfudan": PhotographSet("voc", ("pennfudan_dev",)),
    "sod": PhotographSet("saliency", ("sod_dev",), several=False),
    "davis": PhotographSet("davis", ("davis_dev",), several=False),
}
_M = ("C/3", "C", "3C/4", "C/2", "C/5", "C/7", "C/9", "C/11")
_MINI, _RANDOM = "specjax-mini", "random"
_METRICS = ("boc", *(metric for metric in MIOU if metric != "boc"))


def _one(name: str, *flags: str) -> Row:
    """A row of BoC alone, with the chosen backbone."""
    return Row(name, flags=flags)


STUDIES = {
    "backbones": Study(
        "backbones",
        (
            Row("chosen backbone"),
            Row(_MINI, flags=("--metric=boc",), checkpoint=_MINI),
            Row("random weights", flags=("--metric=boc",), checkpoint=_RANDOM),
        ),
        flaws=True,
    ),
    "metrics": Study(
        "metrics", tuple(Row(metric, metric) for metric in _METRICS), ("miou",), several=True
    ),
    "mini_metrics": Study(
        "metrics with specjax-mini",
        tuple(Row(metric, metric, checkpoint=_MINI) for metric in _METRICS),
        ("miou",),
        several=True,
    ),
    "filtered": Study(
        "metrics, on the images that --paper_filter keeps",
        tuple(Row(metric, metric, flags=("--metric=all", "--paper_filter")) for metric in _METRICS),
        ("miou",),
        several=True,
    ),
    "ablation": Study(
        "what NCR, DCR and BoC add",
        tuple(Row(name, name, "ablation", ()) for name in reversed(ABLATION)),
        several=True,
    ),
    "channels": Study(
        "channels kept for the foreground",
        tuple(Row(M, place, "fgbg", (f"--M={','.join(_M)}",)) for place, M in enumerate(_M)),
        ("f_score", "f_score_raw"),
    ),
    "features": Study(
        "features",
        (
            Row("keys"),
            *(_one(kind, f"--features={kind}") for kind in ("values", "queries", "outputs")),
        ),
    ),
    "layers": Study(
        "blocks of the backbone",
        (Row("last"), *(_one(f"last but {-n - 1}", f"--layer={n}") for n in (-2, -4))),
    ),
    "protocols": Study("protocols", (Row("paper"), _one("reference", "--protocol=reference"))),
    "positions": Study(
        "resampling of position embeddings", (Row("auto"), _one("hf", "--pos_interpolation=hf"))
    ),
}
