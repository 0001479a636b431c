"""Tables of studies: against scores that are known, and by the real program on tiny photographs."""

import json
import math

import numpy as np
import pytest

from experiments import photographs as program
from experiments.reporting import photographs
from experiments.reporting.studies import SETS, STUDIES, Row, Study
from experiments.results import published
from specjax import METRICS
from specjax._flags import METHOD
from tests.support.report_runs import write_run
from tests.support.run_binary import ROOT, run

TWO = Study("two runs", (Row("first"), Row("second", flags=("--layer=1",))), flaws=True)


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_scores_differences_and_flaws(tmp_path):
    rng = np.random.default_rng(0)
    first = {f"image{n}": float(score) for n, score in enumerate(rng.uniform(0.3, 0.5, 40))}
    second = {name: score + 0.1 + 0.01 * (n % 3) for n, (name, score) in enumerate(first.items())}
    counts = {"swapped": 4, "fills": 3, "missed": 2, "merged": 1, "split": 0}
    folders = {}
    for row, scores in zip(TWO.rows, (first, second), strict=True):
        folder = folders[row.run_name] = write_run(tmp_path / row.name, {"boc": scores})
        text = (folder / "summary.json").read_text()
        flaws = str(counts).replace("'", '"')
        (folder / "summary.json").write_text(
            text.replace('"metric"', f'"flaws": {flaws}, "metric"')
        )
    header, _, one, other = cells(photographs.render(TWO, folders, seed=0, resamples=2000))
    assert header == [
        "",
        "images",
        "mIoU %",
        "F-score %",
        "difference from first",
        "p",
        "detectable",
    ]
    mean = f"{100 * np.mean(list(first.values())):.1f}"
    assert one[:2] == ["first", "40"] and one[2].startswith(f"{mean} (")
    assert one[3] == "50.0 (50.0 to 50.0)" and one[4:] == ["", "", ""]
    difference = np.array(list(second.values())) - np.array(list(first.values()))
    assert other[4].startswith(f"{100 * difference.mean():+.1f} (+") and other[5] == "<0.001"
    error = 100 * difference.std(ddof=1) / math.sqrt(len(difference))
    assert float(other[6]) == pytest.approx(2.8 * error, abs=0.06)
    table = cells(photographs.flaws(TWO, folders))
    assert table[0][2:] == list(counts)
    assert table[2] == ["first", "40", "4", "3", "2", "1", "0"]


def test_studies_name_settings_and_flags_that_exist():
    names = {setting for setting in (*METRICS, *published.ABLATION)}
    for study in STUDIES.values():
        assert len({row.name for row in study.rows}) == len(study.rows)
        for row in study.rows:
            assert row.setting in names or row.program == "fgbg"
            for flag in row.flags:
                assert flag.partition("=")[0].strip("-") in {*METHOD, "paper_filter"}
    # Runs are shared where they are the same, and not where they differ.
    every = [row for study in STUDIES.values() for row in study.rows]
    commands = {(row.run_name, *row.command("chosen", several=True)) for row in every}
    assert len({name for name, *_ in commands}) == len({tuple(c) for _, *c in commands})
    assert program.FLAGS["study"].help.count("; ") == len(STUDIES)
    assert set(program.FLAGS["sets"].default) == set(SETS)


@pytest.fixture(scope="module")
def folder_of_sets(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    (folder / "voc2007_dev").symlink_to(world.folder / "voc")
    return folder


def run_program(folder, *flags):
    return run("photographs", folder, *flags)


def test_the_program_runs_what_is_missing(world, folder_of_sets, tmp_path, capfd):
    flags = "--study=protocols", "--sets=voc", f"--data_dir={folder_of_sets}", world.checkpoint
    finished = run_program(tmp_path, *flags, "--resamples=100")
    assert finished.status == 0, finished.stderr
    title, _, header, _, paper, reference = finished.stdout.strip().splitlines()
    assert title == "voc, protocols:" and header.startswith("|  | images |")
    assert paper.startswith("| paper |") and reference.startswith("| reference |")
    assert finished.stderr.count("running experiments.instance") == 2

    # Another backbone does not get the scores of the first one.
    lines = sorted(tmp_path.glob("*/per_image.jsonl"))
    before = [path.read_bytes() for path in lines]
    other = run_program(tmp_path, *flags[:-1], "--checkpoint=random")
    assert other.status == 2 and other.stdout == ""
    assert "checkpoint was" in capfd.readouterr().err  # the run's own message
    assert [path.read_bytes() for path in lines] == before


def test_a_failed_run_is_one_line(folder_of_sets, tmp_path):
    flags = "--study=protocols", "--sets=pennfudan", f"--data_dir={folder_of_sets}"
    finished = run_program(tmp_path, *flags, "--checkpoint=random")
    assert finished.status == 2 and finished.stdout == ""
    assert finished.stderr.splitlines()[-1].startswith("error: python -m experiments.instance")
    assert "pennfudan_dev" in finished.stderr and "Traceback" not in finished.stderr


def test_the_documentation_lists_the_images_of_every_set():
    listed = json.loads((ROOT / "docs" / "photograph-sets.json").read_text())
    assert list(listed) == list(SETS)
    for name, photographs_of in listed.items():
        assert photographs_of["origin"] and tuple(photographs_of["images"]) == SETS[name].folders
        for ids in photographs_of["images"].values():
            assert ids and len(ids) == len(set(ids))
