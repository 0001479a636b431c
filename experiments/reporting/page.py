"""One HTML file that needs no other: no script, nothing from the network, every text escaped."""

import base64
import hashlib
import pathlib
import re
from collections.abc import Sequence

import jinja2

from experiments.reporting.parts import Section, Table

_TEMPLATES = pathlib.Path(__file__).parent / "templates"
_NUMBER = re.compile(r"[-+<>]?\d[\d.,]*(e[-+]?\d+)?( to [-+]?\d[\d.]*)?|-")


def render(
    sections: Sequence[Section], overview: Table, *, resamples: int, seed: int, in_videos: bool
) -> str:
    """The page.

    Args:
        sections: one for each run.
        overview: a table of all runs, a row for each section.
        resamples: number of resamples, for the description of the methods.
        seed: seed of the resampling, for the same.
        in_videos: whether the images of any run are frames of videos, for the same.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["numeric_columns"] = numeric_columns
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        sections=sections,
        overview=overview,
        resamples=resamples,
        seed=seed,
        in_videos=in_videos,
        # Our own file and the only text that is not escaped; the page allows no other style.
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def numeric_columns(table: Table) -> list[bool]:
    """Which columns after the first hold numbers, or dashes in their place, and nothing else."""
    columns = range(1, len(table.headings))
    return [False] + [
        any(row[column] != "-" for row in table.rows)
        and all(_NUMBER.fullmatch(row[column]) for row in table.rows)
        for column in columns
    ]
