"""Folders of finished runs with scores chosen by a test, their report, a reader of pages."""

import base64
import collections
import contextlib
import html.parser
import io
import json
import runpy
import sys
from unittest import mock

import numpy as np
from PIL import Image

from experiments import report
from tests.support.run_binary import ROOT, forget_flags

VOID_TAGS = {"meta", "img", "br"}


def write_run(folder, scores, *, binary="instance", dataset="voc", config=None, **changes):
    """Writes a run whose images have these mIoUs, by setting and image.

    `config` adds to its configuration, `changes` replace parts of its summary.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines, results = [], []
    for setting, mious in scores.items():
        shared = {"f_score": 0.5, "f_score_raw": 0.25}
        lines += [
            {"id": image, "setting": setting, "miou": miou, **shared}
            for image, miou in mious.items()
        ]
        counts = {"images": len(mious), "instances": 2 * len(mious)}
        mean = sum(mious.values()) / len(mious)
        results.append({"metric": setting, "miou": mean, "published": None, **shared, **counts})
    summary = {
        "results": results,
        "config": {
            "binary": binary,
            "dataset": {"name": dataset},
            "settings": list(scores),
            "backbone": "random",
            "protocol": "paper",
            **(config or {}),
        },
        "warnings": [],
        "failures": [],
        "versions": {"jax": "0.0"},
        "seconds": {"total": 1.5},
        **changes,
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "per_image.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "run.json").write_text(json.dumps({"identity": {}, "plain_names": None}))
    return folder


def save_picture(path, colour, size=(40, 20)):
    """A picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def colour_of(source):
    """The mean colour of a photograph on a page, from its `data:` address."""
    kind, content = source.split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image).mean(axis=(0, 1))


def write_page(folders, output):
    """The page of these runs."""
    report.write(folders, output, seed=0, resamples=400)
    return Page(output.read_text())


Finished = collections.namedtuple("Finished", "status stdout stderr")


def run_report(*arguments):
    """Runs the binary's own `__main__` in this process."""
    forget_flags()
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            mock.patch.object(sys, "argv", ["report", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            runpy.run_path(str(ROOT / "experiments" / "report.py"), run_name="__main__")
        raise AssertionError("the binary did not exit")
    except SystemExit as ended:
        return Finished(ended.code, out.getvalue(), err.getvalue())
    finally:
        forget_flags()


class Page(html.parser.HTMLParser):
    """What a page holds.

    Attributes:
        tables: by caption, rows of cells; the last row of headings is the first.
        attributes: (tag, name, value) of all elements.
        text: everything that is shown.
    """

    def __init__(self, text):
        super().__init__()
        self.tables, self.attributes, self.text = {}, [], ""
        self._open, self._rows, self._cell, self._caption = [], None, None, ""
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID_TAGS:
            self._open.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag == "figcaption":
            self._caption = ""
        elif tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._cell = ""

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self._rows[-1].append(self._cell)
            self._cell = None
        elif tag == "table":
            self.tables.setdefault(self._caption, self._rows)

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if self._cell is not None:
            self._cell += data
        elif "figcaption" in self._open:
            self._caption += data

    def named(self, tag, attribute):
        """The values of an attribute."""
        return [value for *key, value in self.attributes if key == [tag, attribute]]
