"""The flags of the experiments, and their values once checked.

`define` declares them: the flags of the method, which the `specjax` command also has
(`specjax._flags`), the flags of datasets, and the extra flags of a single experiment. `read`, which
`experiments.loop.program` calls once, checks them and returns `Options`. Nothing else reads FLAGS.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from absl import flags

from experiments import datasets
from experiments.datasets.records import Dataset
from experiments.runs.parts import WHOLE, Part, part_of
from specjax import METRICS, PROTOCOLS, Protocol, SpecjaxError, channel_count
from specjax import _flags as shared
from specjax._flags import Flag, at_least
from specjax.methods.choice import METHODS

# More channels than any backbone has: with it M, such as C/3, is checked before C is known.
_MANY_CHANNELS = 10**6
_TEXTS = ("data_dir", "annotations", "split", "frames", "checkpoint", "features_dir", "output_dir")

# The help of flags that are plain text without a default.
_PLAIN = {
    "data_dir": "Folder of the dataset, or several with commas between them, which are one run; for"
    " --dataset=folder also an image, a glob or a text file that lists paths. Not used by samples.",
    "annotations": "The annotation JSON of coco or ytvis, or the folder of the masks of davis or"
    " saliency, if it is not at its usual place in --data_dir.",
    "split": "Which part of the dataset to use, such as val or train for voc, val2017 for coco,"
    " train for ytvis, 2017/val for davis. Default: val for voc, val2017 for coco, train for ytvis,"
    " all sequences for davis.",
    "frames": "Text file that lists the images to use, one video/frame on each line, with or"
    " without extension and leading folders. Default: all images.",
    "features_dir": "Read features from <id>.npz in this folder instead of running a backbone:"
    " 'features' [n, C] in row-major order, 'grid' [2] (rows, columns) and, optionally,"
    " 'patch_size' in pixels. --save=features writes such files.",
    "part": "Do one part of the run: 1/3 is the first of three. Start each part as a process of its"
    " own, on any machines that see the same --output_dir; the last one to finish writes the"
    " summary. If a part dies, run its command again. Default: the whole run.",
}
DATASET = {
    **{name: Flag("string", None, help) for name, help in _PLAIN.items()},
    "dataset": Flag(
        "enum",
        "samples",
        "Where images come from: "
        + ", ".join(f"{name} ({found.what})" for name, found in datasets.FORMATS.items())
        + ".",
        {"enum_values": list(datasets.FORMATS)},
    ),
    "orientation": Flag(
        "enum",
        None,
        "How annotations were drawn: on images turned upright by their EXIF orientation, or on"
        " images as stored. Default: what the sizes say, and upright where they cannot tell.",
        {"enum_values": ["upright", "stored"]},
    ),
    "frame_step": Flag(
        "integer",
        None,
        "Use every n-th frame of each video of ytvis or davis: the first, and so on. Default: all"
        " frames.",
        at_least(1, 10**6),
    ),
    "paper_filter": Flag(
        "bool",
        False,
        "Use only images that meet the paper's rule for its test split: at least two instances,"
        " each at least 7 % of the image's area, the smallest at least 0.3 times the largest.",
    ),
    "limit": Flag(
        "integer",
        None,
        "Use only this many images, the first ones. A later run with a larger limit continues from"
        " there. Default: all images.",
        at_least(1, 10**9),
    ),
}

# The fields of `Options` that have another name than their flag.
_FIELDS = {
    "M": "Ms",
    "N": "Ns",
    "metric": "metrics",
    "figure": "figures",
    "method": "methods",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """The checked flags; `specjax._flags.METHOD` and `DATASET` explain each.

    `num_instances` is None for the annotated number. Most experiments take one M and one N.
    """

    dataset: str
    data_dir: str | Sequence[str] | None
    annotations: str | None
    split: str | None
    frames: str | None
    orientation: str | None
    frame_step: int | None
    paper_filter: bool
    limit: int | None
    checkpoint: str
    features_dir: pathlib.Path | None
    protocol: Protocol
    Ms: tuple[str, ...]
    Ns: tuple[int, ...]
    bins: int
    num_instances: int | None
    image_size: int | None
    features: str
    layer: int
    pos_interpolation: str
    solver: str
    dtype: str
    batch_size: int | None
    seed: int
    output_dir: pathlib.Path | None
    overwrite: bool
    save: frozenset[str]
    part: Part = WHOLE
    metrics: tuple[str, ...] = ("boc",)
    figures: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    tau: float | None = None
    rounds: int = 3
    center: bool | None = None

    @classmethod
    def check_fields(cls, names: Iterable[str]) -> None:
        """Raises TypeError if a flag has no field here, so that nothing would read it."""
        known = {field.name for field in dataclasses.fields(cls)}
        if unread := [name for name in names if _FIELDS.get(name, name) not in known]:
            raise TypeError(
                f"nothing reads --{', --'.join(unread)}: add a field of the same name to Options in"
                " experiments/loop/flags.py, and use it"
            )

    def open_dataset(self) -> Dataset:
        """The dataset that the flags describe."""
        chosen = ("data_dir", "annotations", "split", "orientation", "frame_step", "frames")
        options = {name: getattr(self, name) for name in (*chosen, "paper_filter", "limit")}
        dataset = datasets.open_dataset(self.dataset, **options)
        if "coco" in self.save and dataset.id_clash:
            raise SpecjaxError(dataset.id_clash)
        return dataset


def define(
    *,
    metric: bool = False,
    methods: bool = False,
    figures: Mapping[str, str] | None = None,
    **defaults: object,
) -> None:
    """Declare the flags of an experiment; `defaults` replace the usual defaults.

    `metric` says whether there is a flag `--metric`, `methods` whether there are those of other
    methods. `figures` describes each value of `--figure`, if the experiment draws figures.
    """
    method_flags = {
        name: flag for name, flag in shared.METHOD.items() if metric or name != "metric"
    }
    if methods:
        method_flags |= shared.OTHER_METHODS
        method_flags["method"] = Flag(
            "list",
            ["all"],
            f"Methods to compare, one or several of {', '.join(METHODS)}; or all.",
        )
    Options.check_fields([*DATASET, *method_flags])
    shared.declare({**DATASET, **method_flags}, **defaults)
    if figures is not None:
        help = "; ".join(f"{name}, {what}" for name, what in figures.items())
        help = f"Which figures to draw, one or several of: {help}. Default: all of them."
        shared.declare({"figure": Flag("list", list(figures), help)})


def read(
    values: flags.FlagValues, *, several: str = "", figures: Mapping[str, str] | None = None
) -> Options:
    """The flags as checked `Options`; those of "M" and "N" in `several` may have several values."""
    shared.check_texts(values, _TEXTS)
    part = WHOLE if values.part is None else part_of(values.part)
    if values.overwrite and not part.whole:
        raise SpecjaxError(
            "--overwrite with --part would delete the results of the other parts; delete the folder"
            " before you start the parts, or choose another --output_dir"
        )
    Ms, Ns = tuple(values.M.split(",")), shared.counts("N", values.N)
    for M in Ms:
        channel_count(M, _MANY_CHANNELS)
    for name, found in (("M", Ms), ("N", Ns)):
        if len(found) > 1 and name not in several:
            raise SpecjaxError(f"--{name}={values[name].value}: this experiment takes one value")
    features_dir = _path(values.features_dir)
    if features_dir is not None and not features_dir.is_dir():
        raise SpecjaxError(f"--features_dir={values.features_dir}: no such folder")
    given = {field.name for field in dataclasses.fields(Options)}
    plain = {name: getattr(values, name) for name in given if name in values}
    methods = shared.chosen("method", values.method, METHODS) if "method" in values else ()
    metrics = values.metric if "metric" in values else ["boc"]
    return Options(
        **plain
        | {
            "features_dir": features_dir,
            "protocol": PROTOCOLS[values.protocol],
            "Ms": Ms,
            "Ns": Ns,
            "num_instances": shared.instance_count(values.num_instances),
            "output_dir": _path(values.output_dir),
            "save": shared.saves(values.save),
            "part": part,
            "methods": methods,
            "metrics": shared.chosen("metric", metrics, METRICS),
            "figures": shared.chosen("figure", values.figure, figures) if figures else (),
        }
    )


def _path(text: str | None) -> pathlib.Path | None:
    """A path, in which a leading `~` is the user's home: no shell expands that of `--flag=~`."""
    return None if text is None else pathlib.Path(os.path.expanduser(text))
