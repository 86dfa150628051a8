"""The networks compile as one graph, in both memory formats, for training and inference."""

from pathlib import Path

import pytest
import torch

from ssdd_bench.nn import SSDDDecoder, SSDDEncoder
from ssdd_bench.nn.decoder import DecoderSize

TINY = DecoderSize((4, 4, 8, 8), heads=1, depth=1, groups=2, init_std=None)
FORMATS = [torch.contiguous_format, torch.channels_last]


def case(memory_format, side=136):
    """Return a decoder without zeros, and inputs whose middle has 17 x 17 tokens: tiles."""
    torch.manual_seed(0)
    decoder = SSDDDecoder(TINY, 4)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 3, side, side).contiguous(memory_format=memory_format)
    return decoder.to(memory_format=memory_format), (x, torch.ones(1), torch.randn(1, 4, 17, 17))


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", FORMATS)
def test_decoder_in_inference(memory_format):
    decoder, inputs = case(memory_format)
    with torch.inference_mode():
        graph = torch.compile(decoder.eval(), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(graph(*inputs), decoder(*inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", FORMATS)
def test_decoder_in_training(memory_format):
    decoder, inputs = case(memory_format)
    graph = torch.compile(decoder, backend="aot_eager", fullgraph=True)
    found = [
        torch.autograd.grad(network(*inputs).square().sum(), list(decoder.parameters()))
        for network in (graph, decoder)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_encoder():
    encoder = SSDDEncoder(8, 4, base=8).eval()
    images = torch.rand(1, 3, 64, 64)
    graph = torch.compile(encoder, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(graph(images).mean, encoder(images).mean)


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", FORMATS)
def test_kernels_of_inductor(memory_format, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    decoder, inputs = case(memory_format)
    with torch.inference_mode():
        graph = torch.compile(decoder.eval(), fullgraph=True)
        torch.testing.assert_close(graph(*inputs), decoder(*inputs), atol=1e-5, rtol=1e-4)
