"""Base of networks that turn images into features; each runs once per image for all metrics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.errors import UnknownNameError
from ssdd_bench.metrics.features.cache import ReferenceCache, is_on, pixel_hashes
from ssdd_bench.metrics.features.files import FeatureFile

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

    They are kept in files of ``folder``; those of references may come from the cache.
    """

    def __init__(self, device: torch.device, folder: Path) -> None:
        self._device = device
        self._folder = folder
        self._extractors: dict[str, Extractor] = {}
        self._caches: dict[str, ReferenceCache] = {}
        self._files: dict[tuple[str, str, Side], FeatureFile] = {}

    def want(self, network: str, layer: str) -> None:
        """Compute this output from now on; errors as of :func:`make_extractor`."""
        if network not in self._extractors:
            made = make_extractor(network, self._device)
            self._extractors[network] = made
            self._caches[network] = ReferenceCache(made.backend, made.layers, self._device)
        for side in ("reference", "candidate"):
            self.file(network, layer, side)

    def backend(self, network: str) -> str:
        """Return library, version and weights of a network."""
        return self._extractors[network].backend

    def file(self, network: str, layer: str, side: Side) -> FeatureFile:
        """Return the features of one side."""
        key = network, layer, side
        if key not in self._files:
            path = self._folder / f"{network}-{layer}-{side}.f32"
            self._files[key] = FeatureFile(path, self._extractors[network].layers[layer])
        return self._files[key]

    @property
    def uses_hashes(self) -> bool:
        """Return True if features of references are kept by the hashes of their pixels."""
        return bool(self._extractors) and is_on()

    def add(self, side: Side, images: Tensor, hashes: Sequence[bytes] | None = None) -> None:
        """Add the features of images to one side.

        Args:
            side: of a comparison.
            images: uint8 (B, 3, H, W).
            hashes: :func:`ssdd_bench.metrics.features.cache.pixel_hashes` of references, where they
                are known already.
        """
        if side == "reference" and self.uses_hashes:
            hashes = hashes or pixel_hashes(images)
        else:
            hashes = None
        for network, extractor in self._extractors.items():
            cache = self._caches[network]
            found = cache.read(hashes) if hashes else None
            if found is None:
                found = extractor(images)
                if hashes:
                    cache.write(hashes, found)
            for layer, rows in found.items():
                if (network, layer, side) in self._files:
                    self._files[network, layer, side].append(rows)
