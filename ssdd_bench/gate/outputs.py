"""A comparison as Markdown, JSON and JUnit XML."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ssdd_bench.gate.compare import Comparison, Difference
from ssdd_bench.report.tables.markdown import markdown_grid

HEADINGS = ("job", "metric", "base", "head", "change", "95%", "allowed", "verdict")


def verdict(comparison: Comparison) -> str:
    """Return the verdict in two words."""
    return ("no regression", "regression", "not comparable")[comparison.exit_code]


def row_texts(found: Difference) -> tuple[str, ...]:
    """Write the texts of one row, by :data:`HEADINGS`."""
    interval = "" if found.interval is None else "{:+.3g} to {:+.3g}".format(*found.interval)
    base, head = ("∞" if one is None else f"{one:.5g}" for one in (found.base, found.head))
    return (
        str(found.key),
        found.metric,
        base,
        head,
        "" if found.change is None else f"{found.change:+.3g}",
        interval,
        str(found.threshold),
        found.verdict,
    )


def to_markdown(comparison: Comparison) -> str:
    """Write a table with a headline, for a step summary or a comment."""
    lines = [f"### Tokenizer quality: {verdict(comparison)}", ""]
    lines += [f"- {text}" for text in (*comparison.obstacles, *comparison.notes)]
    if comparison.differences:
        left = [False] * len(HEADINGS)
        lines += ["", *markdown_grid(HEADINGS, left, map(row_texts, comparison.differences))]
    return "\n".join(lines) + "\n"


def add_to_summary(comparison: Comparison) -> None:
    """Append the Markdown to the step summary of GitHub, if the program runs there."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(to_markdown(comparison))


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Collect everything, with the exit code, for JSON."""
    found = {"exit_code": comparison.exit_code, "verdict": verdict(comparison)}
    return asdict(comparison) | found


def to_junit(comparison: Comparison) -> str:
    """Write a test case for each metric of each job; jobs that cannot be compared are errors."""
    suite = ElementTree.Element("testsuite", name="ssdd-bench compare")
    for found in comparison.differences:
        row = row_texts(found)
        case = ElementTree.SubElement(suite, "testcase", classname=row[0], name=row[1])
        if found.verdict == "regression":
            message = f"{row[2]} -> {row[3]} ({row[4]}, allowed {row[6]})"
            ElementTree.SubElement(case, "failure", message=message)
    for text in comparison.obstacles:
        case = ElementTree.SubElement(suite, "testcase", classname="comparable", name=text)
        ElementTree.SubElement(case, "error", message=text)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        suite.set(name, str(len([*suite.iter(tag)])))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
