"""A comparison in the terminal, as Markdown, JSON and JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ssdd_bench.gate.compare import Comparison, Difference
from ssdd_bench.report.tables.markdown import markdown_grid

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ssdd_bench.gate.speed import SpeedRatio

HEADINGS = ("metric", "base", "head", "change", "95%", "allowed", "found", "verdict")
OPTIONAL = ("found", "95%", "allowed", "base", "head", "change")  # the first is the first to go
COLOURS = {"regression": "red", "changed": "red", "better": "green", "worse": "yellow"}
UNSET = (
    '* not set: only rounding passes. Set thresholds, as in --fail "psnr:-0.05", or learn them '
    "from seeds: ssdd-bench noise"
)
FOUND = (
    "found: the smallest worsening that fails with 80% probability on as many images; a smaller "
    "one may pass"
)


def verdict(comparison: Comparison) -> str:
    """Return the verdict in two words; only improvements that fail are "changed"."""
    if comparison.exit_code == 1:
        lost = any(one.verdict == "regression" for one in comparison.differences)
        return "regression" if lost else "changed"
    return "not comparable" if comparison.exit_code else "no regression"


def row_texts(found: Difference) -> dict[str, str]:
    """Write the texts of one row by heading."""
    interval = "" if found.interval is None else "{:+.3g} to {:+.3g}".format(*found.interval)
    base, head = ("∞" if one is None else f"{one:.5g}" for one in (found.base, found.head))
    return {
        "metric": found.metric,
        "base": base,
        "head": head,
        "change": "" if found.change is None else f"{found.change:+.3g}",
        "95%": interval,
        "allowed": str(found.threshold),
        "found": "" if found.detectable is None else f"{found.detectable:.3g}",
        "verdict": found.verdict,
    }


def describe_failure(found: Difference) -> str:
    """Write how far a metric that fails has moved, and how far it may."""
    return "{base} -> {head} ({change}, allowed {allowed})".format(**row_texts(found))


def failures(comparison: Comparison) -> Iterator[str]:
    """Yield each metric that fails, with its job."""
    for found in comparison.differences:
        if found.fails:
            yield f"{found.key}: {found.metric} {describe_failure(found)}"


def by_job(comparison: Comparison) -> dict[str, list[Difference]]:
    """Group the differences by their job, in order."""
    jobs: dict[str, list[Difference]] = {}
    for found in comparison.differences:
        jobs.setdefault(str(found.key), []).append(found)
    return jobs


def remarks(comparison: Comparison, shown: Container[str] = HEADINGS) -> Iterator[str]:
    """Yield the obstacles, the notes, how to set thresholds, and what a column says.

    Args:
        comparison: of two sets of results.
        shown: headings of the columns beside the remarks; no other one is explained.
    """
    yield from (*comparison.obstacles, *comparison.notes)
    if any(one.threshold.is_default for one in comparison.differences):
        yield UNSET
    if "found" in shown and any(one.detectable is not None for one in comparison.differences):
        yield FOUND


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for each job, no wider than the console.

    Metrics and verdicts are never shortened: where the width is too small, columns are left out.
    """
    from rich.text import Text

    shown: set[str] = set()
    jobs = by_job(comparison)
    for job, differences in jobs.items():
        headings, lines = _grid(differences, console.width)
        console.print(Text(job, "bold"), *lines, sep="\n", soft_wrap=True)
        shown.update(headings)
    for text in remarks(comparison, shown):
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    if len(jobs) > 1:  # tables above may have been scrolled away
        for text in failures(comparison):
            console.print(Text(text, "red"), soft_wrap=True)
    console.print(verdict(comparison))


def _grid(differences: Sequence[Difference], width: int) -> tuple[list[str], list[Text]]:
    """Return the headings that fit, and the lines of a table: rich's own would shorten texts."""
    from rich.text import Text

    rows = [dict(zip(HEADINGS, HEADINGS, strict=True)), *map(row_texts, differences)]
    widths = {name: max(len(row[name]) for row in rows) for name in HEADINGS}
    for heading in OPTIONAL:
        if sum(widths.values()) + 2 * (len(widths) - 1) > width:
            del widths[heading]
    lines = ("  ".join(row[name].ljust(widths[name]) for name in widths).rstrip() for row in rows)
    styles = ["bold", *(COLOURS.get(one.verdict, "") for one in differences)]
    return list(widths), list(map(Text, lines, styles))


def to_markdown(comparison: Comparison) -> str:
    """Write a table for each job with a headline, for a step summary or a comment."""
    lines = [f"### Tokenizer quality: {verdict(comparison)}", ""]
    lines += [f"- **{_escape(text)}**" for text in failures(comparison)]
    lines += [f"- {_escape(text)}" for text in remarks(comparison)]
    for job, differences in by_job(comparison).items():
        rows = (row_texts(found).values() for found in differences)
        grid = markdown_grid(HEADINGS, [False] * len(HEADINGS), rows)
        lines += ["", f"**{job}**", "", *grid]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Escape the star of a default threshold, which would begin a list."""
    return text.replace("*", "\\*")


def describe_speed(base: str, head: str, found: SpeedRatio, resolution: int) -> str:
    """Write the verdict on a ratio of speeds in one line."""
    low, high = found.interval
    allowed = replace(found.threshold, is_default=False)
    source = ", the default" if found.threshold.is_default else ""
    return (
        f"{head} decodes {found.ratio:.3f} times as fast as {base} ({low:.3f} to {high:.3f}; "
        f"{found.head_s:.4g} s and {found.base_s:.4g} s, {found.turns} turns at {resolution} px, "
        f"allowed loss {allowed}{source}): {'' if found.is_regression else 'no '}regression"
    )


def add_to_summary(markdown: str) -> None:
    """Append Markdown to the step summary of GitHub, if the program runs there."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown)


def to_document(comparison: Comparison) -> dict[str, Any]:
    """Collect everything, with the exit code, for JSON."""
    found = {"exit_code": comparison.exit_code, "verdict": verdict(comparison)}
    return asdict(comparison) | found


def to_junit(comparison: Comparison) -> str:
    """Write a test case for each metric of each job; jobs that cannot be compared are errors."""
    suite = ElementTree.Element("testsuite", name="ssdd-bench compare")
    for found in comparison.differences:
        job = str(found.key)
        case = ElementTree.SubElement(suite, "testcase", classname=job, name=found.metric)
        if found.fails:
            ElementTree.SubElement(case, "failure", message=describe_failure(found))
    for text in comparison.obstacles:
        case = ElementTree.SubElement(suite, "testcase", classname="comparable", name=text)
        ElementTree.SubElement(case, "error", message=text)
    for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error")):
        suite.set(name, str(len([*suite.iter(tag)])))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
