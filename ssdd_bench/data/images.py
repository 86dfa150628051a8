"""Open a set of images, whatever it is stored in."""

from __future__ import annotations

import posixpath
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from PIL import Image

from ssdd_bench.data.decode import MAX_IMAGE_MB, SUFFIXES, decode_image
from ssdd_bench.data.files import LocalFile, RemoteFile
from ssdd_bench.data.locate import (
    Found,
    as_text,
    exists,
    find_listed,
    find_pattern,
    find_url,
    is_pattern,
    is_url,
)
from ssdd_bench.data.named import DATA_SETS, DEFAULT, DataSet, some_of
from ssdd_bench.data.npz import NpzImages, array_names
from ssdd_bench.data.parquet import ParquetImages
from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.data.tar import TarImages
from ssdd_bench.errors import DataError, UnknownNameError, counted
from ssdd_bench.plugins.manifest import ID

_SHARDS: Final = {".tar": TarImages, ".parquet": ParquetImages}


class FolderImages(ImageSource):
    """Image files by id.

    Args:
        name: of the set.
        files: by id: the relative posix path below ``base``, or a file elsewhere.
        base: folder of the local files.
        max_mb: limit of an image, see :func:`ssdd_bench.data.decode.decode_image`.
    """

    def __init__(
        self,
        name: str,
        files: Mapping[str, str | RemoteFile],
        base: Path,
        max_mb: int = MAX_IMAGE_MB,
    ) -> None:
        self.name = name
        self.base = base
        self.max_mb = max_mb
        # Of a million files, paths or a dictionary would take more than all else.
        self.ids = tuple(sorted(files))
        self._files = tuple(files[image_id] for image_id in self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        """Take the list along to another process: nobody lists the folder again, as it is then."""
        text = "\0".join(self.ids).encode("utf-8", "surrogateescape")
        pairs = zip(self.ids, self._files, strict=True)
        others = {image_id: file for image_id, file in pairs if file != image_id}
        return _restore, (self.name, zlib.compress(text, 1), others, self.base, self.max_mb)

    def items(self) -> Iterator[tuple[str, str | RemoteFile]]:
        """Iterate over the ids and their files."""
        return zip(self.ids, self._files, strict=True)

    def read(self, image_id: str) -> Image.Image:
        """Decode one file."""
        file = self._files[self._index(image_id)]
        if isinstance(file, str):
            return decode_image(self.base / file, self.max_mb)
        return self._decode_part(file, 0, file.size)


def _restore(
    name: str, ids: bytes, others: Mapping[str, str | RemoteFile], base: Path, max_mb: int
) -> FolderImages:
    found = zlib.decompress(ids).decode("utf-8", "surrogateescape").split("\0")
    files = {image_id: others.get(image_id, image_id) for image_id in found}
    return FolderImages(name, files, base, max_mb)


def open_images(
    path: Path | str | Sequence[Path | str] | None = None,
    limit: int | None = None,
    *,
    max_image_mb: int = MAX_IMAGE_MB,
) -> ImageSource:
    """Open images for reading one by one, in a fixed order.

    Args:
        path: None for the photographs that come with the package; the name of a data set, see
            :mod:`ssdd_bench.data.named`, which goes before a folder of that name; otherwise an
            image file, a folder of images (recursive), a WebDataset ``.tar`` shard, a ``.npz``
            with ``arr_0`` (uint8 NHWC), a ``.parquet`` file with encoded images, or a folder of
            shards or Parquet files. In a folder images come before shards, shards before Parquet;
            names that start with a dot are left out. Several files of one kind are a list, or a
            pattern such as ``shards/{000..099}.tar`` or ``val-*.parquet``. Instead of a path, a
            URL that fsspec reads, such as ``hf://datasets/OWNER/NAME/data/val-*.parquet``.
        limit: keep only that many, see :func:`ssdd_bench.data.source.limited`.
        max_image_mb: largest image that is decoded, in MB as 8-bit RGB; the read of a larger one
            fails.

    Raises:
        DataError: nothing is there, it holds no image, its kind is unknown, or it is not the
            data set of that name.
    """
    source = _open(path, max_image_mb)
    return source if limit is None else limited(source, limit)


def _open(path: Path | str | Sequence[Path | str] | None, max_mb: int) -> ImageSource:
    if path is not None and not isinstance(path, str | Path):
        if not path:
            raise DataError("an empty list of files: give one or more")
        return _open_found(find_listed(path), f"the list of {counted(len(path), 'file')}", max_mb)
    name = DEFAULT if path is None else as_text(path)
    if "\0" in name:
        raise DataError(f"{name!r} is no path: it has a NUL")
    sets = DATA_SETS.all() if ID.fullmatch(name) else {}
    if name in sets:
        return _open_set(sets[name], max_mb)
    if is_url(name):
        return _open_found(find_url(name), name, max_mb)
    local = Path(name).expanduser()
    if not exists(local) and is_pattern(name):
        return _open_found(find_pattern(name), name, max_mb)
    return _open_path(local, max_mb)


def _open_set(data_set: DataSet, max_mb: int) -> ImageSource:
    """Open a data set by its files' names alone: class folders change neither ids nor order.

    Members of shards are named by whoever packed them, so only their number is checked.
    """
    folder = data_set.require()
    source = _open_found(Found.in_folder(data_set.name, folder), str(folder), max_mb)
    if isinstance(source, FolderImages):
        names = {image_id: PurePosixPath(image_id).name for image_id in source.ids}
        wrong = data_set.difference(list(names.values()))
        files = {names[image_id]: file for image_id, file in source.items()}
        source = FolderImages(source.name, files, source.base, max_mb)
    else:
        wrong = data_set.wrong_count(len(source))
    if wrong:
        raise DataError(
            f"{folder} is not data set '{data_set.name}': {wrong}. Complete it, or evaluate it as "
            f"it is with --data {folder}"
        )
    return source


def _open_path(path: Path, max_mb: int) -> ImageSource:
    """Open one file or folder."""
    if not exists(path):
        hint = ""
        if ID.fullmatch(str(path)):
            hint = f"; {UnknownNameError('data set', str(path), DATA_SETS.all())}"
        raise DataError(f"no such file or folder: {path}{hint}")
    resolved = path.resolve()  # so that "." has a name
    if resolved.is_dir():
        return _open_found(Found.in_folder(resolved.name, resolved), str(path), max_mb)
    LocalFile.find(resolved)
    if resolved.suffix.lower() == ".npz":
        if {"mu", "sigma"} <= set(array_names(resolved)):
            raise DataError(
                f"{path} holds statistics (mu, sigma) of a training set: reconstructions are "
                "compared with the very crops that were encoded, so give images"
            )
        return NpzImages(resolved, max_mb)
    found = Found(resolved.stem, {resolved.name: resolved.name}, "one", resolved.parent)
    return _open_found(found, str(path), max_mb)


def _open_found(found: Found, what: str, max_mb: int) -> ImageSource:
    """Open files of one kind: images, or else shards."""
    for kind in (SUFFIXES, *({suffix} for suffix in _SHARDS)):
        files = {
            name: file
            for name, file in found.files.items()
            if posixpath.splitext(name)[1].lower() in kind
        }
        if files:
            break
    else:
        if found.kind == "folder":
            raise DataError(f"no images, .tar shards or .parquet files in {what}")
        raise DataError(
            f"cannot tell what {what} is: give a folder, .tar, .parquet, .npz or an image file"
        )
    others = [name for name in found.files if name not in files] if found.kind != "folder" else []
    if others:
        raise DataError(f"{what}: {some_of(others, 'of another kind')}: give files of one kind")
    if kind is SUFFIXES:
        return FolderImages(found.name, files, found.base, max_mb)
    (suffix,) = kind
    # The shard's own path goes before the member's, so equal members do not collide.
    shards = {
        "" if found.kind == "one" else f"{name[: -len(suffix)]}/": found.whole(name)
        for name in files
    }
    return _SHARDS[suffix](found.name, shards, max_mb)
