"""Prose: docstrings begin with a verb or a noun, and lines of Markdown fit a terminal."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    path
    for folder in ("ssdd_bench", "tokenizers", "tests")
    for path in (ROOT / folder).rglob("*.py")
)
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tokenizers/*/*.md", "ssdd_bench/**/*.md")
    for path in ROOT.glob(pattern)
)
# Words that open a fragment: "What a metric is.", "Whether it is there.", "In decibels."
FRAGMENT = re.compile(
    r"(What|How|Whether|Which|Where|Why|When|Who|Of|In|As|At|By|For|From|On|To|With|Without)\b"
)
WIDTH = 120


def path(file: Path) -> str:
    return str(file.relative_to(ROOT))


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the first lines of all docstrings of a module, those of constants too, with places."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))) if text.strip():
                yield node.lineno, text.strip().splitlines()[0]


def prose(text: str) -> Iterator[str]:
    """Lines of Markdown outside code, tables and pictures."""
    code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith(("|", "    ", "![")):
            yield line


def test_the_rules_find_what_they_are_for() -> None:
    assert FRAGMENT.match("What a metric is.")
    assert not FRAGMENT.match("Compute the distance in pixels.")
    long = "word " * 30
    assert list(prose(f"{long}\n```sh\n{long}\n```\n| {long} |\n")) == [long]


@pytest.mark.medium
def test_docstrings_open_with_a_verb_or_a_noun() -> None:
    assert {
        path(file): found
        for file in MODULES
        if (found := [one for one in docstrings(file) if FRAGMENT.match(one[1])])
    } == {}


def test_lines_of_prose_fit() -> None:
    assert {
        path(file): wide
        for file in PAGES
        if (wide := [line for line in prose(file.read_text("utf-8")) if len(line) > WIDTH])
    } == {}
