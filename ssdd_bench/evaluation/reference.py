"""References of generated images: images, or moments of a training set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from ssdd_bench.data.archives import NpzImages
from ssdd_bench.data.loader import Batch, ImageLoader
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.npz import array_names, read_moments
from ssdd_bench.data.source import ImageSource, class_names
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.frechet import ReferenceMoments
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.weights.files import sha256_file

GROUP = 64
"""Images in memory at a time."""


class Reference:
    """Images, moments, or both: ADM's npz has moments of all and 10,000 of the images.

    Args:
        data: an npz with moments, or images as :func:`ssdd_bench.data.memory.as_source` takes
            them.
        limit: number of images to use; None for all.

    Attributes:
        name: for tables.
        images: None for moments alone.
        moments: None for images alone.
        classes: class of each image; () if there are no class folders.
    """

    def __init__(self, data: Images, limit: int | None = None) -> None:
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
                self.images = NpzImages(path)
        else:
            self.images = as_source(data, limit)
            self.name = self.images.name
        self.classes = _classes(self.images)

    @property
    def count(self) -> int:
        """Number of images; 0 for moments alone."""
        return len(self.images) if self.images else 0

    def identity(self) -> str:
        """Return a hash that tells references apart."""
        if self.images is None or self.moments:
            assert self._path is not None
            return sha256_file(self._path)
        return data_fingerprint(self.images)

    def matches(self, classes: Sequence[str]) -> bool:
        """Return False if samples were made of other classes than those of the images."""
        names = sorted(set(self.classes))
        return not (classes and names and names != list(classes))

    def add_to(
        self,
        suite: MetricSuite,
        resolution: int,
        workers: int,
        on_images: Callable[[int], None],
    ) -> str:
        """Add the images to a suite, as ADM crops them.

        Args:
            suite: of the kind ``samples``, made with :attr:`moments`.
            resolution: side of the crops in pixels.
            workers: threads that load images.
            on_images: called with the number of further images that are done.

        Returns:
            Hash of the pixels, or of the file of moments.
        """
        digest = hashlib.sha256()
        if self.images is not None:
            names = sorted(set(self.classes))
            labels = [names.index(name) for name in self.classes]
            start = 0
            loader = ImageLoader(
                self.images, resolution, "adm", GROUP, strict=True, workers=workers
            )

            def hash_pixels(batch: Batch) -> tuple[bytes, ...] | None:
                return pixel_hashes(batch.images) if suite.uses_hashes else None

            for batch, hashes in loader.prepared(hash_pixels):
                digest.update(batch.images.numpy().data)
                part = labels[start : start + len(batch)]
                suite.add_references(batch.ids, batch.images, part or None, hashes)
                start += len(batch)
                on_images(len(batch))
        return self.identity() if self.moments else digest.hexdigest()


def _classes(images: ImageSource | None) -> tuple[str, ...]:
    if images is None or images.numbered:
        return ()
    try:
        names = class_names(images.ids)
    except DataError:  # Some images lie in no class.
        return ()
    return names if len(set(names)) > 1 else ()
