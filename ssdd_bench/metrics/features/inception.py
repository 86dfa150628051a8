"""Features of the Inception network that FID is defined by, as torch-fidelity ports it.

The input is resized as TensorFlow 1 did (bilinear, asymmetric, no antialiasing) and scaled by
(pixel - 128) / 128. Other resizes change FID in the third digit and are other metrics.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ssdd_bench.api.formats import tf32
from ssdd_bench.metrics.features.base import Extractor
from ssdd_bench.metrics.images import Parts
from ssdd_bench.weights.assets import require
from ssdd_bench.weights.files import sha256_file

CPU_GROUP = 4  # images at a time: no faster with more, and a feature map of 64 takes 350 MB
SPATIAL_CHANNELS = 7


class InceptionFeatures(Extractor):
    """Inception's pooled features, logits without bias, and the map that sFID takes.

    ``pool``: 2048 after average pooling. ``logits``: 1008, as the Inception Score of ADM's
    evaluator takes them. ``spatial``: 7 x 17 x 17, in the order height, width, channel of the
    published reference moments.
    """

    layers: ClassVar = {"pool": 2048, "logits": 1008, "spatial": SPATIAL_CHANNELS * 17 * 17}

    def __init__(self, device: torch.device) -> None:
        path = require("inception")  # verified, since torch-fidelity unpickles without care
        import torch_fidelity
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat",
            ["2048", "logits_unbiased"],
            feature_extractor_weights_path=str(path),
        ).to(device, memory_format=torch.channels_last)  # a fifth faster on a CPU
        self.device = device
        self._parts = Parts(CPU_GROUP)
        self.backend = (
            f"torch-fidelity {torch_fidelity.__version__} InceptionV3 "
            f"(sha256 {sha256_file(path)[:8]})"
        )
        self._spatial: Tensor | None = None
        self.network.Mixed_6d.branch1x1.register_forward_hook(self._keep_spatial)

    def _keep_spatial(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._spatial = output[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """Return features by layer of images, uint8 (B, 3, H, W)."""
        parts = self._parts.call(self._features, images.to(self.device))
        return {layer: np.concatenate([part[layer] for part in parts]) for layer in self.layers}

    @tf32(False)
    def _features(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        pool, logits = self.network(images)
        assert self._spatial is not None
        found = {"pool": pool, "logits": logits, "spatial": self._spatial}
        return {layer: values.float().cpu().numpy() for layer, values in found.items()}
