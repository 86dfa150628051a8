"""Tables as HTML, by the macros that the page uses too."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ssdd_bench.report.tables.model import TIED, Table


def to_html(tables: Iterable[Table]) -> str:
    """Write a page of its own, without scripts."""
    return render("tables.html.j2", tables=list(tables))


def to_fragment(tables: Iterable[Table]) -> str:
    """Write the tables alone, for a notebook, without a style sheet."""
    return render("fragment.html.j2", tables=list(tables))


def render(name: str, **values: Any) -> str:
    """Fill in a template of the report.

    Args:
        name: of a file in ``templates``.
        values: names that the template uses, besides the style sheet and the mark of ties.
    """
    environment = Environment(
        loader=PackageLoader("ssdd_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(style=asset("page.css"), tied=TIED, **values)


def asset(name: str) -> str:
    """Read a style sheet or a script of the report."""
    return resources.files("ssdd_bench.report").joinpath("templates", name).read_text("utf-8")
