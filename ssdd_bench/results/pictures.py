"""Sample pictures beside results: crops of references and reconstructions, for looking at them.

    samples/reference_256_4c3b07c28a/000.webp     once for all results on the same crops
    samples/ssdd_256_default-v1_0d64c7447a/000.webp

Crops are WebP, lossless or small; no score is made from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssdd_bench.errors import UserError
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.schema import Result

FOLDER: Final = "samples"
LOSSLESS: Final = 100
"""Quality that keeps every pixel, at 100 kB per crop of 256 x 256; 65 is 33 dB from it, at 6 kB."""
SUFFIX: Final = ".webp"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """Crops of one result, in the order of the images that it was measured on.

    Attributes:
        references: files.
        reconstructions: files, as many.
    """

    references: tuple[Path, ...]
    reconstructions: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.references)


def save_pictures(
    file: Path, result: Result, references: Pixels, reconstructions: Pixels, quality: int = LOSSLESS
) -> Pictures:
    """Write crops beside a result file; references that are there already stay.

    Args:
        file: of the result.
        result: of these images.
        references: the first images, (N, H, W, 3).
        reconstructions: likewise.
        quality: of the encoder, 0 to 100, where 100 is lossless.

    Raises:
        OutputError: the folder cannot be written.
    """
    reference, mine = _folders(file, result)
    count = len(references)
    pictures = Pictures(_files(reference, count), _files(mine, count))
    for path, pixels in zip(pictures.references, references, strict=True):
        if not path.is_file():
            _write(path, pixels, quality)
    for path, pixels in zip(pictures.reconstructions, reconstructions, strict=True):
        _write(path, pixels, quality)
    return pictures


def find_pictures(file: Path, result: Result) -> Pictures | None:
    """Find the crops beside a result file: as many as have both; None for none."""
    folders = _folders(file, result)
    count = min(len(list(one.glob(f"*{SUFFIX}"))) for one in folders)
    return Pictures(*(_files(one, count) for one in folders)) if count else None


def read_picture(path: Path) -> Pixels:
    """Read one crop, (H, W, 3).

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged image. Delete it: a report can do without.") from error


def is_lossless(path: Path) -> bool:
    """Return True if a crop keeps every pixel.

    Raises:
        UserError: the file is missing.
    """
    try:
        with path.open("rb") as file:
            return file.read(16)[12:] == b"VP8L"  # the kind of the first chunk
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _folders(file: Path, result: Result) -> tuple[Path, Path]:
    """Return the folders of the references and of the reconstructions."""
    crops = f"reference_{result.resolution}_{result.data.pixels_sha256[:10]}"
    return file.parent / FOLDER / crops, file.parent / FOLDER / file.stem


def _files(folder: Path, count: int) -> tuple[Path, ...]:
    return tuple(folder / f"{place:03}{SUFFIX}" for place in range(count))


def _write(path: Path, pixels: Pixels, quality: int) -> None:
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {"format": "WEBP", "quality": quality, "method": 6}
    if quality == LOSSLESS:
        options |= {"lossless": True, "quality": 80, "method": 4}
    write_atomically(path, partial(image.save, **options), durable=False)
