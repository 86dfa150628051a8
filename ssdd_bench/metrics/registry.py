"""The metrics there are: our own, and those that installed packages bring.

A package names, in the entry point group ``ssdd_bench.metrics``, a package of its own that holds
a metric.toml; the entry point's name is the metric's key. Looking imports none of its code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from ssdd_bench.errors import UserError
from ssdd_bench.metrics.base import METRICS, MetricInfo
from ssdd_bench.plugins.discovery import Broken, Found, Packaged, find_packaged
from ssdd_bench.plugins.manifest import IN_MODULE
from ssdd_bench.plugins.registry import Registry
from ssdd_bench.results.records import read_record, read_toml

GROUP: Final = "ssdd_bench.metrics"
FILE_NAME: Final = "metric.toml"
KEY: Final = re.compile(r"[a-z][a-z0-9_]*")


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
    metric: Annotated[str, IN_MODULE]


def find_metrics() -> Mapping[str, MetricInfo]:
    """Return every metric that can be used, by key: the built-in ones first."""
    return REGISTRY.all()


def _discover() -> Iterator[Found[MetricInfo] | Broken]:
    yield from (Found(key, info.source, info) for key, info in METRICS.items())
    yield from find_packaged(GROUP, FILE_NAME, _load)


def _load(entry: Packaged) -> dict[str, MetricInfo]:
    said = read_record(MetricFile, read_toml(entry.file), str(entry.file))
    if not KEY.fullmatch(entry.name):
        raise UserError(f"{entry.file}: '{entry.name}' is no key such as edge_error")
    info = MetricInfo(
        entry.name,
        said.title,
        said.higher_is_better,
        said.metric,
        default=False,
        package=entry.package,
        source=entry.source,
    )
    return {info.key: info}


REGISTRY: Final = Registry("metric", _discover)
