"""The straight path between an image and noise that flow matching learns to follow back."""

from __future__ import annotations

from torch import Tensor


def _per_image(t: Tensor, like: Tensor) -> Tensor:
    return t.view(-1, *[1] * (like.ndim - 1)).to(like.dtype)


def interpolate(image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Point at time ``t`` (B,): the image at 0, the noise at 1. Shapes (B, ...)."""
    t = _per_image(t, image)
    return (1 - t) * image + t * noise


def velocity(image: Tensor, noise: Tensor) -> Tensor:
    """Velocity towards the image, the same along the whole path."""
    return image - noise


def estimate_image(x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """The image that ``velocity`` at time ``t`` (B,) points to."""
    return x_t + _per_image(t, x_t) * velocity
