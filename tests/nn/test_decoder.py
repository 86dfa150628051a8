"""The decoder on grids that the paper's own code does not take, its errors, and compilation."""

import pytest
import torch

from ssdd_bench.errors import OptionError, ResolutionError, UnknownNameError
from ssdd_bench.nn.decoder import SIZES, DecoderSize, SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return SSDDDecoder("XXS").eval()


@pytest.mark.medium
@torch.no_grad()
@pytest.mark.parametrize("f", [4, 8, 16, 32])
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (32, 160), (160, 160)])
def test_any_grid(tiny, f, size):
    image = torch.randn(1, 3, *size)
    z = torch.randn(1, 4, size[0] // f, size[1] // f)
    out = tiny(image, torch.tensor([0.5]), z)
    assert out.shape == image.shape
    assert torch.isfinite(out).all()


@pytest.mark.medium
@torch.no_grad()
def test_time_and_latent_matter_everywhere(tiny):
    x, z, t = torch.randn(1, 3, 64, 64), torch.randn(1, 4, 8, 8), torch.tensor([0.5])
    for parameter in tiny.parameters():  # residual branches start at zero and would hide it
        torch.nn.init.normal_(parameter, std=0.1)
    out = tiny(x, t, z)
    assert (tiny(x, t + 0.1, z) - out).abs().amax() > 1e-3
    changed = z.clone()
    changed[0, 0, 0, 0] += 1
    difference = (tiny(x, t, changed) - out).abs().amax(dim=1)[0]
    assert difference[:8, :8].min() > 0
    assert difference[:8, :8].mean() > difference[32:, 32:].mean()


def test_sides_that_do_not_divide():
    network = SSDDDecoder("XXS")
    with pytest.raises(ResolutionError, match="multiples of 8, not 60x64"):
        network(torch.zeros(1, 3, 60, 64), torch.ones(1), torch.zeros(1, 4, 8, 8))


def test_unknown_size():
    with pytest.raises(UnknownNameError, match="XXS"):
        SSDDDecoder("XXXS")


def test_encoder_of_no_known_f():
    with pytest.raises(OptionError, match="f is 6"):
        SSDDEncoder(f=6)


@pytest.mark.medium
@pytest.mark.parametrize("name", ["XXS", "XS", "S"])
def test_starts_as_the_paper_says(name):
    """Our own size draws its convolutions wider; all else is the same."""
    torch.manual_seed(0)
    network = SSDDDecoder(name)
    for key, value in network.state_dict().items():
        if key.endswith(("conv2.weight", "conv2.bias", "ff.proj_out.weight", "bias_table")):
            assert not value.any(), key
        elif value.ndim == 4:
            std = 0.02 if SIZES[name].groups == 32 else value[0].numel() ** -0.5
            assert value.std().item() == pytest.approx(std, rel=0.2), key
        elif value.ndim == 2:
            limit = (6 / sum(value.shape)) ** 0.5
            assert value.abs().max().item() <= limit, key
            assert value.std().item() == pytest.approx(limit / 3**0.5, rel=0.1), key
        elif key.endswith("bias"):
            assert not value.any(), key
        else:
            assert (value == 1).all(), key


@torch.no_grad()
def test_posterior():
    torch.manual_seed(0)
    posterior = SSDDEncoder(base=32)(torch.randn(3, 3, 32, 32))
    assert torch.equal(posterior.mode(), posterior.mean)
    sample = posterior.sample(torch.full_like(posterior.mean, 2.0))
    torch.testing.assert_close(sample, posterior.mean + 2 * (0.5 * posterior.logvar).exp())
    normal = torch.distributions.Normal(posterior.mean, posterior.std)
    standard = torch.distributions.Normal(0.0, 1.0)
    expected = torch.distributions.kl_divergence(normal, standard).sum(dim=(1, 2, 3))
    torch.testing.assert_close(posterior.kl(), expected, rtol=1e-4, atol=1e-4)


def test_main_classes_are_exported_by_the_package():
    from ssdd_bench import nn

    encoder, decoder = nn.SSDDEncoder(f=8, z_dim=4, base=16), nn.SSDDDecoder("XXS", z_dim=4)
    z = encoder(torch.zeros(1, 3, 32, 32)).mode()
    assert decoder(torch.zeros(1, 3, 32, 32), torch.ones(1), z).shape == (1, 3, 32, 32)


# The networks compile as one graph, in both memory formats.

SMALLEST = DecoderSize((4, 4, 8, 8), heads=1, depth=1, groups=2, init_std=None)
FORMATS = [torch.contiguous_format, torch.channels_last]


def compilable(memory_format):
    """Return a decoder without zeros, and inputs whose middle has 2 x 130 tokens: tiles."""
    torch.manual_seed(0)
    decoder = SSDDDecoder(SMALLEST, 4)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 3, 16, 1040).contiguous(memory_format=memory_format)
    return decoder.to(memory_format=memory_format), (x, torch.ones(1), torch.randn(1, 4, 2, 130))


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", FORMATS)
def test_compiled_for_inference(memory_format):
    decoder, inputs = compilable(memory_format)
    with torch.inference_mode():
        graph = torch.compile(decoder.eval(), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(graph(*inputs), decoder(*inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory_format", [pytest.param(FORMATS[0], marks=pytest.mark.nightly), FORMATS[1]]
)
def test_compiled_for_training(memory_format):
    decoder, inputs = compilable(memory_format)
    graph = torch.compile(decoder, backend="aot_eager", fullgraph=True)
    found = [
        torch.autograd.grad(network(*inputs).square().sum(), list(decoder.parameters()))
        for network in (graph, decoder)
    ]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_compiled_encoder():
    encoder = SSDDEncoder(8, 4, base=8).eval()
    images = torch.rand(1, 3, 64, 64)
    graph = torch.compile(encoder, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(graph(images).mean, encoder(images).mean)


@pytest.mark.nightly
def test_compiled_by_inductor(tmp_path, monkeypatch):
    """One format, a minute of compiling; the graphs above are those of both."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    decoder, inputs = compilable(torch.channels_last)
    with torch.inference_mode():
        graph = torch.compile(decoder.eval(), fullgraph=True)
        torch.testing.assert_close(graph(*inputs), decoder(*inputs), atol=1e-5, rtol=1e-4)
