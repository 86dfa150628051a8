"""The metrics there are: our own, and those that installed packages bring.

A package names, in the entry point group ``ssdd_bench.metrics``, a package of its own that holds
a metric.toml; the entry point's name is the metric's key. Looking imports none of its code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ssdd_bench.errors import ManifestError, UserError
from ssdd_bench.metrics.base import METRICS, MetricInfo
from ssdd_bench.plugins.discovery import Broken, Packaged, find_packaged
from ssdd_bench.results.records import read_record, read_toml

GROUP: Final = "ssdd_bench.metrics"
FILE_NAME: Final = "metric.toml"
KEY: Final = re.compile(r"[a-z][a-z0-9_]*")
LOCATION: Final = re.compile(r"[A-Za-z_]\w*:[A-Za-z_]\w*")


@dataclass(frozen=True)
class MetricFile:
    """What a metric.toml says.

    Attributes:
        title: one line for the list.
        higher_is_better: direction.
        metric: ``module:Class`` in the package that holds the file.
    """

    title: str
    higher_is_better: bool
    metric: str


def find_all() -> tuple[dict[str, MetricInfo], tuple[Broken, ...]]:
    """Every metric by key, our own first, and what was found and cannot be used.

    A key that two packages claim, or that is one of ours, is nobody's but ours.
    """
    found = dict(METRICS)
    broken: list[Broken] = []
    for entry in find_packaged(GROUP, FILE_NAME):
        try:
            if isinstance(entry, Broken):
                raise entry.error
            if other := found.get(entry.name):
                raise ManifestError(
                    f"{entry.file}: the metric '{entry.name}' is that of {other.source} already: "
                    "rename or remove one"
                )
            found[entry.name] = _load(entry)
        except ManifestError as error:
            broken.append(Broken(entry.name, entry.source, error))
    return found, tuple(broken)


def find_metrics() -> dict[str, MetricInfo]:
    """Every metric that can be used, by key."""
    return find_all()[0]


def _load(entry: Packaged) -> MetricInfo:
    try:
        said = read_record(MetricFile, read_toml(entry.file), str(entry.file))
    except UserError as error:
        raise ManifestError(str(error)) from None
    if not KEY.fullmatch(entry.name):
        raise ManifestError(f"{entry.file}: '{entry.name}' is no key such as edge_error")
    if not LOCATION.fullmatch(said.metric):
        raise ManifestError(f"{entry.file}: metric = '{said.metric}' must read module:Class")
    return MetricInfo(
        entry.name,
        said.title,
        said.higher_is_better,
        said.metric,
        default=False,
        package=entry.package,
        source=entry.source,
    )
