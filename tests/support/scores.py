"""Masks as detections and as results, and the binary that scores them."""

import contextlib
import dataclasses
import io
import json
import pathlib
import runpy
import sys
from unittest import mock

import numpy as np
from pycocotools import mask as coco_mask

from experiments.evaluating.detections import Detection, box_of
from experiments.evaluating.truth import Thing, Truth
from tests.support.run_binary import ROOT, forget_flags

SAME_SCORE = "most detections have the same score"  # a warning


@dataclasses.dataclass
class Scored:
    """How the binary ended."""

    status: int
    stdout: str
    stderr: str
    output: pathlib.Path

    @property
    def report(self):
        return json.loads(self.output.read_text())

    @property
    def result(self):
        (result,) = self.report["results"]
        return result


def run_scores(output, *arguments):
    """Runs the binary's own `__main__` in this process."""
    forget_flags()
    out, err = io.StringIO(), io.StringIO()
    argv = ["coco_eval", f"--output={output}", "--resamples=100", *map(str, arguments)]
    try:
        with (
            mock.patch.object(sys, "argv", argv),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            runpy.run_path(str(ROOT / "experiments" / "coco_eval.py"), run_name="__main__")
        raise AssertionError("the binary did not exit")
    except SystemExit as ended:
        return Scored(ended.code or 0, out.getvalue(), err.getvalue(), pathlib.Path(output))
    finally:
        forget_flags()


def rectangle(top, left, bottom, right, size=(40, 50)):
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def code_of(mask):
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def thing(mask, **fields):
    code = code_of(mask)
    return Thing(code, box_of(code), int(mask.sum()), **fields)


def truth_of(*things, size=(40, 50)):
    return Truth(*size, list(things))


def detection(mask, score=1.0):
    code = code_of(mask)
    return Detection(score, box_of(code), int(mask.sum()), code)


def entry(image_id, mask, score=1.0, **fields):
    """An entry of a results file."""
    code = code_of(mask)
    written = {"size": list(mask.shape), "counts": code["counts"].decode("ascii")}
    return {
        "image_id": image_id,
        "category_id": 1,
        "segmentation": written,
        "score": score,
    } | fields


def perfect(maps, id_of):
    """The annotated instances of each image as results."""
    return [
        entry(id_of(number, record_id), instances == value)
        for number, (record_id, instances) in enumerate(maps.items(), start=1)
        for value in range(1, instances.max() + 1)
    ]


def noisy_results(ids_and_maps, seed=0):
    """Entries near the instances of maps and at random, with many equal scores."""
    generator = np.random.default_rng(seed)
    entries = []
    for image_id, instances in ids_and_maps:
        masks = [instances == number for number in np.unique(instances[instances != 0])]
        masks += [generator.random(instances.shape) < 0.02 for _ in range(2)]
        for mask in masks:
            for _ in range(int(generator.integers(0, 4))):
                shift = generator.integers(-5, 6, 2)
                moved = np.roll(mask, shift, (0, 1))
                entries.append(entry(image_id, moved, round(float(generator.random()), 1)))
    return entries
