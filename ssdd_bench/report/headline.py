"""The headline: one sentence that compares two tokenizers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.report.frame import default_metric, metric_directions
from ssdd_bench.report.groups import MACHINE, Group, comparable_groups
from ssdd_bench.report.ranking import is_ranked
from ssdd_bench.report.tables.columns import (
    format_metric,
    metric_name,
    metric_unit,
    sections_by_rate,
)
from ssdd_bench.report.tables.model import section_key


@dataclass(frozen=True)
class Headline:
    """Two rows of one compression rate that may be compared.

    Attributes:
        group: their group of comparable rows.
        rate: "f8c4".
        method: the row in front.
        baseline: the row that it is compared with.
        metric: quality that decides which is in front.
    """

    group: Group
    rate: str
    method: pd.Series[Any]
    baseline: pd.Series[Any]
    metric: str

    @property
    def sentence(self) -> str:
        """The comparison in words."""
        return f"At {self.rate} and {self.group.resolution} px, {_join(list(self._claims()))}."

    @property
    def notes(self) -> list[str]:
        """Remarks about either row as a whole, and about the ratio of speeds."""
        notes = [*self.method["footnotes"], *self.baseline["footnotes"]]
        texts = list(dict.fromkeys(note.text for note in notes if note.column == "label"))
        return [*texts, *(["speeds compared by turns"] if self._by_turns else [])]

    @property
    def _by_turns(self) -> bool:
        return bool(self.method["decode_baseline"] == self.baseline["label"])

    def _claims(self) -> Iterator[str]:
        name, other = _name(self.method), _name(self.baseline)
        paired = paired_metric(self.method, self.baseline)
        if self.metric != paired:
            mine, others = (format_metric(self.metric, row[self.metric]) for row in self._rows)
            yield f"{name} has {metric_name(self.metric)} {mine} against {others} of {other}"
        if paired:
            difference, low, high = self._difference(paired)
            size = f"{_signed(paired, abs(difference))} {metric_unit(paired)}".rstrip()
            size += f" of {metric_name(paired)}"
            ends = sorted((low, high) if difference >= 0 else (-low, -high))
            span = f"[{', '.join(_signed(paired, end) for end in ends)}]"
            subject = f"{name} is" if self.metric == paired else "is"
            if low <= 0 <= high:
                yield f"{subject} level with {other}, {size} {span} apart"
            else:
                where = "ahead of" if difference > 0 else "behind"
                yield f"{subject} {size} {span} {where} {other}"
        ratio = self._speed_ratio()
        if ratio:
            yield "decodes {:.2f} [{:.2f}, {:.2f}] times as fast".format(*ratio)

    @property
    def _rows(self) -> tuple[pd.Series[Any], pd.Series[Any]]:
        return self.method, self.baseline

    def _difference(self, metric: str) -> tuple[float, float, float]:
        """Return how far the method is in front, image by image, and the 95% interval."""
        mine, other = (row["scores"][metric] for row in self._rows)
        higher = metric_directions(self.group.rows)[metric]
        each = (mine - other).to_numpy() * (1 if higher else -1)
        each = each[np.isfinite(each)]
        return float(each.mean()), *bootstrap(each)

    def _speed_ratio(self) -> tuple[float, float, float] | None:
        """Return the ratio of decoding speeds and its ends; None where machines differ.

        The ends are a 95% interval where both were timed by turns, else from the quartiles.
        """
        mine, other = self._rows
        if self._by_turns:
            return mine["decode_ratio"], mine["decode_ratio_low"], mine["decode_ratio_high"]
        timed = mine["decode_ips"] > 0 and other["decode_ips"] > 0
        if not timed or any(mine[key] != other[key] for key in MACHINE):
            return None
        return (
            mine["decode_ips"] / other["decode_ips"],
            mine["decode_ips_q1"] / other["decode_ips_q3"],
            mine["decode_ips_q3"] / other["decode_ips_q1"],
        )


def find_headline(frame: pd.DataFrame, compare: str = "") -> Headline | None:
    """Choose what the headline compares, at the rate and resolution with the most tokenizers.

    Reconstructions come before generated images. The baseline is what speeds were timed against,
    else the best decoder without noise. Against it stands the best of those that were timed by
    turns with it, else of all, of each those that are no slower if there are any. The better of
    both is named first.

    Args:
        frame: with seeds pooled.
        compare: labels of the method and the baseline instead, with a comma between them.

    Returns:
        None where fewer than two tokenizers can be compared.

    Raises:
        UserError: the results have no such two labels.
    """
    asked = _split_pair(compare, list(frame["label"].unique())) if compare else None
    found: list[tuple[int, Headline]] = []
    for group in comparable_groups(frame):
        alike = frame[frame["kind"] == group.rows["kind"].iloc[0]]
        metric = default_metric(alike)
        if not metric:
            continue
        rows = group.rows[is_ranked(group.rows) & group.rows[metric].map(math.isfinite)]
        sections = sections_by_rate(rows)
        for heading, mine in rows.groupby(sections, sort=False):
            pair = _choose(mine, metric, asked)
            if pair:
                generated = mine["kind"].iloc[0] != "reconstruction"
                size = 0 if generated else mine["id"].nunique() * 1000 + len(mine)
                found.append((size, Headline(group, section_key(str(heading)), *pair, metric)))
    if asked and not found:
        raise UserError(f"{compare}: no results of both at one rate, resolution and protocol")
    return max(found, key=lambda one: one[0])[1] if found else None


def _split_pair(text: str, labels: list[str]) -> tuple[str, str]:
    """Split two labels at the comma between them: labels may hold commas."""
    pieces = text.split(",")
    for place in range(1, len(pieces)):
        first, second = ",".join(pieces[:place]), ",".join(pieces[place:])
        if first in labels and second in labels:
            return first, second
    raise UserError(f"{text}: name two of the results with a comma between: {', '.join(labels)}")


def _choose(
    rows: pd.DataFrame, metric: str, asked: tuple[str, str] | None
) -> tuple[pd.Series[Any], pd.Series[Any]] | None:
    """Choose method and baseline among rows of one rate."""
    if asked:
        by_label = {row["label"]: row for _, row in rows.iterrows()}
        both = [by_label[label] for label in asked if label in by_label]
        return (both[0], both[1]) if len(both) == 2 else None
    higher = metric_directions(rows)[metric]
    rows = rows.sort_values(metric, ascending=not higher, kind="stable")
    named = rows["label"].isin(set(rows["decode_baseline"]) - {""})
    plain = ~rows["stochastic"].astype(bool)
    baseline = next(one.iloc[0] for one in (rows[named], rows[plain], rows) if not one.empty)
    others = rows[rows["id"] != baseline["id"]]
    if others.empty:
        return None
    by_turns = others[others["decode_baseline"] == baseline["label"]]
    by_turns_as_fast = by_turns[by_turns["decode_ratio_high"] >= 1]
    as_fast = others[others["decode_ips"] >= baseline["decode_ips_q1"]]
    choices = (by_turns_as_fast, by_turns, as_fast, others)
    method = next(one.iloc[0] for one in choices if not one.empty)
    lead = method[metric] - baseline[metric]
    ahead = lead >= 0 if higher else lead <= 0
    return (method, baseline) if ahead else (baseline, method)


def paired_metric(mine: pd.Series[Any], other: pd.Series[Any]) -> str:
    """Find the first metric with scores of the same images in both rows; "" for none."""
    for metric in mine["scores"]:
        first, second = mine["scores"][metric], other["scores"].get(metric)
        if second is not None and first.index.equals(second.index) and len(first) > 1:
            return str(metric)
    return ""


def _name(row: pd.Series[Any]) -> str:
    """Name a row by its network, with its number of steps in words."""
    if pd.isna(row["steps"]):
        return str(row["label"])
    steps = "one step" if row["steps"] == 1 else f"{row['steps']} steps"
    return f"{row['network']} in {steps}"


def _signed(metric: str, value: float) -> str:
    """Write a difference with a typographic minus."""
    return format_metric(metric, value).replace("-", "−")


def _join(claims: list[str]) -> str:
    *first, last = claims or [""]
    return f"{', '.join(first)} and {last}" if first else last
