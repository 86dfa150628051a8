"""References of generated images: images, or moments of a training set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.npz import NpzImages, array_names, read_moments
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.weights.files import sha256_file


class Reference:
    """Images, moments, or both: ADM's npz has moments of all and 10,000 of the images.

    Args:
        data: an npz with moments, or images as :func:`ssdd_bench.data.memory.as_source` takes
            them.
        limit: number of images to use; None for all.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.

    Attributes:
        name: for tables.
        images: None for moments alone.
        moments: None for images alone.
        classes: class of each image; () if there are no class folders.
    """

    def __init__(
        self, data: Images, limit: int | None = None, max_image_mb: int = MAX_IMAGE_MB
    ) -> None:
        self.moments: ReferenceMoments | None = None
        self.images: ImageSource | None = None
        self._path = Path(data) if isinstance(data, str | Path) else None
        path = self._path
        is_npz = path is not None and path.suffix.lower() == ".npz" and path.is_file()
        if path is not None and is_npz and (arrays := read_moments(path)):
            self.name = path.stem
            has_images = "arr_0" in array_names(path)
            self.moments = ReferenceMoments(path.name, arrays, has_images)
            if has_images:
                self.images = NpzImages(path, max_image_mb)
        else:
            self.images = as_source(data, limit, max_image_mb=max_image_mb)
            self.name = self.images.name
        self.classes = _classes(self.images)

    @property
    def count(self) -> int:
        """Number of images; 0 for moments alone."""
        return len(self.images) if self.images else 0

    @cached_property
    def identity(self) -> str:
        """Hash that tells references apart."""
        if self.images is None or self.moments:
            assert self._path is not None
            return sha256_file(self._path)
        return data_fingerprint(self.images)

    def matches(self, classes: Sequence[str]) -> bool:
        """Return False if samples were made of other classes than those of the images."""
        names = sorted(set(self.classes))
        return not (classes and names and names != list(classes))

    def labels(self) -> list[int]:
        """Return the class of each image, counted from 0; [] if there are no class folders."""
        number = {name: label for label, name in enumerate(sorted(set(self.classes)))}
        return [number[name] for name in self.classes]


def _classes(images: ImageSource | None) -> tuple[str, ...]:
    if images is None or images.numbered:
        return ()
    try:
        names = class_names(images.ids)
    except DataError:  # Some images lie in no class.
        return ()
    return names if len(set(names)) > 1 else ()
