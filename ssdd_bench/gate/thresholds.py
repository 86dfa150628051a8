"""Thresholds of the gate: given as rules, in pyproject.toml, or learnt from repeated runs."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.gate.load import ScoredResult
from ssdd_bench.results.files import write_text
from ssdd_bench.results.records import read_record, read_toml

RELATIVE = 1e-4
"""Default for scores of single images, above the rounding of a GPU."""

RELATIVE_OF_SETS = 0.01
"""Default for scores of whole sets, whose uncertainty is not known."""

ONCE_IN = 10_000
"""Two runs of one model exceed a learnt threshold once in so many comparisons."""

_NUMBER = r"(?P<amount>(\d+\.?\d*|\.\d+)([eE]-?\d+)?)"
_RULE = re.compile(rf"\s*(?P<key>[a-z0-9_]+)\s*:\s*[+-]?{_NUMBER}(?P<percent>%?)\s*")


@dataclass(frozen=True)
class Threshold:
    """The largest worsening that passes, absolute or as a fraction of the base's value."""

    amount: float
    relative: bool
    is_default: bool = False  # nobody has set one: differences of rounding alone pass

    def allowed(self, base: float) -> float:
        """Return the threshold in units of the metric."""
        return self.amount * abs(base) if self.relative else self.amount

    def __str__(self) -> str:
        text = f"{100 * self.amount:g}%" if self.relative else f"{self.amount:.4g}"
        return f"{text}*" if self.is_default else text


Thresholds = Mapping[str, Threshold]


@dataclass(frozen=True)
class LearntFile:
    """Content of a file of ``ssdd-bench noise``: absolute thresholds by metric."""

    noise: dict[str, float]


def parse_rules(rules: Iterable[str]) -> dict[str, Threshold]:
    """Read rules such as ``rfid:+2%`` or ``psnr:-0.1``; their sign is ignored."""
    found = {}
    for rule in rules:
        match = _RULE.fullmatch(rule)
        if match is None or math.isinf(amount := float(match["amount"])):
            raise OptionError(f"'{rule}' is no threshold: write rfid:+2% or psnr:-0.1")
        percent = bool(match["percent"])
        found[match["key"]] = Threshold(amount / 100 if percent else amount, percent)
    return found


@dataclass(frozen=True)
class GateSettings:
    """Table ``[tool.ssdd-bench.gate]`` of a project's pyproject.toml."""

    fail: tuple[str, ...] = ()  # rules


def project_rules(folder: Path) -> dict[str, Threshold]:
    """Read ``fail`` of ``[tool.ssdd-bench.gate]`` in a folder's pyproject.toml, if there is one.

    Raises:
        UserError: the table is damaged, or a rule is.
    """
    path = folder / "pyproject.toml"
    table: Any = read_toml(path) if path.is_file() else {}
    where = ""
    for key in ("tool", "ssdd-bench", "gate"):
        where = f"{where}.{key}".lstrip(".")
        table = read_record(dict[str, Any], table, str(path), where).get(key, {})
    settings = read_record(GateSettings, table, str(path), where, optional=True)
    return parse_rules(settings.fail)


def learn(results: Sequence[ScoredResult]) -> dict[str, Threshold]:
    """Learn the difference between two seeds that is exceeded once in 10,000 times.

    It is a Student quantile of the spread over seeds, wider for fewer seeds, and the largest over
    jobs. ``UserError`` if no job was measured with two seeds or more.
    """
    from scipy.stats import t as student

    values: dict[tuple[Hashable, str], list[float]] = {}
    for one in results:
        for key, metric in one.result.metrics.items():
            if metric.value is not None:
                values.setdefault((one.key[:3], key), []).append(metric.value)
    largest: dict[str, float] = {}
    for (_, key), found in values.items():
        if len(found) > 1:
            quantile = float(student.ppf(1 - 1 / ONCE_IN, len(found) - 1))
            difference = quantile * 2**0.5 * float(np.std(found, ddof=1))
            largest[key] = max(largest.get(key, 0.0), difference)
    if not largest:
        raise UserError("no job was measured with two seeds. Run ssdd-bench run --seed 0,1,2,3,4.")
    return {key: Threshold(difference, False) for key, difference in largest.items()}


def save_learnt(thresholds: Thresholds, path: Path) -> None:
    """Write a TOML file that :func:`load_learnt` reads."""
    lines = ["# Differences of two seeds that are exceeded once in 10,000 times.", "[noise]"]
    lines += [f"{key} = {threshold.amount!r}" for key, threshold in sorted(thresholds.items())]
    write_text(path, "\n".join([*lines, ""]))


def load_learnt(path: Path) -> dict[str, Threshold]:
    """Read a file of ``ssdd-bench noise``."""
    learnt = read_record(LearntFile, read_toml(path), str(path))
    return {key: Threshold(amount, False) for key, amount in learnt.noise.items()}
