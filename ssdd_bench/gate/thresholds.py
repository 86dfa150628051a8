"""Thresholds of the gate: given as rules, in pyproject.toml, or learnt from repeated runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.gate.load import ScoredResult
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.records import read_record, read_toml

RELATIVE = 1e-4
"""Default for scores of single images, above the rounding of a GPU."""

RELATIVE_OF_SETS = 0.01
"""Default for scores of whole sets, whose uncertainty is not known."""

ONCE_IN = 10_000
"""Two runs of one model exceed a learnt threshold once in so many comparisons."""

_RULE = re.compile(r"^\s*([a-z0-9_]+)\s*:\s*([+-]?)([0-9.eE-]+)(%?)\s*$")


@dataclass(frozen=True)
class Threshold:
    """The largest worsening that passes, absolute or as a fraction of the base's value."""

    amount: float
    relative: bool

    def allowed(self, base: float) -> float:
        """Return the threshold in units of the metric."""
        return self.amount * abs(base) if self.relative else self.amount

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.relative else f"{self.amount:.4g}"


Thresholds = Mapping[str, Threshold]


@dataclass(frozen=True)
class LearntFile:
    """Content of a file of ``ssdd-bench noise``: absolute thresholds by metric."""

    noise: dict[str, float]


def parse_rules(rules: Iterable[str]) -> dict[str, Threshold]:
    """Read rules such as ``rfid:+2%`` or ``psnr:-0.1``; their sign is ignored.

    Raises:
        OptionError: a rule is not of that form.
    """
    found = {}
    for rule in rules:
        match = _RULE.match(rule)
        try:
            amount = float(match.group(3)) if match else float("nan")
        except ValueError:
            amount = float("nan")
        if match is None or not 0 <= amount < float("inf"):
            raise OptionError(f"'{rule}' is no threshold: write rfid:+2% or psnr:-0.1")
        percent = match.group(4) == "%"
        found[match.group(1)] = Threshold(amount / 100 if percent else amount, percent)
    return found


def project_rules(folder: Path) -> dict[str, Threshold]:
    """Read ``fail`` of ``[tool.ssdd-bench.gate]`` in a folder's pyproject.toml, if there is one.

    Raises:
        UserError: the file is no TOML.
        OptionError: a rule is wrong.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        return {}
    table = read_toml(path)
    return parse_rules(table.get("tool", {}).get("ssdd-bench", {}).get("gate", {}).get("fail", []))


def learn(results: Sequence[ScoredResult]) -> dict[str, Threshold]:
    """Learn the difference between two seeds that is exceeded once in 10,000 times.

    It is a Student quantile of the spread over seeds, wider for fewer seeds, and the largest over
    jobs.

    Raises:
        UserError: no job was measured with two seeds or more.
    """
    from scipy.stats import t as student

    groups: dict[tuple[str, int, str], list[ScoredResult]] = {}
    for one in results:
        groups.setdefault(one.key[:3], []).append(one)
    largest: dict[str, float] = {}
    for group in groups.values():
        for key in group[0].result.metrics:
            values = [
                metric.value
                for one in group
                if (metric := one.result.metrics.get(key)) and metric.value is not None
            ]
            if len(values) > 1:
                quantile = float(student.ppf(1 - 1 / ONCE_IN, len(values) - 1))
                difference = quantile * 2**0.5 * float(np.std(values, ddof=1))
                largest[key] = max(largest.get(key, 0.0), difference)
    if not largest:
        raise UserError("no job was measured with two seeds. Run ssdd-bench run --seed 0,1,2,3,4.")
    return {key: Threshold(difference, False) for key, difference in largest.items()}


def save_learnt(thresholds: Thresholds, path: Path) -> None:
    """Write a TOML file that :func:`load_learnt` reads."""
    lines = [f"{key} = {threshold.amount!r}" for key, threshold in sorted(thresholds.items())]
    text = (
        "# Differences of two seeds that are exceeded once in 10,000 times.\n[noise]\n"
        + "\n".join(lines)
        + "\n"
    )
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def load_learnt(path: Path) -> dict[str, Threshold]:
    """Read a file of ``ssdd-bench noise``.

    Raises:
        UserError: the file is missing or another one; names the key.
    """
    learnt = read_record(LearntFile, read_toml(path), str(path))
    return {key: Threshold(amount, False) for key, amount in learnt.noise.items()}
