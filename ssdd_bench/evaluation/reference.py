"""What generated images are compared with: images, or moments of a training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.data.archives import NpzImages
from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_moments
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.metrics.frechet import Array, Moments
from ssdd_bench.weights.files import sha256_file

PUBLISHED_N = 50_000  # images behind published values


class PublishedMoments(Moments):
    """Mean and covariance as a file holds them, without the vectors behind them."""

    def __init__(self, mean: Array, covariance: Array) -> None:
        super().__init__(len(mean))
        self.n = PUBLISHED_N  # files do not tell; only its being over 1 matters
        self._mean = mean
        self._covariance = covariance
        self._vectors = None

    @property
    def mean(self) -> Array:
        """(dims,)."""
        return self._mean

    @property
    def covariance(self) -> Array:
        """(dims, dims)."""
        return self._covariance


class Reference:
    """Images, moments, or both: ADM's npz has moments of all and 10,000 of the images."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path = path
        self.moments: dict[str, NDArray[np.float64]] = {}
        self.images: ImageSource | None = None
        if path.suffix.lower() == ".npz" and path.is_file():
            self.moments = read_moments(path)
        if self.moments:
            self.name = path.stem
            with np.load(path, allow_pickle=False) as arrays:
                has_images = "arr_0" in arrays.files
            if has_images:
                self.images = AdmImages(path)
        else:
            self.images = open_images(path, limit)
            self.name = self.images.name

    def identity(self) -> str:
        """Hash that tells references apart."""
        if self.images is None or self.moments:
            return sha256_file(self.path)
        return data_fingerprint(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each image; empty where there are no class folders."""
        if self.images is None or isinstance(self.images, NpzImages | AdmImages):
            return ()
        try:
            names = class_names(self.images.ids)
        except DataError:  # some lie in no class
            return ()
        return names if len(set(names)) > 1 else ()


class AdmImages(ImageSource):
    """``arr_0`` of a file that holds moments too, which :func:`open_images` refuses.

    The array, 10,000 images in ADM's files, is loaded whole into memory.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        with np.load(path, allow_pickle=False) as arrays:
            self._images = arrays["arr_0"]
        self.ids = tuple(f"{i:06d}" for i in range(len(self._images)))

    def read(self, image_id: str) -> Image.Image:
        """One image."""
        return Image.fromarray(np.ascontiguousarray(self._images[int(image_id)]))
