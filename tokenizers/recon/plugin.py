"""Adapter: reconstructions that another system made, found by the names of the images."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import WeightsError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


class Reconstructions(Tokenizer):
    """A folder of images, at any depth, that takes the place of an encoder and a decoder."""

    def __init__(self, folder: Path, latent: LatentSpec) -> None:
        self.latent = latent
        self._folder = folder
        self._by_path: dict[str, list[Path]] = {}
        self._by_name: dict[str, list[Path]] = {}
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                self._by_path[str(file.relative_to(folder).with_suffix(""))] = [file]
                self._by_name.setdefault(file.stem, []).append(file)

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
        return torch.stack([self._read(image_id, latent.size) for image_id in noise.ids])

    def _read(self, image_id: str, size: tuple[int, int]) -> Tensor:
        """Read the file of the same path without suffix, or else the only one of the same name."""
        stem = PurePosixPath(image_id)
        if stem.suffix.lower() in SUFFIXES:  # other dots belong to the name
            stem = stem.with_suffix("")
        found = self._by_path.get(str(stem)) or self._by_name.get(stem.name, [])
        if len(found) != 1:
            raise WeightsError(
                f"{self._folder} has {len(found)} files for image {image_id}, expected 1. Name one "
                "file like it"
            )
        (path,) = found
        try:
            with Image.open(path) as image:
                array = np.array(image.convert("RGB"))
        except OSError as error:  # Pillow's own errors of a file among them
            raise WeightsError(f"{path}: damaged, or no image. Write it again") from error
        height, width = size
        if array.shape[:2] != size:
            raise WeightsError(
                f"{path} has {array.shape[1]} x {array.shape[0]} px, expected {width} x {height}. "
                "Reconstruct the crops of this resolution"
            )
        return torch.from_numpy(array).permute(2, 0, 1).float() / 255


def load(dir: str, f: int, channels: int, tokens: int) -> Reconstructions:
    """List the folder; the manifest explains the options.

    Raises:
        WeightsError: there is no such folder.
    """
    if not dir or not Path(dir).is_dir():
        raise WeightsError(f"recon: no folder '{dir}'. Pass one as recon:dir=DIR")
    latent = LatentSpec("continuous", 0 if tokens else f, channels, tokens=tokens or None)
    return Reconstructions(Path(dir), latent)
