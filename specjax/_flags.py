"""The flags that the `specjax` command and the experiments share, each declared once.

A flag is a row of `METHOD`; `declare` gives it to absl. Values are checked by the functions below,
which binaries call in their `main`.
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
from specjax.models.positions import POSITIONS

SAVES = {
    "labels": "indexed PNGs at image resolution",
    "tokens": "the same on the token grid",
    "overlays": "a picture of every stage",
    "gallery": "one sheet of the first 24 images",
    "coco": "one JSON of run-length masks",
    "features": ".npz files that --features_dir reads",
}


class Flag(NamedTuple):
    """How absl is to declare a flag: the suffix of its `DEFINE_` function, and what that takes."""

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
        "Backbone: a Hugging Face id (facebook/dino-vits16), a folder or a file with a ViT;"
        " 'specjax-mini', the small one that comes with the package, trained on drawn scenes;"
        " 'random' for fixed random weights. 'auto' takes facebook/dino-vits16, and for the"
        " built-in samples specjax-mini.",
    ),
    "protocol": Flag(
        "enum",
        "paper",
        "paper: the paper's equations; reference: the authors' released code. docs/paper.md has"
        " the table of differences.",
        {"enum_values": sorted(PROTOCOLS)},
    ),
    "M": Flag(
        "string",
        "C/3",
        "Channels kept by entropy (NCR), in both stages: a number, or a share of all C channels"
        " such as C, 3C/4 or C/3 (rounded down). A third of ViT-S's 384 is 128.",
    ),
    "N": Flag(
        "string", "60", "Channels kept by standard deviation (DCR), out of the M; at most M."
    ),
    "bins": Flag("integer", 30, "Histogram bins of the channel entropy.", at_least(1, 4096)),
    "metric": Flag(
        "list",
        ["boc"],
        "How two foreground tokens are compared: one or several of "
        + ", ".join(METRICS)
        + "; or all. boc is the paper's own. Features and foreground are computed once for all.",
    ),
    "num_instances": Flag(
        "string",
        "oracle",
        "Number of instances to find in each image: a number, or 'oracle' for the number that is"
        " annotated.",
    ),
    "image_size": Flag(
        "integer",
        None,
        "Resize images so that the short side has this many pixels. Default: the native size.",
        at_least(1),
    ),
    "features": Flag(
        "string",
        "keys",
        "Which of the backbone's features are compared: the keys, queries, values or outputs of a"
        " block, or several with commas (keys,values), which are joined. The paper takes keys.",
    ),
    "layer": Flag(
        "integer", -1, "The block of the backbone they are of: 1 is the first, -1 the last."
    ),
    "pos_interpolation": Flag(
        "enum",
        "auto",
        "How position embeddings are resampled to the image's grid: auto, as the backbone's"
        " original code; dino, as DINO's; hf, as Hugging Face's.",
        {"enum_values": list(POSITIONS)},
    ),
    "solver": Flag(
        "enum",
        "auto",
        "Eigensolver: dense (eigh), iterative (krylov), or by size (auto).",
        {"enum_values": ["auto", *SOLVERS]},
    ),
    "dtype": Flag(
        "enum",
        "float32",
        "Precision of the backbone's matrix products. bfloat16 is faster on accelerators and"
        " changes scores a little; all that follows the backbone stays float32.",
        {"enum_values": ["float32", "bfloat16"]},
    ),
    "batch_size": Flag(
        "integer",
        None,
        "Images that each device works on at a time. Changes no result on a CPU, and the last"
        " digits of eigenvectors elsewhere. Default: 4 on a CPU, 16 on an accelerator, fewer of"
        " very large images.",
        at_least(1, 4096),
    ),
    "seed": Flag("integer", 0, "Seed of the clustering's starts.", at_least(0, 2**32 - 1)),
    "output_dir": Flag(
        "string",
        None,
        "Where results go. Default: a folder of its own for each configuration under outputs/. An"
        " interrupted run continues there.",
    ),
    "overwrite": Flag("bool", False, "Delete the results of an earlier run in --output_dir first."),
    "save": Flag(
        "list",
        [],
        "What to write for each image, any of: "
        + "; ".join(f"{kind}, {what}" for kind, what in SAVES.items())
        + ".",
    ),
}


def declare(table: Mapping[str, Flag], **defaults: Any) -> None:
    """Declare the flags of a table, for the program that runs and for its `--help`.

    `defaults` has other defaults for some of them.
    """
    for name, flag in table.items():
        default = defaults.get(name, flag.default)
        getattr(flags, f"DEFINE_{flag.kind}")(name, default, help=flag.help, **flag.options)
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])


def check_texts(values: flags.FlagValues, names: Iterable[str]) -> None:
    """Raises SpecjaxError where one of these flags is empty or no possible path.

    An empty one is most likely an unset variable of a script; as a path it would be the working
    directory.
    """
    for name in names:
        if values[name].value == "":
            raise SpecjaxError(f"--{name} is empty: leave it out or give it a value")
        if "\0" in str(values[name].value):
            raise SpecjaxError(f"--{name} holds a null character, which no path may")


def counts(name: str, text: str) -> tuple[int, ...]:
    """Numbers with commas between, as in `20,40,60`, without repetition.

    Raises:
        SpecjaxError: anything else, or zero.
    """
    numbers = [number.strip() for number in text.split(",")]
    if not all(re.fullmatch(r"\d{1,6}", number) and int(number) for number in numbers):
        raise SpecjaxError(f"--{name}={text}: give a number, or several as in 20,40,60")
    return tuple(dict.fromkeys(map(int, numbers)))


def instance_count(text: str, *, oracle: bool = True) -> int | None:
    """`--num_instances` as a number; None for the oracle, where there is one."""
    if oracle and text == "oracle":
        return None
    if re.fullmatch(r"\d{1,6}", text) and 1 <= int(text) <= MAX_INSTANCES:
        return int(text)
    known = "'oracle' or a number" if oracle else "a number"
    raise SpecjaxError(f"--num_instances={text}: give {known} from 1 to {MAX_INSTANCES}")


def chosen(name: str, texts: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """Values of a list flag, without repetition; `all`, where it is no value itself, is all.

    Raises:
        SpecjaxError: an unknown value, or none.
    """
    known, wanted = tuple(known), [text.strip() for text in texts if text.strip()]
    for text in wanted:
        if text not in (*known, "all"):
            raise SpecjaxError(f"--{name}={text}: choose from all, {', '.join(known)}")
    if not wanted:
        raise SpecjaxError(f"--{name} is empty: choose from all, {', '.join(known)}")
    return known if "all" in wanted else tuple(dict.fromkeys(wanted))


def saves(texts: Sequence[str]) -> frozenset[str]:
    """`--save` as kinds of files; it may be empty."""
    wanted = [text for text in texts if text.strip()]
    return frozenset(chosen("save", wanted, SAVES)) if wanted else frozenset()


def with_flag(error: SpecjaxError) -> str:
    """The message of an error of the library, and the flag that would mend it."""
    message = str(error)
    if error.parameter in METHOD and f"--{error.parameter}" not in message:
        return f"{message} (--{error.parameter})"
    return message
