"""Facts about a metric, and the base classes. Imports no torch, so that listing is quick."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from ssdd_bench.errors import DataError, UnavailableError, UserError, counted, describe_error
from ssdd_bench.plugins.discovery import BUILT_IN
from ssdd_bench.plugins.manifest import IN_MODULE
from ssdd_bench.results.schema import MetricValue

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from ssdd_bench.metrics.features.files import FeatureSets

PACKAGES: Final[Mapping[str, str]] = {"dreamsim": "dreamsim", "dinov2": "timm"}
"""Names by which metrics import the package of an optional dependency of ours, by its key."""

Reduction = Literal["sum", "by_image"]
"""Reductions of two states to one: they are added, or their ids are united."""


@dataclass(frozen=True)
class MetricOptions:
    """Settings of metrics that a protocol may change.

    Attributes:
        lpips_padding: images are padded with zeros to a power of two before LPIPS.
        dreamsim_resize: images are resized to 224 px before DreamSim.
    """

    lpips_padding: bool = False
    dreamsim_resize: bool = True


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
        unit: of the values, such as dB; "" for pure numbers.
        decimals: how values are printed; None for four significant digits.
        minimum: no value can be less; None if there is no bound.
        maximum: no finite value can be more; None if there is no bound.
        depends_on_n: values depend on the number of images, which then stands in headings.
        published_n: number of images behind published values; 0 if there are none.
        network: key in ``ssdd_bench.metrics.features.base.EXTRACTORS``; "" for metrics of pairs.
        layer: output of that network.
        needs_reference: False for scores of a set by itself.
        needs_labels: the classes of samples and of reference images are needed.
        moments: arrays of mean and covariance in a reference file that can replace its images.
        assets: names in ``ssdd_bench.weights.assets`` of the external files that it needs.
        extra: optional dependencies, a key of ``[project.optional-dependencies]``.
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
    unit: str = ""
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    depends_on_n: bool = False
    published_n: int = 0
    network: str = ""
    layer: str = ""
    needs_reference: bool = True
    needs_labels: bool = False
    moments: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    extra: str = ""

    @property
    def missing_package(self) -> str:
        """Name of the package of :attr:`extra` if it is not installed; else ""."""
        package = PACKAGES.get(self.extra, "")
        return package if package and find_spec(package) is None else ""

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
        self,
        device: torch.device | None = None,
        options: MetricOptions | None = None,
        *,
        loaded: bool = True,
    ) -> PairMetric | DistributionMetric:
        """Make the metric, on the CPU by default.

        Args:
            device: of the networks.
            options: settings of the protocol.
            loaded: False leaves out :meth:`Metric.load`: such a metric needs no weights, and can
                merge states and compute scores from them, but takes no images.

        Raises:
            UnavailableError: weights or packages are not on this machine, or the code of a third
                party fails or declares no state; keeps the cause.
            WeightsError: a file is not what its publisher released.
        """
        import torch

        kind = self.load()
        with self.guarded():
            metric = kind(self, device or torch.device("cpu"), options or MetricOptions())
            if isinstance(metric, PairMetric) and not metric.states:
                raise UnavailableError(
                    f"{self.key} ({self.source}) declares no state, so its scores of several "
                    f"chunks of images cannot be merged: call self.add_state in "
                    f"{kind.__name__}.__init__ (docs/how-to/adding-a-metric.md)"
                )
            if loaded:
                metric.load()
        return metric

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn what the code of a third party raises into an ``UnavailableError``."""
        try:
            yield
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            if self.source == BUILT_IN:
                raise
            raise UnavailableError(
                f"{self.key} ({self.source}) cannot be loaded: {describe_error(error)}. "
                "Fix or remove the package (--strict --debug shows where)."
            ) from error

    def failure(self, error: BaseException) -> str:
        """Return the reason why the metric is unavailable, after an error with some images."""
        if isinstance(error, UserError):
            return str(error)
        return f"{self.key} ({self.source}) failed: {describe_error(error)}"


def mixed(name: str, first: str, other: str) -> str:
    """Return the reason why chunks that were computed by two backends do not merge."""
    return (
        f"{name} was computed by {first} in some chunks and by {other} in others: run again with "
        "--force and one version"
    )


