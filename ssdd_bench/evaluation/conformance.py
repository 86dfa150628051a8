"""Check of a tokenizer's contract, for the tests of a plugin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.loading import is_stochastic
from ssdd_bench.plugins.guard import Guard, describe_faults
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_requests

IDS = ("first", "second", "third")
TOLERANCE = 1e-3  # of one image alone against the same in a batch: kernels may differ


def check_tokenizer(tokenizer: Tokenizer | str, resolution: int = 64) -> list[str]:
    """Check everything that an evaluation relies on, and evaluate three test images.

    In the tests of a plugin: ``assert check_tokenizer("my-tokenizer") == []``.

    Args:
        tokenizer: a loaded one, on the CPU; or its id, such as ``my-tokenizer:option=value``,
            which checks the manifest as well.
        resolution: side of the test images in pixels; a multiple of the tokenizer's f.

    Returns:
        A line for each problem; empty for a tokenizer that keeps the contract.
    """
    guard = Guard(tokenizer if isinstance(tokenizer, str) else type(tokenizer).__name__)
    try:
        with guard.calls():
            problems = _check(tokenizer, resolution)
    except UserError as error:
        problems = [str(error)]
    return problems + [f"changes {name}, which others use" for name in guard.changed]


def _check(tokenizer: Tokenizer | str, resolution: int) -> list[str]:
    problems: list[str] = []
    info: TokenizerInfo | None = None
    try:
        if isinstance(tokenizer, str):
            (request,) = parse_requests(tokenizer)
            info = TOKENIZERS.get(request.id)
            tokenizer = load_tokenizer(request)
            problems += [f"loading changes {name}, which others use" for name in tokenizer.changed]
            if info.latent and not request.options and info.latent != tokenizer.latent:
                problems.append(f"manifest says {info.latent}, the tokenizer {tokenizer.latent}")
        problems += _check_description(tokenizer, resolution)
        images = make_images(resolution)
        # Each check relies on the one before it.
        for check in (_check_encode, _check_decode, _check_noise, _check_batches):
            if problems:
                break
            problems += check(tokenizer, images)
        if info and not problems:
            said = is_stochastic(tokenizer, info.stochastic)
            problems += _check_stochastic(tokenizer, images, said)
        if not problems:
            pixels = (images * 255).round().to(torch.uint8)
            evaluate(
                tokenizer,
                data=zip(IDS, pixels, strict=True),
                resolution=resolution,
                metrics=("mae",),
                device="cpu",
                strict=True,
                progress=False,
            )
    except UserError as error:
        problems.append(str(error))
    except Exception as error:  # a plugin's own mistake is a finding, not a crash of the check
        problems.append(f"raised {type(error).__name__}: {error}")
    return problems


def make_images(resolution: int) -> Tensor:
    """Make three images of 8-bit levels in [0, 1]: a ramp, noise, and black beside white."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, resolution).expand(3, resolution, resolution)
    noise = torch.rand(3, resolution, resolution, generator=generator)
    halves = (torch.arange(resolution) >= resolution // 2).float().expand_as(ramp)
    return (torch.stack([ramp, noise, halves]) * 255).round() / 255


def _check_description(tokenizer: Tokenizer, resolution: int) -> Iterator[str]:
    yield from describe_faults(tokenizer)
    spec = getattr(tokenizer, "latent", None)
    if isinstance(spec, LatentSpec) and not spec.problem() and resolution % spec.f:
        yield f"resolution {resolution} is not a multiple of f = {spec.f}: check with another one"
    for role, network in tokenizer.networks().items():
        if isinstance(network, nn.Module) and any(module.training for module in network.modules()):
            yield f"the {role} is in training mode: call eval() on it"


def _check_encode(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    resolution = images.shape[-1]
    before = images.clone()
    for noise in (None, KeyedNoise(0, IDS, "encode")):
        latent: object = tokenizer.encode(images, noise)
        what = "encode without noise" if noise is None else "encode with noise"
        if not isinstance(latent, Latent):
            yield f"{what} must return a Latent, not {type(latent).__name__}"
            return
        if latent.size != (resolution, resolution):
            yield f"{what}: size is {latent.size}, the images' is {(resolution, resolution)}"
        yield from (f"{what}: {text}" for text in _check_data(tokenizer.latent, latent, resolution))
    if not torch.equal(images, before):
        yield "encode changed the images it was given"


def _check_data(spec: LatentSpec, latent: Latent, resolution: int) -> Iterator[str]:
    data = latent.data
    if spec.kind == "bytes":
        if isinstance(data, Tensor) or not all(isinstance(item, bytes) for item in data):
            yield "data of kind 'bytes' must be a list of bytes"
        elif len(data) != len(IDS):
            yield f"{len(data)} byte streams for {len(IDS)} images"
    elif not isinstance(data, Tensor):
        yield f"data must be a tensor, not {type(data).__name__}"
    else:
        expected = (len(IDS), *(spec.shape(resolution, resolution) or ()))
        if data.shape != expected:
            yield f"data has shape {tuple(data.shape)}, latent describes {expected}"
        if data.is_floating_point() != (spec.kind == "continuous"):
            yield f"data of kind '{spec.kind}' has dtype {data.dtype}"
        if data.requires_grad:
            yield "data carries gradients: encode under torch.no_grad()"
        if not torch.isfinite(data).all():
            yield "data holds NaN or infinity"


def _check_decode(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    decoded = _round_trip(tokenizer, images, IDS)
    if not isinstance(decoded, Tensor) or not decoded.is_floating_point():
        yield "decode must return a tensor of floats"
    elif decoded.shape != images.shape:
        yield f"decode returned shape {tuple(decoded.shape)} for images of {tuple(images.shape)}"
    elif decoded.requires_grad:
        yield "decode's images carry gradients: decode under torch.no_grad()"
    elif not torch.isfinite(decoded).all():
        yield "decode's images hold NaN or infinity"
    elif decoded.min() < -0.75 or decoded.max() > 1.75:
        low, high = decoded.min().item(), decoded.max().item()
        yield f"decode's images range from {low:.2f} to {high:.2f}; they should be in [0, 1]"


def _check_noise(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    first, second = (_round_trip(tokenizer, images, IDS) for _ in range(2))
    if not torch.equal(first, second):
        yield "the same images and noise gave two results: take random numbers from noise only"


def _check_batches(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    together = _round_trip(tokenizer, images, IDS)
    alone = torch.cat(
        [_round_trip(tokenizer, images[i : i + 1], IDS[i : i + 1]) for i in range(len(IDS))]
    )
    worst = (together - alone).abs().max().item()
    if not worst <= TOLERANCE:
        yield f"an image decodes differently alone and in a batch, by up to {worst:.3g}"


def _check_stochastic(tokenizer: Tokenizer, images: Tensor, said: bool) -> Iterator[str]:
    latent = tokenizer.encode(images)
    one, other = (tokenizer.decode(latent, KeyedNoise(seed, IDS, "decode")) for seed in (0, 1))
    if torch.equal(one, other) == said:
        yield f"manifest says stochastic = {str(said).lower()}, but decoding " + (
            "does not depend on its noise" if said else "depends on its noise"
        )


def _round_trip(tokenizer: Tokenizer, images: Tensor, ids: Sequence[str]) -> Tensor:
    return tokenizer.decode(tokenizer.encode(images), KeyedNoise(0, ids, "decode"))
