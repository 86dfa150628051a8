"""The catalogue of metrics: ours from catalog.toml, and those that installed packages bring.

A package names, in the entry point group ``ssdd_bench.metrics``, a package of its own that holds
a metric.toml with fields of :class:`ssdd_bench.metrics.base.MetricInfo`; the entry point's name is
the metric's key.
Reading the catalogue imports neither torch nor the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from ssdd_bench.arguments import texts
from ssdd_bench.errors import UserError
from ssdd_bench.metrics.base import MetricInfo
from ssdd_bench.plugins.discovery import BUILT_IN, Place, Registry
from ssdd_bench.results.records import read_record, read_toml

CATALOG: Final = Path(__file__).with_name("catalog.toml")
KEY: Final = re.compile(r"[a-z][a-z0-9_]*")

Kind = Literal["pairs", "samples"]


def find_metrics(kind: Kind | None = None) -> dict[str, MetricInfo]:
    """Return the metrics that can be measured, by key; of pairs, of samples, or of both."""
    kinds = ("pairs", "samples", "both") if kind is None else (kind, "both")
    return {key: info for key, info in METRICS.all().items() if info.applies_to in kinds}


def default_metrics(kind: Kind) -> tuple[str, ...]:
    """Return the keys that are measured unless told otherwise."""
    found = find_metrics(kind).items()
    return tuple(key for key, info in found if info.default_for in (kind, "both"))


def metric_keys(metrics: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the keys that a user gave: one, several or none.

    Raises:
        UserError: one is no text.
    """
    return () if metrics is None else texts("metrics", metrics)


def needed_by(asset: str) -> tuple[str, ...]:
    """Return the keys of the metrics that need an external file."""
    return tuple(key for key, info in METRICS.all().items() if asset in info.assets)


def sort_metrics(keys: Iterable[str]) -> list[str]:
    """Sort keys as columns: in the order of the catalogue, unknown ones last by name."""
    places = {key: place for place, key in enumerate(METRICS.all())}
    return sorted(keys, key=lambda key: (places.get(key, len(places)), key))


def _load(place: Place) -> dict[str, MetricInfo]:
    """Read our catalogue, or the metric.toml of an installed package."""
    data = read_toml(place.file)
    if place.source == BUILT_IN:
        return {key: _read_info(place, key, table, key) for key, table in data.items()}
    info = _read_info(place, place.name, data)
    if not KEY.fullmatch(place.name):
        raise UserError(f"{place.file}: '{place.name}' is no key such as edge_error")
    if not info.metric:
        raise UserError(f"{place.file}: missing key 'metric'")
    return {info.key: info}


def _read_info(place: Place, key: str, table: Any, where: str = "") -> MetricInfo:
    fixed = {"key": key, "package": place.package, "source": place.source}
    return read_record(MetricInfo, table, str(place.file), where, optional=True, fixed=fixed)


OURS: Final = Place("catalog", BUILT_IN, CATALOG, "ssdd_bench.metrics")
METRICS: Final = Registry("metric", "ssdd_bench.metrics", "metric.toml", lambda: [OURS], _load)
"""Every known metric in the order of columns: ours, then those of packages."""
