"""Image formats of Pillow as tokenizers, and conversions between tensors and Pillow images."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image, features
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.api.pixels import round_to_uint8
from ssdd_bench.errors import PluginError


def to_pillow(levels: Tensor) -> list[Image.Image]:
    """Convert uint8 (B, 3, H, W) to RGB images."""
    return [Image.fromarray(image) for image in levels.permute(0, 2, 3, 1).cpu().numpy()]


def from_pillow(images: Iterable[Image.Image]) -> Tensor:
    """Convert RGB images of one size to uint8 (B, 3, H, W) on the CPU."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


class PillowCodec(Tokenizer):
    """An image format of Pillow; the latent is the file, headers included.

    Args:
        image_format: name of the format for ``Image.save``, such as ``JPEG``.
        parameters: other arguments of ``Image.save``.
        libraries: names in :mod:`PIL.features` of the libraries, the required one first.

    Raises:
        PluginError: this build of Pillow lacks the first library.
    """

    latent = LatentSpec("bytes", f=1, channels=0)

    def __init__(
        self, image_format: str, parameters: Mapping[str, Any], libraries: Sequence[str]
    ) -> None:
        if not features.check(libraries[0]):
            raise PluginError(
                f"Pillow was built without {libraries[0]}, which {image_format} needs. Run: "
                "pip install --force-reinstall pillow"
            )
        self._format = image_format
        self._parameters = dict(parameters)
        self._libraries = tuple(libraries)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        """Compress each image into the bytes of a file."""
        files = []
        for image in to_pillow(round_to_uint8(images)):
            file = io.BytesIO()
            image.save(file, self._format, **self._parameters)
            files.append(file.getvalue())
        return Latent(files, (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        """Decode the files, on the CPU."""
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in latent.data]
        return from_pillow(images).float() / 255

    def info(self) -> dict[str, Any]:
        """Return the versions of Pillow and its libraries, on which sizes and pixels depend."""
        versions = {name: features.version(name) for name in self._libraries}
        return {"pillow": PIL.__version__, **versions}
