"""The catalogue of metrics: ours from catalog.toml, and those that installed packages bring.

A package names, in the entry point group ``ssdd_bench.metrics``, a package of its own that holds
a metric.toml with fields of :class:`MetricInfo`; the entry point's name is the metric's key.
Reading the catalogue imports neither torch nor the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from ssdd_bench.errors import UnavailableError, UserError
from ssdd_bench.metrics.base import DistributionMetric, MetricOptions, PairMetric
from ssdd_bench.plugins.discovery import BUILT_IN, Place, Registry
from ssdd_bench.plugins.manifest import IN_MODULE
from ssdd_bench.results.records import read_record, read_toml

if TYPE_CHECKING:
    import torch

CATALOG: Final = Path(__file__).with_name("catalog.toml")
KEY: Final = re.compile(r"[a-z][a-z0-9_]*")

Kind = Literal["pairs", "samples"]


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """The facts about a metric; a TOML file may leave out those with a default.

    Attributes:
        key: name in results and on the command line; the table's or the entry point's.
        package: dotted name of the package that holds its class; not in files.
        source: ``built-in`` or ``package NAME``; not in files.
        title: one line for lists.
        higher_is_better: direction.
        metric: ``module:Class`` in the package; "" for published keys.
        name: heading in papers; "" for the key.
        applies_to: ``pairs`` of an image and its reconstruction, ``samples`` of a generative
            model against a reference set, or ``both``; ``published`` for keys that occur in
            published numbers alone.
        default_for: what it is measured on unless told otherwise.
        decimals: how values are printed; None for four significant digits.
        depends_on_n: values depend on the number of images, which then stands in headings.
        published_n: number of images behind published values; 0 if there are none.
        network: key in ``ssdd_bench.metrics.features.base.EXTRACTORS``; "" for metrics of pairs.
        layer: output of that network.
        needs_reference: False for scores of a set by itself.
        needs_labels: the classes of samples and of reference images are needed.
        moments: arrays of mean and covariance in a reference file that can replace its images.
        assets: names in ``ssdd_bench.weights.assets`` of the external files that it needs.
        extra: optional dependencies, as in ``pip install 'ssdd-bench[EXTRA]'``.
    """

    key: str
    package: str
    source: str
    title: str
    higher_is_better: bool
    metric: Annotated[str, IN_MODULE] = ""
    name: str = ""
    applies_to: Literal["pairs", "samples", "both", "published"] = "pairs"
    default_for: Literal["none", "pairs", "samples", "both"] = "none"
    decimals: int | None = None
    depends_on_n: bool = False
    published_n: int = 0
    network: str = ""
    layer: str = ""
    needs_reference: bool = True
    needs_labels: bool = False
    moments: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    extra: str = ""

    def load(self) -> type[PairMetric] | type[DistributionMetric]:
        """Import the class behind it.

        Raises:
            UnavailableError: a third party's is no metric or cannot be imported; keeps the cause.
        """
        module, name = self.metric.split(":")
        with self.guarded():
            found = getattr(import_module(f"{self.package}.{module}"), name)
            if not (isinstance(found, type) and issubclass(found, PairMetric | DistributionMetric)):
                raise TypeError(f"{self.metric} is neither a PairMetric nor a DistributionMetric")
            if self.applies_to != "pairs" and issubclass(found, PairMetric):
                raise TypeError(f"{self.metric} is a PairMetric, which applies to pairs only")
            if issubclass(found, DistributionMetric) and not (self.network and self.layer):
                raise TypeError(f"{self.metric} needs 'network' and 'layer' in metric.toml")
        return found

    def make(
        self, device: torch.device | None = None, options: MetricOptions | None = None
    ) -> PairMetric | DistributionMetric:
        """Make the metric, on the CPU by default.

        Raises:
            UnavailableError: weights or packages are not on this machine, or the code of a third
                party fails; keeps the cause.
            WeightsError: a file is not what its publisher released.
        """
        import torch

        kind = self.load()
        with self.guarded():
            return kind(self, device or torch.device("cpu"), options or MetricOptions())

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the code of a third party raises into an ``UnavailableError``."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            if self.source == BUILT_IN:
                raise
            reason = next(iter(str(error).splitlines()), "")
            raise UnavailableError(
                f"{self.key} ({self.source}) cannot be loaded: {type(error).__name__}: {reason}. "
                "Fix or remove the package (--strict --debug shows where)."
            ) from error


def find_metrics(kind: Kind | None = None) -> dict[str, MetricInfo]:
    """Return the metrics that can be measured, by key; of pairs, of samples, or of both."""
    kinds = ("pairs", "samples", "both") if kind is None else (kind, "both")
    return {key: info for key, info in METRICS.all().items() if info.applies_to in kinds}


def default_metrics(kind: Kind) -> tuple[str, ...]:
    """Return the keys that are measured unless told otherwise."""
    found = find_metrics(kind).items()
    return tuple(key for key, info in found if info.default_for in (kind, "both"))


def metric_keys(metrics: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the keys that a user gave: one, several or none."""
    return (metrics,) if isinstance(metrics, str) else tuple(metrics or ())


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
