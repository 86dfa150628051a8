"""References of generated images: images, or moments of a training set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ssdd_bench.data.archives import NpzImages
from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_moments
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.weights.files import sha256_file


class Reference:
    """Images, moments, or both: ADM's npz has moments of all and 10,000 of the images.

    Args:
        path: an npz with moments, or images as :func:`ssdd_bench.data.images.open_images` takes
            them.
        limit: number of images to use; None for all.
    """

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path = path
        self.moments: ReferenceMoments | None = None
        self.images: ImageSource | None = None
        is_npz = path.suffix.lower() == ".npz" and path.is_file()
        if is_npz and (arrays := read_moments(path)):
            self.name = path.stem
            with np.load(path, allow_pickle=False) as file:
                has_images = "arr_0" in file.files
            self.moments = ReferenceMoments(path.name, arrays, has_images)
            if has_images:
                self.images = AdmImages(path)
        else:
            self.images = open_images(path, limit)
            self.name = self.images.name

    def identity(self) -> str:
        """Return a hash that tells references apart."""
        if self.images is None or self.moments:
            return sha256_file(self.path)
        return data_fingerprint(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class of each image; () if there are no class folders."""
        if self.images is None or isinstance(self.images, NpzImages | AdmImages):
            return ()
        try:
            names = class_names(self.images.ids)
        except DataError:  # Some lie in no class.
            return ()
        return names if len(set(names)) > 1 else ()


class AdmImages(ImageSource):
    """Images ``arr_0`` of a file that also holds moments, which :func:`open_images` refuses.

    The array, 10,000 images in ADM's files, is loaded whole into memory.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        with np.load(path, allow_pickle=False) as arrays:
            self._images = arrays["arr_0"]
        self.ids = tuple(f"{i:06d}" for i in range(len(self._images)))

    def read(self, image_id: str) -> Image.Image:
        """Return one image."""
        return Image.fromarray(np.ascontiguousarray(self._images[int(image_id)]))
