"""Decoders by turns: ours, the same network of plain operations, and the KL-VAE of SD.

make bench
"""

import subprocess
import sys
import time
from functools import partial
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ssdd_bench import load_tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.evaluation.timing import count_gmac
from ssdd_bench.nn import SSDDDecoder, blocks

pytestmark = [pytest.mark.timing, pytest.mark.benchmark(group="decoders")]
BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
FORMATS = (torch.contiguous_format, torch.channels_last)


class DenseReference(nn.Module):
    """An SSDD decoder of PyTorch's own operations: attention over all pairs under a mask.

    Nothing is written in place, norms and modulations are apart, maps are doubled before the
    convolution.
    """

    def __init__(self, decoder: SSDDDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, x, t, z):
        plain = {
            "modulated_group_norm": group_norm,
            "neighbourhood_attention": attention,
            "activate": F.silu,
            "add": torch.add,
        }
        with (
            patch.multiple(blocks, **plain),
            patch("ssdd_bench.nn.decoder.activate", F.silu),
            patch.object(blocks.DoublingConvolution, "forward", upsample),
            patch.object(blocks.GroupNorm, "forward", whole_group_norm),
        ):
            return self.decoder(x, t, z)


def group_norm(x, groups, eps, scale, shift, overwrite=False):
    scale, shift = (F.interpolate(m, size=x.shape[2:], mode="nearest") for m in (scale, shift))
    return F.group_norm(x, groups, eps=eps) * scale + shift


def whole_group_norm(layer, x, overwrite=False):
    return nn.GroupNorm.forward(layer, x)


def attention(q, k, v, grid, bias):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias(grid, grid).to(q.dtype)[None])


def upsample(layer, x):
    return nn.Conv2d.forward(layer, F.interpolate(x, scale_factor=2.0, mode="nearest"))


def ssdd(size="S"):
    """Return a decoder whose residual branches are not zero."""
    torch.manual_seed(0)
    decoder = SSDDDecoder(size, 4).eval()
    for parameter in decoder.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return decoder


def sd_vae():
    """Return diffusers' KL-VAE at the widths of Stable Diffusion, without its encoder."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    )
    vae.encoder = None
    return vae.eval()


def seconds_of(call):
    call()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@torch.inference_mode()
def in_better_format(network, inputs):
    """Return a call of the network in the faster of the two memory formats."""
    calls = []
    for memory_format in FORMATS:
        network.to(memory_format=memory_format)
        given = [x.contiguous(memory_format=memory_format) if x.ndim == 4 else x for x in inputs]
        calls.append((seconds_of(lambda given=given: network(*given)), memory_format, given))
    _, memory_format, given = min(calls, key=lambda call: call[0])
    network.to(memory_format=memory_format)
    return torch.inference_mode()(lambda: network(*given))


def inputs(side, dtype):
    x = torch.randn(1, 3, side, side, dtype=dtype)
    return x, torch.ones(1), torch.randn(1, 4, side // 8, side // 8, dtype=dtype)


@torch.inference_mode()
def ceiling(dtype):
    """Return the best rate of a convolution of SSDD-S, in 10^9 multiply-accumulates a second."""
    rates = []
    for channels, side in ((64, 256), (96, 128), (160, 64)):
        for memory_format in FORMATS:
            x, weight = (
                torch.randn(shape, dtype=dtype).contiguous(memory_format=memory_format)
                for shape in ((1, channels, side, side), (channels, channels, 3, 3))
            )
            call = partial(F.conv2d, x, weight, padding=1)
            best = min(seconds_of(call) for _ in range(10))
            rates.append(9 * channels**2 * side**2 / best / 1e9)
    return max(rates)


@pytest.mark.parametrize(("side", "least"), [(256, (1.1, 2.4)), (512, (1.3, 2.4))])
def test_ssdd_s(by_turns, side, least):
    """Against the dense reference and the decoder of SD's KL-VAE, each in its better format."""
    given = inputs(side, torch.float32)
    vae = sd_vae()
    decode = torch.nn.Module()
    decode.forward = lambda z: vae.decode(z, return_dict=False)  # type: ignore[method-assign]
    decode.vae = vae
    calls = {
        "SSDD-S": in_better_format(ssdd(), given),
        "dense reference": in_better_format(DenseReference(ssdd()), given),
        "SD-VAE": in_better_format(decode, given[2:]),
    }
    with torch.inference_mode():
        # In channels_last PyTorch's group norm loses more digits than ours.
        plain = DenseReference(ssdd())(*given)
        torch.testing.assert_close(calls["SSDD-S"](), plain, atol=5e-5, rtol=0)
        gmac = {name: count_gmac(call) for name, call in calls.items()}
    rate = ceiling(torch.float32)
    ratios = by_turns(calls, side=side, dtype="float32", gmac=gmac, ceiling=rate)
    assert ratios["dense reference"] > least[0]
    assert ratios["SD-VAE"] > least[1]


@pytest.mark.skipif(not BFLOAT16, reason="this CPU computes bfloat16 by float32")
def test_bfloat16(by_turns):
    """Against the same network in float32."""
    dtype = torch.bfloat16
    calls = {
        "bfloat16": in_better_format(ssdd().to(dtype), inputs(256, dtype)),
        "float32": in_better_format(ssdd(), inputs(256, torch.float32)),
    }
    ratios = by_turns(calls, side=256, dtype="bfloat16")
    assert ratios["float32"] > 1.3


@pytest.mark.parametrize(("side", "least"), [(64, 0.55), (256, 0.9), (512, 1.05)])
def test_shipped_ssdd_and_klvae(by_turns, side, least):
    """The small trained networks, each as the benchmark runs it."""
    images = torch.rand(1, 3, side, side)
    calls = {}
    for name in ("ssdd", "klvae"):
        tokenizer = load_tokenizer(name)
        with torch.inference_mode():
            latent = tokenizer.encode(images)
        calls[name] = torch.inference_mode()(partial(decode_one, tokenizer, latent))
    ratios = by_turns(calls, rounds=15, side=side, dtype="float32")
    assert ratios["klvae"] > least


def decode_one(tokenizer, latent):
    return tokenizer.decode(latent, KeyedNoise(0, ["a"], "decode"))


PEAK = """
import torch
from ssdd_bench.evaluation.memory import peak_memory
from ssdd_bench.nn import SSDDDecoder

network = SSDDDecoder("S", 4).eval().to(memory_format=torch.channels_last)
x, z = (torch.randn(1, *shape) for shape in ((3, 1024, 1024), (4, 128, 128)))
x = x.contiguous(memory_format=torch.channels_last)
with torch.inference_mode():
    print(peak_memory(lambda: network(x, torch.ones(1), z), torch.device("cpu"))[0])
"""


def test_memory_at_1024_px(benchmark):
    """Decode in a process that returns freed memory: one that keeps it holds gaps too."""
    command = [sys.executable, "-c", PEAK]
    done = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, check=True), rounds=1
    )
    memory = int(done.stdout)
    benchmark.extra_info |= {"side": 1024, "peak_memory_bytes": memory}
    assert memory < 3e9
