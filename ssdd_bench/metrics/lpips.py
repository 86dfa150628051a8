"""LPIPS (Zhang et al. 2018), by the authors' package, version 0.1, from verified weights.

torchmetrics has the same networks and scores, but no way to give it a backbone file, and lets
values above 1 pass unseen. Here every image is uint8, scaled to [-1, 1] in one place.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssdd_bench.api.formats import tf32
from ssdd_bench.errors import WeightsError
from ssdd_bench.metrics.base import PerImageMetric
from ssdd_bench.metrics.images import Parts
from ssdd_bench.weights.assets import require
from ssdd_bench.weights.files import sha256_file

NETS = {"alexnet": "alex", "vgg16": "vgg"}
HEADS = {
    "alex": "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    "vgg": "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
}


def load_lpips(net: str, backbone: Path) -> Any:
    """Build ``lpips.LPIPS`` without its download: heads from the package, backbone from a file.

    Args:
        net: ``alex`` or ``vgg``.
        backbone: torchvision's classifier, verified.
    """
    import lpips

    heads = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    if sha256_file(heads) != HEADS[net]:
        raise WeightsError(f"{heads} is not what the package released: reinstall lpips")
    with warnings.catch_warnings(), torch.device("meta"):  # Initialising takes seconds.
        warnings.simplefilter("ignore", UserWarning)  # of torchvision's, on 'pretrained'
        network = lpips.LPIPS(net=net, pnet_rand=True, pretrained=False, verbose=False)
    network.scaling_layer = lpips.ScalingLayer()
    network.load_state_dict(
        torch.load(heads, map_location="cpu", weights_only=True), strict=False, assign=True
    )
    state = torch.load(backbone, map_location="cpu", weights_only=True)
    # The slices keep the numbers of the layers that they were cut from.
    keys = {name: f"features.{name.split('.', 1)[1]}" for name in network.net.state_dict()}
    if missing := sorted(set(keys.values()) - set(state)):
        raise WeightsError(f"{backbone} has no {missing[0]}: it is not the backbone of lpips")
    network.net.load_state_dict({name: state[key] for name, key in keys.items()}, assign=True)
    return network.requires_grad_(False).eval()


class LPIPS(PerImageMetric):
    """LPIPS on the backbone that the catalogue names.

    Most papers report AlexNet and train with VGG-16, whose values are on another scale.
    """

    on_device = True

    def load(self) -> None:
        """Load the network."""
        (asset,) = self.info.assets
        net, path = NETS[asset], require(asset)
        self.network = load_lpips(net, path).to(self.device)
        self._parts = Parts(1)
        self.backend = f"lpips {version('lpips')} {net} (sha256 {sha256_file(path)[:8]})"

    @torch.inference_mode()
    @tf32(False)
    def score(self, references: Tensor, reconstructions: Tensor) -> list[float]:
        """Return distances of at least 0."""
        return torch.cat(self._parts.call(self._distances, references, reconstructions)).tolist()

    def _distances(self, references: Tensor, reconstructions: Tensor) -> Tensor:
        distances: Tensor = self.network(self._scaled(references), self._scaled(reconstructions))
        return distances.flatten()

    def _scaled(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        return pad_to_power_of_two(x) if self.options.lpips_padding else x


def pad_to_power_of_two(x: Tensor) -> Tensor:
    """Add zeros at the right and at the bottom of (B, C, H, W), up to the next powers of two."""
    height, width = (1 << (side - 1).bit_length() for side in x.shape[-2:])
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
