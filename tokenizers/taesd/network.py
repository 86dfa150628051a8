"""Networks of the TAESD family, built from the names and shapes of their tensors.

A file numbers its layers, and a layer without tensors leaves a gap in the numbers. An encoder is a
chain of 3x3 convolutions and residual blocks, where a gap is an activation. In a decoder a gap is
the clamp at the start, the activation after the first convolution, or an upsampling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

LAYER = re.compile(r"(\d+)\.(.+)")
NORM_GROUPS = 4


class Clamp(nn.Module):
    """Soft clamp of latents to (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to the same shape."""
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Three convolutions around a skip connection; if ``pooled``, after a normalised 1x1 branch."""

    def __init__(self, inner: int, outer: int, pooled: bool) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inner, outer, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1),
        )
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1, bias=False)
        self.pool: nn.Module | None = None
        if pooled:
            self.pool = nn.Sequential(
                nn.Conv2d(inner, 4 * inner, 1, bias=False),
                nn.GroupNorm(NORM_GROUPS, 4 * inner),
                nn.ReLU(),
                nn.Conv2d(4 * inner, inner, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inner, H, W) to (B, outer, H, W)."""
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + self.skip(x))


def build_network(state: Mapping[str, Tensor], role: str) -> nn.Sequential:
    """Build an untrained ``encoder`` or ``decoder`` for a file's tensors.

    Encoders map (B, 3, H, W) in [0, 1] to latents, decoders map those back. A convolution of an
    encoder has stride 2 if it has no bias, or if an activation follows it.

    Raises:
        KeyError: the tensors are not those of a tiny autoencoder.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        match = LAYER.fullmatch(name)
        if match is None:
            raise KeyError(name)
        layers.setdefault(int(match[1]), {})[match[2]] = tensor
    if not layers:
        raise KeyError("0.weight")
    made = nn.Sequential()
    for index in range(max(layers) + 1):
        layer = layers.get(index)
        if layer is None:
            starts = {0: Clamp, 2: nn.ReLU}
            gap = nn.ReLU if role == "encoder" else starts.get(index)
            made.append(gap() if gap else nn.Upsample(scale_factor=2))
        elif "conv.0.weight" in layer:
            outer, inner = layer["conv.0.weight"].shape[:2]
            made.append(Block(inner, outer, pooled="pool.0.weight" in layer))
        else:
            outer, inner = layer["weight"].shape[:2]
            activated = index < max(layers) and index + 1 not in layers
            halves = role == "encoder" and ("bias" not in layer or activated)
            stride, bias = 2 if halves else 1, "bias" in layer
            made.append(nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=bias))
    return made


def scale_of(network: nn.Sequential) -> int:
    """Return the pixels per latent cell along one side."""
    halvings = sum(isinstance(one, nn.Conv2d) and one.stride == (2, 2) for one in network)
    return 2 ** (halvings + sum(isinstance(one, nn.Upsample) for one in network))
