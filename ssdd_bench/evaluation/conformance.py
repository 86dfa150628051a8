"""Check of a tokenizer's contract, for the tests of a plugin."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.loading import is_stochastic
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.outputs import (
    EXACT_TOLERANCE,
    decoded_fault,
    describe_faults,
    finite_fault,
    latent_faults,
    range_fault,
    repeat_fault,
)
from ssdd_bench.plugins.registry import TOKENIZERS, load_tokenizer, parse_request

LOGGER = logging.getLogger(__name__)
IDS = ("first", "second", "third")


def check_tokenizer(tokenizer: Tokenizer | str, resolution: int = 64) -> list[str]:
    """Check everything that an evaluation relies on, and evaluate three test images.

    In the tests of a plugin: ``assert check_tokenizer("my-tokenizer") == []``. The traceback of an
    error that ends the check goes to the log, at level ``DEBUG``.

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
        problems = [_ended_by(error)]
    return problems + [f"changes {name}, which others use" for name in guard.changed]


def _check(tokenizer: Tokenizer | str, resolution: int) -> list[str]:
    problems: list[str] = []
    info: TokenizerInfo | None = None
    try:
        if isinstance(tokenizer, str):
            request = parse_request(tokenizer)
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
    except Exception as error:  # a plugin's own mistake is a finding, not a crash of the check
        problems.append(_ended_by(error))
    return problems


def _ended_by(error: Exception) -> str:
    """Describe the error that ended a check and is being handled, and log where it comes from."""
    LOGGER.debug("the check was ended by this error:", exc_info=True)
    return str(error) if isinstance(error, UserError) else f"raised {Problem.of(error)}"


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
    if isinstance(spec, LatentSpec) and not spec.problem() and resolution % spec.multiple:
        yield f"resolution {resolution} is not a multiple of f = {spec.f}: check with another one"
    for role, network in tokenizer.networks().items():
        if isinstance(network, nn.Module) and any(module.training for module in network.modules()):
            yield f"the {role} is in training mode: call eval() on it"


def _check_encode(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    before = images.clone()
    for noise in (None, KeyedNoise(0, IDS, "encode")):
        latent: object = tokenizer.encode(images, noise)
        what = "encode without noise" if noise is None else "encode with noise"
        yield from (f"{what}: {text}" for text in latent_faults(tokenizer.latent, latent, images))
        if not isinstance(latent, Latent):
            return
        if isinstance(data := latent.data, Tensor):
            if data.is_floating_point() and data.dtype != torch.float32:
                yield f"{what}: data is {data.dtype}: convert it to torch.float32"
            if data.requires_grad:
                yield f"{what}: data carries gradients: encode under torch.no_grad()"
            if not torch.isfinite(data).all():
                yield f"{what}: data holds NaN or infinity"
    if not torch.equal(images, before):
        yield "encode changed the images it was given"


def _check_decode(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    decoded = _round_trip(tokenizer, images, IDS)
    if fault := decoded_fault(decoded, images.shape):
        yield f"decode {fault}"
    elif decoded.dtype != torch.float32:
        # An evaluation takes any floats, since --dtype changes those of the weights.
        yield f"decode returned images of {decoded.dtype}: convert them to torch.float32"
    elif decoded.requires_grad:
        yield "decode's images carry gradients: decode under torch.no_grad()"
    else:
        low, high = (one.item() for one in decoded.aminmax())
        yield from filter(None, [finite_fault(decoded) or range_fault(low, high)])


def _check_noise(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    first, second = (_round_trip(tokenizer, images, IDS) for _ in range(2))
    if fault := repeat_fault(first, second):
        yield fault


def _check_batches(tokenizer: Tokenizer, images: Tensor) -> Iterator[str]:
    together = _round_trip(tokenizer, images, IDS)
    alone = torch.cat(
        [_round_trip(tokenizer, images[i : i + 1], IDS[i : i + 1]) for i in range(len(IDS))]
    )
    worst = (together - alone).abs().max().item()
    if fault := finite_fault(together, alone):
        yield fault
    elif worst > EXACT_TOLERANCE:
        yield f"an image decodes differently alone and in a batch, by up to {worst:.3g}"


def _check_stochastic(tokenizer: Tokenizer, images: Tensor, said: bool) -> Iterator[str]:
    latent = tokenizer.encode(images)
    one, other = (tokenizer.decode(latent, KeyedNoise(seed, IDS, "decode")) for seed in (0, 1))
    if fault := finite_fault(one, other):
        yield fault
    elif torch.equal(one, other) == said:
        yield f"manifest says stochastic = {str(said).lower()}, but decoding " + (
            "does not depend on its noise" if said else "depends on its noise"
        )


def _round_trip(tokenizer: Tokenizer, images: Tensor, ids: Sequence[str]) -> Tensor:
    return tokenizer.decode(tokenizer.encode(images), KeyedNoise(0, ids, "decode"))
