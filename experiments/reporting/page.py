"""One HTML file that needs no other file: no script, nothing from the network, all text escaped.

It consists of tables, pictures and remarks, whose text is plain until it is rendered here.
"""

import base64
import hashlib
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jinja2

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_NUMBER = re.compile(r"[-+<>]?\d[\d.,]*(e[-+]?\d+)?( to [-+]?\d[\d.]*)?|-")


class Table(NamedTuple):
    """Rows of text under headings, and sentences for below the table."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    remarks: Sequence[str] = ()
    groups: Sequence[tuple[str, int]] = ()  # headings above the headings, and their widths


class Picture(NamedTuple):
    """A picture within the page, and a sentence for below it."""

    source: str  # a `data:` address
    alt: str
    caption: str
    size: tuple[int, int] | None = None  # width and height in pixels, if they are known
    table: Table | None = None  # the numbers in a plot


def render(**content: Any) -> str:
    """The page; `content` has the variables of `page.html`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric_columns"] = numeric_columns
    # The only text that is not escaped is this file; the page allows no other style.
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    style_hash = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = environment.get_template("page.html")
    return page.render(**content, style=style, style_hash=style_hash)


def numeric_columns(table: Table) -> list[bool]:
    """For each column, whether it has only numbers and dashes; False for the first."""
    columns = [[row[index] for row in table.rows] for index in range(1, len(table.headings))]
    return [False] + [
        any(cell != "-" for cell in column) and all(map(_NUMBER.fullmatch, column))
        for column in columns
    ]
