"""A comparison as Markdown, JSON and JUnit XML."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree

from ssdd_bench.gate.compare import Comparison, Difference
from ssdd_bench.report.tables.markdown import markdown_grid

_WORDS = {0: "no regression", 1: "regression", 2: "not comparable"}


def verdict(comparison: Comparison) -> str:
    """Return the verdict in two words."""
    return _WORDS[comparison.exit_code]


def row_texts(found: Difference) -> tuple[str, ...]:
    """Write the texts of one row, by :data:`HEADINGS`."""
    label, resolution, protocol, seed = found.key
    interval = "" if found.interval is None else "{:+.3g} to {:+.3g}".format(*found.interval)
    return (
        f"{label}, {resolution} px, {protocol}, seed {seed}",
        found.metric,
        _number(found.base),
        _number(found.head),
        "" if found.change is None else f"{found.change:+.3g}",
        interval,
        str(found.threshold),
        found.verdict,
    )


HEADINGS = ("job", "metric", "base", "head", "change", "95%", "allowed", "verdict")


def to_markdown(comparison: Comparison) -> str:
    """Write a table with a headline, for a step summary or a comment."""
    lines = [f"### Tokenizer quality: {verdict(comparison)}", ""]
    lines += [f"- {text}" for text in (*comparison.obstacles, *comparison.notes)]
    if comparison.differences:
        left = [False] * len(HEADINGS)
        lines += ["", *markdown_grid(HEADINGS, left, map(row_texts, comparison.differences))]
    return "\n".join(lines) + "\n"


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Collect everything, with the exit code, for JSON."""
    return asdict(comparison) | {
        "exit_code": comparison.exit_code,
        "verdict": verdict(comparison),
    }


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
    failures = sum(found.verdict == "regression" for found in comparison.differences)
    count = len(comparison.differences) + len(comparison.obstacles)
    suite.set("tests", str(count))
    suite.set("failures", str(failures))
    suite.set("errors", str(len(comparison.obstacles)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _number(value: float | None) -> str:
    return "∞" if value is None else f"{value:.5g}"
