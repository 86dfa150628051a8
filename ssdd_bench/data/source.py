"""Base of collections of images."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from heapq import nsmallest
from pathlib import PurePosixPath

from PIL import Image

from ssdd_bench.arguments import whole
from ssdd_bench.data.decode import MAX_IMAGE_MB, MB, decode_image
from ssdd_bench.data.files import DataFile
from ssdd_bench.errors import DataError


class ImageSource(ABC):
    """Images by id, in a fixed order, decoded one at a time.

    Reading holds no more than the one image (a Parquet file: some MB of rows) and may be done from
    several threads at once. An error of :meth:`read` that is no ``DataError`` is not the image's.

    Attributes:
        name: short name for tables, such as the folder's.
        ids: sorted; posix relative paths for files, row numbers for tables.
        numbered: True if the ids are only positions, as in an array.
        max_mb: of the pixels of an image; the read of a larger one is an error.
    """

    name: str
    ids: tuple[str, ...]
    numbered: bool = False
    max_mb: int = MAX_IMAGE_MB

    @abstractmethod
    def read(self, image_id: str) -> Image.Image:
        """Decode one image to RGB.

        Raises:
            DataError: it cannot be decoded; the message does not repeat the id.
            SourceError: the disk or the server fails.
        """

    def read_named(self, image_id: str) -> Image.Image:
        """Decode one image to RGB; the message of a ``DataError`` names it."""
        try:
            return self.read(image_id)
        except DataError as error:
            raise DataError(f"{self.name}: {image_id}: {error}") from error

    @property
    def places(self) -> tuple[str, ...]:
        """Ids in the order in which the images were given, to pair sets by position."""
        return self.ids

    def __len__(self) -> int:
        return len(self.ids)

    def _index(self, image_id: str) -> int:
        """Return the place of an id among sorted ones: a dictionary of a million is too large."""
        place = bisect_left(self.ids, image_id)
        if place == len(self.ids) or self.ids[place] != image_id:
            raise KeyError(image_id)
        return place

    def _decode_part(self, file: DataFile, start: int, size: int) -> Image.Image:
        """Decode an image file that lies in another one."""
        if size > 4 * self.max_mb * MB:  # no image that is small enough has so large a file
            raise DataError(f"a file of {size / MB:,.0f} MB")
        return decode_image(file.read(start, size), self.max_mb)


class Subset(ImageSource):
    """Some images of another source, in its order."""

    def __init__(self, source: ImageSource, ids: Sequence[str]) -> None:
        wanted = set(ids)
        self.name = source.name
        self.ids = tuple(image_id for image_id in source.ids if image_id in wanted)
        self.numbered = source.numbered
        self.max_mb = source.max_mb
        self._source = source

    def read(self, image_id: str) -> Image.Image:
        """Read from the source underneath."""
        return self._source.read(image_id)


def limited(source: ImageSource, limit: int, seed: int = 0) -> ImageSource:
    """Keep ``limit`` images, the same on every machine.

    The first of a sorted list would all be of one class, so the images whose ids have the
    smallest :func:`hash_id` are kept. A smaller limit always gives a subset of a larger one's.
    Another ``seed`` gives other images.
    """
    limit, seed = whole("number of images", limit), whole("sample_seed", seed)
    if limit < 1:
        raise DataError(f"a limit of {limit} leaves no image: give 1 or more")
    if limit >= len(source):
        return source
    return Subset(source, nsmallest(limit, source.ids, key=lambda one: hash_id(one, seed)))


def hash_id(image_id: str, seed: int = 0) -> bytes:
    """Compute the SHA-256 of an id, by which images come in random order.

    With a seed other than 0 it is that of the seed and the id, so that each seed has its order.
    """
    text = f"{seed}\0{image_id}" if seed else image_id
    # A file name that is not valid UTF-8 carries surrogate escapes.
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def number_ids(count: int) -> tuple[str, ...]:
    """Return row numbers as ids, zero-padded to one width."""
    width = max(6, len(str(count - 1)))
    return tuple(f"{i:0{width}d}" for i in range(count))


def check_count(images: int, file: DataFile) -> None:
    """Refuse a number of images that a compressed file can state but not hold."""
    if images > file.size:
        raise DataError(f"{file.url} has {file.size:,} bytes and cannot hold {images:,} images")


def class_names(ids: Sequence[str]) -> tuple[str, ...]:
    """Return the class of each image, the folder that it lies in; "." if there are no folders.

    ``DataError`` if some images lie in a folder and others do not.
    """
    names = tuple(PurePosixPath(image_id).parent.as_posix() for image_id in ids)
    loose = names.count(".")
    if loose and loose < len(names):
        raise DataError(
            f"{loose} of {len(names)} images lie in no class folder: move them into one, or give "
            "a folder without class folders to train without labels"
        )
    return names
