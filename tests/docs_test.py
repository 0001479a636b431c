"""The documentation: its API page lists every public name, its notebook is clean, nothing is lost.

Sphinx is not needed; `.ci/run` builds the pages.
"""

import ast
import json
import pathlib
import re

import pytest

import specjax

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOK = json.loads((DOCS / "quickstart.ipynb").read_text())
DIRECTIVE = r"^\.\. (?:autofunction|autoclass|py:data):: (\S+)$"


def test_the_api_page_lists_every_public_name_once_and_in_order():
    entries = re.findall(DIRECTIVE, (DOCS / "api.md").read_text(), re.MULTILINE)
    assert [name for name in entries if "." not in name] == specjax.__all__


def test_the_api_page_describes_every_metric():
    (entry,) = re.findall(
        r"py:data:: METRICS\n(.*?)\n\.\. ", (DOCS / "api.md").read_text(), re.DOTALL
    )
    assert set(re.findall(r'"(\w+)"', entry)) == specjax.METRICS.keys()


def test_every_page_is_in_the_table_of_contents():
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    listed = [line for block in blocks for line in block.split("\n") if re.match(r"\w", line)]
    pages = {path.stem for path in DOCS.iterdir() if path.suffix in (".md", ".ipynb")}
    assert sorted(listed) == sorted(pages - {"index"})


def test_the_notebook_is_stored_without_results():
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.parametrize("number", range(len(NOTEBOOK["cells"])))
def test_the_notebook_uses_public_names(number):
    cell = NOTEBOOK["cells"][number]
    if cell["cell_type"] == "code":
        tree = ast.parse("".join(cell["source"]))
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "specjax"
        }
        assert used <= set(specjax.__all__)


def test_no_page_is_wider_than_a_terminal():
    """But for tables, code and links."""
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")):
        prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for line in prose.splitlines():
            assert len(line) <= 100 or line.startswith("|"), f"{path.name}: {line}"
