"""Discriminator of the KL-VAE, as in latent diffusion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017): one logit for each patch of 70 x 70 pixels.

    4x4 convolutions: three of stride 2 to ``width``, 2 and 4 times that, one of stride 1 to 8
    times, one to a single channel; batch norms between, leaky rectifiers of slope 0.2, weights
    from N(0, 0.02). In latent diffusion ``width`` is 64.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for times, stride in ((2, 2), (4, 2), (8, 1)):
            layers += [
                nn.Conv2d(width * times // 2, width * times, 4, stride, 1, bias=False),
                nn.BatchNorm2d(width * times),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def logits(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [-1, 1] to (B, 1, h, w); positive values look real."""
        return self.layers(images).float()

    def forward(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """Compute the hinge loss of real and reconstructed images."""
        loss = F.relu(1 - self.logits(real)).mean() + F.relu(1 + self.logits(fake)).mean()
        return {"discriminator": 0.5 * loss}

    def generator_loss(self, fake: Tensor) -> Tensor:
        """Compute the adversarial term that the decoder minimises; weights get no gradient."""
        self.requires_grad_(False)
        loss = -self.logits(fake).mean()
        self.requires_grad_(True)
        return loss


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Compute the ratio of the losses' gradients at the decoder's last layer, in [0, 10,000].

    The adversarial term then weighs as much as the reconstruction (Esser et al. 2021).
    """
    (a,) = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)
    (b,) = torch.autograd.grad(adversarial, last_layer, retain_graph=True)
    return (a.norm() / (b.norm() + 1e-4)).clamp(max=1e4).detach()
