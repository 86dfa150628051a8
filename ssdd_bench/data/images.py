"""Open a set of images, whatever it is stored in: the one entry point for data."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from PIL import Image

from ssdd_bench.data.archives import NpzImages, ParquetImages, TarImages
from ssdd_bench.data.decode import SUFFIXES, decode_image, to_rgb
from ssdd_bench.data.named import DATA_SETS, DEFAULT, DataSet
from ssdd_bench.data.source import ImageSource, Subset, limited
from ssdd_bench.errors import DataError, UnknownNameError
from ssdd_bench.plugins.manifest import ID

__all__ = ["FolderImages", "ImageSource", "Subset", "open_images", "to_rgb"]


class FolderImages(ImageSource):
    """Image files below a folder; the id is the relative posix path."""

    def __init__(self, folder: Path, files: list[str], name: str | None = None) -> None:
        self.name = name or folder.name
        self.ids = tuple(sorted(files))
        self._folder = folder

    def read(self, image_id: str) -> Image.Image:
        """Decode one file."""
        return decode_image(self._folder / image_id)


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
        paths = {PurePosixPath(file).name: file for file in source.ids}
        wrong = data_set.difference([PurePosixPath(file).name for file in source.ids])
        source = _FlatImages(source, paths)
    else:
        right = len(source) == data_set.images
        wrong = "" if right else f"{len(source):,} images, not {data_set.images:,}"
    if wrong:
        raise DataError(
            f"{folder} is not data set '{data_set.name}': {wrong}; mend it, or measure it as it is "
            f"with --data {folder}"
        )
    return source


class _FlatImages(ImageSource):
    """Files in any folders below one, by their names alone."""

    def __init__(self, source: FolderImages, paths: dict[str, str]) -> None:
        self.name = source.name
        self.ids = tuple(sorted(paths))
        self._source, self._paths = source, paths

    def read(self, image_id: str) -> Image.Image:
        """Decode one file."""
        return self._source.read(self._paths[image_id])


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
        return FolderImages(resolved.parent, [resolved.name], name=resolved.stem)
    if suffix == ".tar":
        return TarImages(resolved.stem, {"": resolved})
    if suffix == ".npz":
        return NpzImages(resolved)
    if suffix == ".parquet":
        return ParquetImages(resolved.stem, {"": resolved})
    kinds = "a folder, .tar, .npz, .parquet or an image file"
    raise DataError(f"cannot tell what {path} is: give {kinds}")


def _open_folder(folder: Path, name: str) -> ImageSource:
    files = _walk(folder)
    images = [file for file in files if PurePosixPath(file).suffix.lower() in SUFFIXES]
    if images:
        return FolderImages(folder, images, name)
    for suffix, kind in ((".tar", TarImages), (".parquet", ParquetImages)):
        # The shard's own path goes before the member's, so equal members do not collide.
        shards = {f[: -len(suffix)] + "/": folder / f for f in files if f.lower().endswith(suffix)}
        if shards:
            return kind(name, shards)
    raise DataError(f"no images, .tar shards or .parquet files in {folder}")


def _walk(folder: Path) -> list[str]:
    """Posix paths of the visible files below ``folder``; follows links, but no loop of them."""
    files: list[str] = []
    seen: set[str] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(root).relative_to(folder)
        files += [(base / name).as_posix() for name in names if not name.startswith(".")]
    return files
