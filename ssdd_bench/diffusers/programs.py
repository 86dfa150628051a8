"""Functions of an autoencoder as modules that an exporter takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class EncoderProgram(nn.Module):
    """Map images (B, 3, H, W) in [-1, 1] to latents, the mode of a posterior where there is one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Encode."""
        out = self.model.encode(images)
        return out.latent_dist.mode() if "latent_dist" in out else out[0]


class DecoderProgram(nn.Module):
    """Map latents (B, c, h, w) and, if the decoder starts from it, noise to images."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor, noise: Tensor | None = None) -> Tensor:
        """Decode."""
        given = {} if noise is None else {"noise": noise}
        return self.model.decode(latents, **given).sample


def check_sides(input: Tensor, sides: tuple[int, int]) -> None:
    """Refuse an input of another size. TorchScript compiles it with the modules below.

    Raises:
        ValueError: names both sizes; torch raises an error of its own in a loaded program.
    """
    height, width = sides
    if input.shape[-2] != height or input.shape[-1] != width:
        raise ValueError(
            f"this program was exported for inputs of {width} x {height}, not "
            f"{input.shape[-1]} x {input.shape[-2]}: export it again for this size"
        )


class EachImage(nn.Module):
    """Apply a program of one image to each image of a batch.

    Args:
        program: maps (1, ...) to (1, ...).
        sides: height and width of its inputs.
    """

    def __init__(self, program: nn.Module, sides: tuple[int, int]) -> None:
        super().__init__()
        self.program = program
        self.sides = sides

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, ...) to (B, ...)."""
        check_sides(input, self.sides)
        return torch.cat([self.program(input[i : i + 1]) for i in range(input.shape[0])])


class EachPair(EachImage):
    """Apply a program of one latent and its noise to each of a batch; ``sides`` of the latents."""

    def forward(self, input: Tensor, noise: Tensor) -> Tensor:  # type: ignore[override]
        """Map (B, ...) and (B, ...) to (B, ...)."""
        check_sides(input, self.sides)
        return torch.cat(
            [self.program(input[i : i + 1], noise[i : i + 1]) for i in range(input.shape[0])]
        )