class Metric:
    """Base of all metrics, made by ``MetricInfo.make``; its arguments are its attributes.

    What a metric keeps of the images it declares by :meth:`add_state`, as in torchmetrics, so that
    the states of chunks of images can be saved and merged. ``__init__`` is cheap and needs no
    files; :meth:`load` loads what :meth:`PairMetric.update` needs besides.

    Args:
        info: key, direction and the other facts of the catalogue.
        device: of the networks, if any.
        options: settings of the protocol.

    Attributes:
        states: reduction of each state by name.
    """

    def __init__(self, info: MetricInfo, device: torch.device, options: MetricOptions) -> None:
        self.info = info
        self.device = device
        self.options = options
        self.states: dict[str, Reduction] = {}
        self._defaults: dict[str, Any] = {}

    def load(self) -> None:
        """Load networks, and set ``backend`` where it depends on them.

        Raises:
            UnavailableError: weights or packages are not on this machine.
            WeightsError: a file is not what its publisher released.
        """

    def add_state(self, name: str, default: Any, reduce: Reduction) -> None:
        """Declare a state, which becomes the attribute ``name``.

        >>> class Count(Metric):
        ...     total: float
        >>> metric = Count(None, None, None)
        >>> metric.add_state("total", 0.0, "sum")
        >>> metric.total += 2.5
        >>> metric.merge({"total": 2.0})
        >>> metric.total
        4.5

        Args:
            name: of the attribute.
            default: value before the first image: a number or an array of float64 or int64 for
                ``sum``, {} for ``by_image``.
            reduce: ``sum``, or ``by_image`` for a dictionary with a number for each image's id.

        Raises:
            TypeError: the default does not fit the reduction.
            ValueError: the attribute exists, or the reduction is unknown.
        """
        if hasattr(self, name):
            raise ValueError(f"state '{name}' has the name of an attribute: choose another")
        if reduce == "by_image":
            if default != {}:
                raise TypeError(f"state '{name}' begins with {default!r}, expected {{}}")
        elif reduce == "sum":
            _as_array(name, default)
        else:
            raise ValueError(f"reduction '{reduce}' is unknown: choose 'sum' or 'by_image'")
        self.states[name] = reduce
        self._defaults[name] = default
        setattr(self, name, deepcopy(default))

    def reset(self) -> None:
        """Forget all images."""
        for name, default in self._defaults.items():
            setattr(self, name, deepcopy(default))

    def state(self) -> dict[str, Any]:
        """Return a copy of each state: an array of float64 or int64, or numbers by image id.

        Raises:
            TypeError: a state has become something else, such as a tensor.
        """
        return {
            name: dict(getattr(self, name))
            if reduce == "by_image"
            else _as_array(name, getattr(self, name))
            for name, reduce in self.states.items()
        }

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add what :meth:`state` returned for other images.

        Raises:
            DataError: an image is in both.
        """
        for name, reduce in self.states.items():
            ours, theirs = getattr(self, name), state[name]
            if reduce == "by_image":
                if (both := next((one for one in theirs if one in ours), None)) is not None:
                    raise DataError(f"{self.info.key}: image '{both}' came twice")
                ours.update(theirs)
                continue
            total = _as_array(name, ours) + _as_array(name, theirs)
            number = isinstance(self._defaults[name], int | float)
            setattr(self, name, total.item() if number else total)


def _as_array(name: str, value: Any) -> NDArray[Any]:
    """Copy a number or an array of float64 or int64."""
    import numpy as np

    if isinstance(value, int | float | np.number | np.ndarray):
        array = np.array(value)
        if array.dtype in (np.float64, np.int64):
            return array
    kind = f"{type(value).__name__} of {getattr(value, 'dtype', 'no dtype')}"
    raise TypeError(
        f"state '{name}' is a {kind}, expected a number or an array of float64 or int64: use "
        "tensor.item() or tensor.cpu().numpy()"
    )


class PairMetric(Metric, ABC):
    """Base of metrics that compare each image with its reconstruction.

    A class declares at least one state, by :meth:`Metric.add_state`.

    Attributes:
        backend: library and version, and the weights' hash where there are any.
        on_device: True if :meth:`update` takes images on the metric's device, which spares a copy
            to the CPU.
    """

    backend: str = ""
    on_device: ClassVar[bool] = False

    @abstractmethod
    def update(self, ids: Sequence[str], references: Tensor, reconstructions: Tensor) -> None:
        """Add pairs, each with an id of its own.

        Args:
            ids: of the pairs.
            references: uint8 (B, 3, H, W), on the CPU unless the class has :attr:`on_device`.
            reconstructions: likewise.
        """

    @abstractmethod
    def compute(self) -> MetricValue:
        """Return the score over all pairs so far."""

    def per_image(self) -> dict[str, float]:
        """Return the score of each image by id, for paired comparisons; {} if there is none."""
        return {}


class PerImageMetric(PairMetric):
    """Base of metrics whose value is the mean of one score per image.

    Sums are exact (``math.fsum``), so the order and the batches of the images change nothing.
    """

    scores: dict[str, float]

    def __init__(self, info: MetricInfo, device: torch.device, options: MetricOptions) -> None:
        super().__init__(info, device, options)
        self.add_state("scores", {}, "by_image")

    @abstractmethod
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return the score of each pair of a batch, uint8 (B, 3, H, W)."""

    def update(self, ids: Sequence[str], references: Tensor, reconstructions: Tensor) -> None:
        """Score a batch; ``DataError`` if an image comes twice."""
        scores = self.score(references, reconstructions)
        if len(scores) != len(ids):
            raise ValueError(
                f"score returned {counted(len(scores), 'number')} for {counted(len(ids), 'image')}"
            )
        for name, score in zip(ids, scores, strict=True):
            if name in self.scores:
                raise DataError(f"{self.info.key}: image '{name}' came twice")
            self.scores[name] = score

    def compute(self) -> MetricValue:
        """Return the mean of the finite scores, its interval and the number of infinite ones.

        Raises:
            UnavailableError: a score is NaN.
        """
        import numpy as np

        from ssdd_bench.metrics.intervals import BOOTSTRAP, RESAMPLINGS, bootstrap

        if unknown := [name for name, score in self.scores.items() if math.isnan(score)]:
            raise UnavailableError(
                f"{len(unknown)} of {len(self.scores)} scores are NaN, first that of {min(unknown)}"
            )
        # Sorted by id, since the order of the images must not change the interval.
        finite = [score for _, score in sorted(self.scores.items()) if math.isfinite(score)]
        found = MetricValue(
            value=math.fsum(finite) / len(finite) if finite else None,
            n=len(self.scores),
            higher_is_better=self.info.higher_is_better,
            backend=self.backend,
            infinite=len(self.scores) - len(finite),
        )
        if len(finite) < 2:
            return found
        interval = bootstrap(np.array(finite), resamplings=RESAMPLINGS)
        return replace(found, interval=interval, interval_method=BOOTSTRAP)

    def per_image(self) -> dict[str, float]:
        """Return the score of each image by id."""
        return dict(self.scores)


