"""REPA: tokens of the decoder's transformer are aligned with those of a frozen network.

Yu et al. 2024, as SSDD uses it: one minus the mean cosine between a small network of the tokens
after an early block and the target's features of the real image, on the same grid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.metrics.features.dinov2 import PATCH, load_dinov2, normalise
from ssdd_bench.train.losses.perceptual import EfficientNetLite1

MODEL = "vit_base_patch14_dinov2.lvd142m"
TOKEN = 8  # pixels of an image along a side of a token
EFFNET_BLOCK = 14  # the last one at stride 16
EPS = 1e-5


class Target(nn.Module):
    """A frozen network with one feature vector per token of the decoder.

    It maps images (B, 3, H, W) in [-1, 1] to features (B, tokens, channels), row by row.

    Args:
        resolution: side of the images in pixels.
    """

    channels: int

    def __init__(self, resolution: int) -> None:
        super().__init__()


class DINOv2Target(Target):
    """DINOv2 ViT-B/14, as in the paper: patches after the final norm, without the class token.

    Images are resized (bicubic, as REPA does it) so that a patch of 14 pixels covers a token of 8,
    and the table of positions as transformers' ``Dinov2Model`` does it; timm's own resize moves
    the features.
    """

    channels = 768

    def __init__(self, resolution: int) -> None:
        super().__init__(resolution)
        cells = resolution // TOKEN
        self.network, _ = load_dinov2(MODEL, "dinov2_vitb14", cells, "repa = 'dinov2-b'")

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute features (B, tokens, 768)."""
        size = [PATCH * side // TOKEN for side in images.shape[-2:]]
        x = F.interpolate((images + 1) / 2, size=size, mode="bicubic")
        tokens: Tensor = self.network.forward_features(normalise(x))
        return tokens[:, self.network.num_prefix_tokens :]


class EffNetTarget(Target):
    """EfficientNet-Lite1 at stride 16, of the image at twice its size: needs no download."""

    channels = 112

    def __init__(self, resolution: int) -> None:
        super().__init__(resolution)
        self.network = EfficientNetLite1()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute features (B, tokens, 112)."""
        x = F.interpolate(images, scale_factor=2.0, mode="bicubic")
        (features,) = self.network(x, (EFFNET_BLOCK,))
        return features.flatten(2).transpose(1, 2)


TARGETS: Mapping[str, Callable[[int], Target]] = {
    "dinov2-b": DINOv2Target,
    "effnet-lite1": EffNetTarget,
}
"""Targets by the name that a recipe gives as ``loss.repa``; they take the resolution."""


class REPA(nn.Module):
    """Head that is trained to predict features of ``channels`` from tokens of ``width``."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        first, last = nn.Linear(width, width), nn.Linear(width, channels)
        for layer in (first, last):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.head = nn.Sequential(first, nn.SiLU(), last)

    def forward(self, tokens: Tensor, wanted: Tensor) -> Tensor:
        """Compute 1 - mean cosine of (B, tokens, width) and (B, tokens, channels), float32."""
        cosine = F.cosine_similarity(self.head(tokens).float(), wanted.float(), dim=2, eps=EPS)
        return 1 - cosine.mean()
