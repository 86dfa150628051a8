"""Cost of a stage before it is run: parameters, operations and memory, on torch's meta device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.train.recipe import Recipe

OPTIMISER_COPIES = 2  # the second moment and the schedule-free iterate, beside the weights
BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Cost of one stage, without the frozen networks of the losses and without discriminators."""

    stage: str
    iterations: int
    images: int  # seen in all
    resolution: int
    batch_size: int
    parameters: int  # number of trained ones
    gmac_per_image: float  # of one forward and backward pass
    activation_bytes: int  # kept for the backward pass, per image
    state_bytes: int  # weights, gradients, optimiser and average


def stage_cost(stage: str, recipe: Recipe) -> Cost:
    """Compute the cost by one image on torch's meta device, which stores nothing."""
    table = recipe.stage(stage)
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with torch.device("meta"), FlopCounterMode(display=False) as counter, hooks:
        trained, output = _run(stage, recipe)
        output.square().mean().backward()
    parameters = sum(p.numel() for network in trained for p in network.parameters())
    width = 2 if recipe.optimiser.bf16 else BYTES
    return Cost(
        stage=stage,
        iterations=table.iterations,
        images=table.iterations * table.batch_size,
        resolution=table.resolution,
        batch_size=table.batch_size,
        parameters=parameters,
        gmac_per_image=counter.get_total_flops() / 2e9,
        activation_bytes=sum(t.numel() for t in saved.values()) * width,
        state_bytes=parameters * BYTES * (3 + OPTIMISER_COPIES),
    )


def _run(stage: str, recipe: Recipe) -> tuple[list[nn.Module], Tensor]:
    """Build a stage's networks and decode an image; return those that are trained, and the image.

    The stages themselves need the weights of an earlier one and the networks of their losses.
    """
    model, side = recipe.model, recipe.stage(stage).resolution
    images, t = torch.zeros(1, 3, side, side), torch.ones(1)
    if stage == "klvae":
        from diffusers import AutoencoderKL

        vae: Any = AutoencoderKL(**model.klvae)
        return [vae], vae.decode(vae.encode(images).latent_dist.mean).sample
    encoder = SSDDEncoder(model.f, model.z_dim, model.encoder_base)
    learns_encoder = stage == "encoder"
    size = model.encoder_stage_size if learns_encoder else model.size
    decoder = SSDDDecoder(size, model.z_dim)
    with torch.set_grad_enabled(learns_encoder):
        z = encoder(images).mode()
    with torch.no_grad():
        for _ in range(recipe.distil.teacher_steps if stage == "distil" else 0):
            decoder(images, t, z)
    return [encoder, decoder] if learns_encoder else [decoder], decoder(images, t, z)