class DistributionMetric(Metric, ABC):
    """Base of metrics that compare two sets of images by features of a network.

    The sets are references and their reconstructions, or references and samples of a generative
    model. The catalogue (or metric.toml) names the network and its layer; the features of an
    image are computed once for all metrics.

    Attributes:
        least: images that each side needs.
        needs_rows: False if means and covariances suffice, which take the same memory for any
            number of images; True keeps the features of every image, in a file.
        interval_needs_rows: likewise, for the interval alone.
    """

    least: ClassVar[int] = 2
    needs_rows: ClassVar[bool] = False
    interval_needs_rows: ClassVar[bool] = False

    @abstractmethod
    def score(self, features: FeatureSets) -> float:
        """Return the value; raise ``UnavailableError`` if it cannot be computed from these sets."""

    def warnings(self, features: FeatureSets) -> Iterator[str]:
        """Yield what a reader of the value must know."""
        yield from ()

    def compute(self, features: FeatureSets, intervals: bool = False) -> MetricValue:
        """Return the score of the candidates, or the reason why there is none.

        Args:
            features: of both sides.
            intervals: True computes an interval too, if the metric has one.
        """
        value, warning, reason = None, "", ""
        n = features.candidate.n
        try:
            if self.least > (min(n, features.reference_n) if self.info.needs_reference else n):
                raise UnavailableError(
                    f"needs at least {self.least} images on each side: give more"
                )
            value = self.score(features)
            warning = "; ".join(self.warnings(features))
        except UnavailableError as error:
            reason = str(error)
        return MetricValue(
            value,
            n,
            self.info.higher_is_better,
            features.backend,
            warning=warning,
            unavailable=reason,
        )
