"""The flags that all binaries share, and the plain values they become.

`define` declares them; `read`, called in a binary's `main`, checks them and returns `Options`.
Nothing else looks at FLAGS.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from absl import flags

from experiments import datasets
from experiments.runs.parts import WHOLE, Part, part_of
from specjax.affinity import METRICS
from specjax.errors import SpecjaxError
from specjax.protocol import PROTOCOLS, Protocol

_PATHS = (
    "data_dir", "annotations", "split", "frames", "checkpoint", "features_dir", "output_dir",
)  # fmt: skip
SAVES = ("labels", "tokens", "overlays", "gallery", "coco", "features")

# Labels are written as one byte per pixel, 255 being void in the field's convention.
MAX_INSTANCES = 254


@dataclasses.dataclass(frozen=True)
class ChannelCount:
    """A number of channels, absolute or as a share of all C channels (`C/3`)."""

    text: str
    share: Fraction | None
    number: int | None

    def of(self, channels: int) -> int:
        """The number for features of so many channels, rounded down."""
        return self.number if self.share is None else int(self.share * channels)


@dataclasses.dataclass(frozen=True)
class Options:
    """The shared flags, checked. See `define` for what each means."""

    dataset: str
    data_dir: str | Sequence[str] | None
    annotations: str | None
    split: str | None
    frames: str | None
    paper_filter: bool
    limit: int | None
    checkpoint: str
    features_dir: pathlib.Path | None
    protocol: Protocol
    M: tuple[ChannelCount, ...]
    N: int  # the first, in a binary that takes several
    bins: int
    num_instances: int | None
    image_size: int | None
    pos_interpolation: str
    solver: str
    dtype: str
    batch_size: int | None
    seed: int
    output_dir: pathlib.Path | None
    overwrite: bool
    save: frozenset[str]
    part: Part = WHOLE
    distributed: bool = False

    def open_dataset(self) -> datasets.Dataset:
        """The dataset that the flags describe."""
        return datasets.open_dataset(
            self.dataset,
            data_dir=self.data_dir,
            annotations=self.annotations,
            split=self.split,
            frames=self.frames,
            paper_filter=self.paper_filter,
            limit=self.limit,
        )


def define(
    *,
    dataset: str = "samples",
    save: Sequence[str] = (),
    M: str = "C/3",
    N: int | Sequence[int] = 60,
) -> None:
    """Declare the shared flags; a binary may have other defaults for some.

    Where N's default is several numbers, so may its value be (`deviation_counts`).
    """
    text, switch, integer = flags.DEFINE_string, flags.DEFINE_bool, flags.DEFINE_integer
    flags.DEFINE_enum(
        "dataset",
        dataset,
        datasets.NAMES,
        "Where images come from: samples (drawn by the program, nothing to download), voc (PASCAL"
        " VOC devkit), coco (COCO instances JSON), ytvis (YouTube-VIS 2019 JSON), folder (your own"
        " images, without annotation).",
    )
    text("data_dir", None, "Folder of the dataset; for --dataset=folder also an image, a glob or a"
         " text list of paths. Not used by samples.")
    text("annotations", None, "Annotation JSON of coco and ytvis, where it has not its usual place"
         " in --data_dir.")
    text("split", None, "Which part of the dataset: val, train, ... for voc; val2017, ... for coco;"
         " train, ... for ytvis. Default: the dataset's usual validation part.")
    text("frames", None, "Text file that lists the images to use, one video/frame per line, with or"
         " without extension or leading folders.")
    switch("paper_filter", False, "Keep only images that meet the paper's test rule: at least two"
           " instances, each at least 7 % of the image, smallest/largest at least 0.3.")
    integer("limit", None, "Use only the first so many images. A later run with a larger limit"
            " continues where this one ended.", lower_bound=1, upper_bound=10**9)
    text("checkpoint", "auto", "Backbone: a Hugging Face id (facebook/dino-vits16), a folder or a"
         " file with a ViT; 'specjax-mini', the small one that comes with the package, trained on"
         " scenes like the samples; 'random' for fixed random weights. 'auto' takes"
         " facebook/dino-vits16, and for samples specjax-mini.")
    text("features_dir", None, "Read features from <id>.npz in this folder instead of running a"
         " backbone: 'features' [n, C] in row-major order, 'grid' [2] (rows, columns) and, if you"
         " like, 'patch_size'. --save=features writes such files. A run knows the folder"
         " by its path: leave the files as they are until it is done.")
    flags.DEFINE_enum("protocol", "paper", sorted(PROTOCOLS), "paper: the paper's equations;"
                      " reference: its released code. The README has the table of differences.")
    text("M", M, "Channels kept by entropy (NCR), in both stages: a number or a share of all C"
         " channels, such as C, 3C/4 or C/3 (rounded down). A third of ViT-S's 384 is 128."
         " fgbg and sweep take several, with commas between.")
    kept = "Channels kept by standard deviation (DCR), out of the M"
    if isinstance(N, int):
        integer("N", N, f"{kept}.", lower_bound=1)
    else:
        text("N", ",".join(map(str, N)), f"{kept}: one number, or several with commas between.")
    integer("bins", 30, "Histogram bins of the channel entropy.", lower_bound=1, upper_bound=4096)
    text("num_instances", "oracle", "Number of instances to find in each image: a number, or"
         " 'oracle' for the number that is annotated.")
    integer("image_size", None, "Resize images so that the short side has this many pixels."
            " Default: the native size.", lower_bound=1)
    flags.DEFINE_enum("pos_interpolation", "dino", ["dino", "hf"], "How position embeddings are"
                      " resampled to the image's grid: as the original DINO code or as Hugging"
                      " Face's does it.")
    flags.DEFINE_enum("solver", "auto", ["auto", "eigh", "lobpcg", "krylov"], "Eigensolver: dense"
                      " (eigh), iterative (lobpcg, or krylov, which is faster), or by size (auto).")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Precision of the backbone's"
                      " matrix products. bfloat16 is faster on accelerators and changes scores a"
                      " little; all that follows the backbone stays float32.")
    integer("batch_size", None, "Images that each device works on at a time. Changes no result"
            " on a CPU, and the last digits of eigenvectors elsewhere."
            " Default: 4 on a CPU, 16 on an accelerator, fewer of very large images.",
            lower_bound=1, upper_bound=4096)
    integer("seed", 0, "Seed of the clustering's starts.", lower_bound=0, upper_bound=2**32 - 1)
    text("output_dir", None, "Where results go. Default: a folder of its own for each configuration"
         " under outputs/. An interrupted run continues there.")
    switch("overwrite", False, "Delete the results of an earlier run in --output_dir first.")
    flags.DEFINE_list("save", list(save), "What to write for each image, any of: "
                      + ", ".join(SAVES) + ". labels are indexed PNGs at image resolution, tokens"
                      " the same on the token grid, overlays a picture of every stage, gallery one"
                      " sheet of the first 24 images, coco one JSON of run-length masks, features"
                      " .npz files for --features_dir.")
    text("part", None, "Do one part of the run: 1/3 is the first of three. Start each part in a"
         " process of its own, on any machines that see the same --output_dir; the last to finish"
         " writes the summary. A part that died is done by the same command again.")
    switch("distributed", False, "Do the part that falls to this process in its cluster (TPU pod,"
           " Slurm, Kubernetes, Open MPI). Start the same command in each process.")


def define_metric() -> None:
    """Declare `--metric`."""
    flags.DEFINE_list("metric", ["boc"], "How two foreground tokens are compared: one or several"
                      " of " + ", ".join(METRICS) + "; or all. boc is the paper's own. Features and"
                      " foreground are computed once for all of them.")


def define_figure(figures: Mapping[str, str]) -> None:
    """Declare `--figure`; `figures` says what each name is."""
    flags.DEFINE_list("figure", list(figures), "What to make, one or several of: "
                      + "; ".join(f"{name}, {what}" for name, what in figures.items())
                      + ". Default: all of them.")


def read(values: flags.FlagValues, *, several_M: bool = False) -> Options:
    """The shared flags as checked `Options`.

    Raises:
        SpecjaxError: a value that no image could be processed with.
    """
    for name in _PATHS:
        # An unset variable in a script, most likely; as a path it would be the working directory.
        if values[name].value == "":
            raise SpecjaxError(f"--{name} is empty: leave it out or give it a value")
        if "\0" in str(values[name].value):
            raise SpecjaxError(f"--{name} holds a null character, which no path may")
    save = frozenset(item.strip() for item in values.save if item.strip())
    for item in sorted(save - set(SAVES)):
        raise SpecjaxError(f"--save={item}: choose from {', '.join(SAVES)}")
    if values.distributed and values.part is not None:
        raise SpecjaxError(f"--distributed and --part={values.part} exclude each other; give one")
    part = WHOLE if values.part is None else part_of(values.part)
    if values.overwrite and (values.distributed or not part.whole):
        raise SpecjaxError(
            "--overwrite in a part would delete what the other parts have made; delete the folder"
            " before all parts are started, or choose another --output_dir"
        )
    counts = tuple(channel_count(text) for text in values.M.split(","))
    if len(counts) > 1 and not several_M:
        raise SpecjaxError(f"--M={values.M}: this binary takes one value")
    return Options(
        dataset=values.dataset,
        data_dir=values.data_dir,
        annotations=values.annotations,
        split=values.split,
        frames=values.frames,
        paper_filter=values.paper_filter,
        limit=values.limit,
        checkpoint=values.checkpoint,
        features_dir=_folder("features_dir", values.features_dir),
        protocol=PROTOCOLS[values.protocol],
        M=counts,
        N=values.N if isinstance(values.N, int) else deviation_counts(values.N)[0],
        bins=values.bins,
        num_instances=instance_count(values.num_instances),
        image_size=values.image_size,
        pos_interpolation=values.pos_interpolation,
        solver=values.solver,
        dtype=values.dtype,
        batch_size=values.batch_size,
        seed=values.seed,
        output_dir=None if values.output_dir is None else pathlib.Path(values.output_dir),
        overwrite=values.overwrite,
        save=save,
        part=part,
        distributed=values.distributed,
    )


def channel_count(text: str) -> ChannelCount:
    """`128`, `C`, `C/3` or `3C/4` as a count.

    Raises:
        SpecjaxError: any other text, zero, or more than C.
    """
    text = text.strip()
    match = re.fullmatch(r"(\d{0,6})C(?:/(\d{1,6}))?", text)
    if match:
        share = Fraction(int(match[1] or 1), int(match[2] or 1) or 1)
        if match[2] is None or int(match[2]) > 0:
            if 0 < share <= 1:
                return ChannelCount(text, share, None)
    elif re.fullmatch(r"\d{1,6}", text) and int(text) > 0:
        return ChannelCount(text, None, int(text))
    raise SpecjaxError(f"--M={text}: give a number of channels, or a share of all C such as C/3")


def deviation_counts(text: str) -> tuple[int, ...]:
    """`--N` of a binary that takes several, as in `20,40,60`, without repetition.

    Raises:
        SpecjaxError: anything else, or zero.
    """
    numbers = [number.strip() for number in text.split(",")]
    for number in numbers:
        if not re.fullmatch(r"\d{1,6}", number) or int(number) == 0:
            raise SpecjaxError(f"--N={text}: give a number of channels, or several as in 20,40,60")
    return tuple(dict.fromkeys(map(int, numbers)))


def instance_count(text: str) -> int | None:
    """`--num_instances` as a number; None for the oracle."""
    if text == "oracle":
        return None
    if re.fullmatch(r"\d{1,6}", text) and 1 <= int(text) <= MAX_INSTANCES:
        return int(text)
    raise SpecjaxError(f"--num_instances={text}: give 'oracle' or a number from 1 to {MAX_INSTANCES}")


def metric_names(names: Sequence[str]) -> tuple[str, ...]:
    """`--metric` as names of `METRICS`, without repetition; `all` is all of them."""
    names = [name.strip() for name in names if name.strip()]
    for name in names:
        if name != "all" and name not in METRICS:
            raise SpecjaxError(f"--metric={name}: choose from all, {', '.join(METRICS)}")
    if not names:
        raise SpecjaxError(f"--metric is empty: choose from all, {', '.join(METRICS)}")
    return tuple(METRICS) if "all" in names else tuple(dict.fromkeys(names))


def figure_names(names: Sequence[str], figures: Iterable[str]) -> tuple[str, ...]:
    """`--figure` as names among `figures`, in their order.

    Raises:
        SpecjaxError: another name, or none.
    """
    wanted, known = {name.strip() for name in names if name.strip()}, tuple(figures)
    for name in sorted(wanted.difference(known)):
        raise SpecjaxError(f"--figure={name}: choose from {', '.join(known)}")
    if not wanted:
        raise SpecjaxError(f"--figure is empty: choose from {', '.join(known)}")
    return tuple(name for name in known if name in wanted)


def _folder(flag: str, text: str | None) -> pathlib.Path | None:
    if text is None:
        return None
    path = pathlib.Path(text)
    if not path.is_dir():
        raise SpecjaxError(f"--{flag}={text}: no such folder")
    return path
