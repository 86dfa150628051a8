"""Findings are one short line, whatever a file holds."""

import pytest

from ssdd_bench.hub.findings import FIXES, LONGEST, Finding, Problem


@pytest.mark.parametrize(
    "text", ["a\nb", "a\x1b[31mb", "a\u202eb", "x" * 10_000, "two\r\nlines \x00", "\ud800"]
)
def test_a_finding_is_one_short_line(text: str) -> None:
    found = Finding(f"folder/{text[:9]}.json", Problem.VALUE, f"created is '{text}'")
    line = str(found)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(found.text) <= LONGEST + 20
    assert line.endswith(f"[value]. {FIXES[Problem.VALUE]}.")


def test_every_problem_has_a_fix() -> None:
    assert FIXES.keys() == set(Problem)
