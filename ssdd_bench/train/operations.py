"""Operations and memory of a stage, counted by tensors without data: no GPU is needed.

Operations are counted on torch's meta device, memory by the rules of autocast on a GPU, which keeps
some results in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.results.files import write_json
from ssdd_bench.train.known import KNOWN, Operations, operations_key
from ssdd_bench.train.recipe import STAGES, Recipe, load_recipe, recipe_names


def count_operations(stage: str, recipe: Recipe) -> Operations:
    """Count the operations of images that are not there."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        trained, encode, decode = _build(stage, recipe)
        z = encode(1)
        with torch.no_grad():
            before = counter.get_total_flops()
            decode(z)
            decoded = counter.get_total_flops() - before
        decode(z).square().mean().backward()
    return Operations(
        parameters=sum(p.numel() for network in trained for p in network.parameters()),
        macs=(counter.get_total_flops() - decoded) // 2,
        decoder_macs=decoded // 2,
        activation_bytes=_activation_bytes(stage, recipe),
    )


def write_known() -> None:
    """Count the stages of all recipes that are shipped, for :data:`KNOWN`."""
    found = {}
    for name in recipe_names():
        recipe = load_recipe(name, Recipe)
        for stage in STAGES:
            key = operations_key(stage, recipe)
            if recipe.stage(stage).iterations and key not in found:
                found[key] = asdict(count_operations(stage, recipe))
    write_json(KNOWN, dict(sorted(found.items())))


def _activation_bytes(stage: str, recipe: Recipe) -> int:
    """Sum the sizes of the tensors that a GPU keeps of one image more for the backward pass.

    Copies of weights in bfloat16, masks and tables do not grow with the batch.
    """
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    sizes = []
    with FakeTensorMode(), torch.device("cuda"):
        _, encode, decode = _build(stage, recipe)
        for batch in (1, 2):
            with hooks, _autocast(recipe.optimiser.bf16):
                decode(encode(batch))
            sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in saved.values()))
            saved.clear()
    return sizes[1] - sizes[0]


@contextmanager
def _autocast(enabled: bool) -> Iterator[None]:
    """Enter autocast of CUDA, which ``torch.autocast`` refuses where there is no GPU."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", enabled)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


def _build(
    stage: str, recipe: Recipe
) -> tuple[list[nn.Module], Callable[[int], Tensor], Callable[[Tensor], Tensor]]:
    """Build a stage's networks on the current device.

    The stages themselves need the weights of an earlier one and the networks of their losses.

    Returns:
        Networks that are trained; a function that encodes so many images; one that decodes latents.
    """
    model, side = recipe.model, recipe.stage(stage).resolution
    if stage == "klvae":
        from ssdd_bench.train.stages.klvae import make_autoencoder  # imports diffusers

        vae = make_autoencoder(recipe)
        return (
            [vae],
            lambda batch: vae.encode(torch.zeros(batch, 3, side, side)).latent_dist.mean,
            lambda z: vae.decode(z).sample,
        )
    encoder = SSDDEncoder(model.f, model.z_dim, model.encoder_base)
    learns_encoder = stage == "encoder"
    decoder = SSDDDecoder(model.encoder_stage_size if learns_encoder else model.size, model.z_dim)

    def encode(batch: int) -> Tensor:
        with torch.set_grad_enabled(learns_encoder):
            return encoder(torch.zeros(batch, 3, side, side)).mode()

    def decode(z: Tensor) -> Tensor:
        return decoder(torch.zeros(len(z), 3, side, side), torch.ones(len(z)), z)

    return [encoder, decoder] if learns_encoder else [decoder], encode, decode
