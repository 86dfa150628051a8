"""Images packed into several large files, each of which is indexed once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.files import DataFile, LocalFile, RemoteFile
from ssdd_bench.data.source import ImageSource
from ssdd_bench.data.threads import map_ahead
from ssdd_bench.errors import DataError

READERS: Final = 8
"""Threads that read the indexes of shards."""

Members = tuple[Sequence[str], NDArray[np.int64], NDArray[np.int64]]
"""Keys of the images in a shard, and two numbers for each that say where it is."""


class ShardedImages(ImageSource):
    """Images in several files; an id is the prefix of its file and a key in it.

    Args:
        name: of the set.
        shards: the files by prefix, which is empty or ends in a slash.
        max_mb: limit of an image, see :func:`ssdd_bench.data.decode.decode_image`.
    """

    def __init__(
        self, name: str, shards: Mapping[str, Path | RemoteFile], max_mb: int = MAX_IMAGE_MB
    ) -> None:
        self.name = name
        self.max_mb = max_mb
        self._shards = dict(shards)
        self._files: list[DataFile] = [
            LocalFile.find(one) if isinstance(one, Path) else one for one in shards.values()
        ]
        found = map_ahead(self._members, self._files, min(READERS, len(shards) - 1), "index")
        ids: list[str] = []
        places: list[NDArray[np.int64]] = []  # of each image: the number of its file, then two more
        for number, (prefix, (keys, first, second)) in enumerate(zip(shards, found, strict=True)):
            ids += [prefix + key for key in keys]
            places.append(np.stack([np.full(len(keys), number), first, second], axis=1))
        if not ids:
            more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
            raise DataError(f"no images in {self._files[0].url}{more}")
        # Numbers take a quarter of what a dictionary by id would.
        self._places: NDArray[np.int64] = np.concatenate(places)
        if any(one > other for one, other in pairwise(ids)):
            order = sorted(range(len(ids)), key=ids.__getitem__)
            ids = [ids[index] for index in order]
            self._places = self._places[order]
        self.ids = tuple(ids)
        if twice := next((one for one, other in pairwise(self.ids) if one == other), None):
            raise DataError(f"two images of {name} have the id {twice}: rename a shard")

    def __reduce__(self) -> tuple[Any, ...]:
        """Open it again in another process."""
        return type(self), (self.name, self._shards, self.max_mb)

    def _where(self, image_id: str) -> tuple[DataFile, int, int]:
        """Return the file of an image, and the two numbers that say where it is in there."""
        number, first, second = self._places[self._index(image_id)].tolist()
        return self._files[number], first, second

    @abstractmethod
    def _members(self, shard: DataFile) -> Members:
        """Find the images in a file."""
