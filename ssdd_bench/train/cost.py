"""Cost of a stage before it is run: parameters, operations and memory, on torch's meta device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.train.recipe import CropRecipe, Recipe

OPTIMISER_COPIES = 2  # the second moment and the schedule-free iterate, beside the weights
BYTES = 4


@dataclass(frozen=True)
class Cost:
    """Cost of one stage, without the frozen networks of the losses and without discriminators.

    Attributes:
        stage: its name.
        iterations: updates.
        images: images seen in all.
        resolution: in pixels.
        batch_size: images per update.
        parameters: number of trained ones.
        gmac_per_image: multiply-accumulates of one forward and backward pass, in 10^9.
        activation_bytes: kept for the backward pass, per image.
        state_bytes: weights, gradients, optimiser and average.
    """

    stage: str
    iterations: int
    images: int
    resolution: int
    batch_size: int
    parameters: int
    gmac_per_image: float
    activation_bytes: int
    state_bytes: int


def stage_cost(stage: str, recipe: Recipe) -> Cost:
    """Compute the cost by one image on torch's meta device, which stores nothing."""
    table = recipe.stage(stage)
    with torch.device("meta"):
        trained, call = (_klvae if stage == "klvae" else _ssdd)(stage, recipe, table)
        saved: dict[int, Tensor] = {}

        def pack(tensor: Tensor) -> Tensor:
            if not isinstance(tensor, nn.Parameter):
                saved[tensor.untyped_storage()._cdata] = tensor
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with FlopCounterMode(display=False) as counter, hooks:
            call().square().mean().backward()
    parameters = sum(p.numel() for p in trained.parameters())
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


def _klvae(stage: str, recipe: Recipe, table: CropRecipe) -> tuple[nn.Module, Callable[[], Tensor]]:
    from diffusers import AutoencoderKL

    vae: Any = AutoencoderKL(**recipe.model.klvae)
    images = torch.zeros(1, 3, table.resolution, table.resolution)
    return vae, lambda: vae.decode(vae.encode(images).latent_dist.mean).sample


def _ssdd(stage: str, recipe: Recipe, table: CropRecipe) -> tuple[nn.Module, Callable[[], Tensor]]:
    model = recipe.model
    encoder = SSDDEncoder(model.f, model.z_dim, model.encoder_base)
    size = model.encoder_stage_size if stage == "encoder" else model.size
    decoder = SSDDDecoder(size, model.z_dim)
    images = torch.zeros(1, 3, table.resolution, table.resolution)
    t = torch.ones(1)
    if stage == "encoder":
        both = nn.ModuleDict({"encoder": encoder, "decoder": decoder})
        return both, lambda: decoder(images, t, encoder(images).mode())

    def frozen() -> Tensor:
        with torch.no_grad():
            z = encoder(images).mode()
            for _ in range(recipe.distil.teacher_steps if stage == "distil" else 0):
                decoder(images, t, z)
        return decoder(images, t, z)

    return decoder, frozen
