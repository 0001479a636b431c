"""Fixtures of the tests of `experiments.coco_eval`."""

import json

import pytest

from tests.support.run_binary import run
from tests.support.scores import run_scores


@pytest.fixture
def scored(tmp_path):
    """Scores results, a list of entries, against a dataset."""

    def score(results, *flags):
        path = tmp_path / "results.json"
        path.write_text(json.dumps(results))
        return run_scores(tmp_path / "scores.json", path, *flags)

    return score


@pytest.fixture(scope="module")
def finished_run(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    finished = run(
        "instance", folder, *world.flags("voc"), "--metric=boc,dot", "--save=coco,labels"
    )
    assert finished.status == 0, finished.stderr
    return folder
