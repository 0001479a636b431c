r"""Scores of the field for any run, or for the COCO results file of any program.

    python -m experiments.coco_eval outputs/mine

scores a run that was started with `--save=coco` (or `labels`) against the dataset it ran on. With

    python -m experiments.coco_eval results.json outputs/mine --dataset=coco --data_dir=coco

the dataset is named, and several results are compared in one table. Classes do not count. Prints,
for masks and for boxes, average precision (AP, also at IoU 0.5 and 0.75, and by size) and average
recall (AR) of 1, 10 and 100 detections an image, by pycocotools; CorLoc; and, if every image has
one object, IoU, accuracy and maximal F-measure of the best mask. Crowds are ignored as COCO ignores
them, void regions too. Writes all of them, with 95 % bootstrap intervals, to `outputs/scores.json`
(`--output`). docs/evaluation.md defines each score.
"""

import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from experiments import datasets
from experiments.datasets import values as meanings
from experiments.datasets.records import Dataset
from experiments.evaluating import report, sources
from experiments.evaluating.evaluation import Bootstrap, evaluate
from experiments.loop.flags import DATASET
from experiments.results.resampling import RESAMPLING
from experiments.runs.names import SUMMARY
from specjax import SpecjaxError
from specjax._flags import Flag, at_least, check_texts, declare
from specjax._folder import write_json
from specjax._program import execute

_CHOICE = tuple(name for name in DATASET if name not in ("features_dir", "part"))
_PATHS = {"data_dir", "annotations"}
FLAGS = {
    **{name: DATASET[name] for name in _CHOICE},
    "output": Flag("string", "outputs/scores.json", "File to write; its name ends in .json."),
    **RESAMPLING,
    "ap_resamples": Flag(
        "integer",
        0,
        "The same for AP, AP50 and AP75, where each resample takes as long as an evaluation's last"
        " step: seconds on a large dataset. Default: no interval for them.",
        at_least(0, 10**5),
    ),
}
FLAGS["dataset"] = DATASET["dataset"]._replace(
    default=None,
    help=f"{DATASET['dataset'].help} Default: the dataset that the runs were on.",
)


def main(arguments: Sequence[str]) -> int:
    """Read the flags, score, print and write the scores."""
    values = flags.FLAGS
    check_texts(values, [name for name in FLAGS if FLAGS[name].kind == "string"])
    paths = list(dict.fromkeys(map(_folder_of, map(pathlib.Path, arguments[1:]))))
    if not paths:
        raise SpecjaxError("no results given: name folders of runs, or COCO results files")
    output = pathlib.Path(values.output)
    if output.suffix != ".json" or output.is_dir():
        raise SpecjaxError(f"--output={values.output}: give the name of a file that ends in .json")
    if output.resolve() in [path.resolve() for path in paths]:
        raise SpecjaxError(f"--output={values.output} would replace what is scored")
    dataset, differing = _open({name: getattr(values, name) for name in _CHOICE}, paths)
    opened = [source for path in paths for source in sources.open_sources(path)]
    bootstrap = Bootstrap(values.seed, values.resamples, values.ap_resamples)
    found = evaluate(dataset, opened, bootstrap)
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    said = [*differing, *found["warnings"]]
    print(*report.tables(found), sep="\n\n")
    print(*(f"warning: {warning}\n" for warning in said), sep="", end="")
    print("", write_json(output, {**found, "warnings": [*dataset.warnings, *said]}), sep="\n")
    return 1 if found["failures"] else 0


def _folder_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of a run, of which the summary may be given."""
    return path.parent if path.name == SUMMARY else path


def _open(given: Mapping[str, Any], paths: Sequence[pathlib.Path]) -> tuple[Dataset, list[str]]:
    """The dataset of the flags, or of the runs; warnings about runs that were on another one."""
    configs = {path: sources.read_config(path) for path in paths}
    runs = {path: config for path, config in configs.items() if config is not None}
    options = {name: value for name, value in given.items() if value}
    if "dataset" not in options:
        if not runs:
            raise SpecjaxError("none of these is a run that says its dataset: give --dataset")
        config = next(iter(runs.values()))
        options = _options(config, options) | options
    name = options.pop("dataset")
    dataset = datasets.open_dataset(name, **options)
    warnings = []
    for path, config in runs.items():
        wanted, known = dict(dataset.identity), config["dataset"]
        keys = {**wanted, **known}.keys() - _PATHS  # which depend on the machine
        differing = sorted(key for key in keys if wanted.get(key) != known.get(key))
        if differing:
            warnings.append(f"{path} was a run on another dataset ({', '.join(differing)} differ)")
    return dataset, warnings


def _options(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `open_dataset` that a run's configuration says."""
    identity = config["dataset"]
    if "frames_sha256" in identity and "frames" not in given:
        raise SpecjaxError("the run used a list of frames: give it again with --frames")
    options = {name: identity[name] for name in _CHOICE if identity.get(name)}
    if not all(isinstance(value, str) for value in options.values()):
        raise SpecjaxError("the run's summary.json does not say its dataset: give --dataset")
    options = {name: value for name, value in options.items() if "\n" not in value}
    if "data_dir" in identity and "data_dir" not in options:  # a line for each folder
        options["data_dir"] = identity["data_dir"].split("\n")
    for name, meaning in (("paper_filter", meanings.flag), ("frame_step", meanings.whole)):
        if name in options:
            options[name] = meaning(options[name])
    if isinstance(config.get("limit"), int):
        options["limit"] = config["limit"]
    return {**options, "dataset": str(identity.get("name"))}


if __name__ == "__main__":
    declare(FLAGS)
    execute(main)
