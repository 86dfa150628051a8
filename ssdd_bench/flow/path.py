"""Straight path between an image and noise, as flow matching and rectified flow use it."""

from __future__ import annotations

from torch import Tensor


def _per_image(t: Tensor, like: Tensor) -> Tensor:
    return t.view(-1, *[1] * (like.ndim - 1)).to(like.dtype)


def interpolate(image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Compute the point at time ``t`` (B,): the image at 0, the noise at 1. Shapes (B, ...)."""
    t = _per_image(t, image)
    return (1 - t) * image + t * noise


def velocity(image: Tensor, noise: Tensor) -> Tensor:
    """Compute the velocity towards the image, which is constant along the path."""
    return image - noise


def predict_x0(x_t: Tensor, velocity: Tensor, t: Tensor) -> Tensor:
    """Compute the image that ``velocity`` at ``x_t`` and time ``t`` (B,) points to."""
    return x_t + _per_image(t, x_t) * velocity
