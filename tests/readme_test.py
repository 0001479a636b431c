"""The commands, examples and links of the README and of the documentation are what they say."""

import functools
import json
import pathlib
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

import specjax
from experiments.datasets import FORMATS
from experiments.results import published
from tests.support.run_binary import run
from tests.support.run_command import run_command
from tests.support.tiny_checkpoint import write_checkpoint

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in sorted(DOCS.glob("*.md"))}
TEXTS = {"README.md": README, "CONTRIBUTING.md": (ROOT / "CONTRIBUTING.md").read_text(), **PAGES}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a photograph and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "dino-vits16")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    yield tmp_path


def examples(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run_example(text):
    """The names after the one example of a page, with the tiny checkpoint of 48 channels."""
    (code,) = examples(text)
    code = code.replace("N=60", "N=12")
    code = code.replace('"facebook/dinov2-small"', '"dino-vits16"')
    code = code.replace("image_size=480", "N=12")
    names = {"paths": ["photo.jpg"]}
    exec(code, names)
    return names


def test_examples_are_where_they_are_tested():
    """An example on another page needs a test."""
    assert {name for name in TEXTS if examples(TEXTS[name])} == {
        "README.md",
        "api.md",
        "photographs.md",
    }


def test_the_stages_run(folder):
    names = run_example(PAGES["api.md"])
    assert names["labels"].shape == (4, 6) and names["pixels"].shape == (70, 100)
    assert names["entropy"].shape == names["features"].shape[1:]
    assert names["smallest"].values[0] == 0
    np.testing.assert_array_equal(specjax.as_grid(names["again"], (4, 6)), names["labels"])


@pytest.mark.parametrize("name", ["README.md", "photographs.md"])
def test_two_lines_run(folder, name):
    names = run_example(TEXTS[name])
    assert names["found"].labels.shape == (70, 100)
    assert (folder / "seen.png").is_file()


def test_the_notebook_runs(folder):
    """With a tiny checkpoint; the build of the documentation runs it as it is."""
    matplotlib.use("agg")
    notebook = json.loads((DOCS / "quickstart.ipynb").read_text())
    cells = ["".join(one["source"]) for one in notebook["cells"] if one["cell_type"] == "code"]
    code = "\n".join(cells).replace("M=128, N=60", "M=16, N=12")
    code = code.replace('Segmenter("specjax-mini")', 'Segmenter("dino-vits16", N=12)')
    code = code.replace('"specjax-mini"', '"dino-vits16"')
    names = {}
    exec(code, names)
    assert names["vectors"].shape == (3, len(names["features"]))
    np.testing.assert_array_equal(names["labels"][1], names["instances"].labels)
    np.testing.assert_array_equal(
        specjax.as_grid(names["instances"].labels, names["tiling"].grid) > 0,
        names["found"].foreground,
    )


@pytest.mark.parametrize("marker", ["default run", "tests"])
def test_command_lines_make_their_own_environment(marker):
    (line,) = re.findall(rf"<!-- {marker} -->\n```sh\n(.*)\n```", README)
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt")


def commands():
    """Every command of ours in the texts: its program, its flags, and where it stands."""
    for name, text in TEXTS.items():
        text = text.replace("\\\n", " ")
        spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in "\n".join(spans).splitlines():
            found = re.search(r"-m experiments\.(\w+)\b(.*)|(?:^|/)specjax (-.*|\S+/ .*)", line)
            if found:
                program, flags, of_command = found.groups()
                yield program or "specjax", re.findall(r"--(\w+)", flags or of_command or ""), name


@functools.cache
def known_flags(program):
    ran = run_command if program == "specjax" else functools.partial(run, program)
    return set(re.findall(r"^ +--(?:\[no\])?(\w+)", ran(ROOT, "--help").stdout, re.MULTILINE))


def test_commands_have_the_flags_they_are_given():
    found = list(commands())
    programs = {path.stem for path in (ROOT / "experiments").glob("*.py")} - {"__init__"}
    assert {program for program, _, _ in found} == programs | {"specjax"}
    for program, flags, name in found:
        assert set(flags) <= known_flags(program), (name, program)


def test_published_numbers_are_the_stored_ones():
    """Tables II to IV by metric."""
    rows = re.findall(r"^\| ([\w-]+) ((?:\| \d+\.\d\d )+)\|$", PAGES["paper.md"], re.MULTILINE)
    shown = {
        name.lower().replace("-", ""): [float(cell) for cell in row.split("|") if cell.strip()]
        for name, row in rows
    }
    strata = published.BY_STRATUM
    stored = {
        metric: [share, *strata["mbor"][metric], *strata["size_ratio"][metric]]
        for metric, share in published.MIOU.items()
    }
    assert shown.keys() == stored.keys()
    for metric, shares in stored.items():
        np.testing.assert_allclose(shown[metric], 100 * np.array(shares), err_msg=metric)


def test_the_readme_is_short():
    assert len(README.encode()) <= 7 * 1024


def test_every_dataset_is_described():
    for name in FORMATS:
        assert f"| `{name}` |" in PAGES["datasets.md"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *(f"docs/{n}" for n in PAGES)])
def test_links_lead_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    for link in links:
        assert link.startswith("http") or (path.parent / link).is_file(), link
    if name == "README.md":
        pages = PAGES.keys() - {"index.md", "contributing.md", "changelog.md"}
        assert {f"docs/{page}" for page in pages} <= set(links)
        assert {"CONTRIBUTING.md", "CHANGELOG.md", "docs/quickstart.ipynb"} <= set(links)
