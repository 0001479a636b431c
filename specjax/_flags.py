"""The flags that the `specjax` command and the experiments share.

`METHOD` describes each flag once, and `declare` declares them with absl. The functions below check
values; binaries call them in `main`.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from specjax._eigensolvers import SOLVERS
from specjax.affinity import METRICS
from specjax.config import MAX_INSTANCES, PROTOCOLS
from specjax.errors import SpecjaxError
from specjax.methods.choice import MAX_ROUNDS, METHODS
from specjax.models.positions import POSITIONS

SAVES = {
    "labels": "label maps as PNG files, at the size of the image",
    "tokens": "label maps as PNG files, one pixel per token",
    "overlays": "pictures of every stage of the method",
    "gallery": "one picture that shows the first 24 images",
    "coco": "masks as COCO JSON",
    "features": "the backbone's features as .npz files, which --features_dir reads",
}


class Flag(NamedTuple):
    """The description of a flag.

    Attributes:
        kind: suffix of the `DEFINE_` function of absl that declares it.
        default: its default value.
        help: its text in `--help`.
        options: further arguments of the `DEFINE_` function.
    """

    kind: str
    default: Any
    help: str
    options: Mapping[str, Any] = {}


def at_least(low: int, high: int | None = None) -> dict[str, int | None]:
    """The bounds of an integer flag."""
    return {"lower_bound": low, "upper_bound": high}


METHOD = {
    "checkpoint": Flag(
        "string",
        "auto",
        "Vision transformer (ViT) that computes the features: a Hugging Face id such as"
        " facebook/dino-vits16; a folder or a file; 'specjax-mini', a small ViT in the package,"
        " trained on drawn scenes and photographs; or 'random', fixed random weights. 'auto' is"
        " specjax-mini for the built-in samples, and facebook/dino-vits16 otherwise.",
    ),
    "protocol": Flag(
        "enum",
        "paper",
        "Where the paper and the authors' released code differ, follow the paper ('paper') or the"
        " code ('reference'). docs/paper.md lists the differences.",
        {"enum_values": sorted(PROTOCOLS)},
    ),
    "M": Flag(
        "string",
        "C/3",
        "How many feature channels to keep, those of lowest entropy (NCR): a number, or a share of"
        " all C channels such as C, 3C/4 or C/3, rounded down. A ViT-S has C = 384.",
    ),
    "N": Flag(
        "string",
        "60",
        "How many of those M channels to keep for finding instances, those of highest standard"
        " deviation (DCR).",
    ),
    "bins": Flag(
        "integer",
        30,
        "Bins of the histogram that the entropy of a channel is computed from.",
        at_least(1, 4096),
    ),
    "metric": Flag(
        "list",
        ["boc"],
        "How to compare the features of two foreground tokens: one or several of "
        + ", ".join(METRICS)
        + "; or all. boc is the paper's own metric. Several metrics share features and foreground.",
    ),
    "num_instances": Flag(
        "string",
        "oracle",
        "How many instances to find in each image: a number, or 'oracle' for as many as are"
        " annotated.",
    ),
    "image_size": Flag(
        "integer",
        None,
        "Resize images to this short side in pixels. Default: no resizing.",
        at_least(1),
    ),
    "features": Flag(
        "string",
        "keys",
        "Which features of the backbone to compare: keys, queries, values or outputs of a block."
        " Several with commas (keys,values) are joined. The paper takes keys.",
    ),
    "layer": Flag(
        "integer",
        -1,
        "The block of the backbone that features are taken of: 1 is the first, -1 the last.",
    ),
    "pos_interpolation": Flag(
        "enum",
        "auto",
        "How to resample the backbone's position embeddings to the size of the image: as its"
        " original code does ('auto'), as DINO's ('dino') or as Hugging Face's ('hf').",
        {"enum_values": list(POSITIONS)},
    ),
    "solver": Flag(
        "enum",
        "auto",
        "How to solve for eigenvectors: dense ('eigh'), iterative ('krylov'), or the faster one"
        " for the size of the graph ('auto').",
        {"enum_values": ["auto", *SOLVERS]},
    ),
    "dtype": Flag(
        "enum",
        "float32",
        "Precision of the matrix products in the ViT. bfloat16 is faster on accelerators and"
        " changes scores a little; later stages always use float32.",
        {"enum_values": ["float32", "bfloat16"]},
    ),
    "batch_size": Flag(
        "integer",
        None,
        "How many images each device computes at a time. On a CPU it changes no result; elsewhere,"
        " the last digits of eigenvectors. Default: 4 on a CPU, 16 on an accelerator, fewer for"
        " very large images.",
        at_least(1, 4096),
    ),
    "seed": Flag(
        "integer", 0, "Random seed of k-means, which groups tokens.", at_least(0, 2**32 - 1)
    ),
    "output_dir": Flag(
        "string",
        None,
        "Folder for the results. Default: a new folder under outputs/ for each configuration. An"
        " interrupted run with the same settings continues there.",
    ),
    "overwrite": Flag("bool", False, "First delete the results of an earlier run in --output_dir."),
    "save": Flag(
        "list",
        [],
        "What to write, any of: "
        + "; ".join(f"{kind}, {what}" for kind, what in SAVES.items())
        + ".",
    ),
}

# The method itself, and the settings of methods other than the paper's.
OTHER_METHODS = {
    "method": Flag(
        "enum",
        "dsi",
        "Which method: " + "; ".join(f"{name}, {what}" for name, what in METHODS.items()) + ". Only"
        " dsi takes --num_instances, --metric, --M, --N, --bins and --protocol.",
        {"enum_values": list(METHODS)},
    ),
    "tau": Flag(
        "float",
        None,
        "Of tokencut and maskcut: tokens whose cosine is above it are joined. Default: the papers'"
        " 0.2 and 0.15, or 0.6 for the outputs of DINOv2.",
        {"lower_bound": -1.0, "upper_bound": 1.0},
    ),
    "rounds": Flag("integer", 3, "Of maskcut: the number of cuts.", at_least(1, MAX_ROUNDS)),
    "center": Flag(
        "bool",
        None,
        "Of methods other than dsi: whether to subtract the image's mean from the features."
        " Default: only for tokencut and maskcut with DINOv2, whose keys are all alike in an image;"
        " not for its outputs.",
    ),
}


def declare(table: Mapping[str, Flag], **defaults: Any) -> None:
    """Declare the flags of a table, and list them in the `--help` of the program.

    Args:
        table: flags by name.
        **defaults: default values, by flag, that replace those of the table.
    """
    for name, flag in table.items():
        default = defaults.get(name, flag.default)
        getattr(flags, f"DEFINE_{flag.kind}")(name, default, help=flag.help, **flag.options)
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def check_texts(values: flags.FlagValues, names: Iterable[str]) -> None:
    """Raise SpecjaxError where one of these flags is empty or cannot be a path.

    An empty value most likely comes from an unset variable in a script. As a path, it would mean
    the working directory.
    """
    for name in names:
        if values[name].value == "":
            raise SpecjaxError(f"--{name} is empty: leave it out or give it a value")
        if "\0" in str(values[name].value):
            raise SpecjaxError(f"--{name} holds a null character, which no path can have")


def counts(name: str, text: str) -> tuple[int, ...]:
    """The numbers in a text such as `20,40,60`, without repetition.

    Raises:
        SpecjaxError: the text is anything else, or holds a 0.
    """
    numbers = [number.strip() for number in text.split(",")]
    if not all(re.fullmatch(r"\d{1,6}", number) and int(number) for number in numbers):
        raise SpecjaxError(f"--{name}={text}: give a number, or several as in 20,40,60")
    return tuple(dict.fromkeys(map(int, numbers)))


def instance_count(text: str) -> int | None:
    """`--num_instances` of an experiment: a number, or None for "oracle".

    Raises:
        SpecjaxError: the text is anything else.
    """
    return None if text == "oracle" else instance_number(text, expected="'oracle' or a number")


def instance_number(text: str, *, expected: str = "a number") -> int:
    """`--num_instances` as a number.

    Args:
        text: value of the flag.
        expected: what the error message asks for.

    Raises:
        SpecjaxError: the text is no number, or out of range.
    """
    if re.fullmatch(r"\d{1,6}", text) and 1 <= int(text) <= MAX_INSTANCES:
        return int(text)
    raise SpecjaxError(f"--num_instances={text}: give {expected} from 1 to {MAX_INSTANCES}")


def chosen(name: str, texts: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """The values of a list flag, without repetition; `all` stands for all known values.

    Raises:
        SpecjaxError: a value is unknown, or there is none.
    """
    known, wanted = tuple(known), [text.strip() for text in texts if text.strip()]
    for text in wanted:
        if text not in (*known, "all"):
            raise SpecjaxError(f"--{name}={text}: choose from all, {', '.join(known)}")
    if not wanted:
        raise SpecjaxError(f"--{name} is empty: choose from all, {', '.join(known)}")
    return known if "all" in wanted else tuple(dict.fromkeys(wanted))


def saves(texts: Sequence[str]) -> frozenset[str]:
    """The kinds of files in `--save`, which may be empty."""
    wanted = [text for text in texts if text.strip()]
    return frozenset(chosen("save", wanted, SAVES)) if wanted else frozenset()


def with_flag(error: SpecjaxError) -> str:
    """The message of an error, and the flag to change."""
    message = str(error)
    if error.parameter in METHOD and f"--{error.parameter}" not in message:
        return f"{message} (--{error.parameter})"
    return message
