"""Mutated annotation files: records, recorded failures or a refusal of one line; nothing else.

`SPECJAX_FUZZ_EXAMPLES` sets how many files of each format are tried.
"""

import copy
import json
import os

import numpy as np
import pytest

from experiments import datasets
from experiments.datasets import truth
from experiments.datasets.records import check_ids
from specjax import SpecjaxError
from tests.support import tiny_datasets

hypothesis = pytest.importorskip("hypothesis")
st = hypothesis.strategies

EXAMPLES = int(os.environ.get("SPECJAX_FUZZ_EXAMPLES", "50"))
SETTINGS = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="SPECJAX_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck),
)
# Values that annotation tools write, or that break a reader which trusts its input.
NASTY = [
    None, True, False, 0, 1, 2, -1, 7, 64, 80, 0.5, 80.0, 1e300, 10**20, 10**400, float("nan"),
    float("inf"), "", "0", "1", "64", "8.5", "x", "P:", "oooooo1", "\ud800", "a\0b", "a\nb", "/",
    "..", "../a.jpg", "/etc/passwd", "C:\\a\\b.jpg", "http://x/y/000000000000.jpg?z", "images",
    "%00.jpg", "x" * 5000, [], [[]], [[[]]], {}, [1, 2], [[1, 2, 3, 4, 5, 6]], [1, 2, 3, 4, 5, 6],
    [[1, 2], [3, 4], [5, 60]], [["1", "2", "30", "4", "5", "60"]], {"counts": [0, 5120]},
    {"size": [64, 80], "counts": [5120]}, {"size": [80, 64], "counts": "P:"},
    {"size": ["64", 80.0], "counts": ["5120"]},
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
VALUES = st.sampled_from(NASTY) | JSON


def places(value, path=()):
    """The paths of all values within a JSON value; of a long list, of its first items."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value[:4])
    for key, item in items:
        yield from places(item, (*path, key)) if isinstance(item, dict | list) else [(*path, key)]


def mutate(content, data):
    """The content after a few edits: values replaced, removed, repeated or exchanged."""
    content = copy.deepcopy(content)
    for _ in range(data.draw(st.integers(1, 4))):
        paths = [path for path in places(content) if path]
        if not paths:
            break
        path = data.draw(st.sampled_from(paths))
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        key, edit = path[-1], data.draw(st.sampled_from(["put", "put", "drop", "repeat", "copy"]))
        if edit == "put":
            holder[key] = copy.deepcopy(data.draw(VALUES))
        elif edit == "drop":
            del holder[key]
        elif edit == "repeat" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            other = data.draw(st.sampled_from(paths))
            value = content
            for step in other:
                value = value[step]
            holder[key] = copy.deepcopy(value)
    return content


def check(name, folder):
    """Opens a dataset and reads all of it."""
    try:
        dataset = datasets.open_dataset(name, data_dir=folder)
    except SpecjaxError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert all("\n" not in warning for warning in dataset.warnings)
    records = list(dataset.records())
    assert records and len(set(check_ids(records))) == len(records)
    for record in records:
        record.id.encode()
        json.dumps(record.origin)
        try:
            image, instances = truth.read_both(record)
        except SpecjaxError as error:
            assert len(str(error).splitlines()) == 1
            continue
        assert image.dtype == np.uint8
        if instances is not None:
            assert instances.shape == image.shape[:2] and instances.dtype == np.int32


@pytest.mark.parametrize("name", ["coco", "ytvis"])
def test_mutated_annotation_files(tmp_path, name):
    getattr(tiny_datasets, f"write_{name}")(tmp_path)
    path = tmp_path / "instances.json"
    content = json.loads(path.read_text())

    @SETTINGS
    @hypothesis.given(st.data())
    def mutated(data):
        path.write_text(json.dumps(mutate(content, data)))
        check(name, tmp_path)

    mutated()


@pytest.mark.parametrize("name", ["coco", "ytvis"])
def test_damaged_bytes(tmp_path, name):
    getattr(tiny_datasets, f"write_{name}")(tmp_path)
    path = tmp_path / "instances.json"
    whole = path.read_bytes()

    @SETTINGS
    @hypothesis.given(st.integers(0, len(whole)), st.binary(max_size=6), st.integers(0, 6))
    def damaged(start, put, dropped):
        path.write_bytes(whole[:start] + put + whole[start + dropped :])
        check(name, tmp_path)

    damaged()
