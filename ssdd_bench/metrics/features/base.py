"""Base of networks that turn images into features; each runs once per image for all metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import OutputError, UnavailableError, UnknownNameError, describe_error
from ssdd_bench.metrics.base import mixed
from ssdd_bench.metrics.features.cache import ReferenceCache, pixel_hashes
from ssdd_bench.metrics.features.files import FeatureStore
from ssdd_bench.weights.assets import cache_is_on

Side = Literal["reference", "candidate"]


class Extractor(ABC):
    """Base of networks that turn images into features.

    Attributes:
        layers: outputs by name, with their lengths.
        backend: library and version, and the weights' hash.
    """

    layers: ClassVar[Mapping[str, int]]
    backend: str

    @abstractmethod
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """Return features (B, length) by layer, of images uint8 (B, 3, H, W)."""


EXTRACTORS: Mapping[str, str] = {
    "effnet": "effnet:EffNetFeatures",
    "inception": "inception:InceptionFeatures",
    "dinov2_vitl14": "dinov2:DINOv2Features",
}
"""``module:class`` in this package; the class takes the device."""


def make_extractor(key: str, device: torch.device) -> Extractor:
    """Load a network; ``UnavailableError`` if its weights or its package are missing."""
    if key not in EXTRACTORS:
        raise UnknownNameError("feature extractor", key, EXTRACTORS)
    module, name = EXTRACTORS[key].split(":")
    made: Extractor = getattr(import_module(f"ssdd_bench.metrics.features.{module}"), name)(device)
    return made


class FeaturePool:
    """Features of two sets of images by every network that a metric asks for.

    A network that fails on some images computes no more: :attr:`failed` has the reason. Features
    of references may come from the cache.

    Args:
        device: of the networks.
        expected: number of images on each side, where it is known.
        strict: a failure is an error.

    Attributes:
        failed: reason by network.
        backends: library, version and weights by network.
    """

    def __init__(
        self,
        device: torch.device,
        expected: int | None = None,
        strict: bool = False,
    ) -> None:
        self._device = device
        self._expected = expected
        self._strict = strict
        self._extractors: dict[str, Extractor] = {}
        self._caches: dict[str, ReferenceCache] = {}
        self._rows: dict[tuple[str, str], bool] = {}  # outputs that are wanted; True with rows
        self._stores: dict[tuple[str, str, Side], FeatureStore] = {}
        self.failed: dict[str, str] = {}
        self.backends: dict[str, str] = {}

    def want(self, network: str, layer: str, rows: bool = False) -> None:
        """Compute or merge this output from now on; ``rows`` keeps the features of each image."""
        self._rows[network, layer] = rows or self._rows.get((network, layer), False)

    def load(self, network: str) -> None:
        """Load a network that computes what is wanted; errors as of :func:`make_extractor`."""
        if network not in self._extractors:
            made = make_extractor(network, self._device)
            self._extractors[network] = made
            self.backends[network] = made.backend
            self._caches[network] = ReferenceCache(made.backend, made.layers, self._device)

    def store(self, network: str, layer: str, side: Side) -> FeatureStore:
        """Return the features of one side.

        Raises:
            UnavailableError: there are none, and no network that could compute them.
        """
        known = [one.dims for key, one in self._stores.items() if key[:2] == (network, layer)]
        if not known and network not in self._extractors:
            raise UnavailableError(f"no features of {network} were computed: give images")
        return self._made(network, layer, side, *known[:1])

    def _made(self, network: str, layer: str, side: Side, dims: int = 0) -> FeatureStore:
        key = network, layer, side
        if key not in self._stores:
            dims = dims or self._extractors[network].layers[layer]
            few = self._expected is None or self._expected <= dims
            self._stores[key] = FeatureStore(dims, self._rows[key[:2]], few)
        return self._stores[key]

    @property
    def uses_hashes(self) -> bool:
        """Return True if features of references are kept by the hashes of their pixels."""
        return bool(self._extractors) and cache_is_on()

    def add(self, side: Side, images: Tensor, hashes: Sequence[bytes] | None = None) -> None:
        """Add the features of images to one side.

        Args:
            side: of a comparison.
            images: uint8 (B, 3, H, W).
            hashes: :func:`ssdd_bench.metrics.features.cache.pixel_hashes` of references, where they
                are known already.

        Raises:
            OutputError: the disk is full.
        """
        if side == "reference" and self.uses_hashes:
            hashes = hashes or pixel_hashes(images)
        else:
            hashes = None
        for network in self._extractors:
            if network in self.failed:
                continue
            try:
                self._add(network, side, images, hashes)
            except Exception as error:
                if self._strict or isinstance(error, OutputError):
                    raise
                self.failed[network] = f"{network} failed: {describe_error(error)}"

    def _add(
        self, network: str, side: Side, images: Tensor, hashes: Sequence[bytes] | None
    ) -> None:
        extractor, cache = self._extractors[network], self._caches[network]
        found = cache.read(hashes) if hashes else None
        if found is None:
            found = extractor(images)
            if hashes:
                cache.write(hashes, found)
        for layer, rows in found.items():
            if (network, layer) in self._rows:
                self._made(network, layer, side).append(rows)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays, by network, layer, side and name, and the backends of their networks."""
        arrays, backends = {}, {}
        for (network, layer, side), store in self._stores.items():
            if network not in self.failed:
                backends[network] = self.backends[network]
                for name, array in store.state().items():
                    arrays[f"{network}/{layer}/{side}/{name}"] = array
        return arrays, backends

    def merge(self, arrays: Mapping[str, NDArray[Any]], backends: Mapping[str, str]) -> None:
        """Add what :meth:`state` of another pool returned, as far as it is wanted here."""
        parts: dict[tuple[str, str, Side], dict[str, NDArray[Any]]] = {}
        for key, array in arrays.items():
            network, layer, side, name = key.split("/")
            if (network, layer) in self._rows and network not in self.failed:
                parts.setdefault((network, layer, cast(Side, side)), {})[name] = array
        for network, backend in backends.items():
            if (ours := self.backends.setdefault(network, backend)) != backend:
                self.failed.setdefault(network, mixed(network, ours, backend))
        for (network, layer, side), part in parts.items():
            dims = len(part["sum"]) if "sum" in part else part["rows"].shape[1]
            self._made(network, layer, side, dims).merge(part)

    def reset(self) -> None:
        """Forget all images; arrays of :meth:`state` stay, also those that map a file."""
        self._stores.clear()
        self.failed.clear()
