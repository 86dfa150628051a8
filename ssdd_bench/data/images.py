"""Open a set of images, whatever it is stored in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ssdd_bench.data.archives import NpzImages, ParquetImages, TarImages
from ssdd_bench.data.decode import SUFFIXES, decode_image
from ssdd_bench.data.named import DATA_SETS, DEFAULT, DataSet
from ssdd_bench.data.npz import array_names
from ssdd_bench.data.source import ImageSource, limited
from ssdd_bench.errors import DataError, UnknownNameError
from ssdd_bench.plugins.manifest import ID


class FolderImages(ImageSource):
    """Image files by id, below a folder by their relative posix paths."""

    def __init__(self, name: str, files: Mapping[str, Path]) -> None:
        self.name = name
        self.ids = tuple(sorted(files))
        self.files = files

    def read(self, image_id: str) -> Image.Image:
        """Decode one file."""
        return decode_image(self.files[image_id])


def open_images(path: Path | str | None = None, limit: int | None = None) -> ImageSource:
    """Open images for reading one by one, in a fixed order.

    Args:
        path: None for the photographs that come with the package; the name of a data set, see
            :mod:`ssdd_bench.data.named`, which goes before a folder of that name; otherwise an
            image file, a folder of images (recursive), a WebDataset ``.tar`` shard, a ``.npz``
            with ``arr_0`` (uint8 NHWC), a ``.parquet`` file with encoded images, or a folder of
            shards or Parquet files. In a folder images come before shards, shards before Parquet;
            names that start with a dot are left out.
        limit: keep only that many, see :func:`ssdd_bench.data.source.limited`.

    Raises:
        DataError: nothing is there, it holds no image, its kind is unknown, or it is not the
            data set of that name.
    """
    name = DEFAULT if path is None else str(path)
    sets = DATA_SETS.all() if ID.fullmatch(name) else {}
    source = _open_set(sets[name]) if name in sets else _open(Path(name).expanduser())
    return source if limit is None else limited(source, limit)


def _open_set(data_set: DataSet) -> ImageSource:
    """Open a data set by its files' names alone: class folders change neither ids nor order.

    Members of shards are named by whoever packed them, so only their number is checked.
    """
    folder = data_set.require()
    source = _open_folder(folder, data_set.name)
    if isinstance(source, FolderImages):
        wrong = data_set.difference([source.files[image_id].name for image_id in source.ids])
        source = FolderImages(source.name, {path.name: path for path in source.files.values()})
    else:
        right = len(source) == data_set.images
        wrong = "" if right else f"{len(source):,} images, not {data_set.images:,}"
    if wrong:
        raise DataError(
            f"{folder} is not data set '{data_set.name}': {wrong}. Complete it, or evaluate it as "
            f"it is with --data {folder}"
        )
    return source


def _open(path: Path) -> ImageSource:
    if not path.exists():
        hint = ""
        if ID.fullmatch(str(path)):
            hint = f"; {UnknownNameError('data set', str(path), DATA_SETS.all())}"
        raise DataError(f"no such file or folder: {path}{hint}")
    resolved = path.resolve()  # so that "." has a name
    if resolved.is_dir():
        return _open_folder(resolved, name=resolved.name)
    suffix = resolved.suffix.lower()
    if suffix in SUFFIXES:
        return FolderImages(resolved.stem, {resolved.name: resolved})
    if suffix == ".tar":
        return TarImages(resolved.stem, {"": resolved})
    if suffix == ".npz":
        if {"mu", "sigma"} <= set(array_names(resolved)):
            raise DataError(
                f"{path} holds statistics (mu, sigma) of a training set: reconstructions are "
                "compared with the very crops that were encoded, so give images"
            )
        return NpzImages(resolved)
    if suffix == ".parquet":
        return ParquetImages(resolved.stem, {"": resolved})
    kinds = "a folder, .tar, .npz, .parquet or an image file"
    raise DataError(f"cannot tell what {path} is: give {kinds}")


def _open_folder(folder: Path, name: str) -> ImageSource:
    files = _walk(folder)
    if images := {one: path for one, path in files.items() if path.suffix.lower() in SUFFIXES}:
        return FolderImages(name, images)
    for suffix, kind in ((".tar", TarImages), (".parquet", ParquetImages)):
        # The shard's own path goes before the member's, so equal members do not collide.
        if shards := {
            one[: -len(suffix)] + "/": path
            for one, path in files.items()
            if one.lower().endswith(suffix)
        }:
            return kind(name, shards)
    raise DataError(f"no images, .tar shards or .parquet files in {folder}")


def _walk(folder: Path) -> dict[str, Path]:
    """Find visible files by relative posix path; follow links, but no loop of them."""
    files: dict[str, Path] = {}
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(root, name) for name in names if not name.startswith(".")]
        files |= {path.relative_to(folder).as_posix(): path for path in paths}
    return files
