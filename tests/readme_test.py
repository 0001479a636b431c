"""The commands, examples and links of the README and of the pages behind it are what they say."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

import specjax
from experiments.datasets import NAMES
from tests.support.tiny_checkpoint import write_checkpoint

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a photograph and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "dino-vits16")
    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    return tmp_path


def examples(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_research_code_runs(folder):
    (code,) = examples(PAGES["research.md"])
    names = {}
    exec(code, names)
    assert names["labels"].shape == (4, 6) and names["pixels"].shape == (70, 100)
    assert names["entropy"].shape == names["features"].shape[1:]
    assert names["smallest"].values[0] == 0
    np.testing.assert_array_equal(specjax.as_grid(names["again"], (4, 6)), names["labels"])


@pytest.mark.parametrize("text", [README, PAGES["photographs.md"]], ids=["README", "photographs"])
def test_two_lines_run(folder, text):
    (code,) = examples(text)
    code = code.replace('"facebook/dino-vits16"', '"dino-vits16", N=12')
    code = code.replace("N=12, metric", "metric").replace("N=60", "N=12")
    names = {"paths": ["photo.jpg"]}
    exec(code, names)
    assert names["found"].labels.shape == (70, 100)
    assert (folder / "seen.png").is_file()


@pytest.mark.parametrize("marker", ["default run", "tests"])
def test_command_lines_make_their_own_environment(marker):
    (line,) = re.findall(rf"<!-- {marker} -->\n```sh\n(.*)\n```", README)
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt")


def test_the_readme_is_short():
    assert len(README.encode()) <= 7 * 1024


def test_every_dataset_is_described():
    for name in NAMES:
        assert f"| `{name}` |" in PAGES["datasets.md"]


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{name}" for name in PAGES)])
def test_links_lead_somewhere(name):
    path = ROOT / name
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    for link in links:
        assert link.startswith("http") or (path.parent / link).is_file(), link
    if name == "README.md":
        assert {f"docs/{page}" for page in PAGES} <= set(links)
