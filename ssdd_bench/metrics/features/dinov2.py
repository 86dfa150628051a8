"""Features of DINOv2 ViT-L/14 for a Fréchet distance: the class token after the final norm.

timm's network, with the table of positions resized as the authors' code does it; timm's own
resize moves the features by 2%.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api.formats import tf32
from ssdd_bench.errors import UnavailableError
from ssdd_bench.install import install_command
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.images import resize
from ssdd_bench.weights.assets import require
from ssdd_bench.weights.files import sha256_file

MODEL = "vit_large_patch14_dinov2.lvd142m"
SIDE = 224
PATCH = 14
OFFSET = 0.1  # The authors add it to the size before they divide, and so resize a little off.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
GROUP = 8  # images at a time


def resize_positions(table: Tensor, cells: int, offset: float = 0.0) -> Tensor:
    """Resize a table of positions (1, 1 + T * T, C) to (1, 1 + cells * cells, C), not antialiased.

    The authors' code adds :data:`OFFSET` to the cells, transformers' ``Dinov2Model`` nothing.
    """
    side = round((table.shape[1] - 1) ** 0.5)
    how: Any = {"scale_factor": (cells + offset) / side} if offset else {"size": (cells, cells)}
    grid = table[:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, **how, mode="bicubic")
    return torch.cat([table[:, :1].float(), grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def load_dinov2(
    model: str, asset: str, cells: int, user: str, offset: float = 0.0
) -> tuple[Any, Path]:
    """Build a network by timm's name with the authors' weights, frozen; return their file too.

    Images have ``cells`` patches along a side; ``user`` is what needs the network, for errors, and
    ``offset`` that of :func:`resize_positions`.

    Raises:
        UnavailableError: timm or the weights are not on this machine.
    """
    try:
        import timm
    except ImportError as error:
        command = install_command("dinov2")
        raise UnavailableError(f"{user} needs the package timm: {command}") from error
    path = require(asset)
    network = timm.create_model(
        model,
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path)},
        img_size=PATCH * cells,
        num_classes=0,
    )
    table = torch.load(path, map_location="cpu", weights_only=True)["pos_embed"]
    network.pos_embed = torch.nn.Parameter(resize_positions(table, cells, offset))
    return network.requires_grad_(False).eval(), path


def normalise(images: Tensor) -> Tensor:
    """Normalise images (B, 3, H, W) in [0, 1] by ImageNet's mean and deviation."""
    mean, std = (images.new_tensor(value)[:, None, None] for value in (MEAN, STD))
    return (images - mean) / std


class DINOv2Features(Extractor):
    """DINOv2's class token as ``cls``: 1024 features per image.

    Images are resized to 224 x 224 by Pillow (bicubic, antialiased) and normalised by ImageNet's
    mean and deviation.
    """

    layers: ClassVar = {"cls": 1024}
    model = MODEL

    def __init__(self, device: torch.device) -> None:
        network, path = load_dinov2(self.model, "dinov2_vitl14", SIDE // PATCH, "fd_dinov2", OFFSET)
        self.network = network.to(device)
        self.device = device
        self.backend = f"timm {version('timm')} {self.model} (sha256 {sha256_file(path)[:8]})"

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """Return features (B, 1024) of images, uint8 (B, 3, H, W)."""
        return {
            "cls": np.concatenate([self._features(x) for x in resize(images, SIDE).split(GROUP)])
        }

    @tf32(False)
    def _features(self, images: Tensor) -> NDArray[np.float32]:
        x = normalise(images.to(self.device).float() / 255)
        features: NDArray[np.float32] = self.network(x).float().cpu().numpy()
        return features
