"""Adapter: reconstructions that another system made, found by the names of the images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Reconstructions(Tokenizer):
    """A folder of images that takes the place of an encoder and a decoder.

    Args:
        folder: holds the images, at any depth.
        latent: shape of the latent, as the user states it.
    """

    def __init__(self, folder: Path, latent: LatentSpec) -> None:
        self.latent = latent
        self._folder = folder
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
        self._paths = {str(_stem(file.relative_to(folder).as_posix())): file for file in files}
        self._names: dict[str, list[Path]] = {}
        for file in files:
            self._names.setdefault(file.stem, []).append(file)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Return zeros in the shape of the latent, which the decoder ignores."""
        size = (images.shape[-2], images.shape[-1])
        shape = self.latent.shape(*size)
        assert shape is not None
        return Latent(torch.zeros(len(images), *shape), size)

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Read the images that the noise names.

        Raises:
            WeightsError: one is missing, damaged, ambiguous or of another size.
        """
        read = [self._read(image_id, latent.size) for image_id in noise.ids]
        return torch.stack(read)

    def _read(self, image_id: str, size: tuple[int, int]) -> Tensor:
        path = self._find(image_id)
        try:
            with Image.open(path) as image:
                array = np.array(image.convert("RGB"))
        except (OSError, UnidentifiedImageError) as error:
            raise WeightsError(f"{path}: damaged, or no image. Write it again") from error
        if array.shape[:2] != size:
            height, width = size
            raise WeightsError(
                f"{path} has {array.shape[1]} x {array.shape[0]} px, expected {width} x {height}. "
                "Reconstruct the crops of this resolution"
            )
        return torch.from_numpy(array).permute(2, 0, 1).float() / 255

    def _find(self, image_id: str) -> Path:
        """Find the file of the same path without suffix, or else the only one of the same name."""
        found = list(self._candidates(image_id))
        if len(found) != 1:
            raise WeightsError(
                f"{self._folder} has {len(found)} files for image {image_id}, expected 1. Name one "
                "file like it"
            )
        return found[0]

    def _candidates(self, image_id: str) -> Iterator[Path]:
        stem = _stem(image_id)
        if str(stem) in self._paths:
            yield self._paths[str(stem)]
        else:
            yield from self._names.get(stem.name, ())


def load(dir: str, f: int, channels: int) -> Reconstructions:
    """List the folder; the manifest explains the options.

    Raises:
        WeightsError: there is no such folder.
    """
    if not dir or not Path(dir).is_dir():
        raise WeightsError(f"recon: no folder '{dir}'. Pass one as recon:dir=DIR")
    return Reconstructions(Path(dir), LatentSpec("continuous", f, channels))


def _stem(name: str) -> PurePosixPath:
    """Remove the suffix of an image; other dots belong to the name."""
    path = PurePosixPath(name)
    return path.with_suffix("") if path.suffix.lower() in SUFFIXES else path
