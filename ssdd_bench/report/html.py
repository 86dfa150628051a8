"""HTML from templates: the page, and tables alone."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ssdd_bench.report.tables.model import TIED


def render(name: str, **values: Any) -> str:
    """Fill in a template, which also gets the mark of ties and the reader of assets."""
    return _environment().get_template(name).render(asset=asset, tied=TIED, **values)


@cache
def _environment() -> Environment:
    """Keep the templates that are compiled; pages share their macros."""
    return Environment(
        loader=PackageLoader("ssdd_bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def asset(name: str) -> str:
    """Read a style sheet or a script of the report."""
    return resources.files("ssdd_bench.report").joinpath("templates", name).read_text("utf-8")
