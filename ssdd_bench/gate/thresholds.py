"""Thresholds of the gate: given as rules, in pyproject.toml, or learnt from repeated runs."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
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

RELATIVE_OF_OTHER_SEEDS = 0.25
"""Default for scores of whole sets where seeds differ, for one image; it falls with the root of
their number. Fréchet distances of two seeds of a small SSDD differ by 12% over that root."""

SPEED = "decode_ips"
"""Key of the threshold of decoding speed, which results do not compare."""

FALSE_ALARMS = 0.05
"""Two runs of one model with other seeds fail the gate so often at most."""

POWER = 0.8
"""Probability with which the smallest detectable change is found."""

_NUMBER = r"(?P<amount>(\d+\.?\d*|\.\d+)([eE]-?\d+)?)"
_RULE = re.compile(rf"\s*(?P<key>[a-z0-9_]+)\s*:\s*[+-]?{_NUMBER}(?P<percent>%?)\s*")


@dataclass(frozen=True)
class Threshold:
    """The largest worsening that passes, absolute or as a fraction of the base's value."""

    amount: float
    relative: bool
    is_default: bool = False  # nobody has set one: differences of rounding alone pass
    deviation: float | None = None  # of the difference of two seeds, where it was learnt

    def allowed(self, base: float) -> float:
        """Return the threshold in units of the metric."""
        return self.amount * abs(base) if self.relative else self.amount

    def __str__(self) -> str:
        text = f"{100 * self.amount:.4g}%" if self.relative else f"{self.amount:.4g}"
        return f"{text}*" if self.is_default else text


Thresholds = Mapping[str, Threshold]


@dataclass(frozen=True)
class LearntFile:
    """Content of a file of ``ssdd-bench noise``, by metric.

    Attributes:
        noise: absolute thresholds.
        deviation: standard deviations of the difference of two seeds.
    """

    noise: dict[str, float]
    deviation: dict[str, float]


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
    """Learn how much worse another seed may be on the same images, by metric.

    A comparison of all these jobs and metrics exceeds one of the thresholds once in 20 times at
    most. Each is a Student quantile of the spread over seeds, wider for fewer seeds and for more
    metrics, and the largest over jobs.

    Raises:
        UserError: no job was measured with two seeds or more.
    """
    from scipy.stats import t as student

    seeds: dict[tuple[Hashable, str], dict[int, float]] = {}
    for one in results:
        for key, metric in one.result.metrics.items():
            if metric.value is not None:
                job = (*one.key[:3], *one.images, *sorted(one.result.tokenizer.weights.items()))
                seeds.setdefault((job, key), {})[one.key.seed] = metric.value
    values = {key: [*found.values()] for key, found in seeds.items()}
    repeated = {key: found for key, found in values.items() if len(found) > 1}
    largest: dict[str, float] = {}
    deviations: dict[str, float] = {}
    for (_, key), found in repeated.items():
        deviation = 2**0.5 * float(np.std(found, ddof=1))
        quantile = float(student.ppf(1 - FALSE_ALARMS / len(repeated), len(found) - 1))
        largest[key] = max(largest.get(key, 0.0), quantile * deviation)
        deviations[key] = max(deviations.get(key, 0.0), deviation)
    if not largest:
        raise UserError("no job was measured with two seeds. Run ssdd-bench run --seed 0,1,2,3,4.")
    return {
        key: Threshold(difference, False, deviation=deviations[key])
        for key, difference in largest.items()
    }


def detectable(critical: float, deviation: float) -> float:
    """Return the smallest true worsening that is found with 80% probability.

    Args:
        critical: the worsening that is measured must exceed it.
        deviation: standard deviation of what is measured, which is taken as normal.
    """
    return critical + NormalDist().inv_cdf(POWER) * deviation


def default_threshold(paired: bool, other_seeds: bool, n: int) -> Threshold:
    """Return the threshold of a metric for which nobody has set one.

    Args:
        paired: True if scores of single images have an interval.
        other_seeds: True if the two sides have different seeds.
        n: number of images.
    """
    amount = RELATIVE if paired else RELATIVE_OF_SETS
    if other_seeds and not paired:
        amount = max(amount, RELATIVE_OF_OTHER_SEEDS / math.sqrt(n))
    return Threshold(amount, True, True)


def save_learnt(thresholds: Thresholds, path: Path) -> None:
    """Write a TOML file that :func:`load_learnt` reads."""
    learnt = sorted(thresholds.items())
    lines = [
        "# Two runs with other seeds differ by more, in any metric, once in 20 times.",
        "[noise]",
    ]
    lines += [f"{key} = {threshold.amount!r}" for key, threshold in learnt]
    lines += ["", "# Standard deviation of the difference of two seeds.", "[deviation]"]
    lines += [f"{key} = {one.deviation!r}" for key, one in learnt if one.deviation is not None]
    write_text(path, "\n".join([*lines, ""]))


def load_learnt(path: Path) -> dict[str, Threshold]:
    """Read a file of ``ssdd-bench noise``."""
    learnt = read_record(LearntFile, read_toml(path), str(path))
    return {
        key: Threshold(amount, False, deviation=learnt.deviation.get(key))
        for key, amount in learnt.noise.items()
    }
