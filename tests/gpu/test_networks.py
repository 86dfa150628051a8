"""Networks on a GPU against the same ones on a CPU in float32."""

import copy

import pytest
import torch
from diffusers import AutoencoderKL

from ssdd_bench.api import Latent
from ssdd_bench.api.formats import tf32
from ssdd_bench.api.noise import FixedNoise, KeyedNoise
from ssdd_bench.nn.dit import DiT, DiTConfig
from ssdd_bench.nn.encoder import SSDDEncoder

SIZES = ["S", "B", "M", "L", "XL", "H"]
# Root mean square of the difference over that of the output. Number formats have 24, 11 and 8
# significant bits; the errors of some dozens of layers add up.
TOLERANCES = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 8e-2}
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def without_tf32():
    """Round as the protocols do; by default PyTorch convolves float32 in TF32."""
    with tf32(False):
        yield


@pytest.fixture(scope="module", params=SIZES)
def pair(request, make_decoder):
    """(network and inputs on the CPU, its output)."""
    network = make_decoder(request.param)
    generator = torch.Generator().manual_seed(1)
    inputs = (
        torch.randn(2, 3, 64, 64, generator=generator),
        torch.tensor([1.0, 0.4]),
        torch.randn(2, 4, 8, 8, generator=generator),
    )
    with torch.inference_mode():
        return network, inputs, network(*inputs)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("dtype", TOLERANCES)
@torch.inference_mode()
def test_every_size_in_every_number_format(pair, dtype, memory_format, device, relative_error):
    network, (x, t, z), expected = pair
    network = copy.deepcopy(network).to(device, dtype, memory_format=memory_format)
    x = x.to(device, dtype, memory_format=memory_format)
    found = network(x, t.to(device), z.to(device, dtype))
    assert found.dtype == dtype
    error = relative_error(found, expected)
    assert error < TOLERANCES[dtype]
    if dtype != torch.float32:
        assert error > TOLERANCES[dtype] / 100  # so the format was used


@pytest.mark.parametrize("side", [64, 264])
@torch.inference_mode()
def test_encoder(side, device, relative_error):
    torch.manual_seed(0)
    network = SSDDEncoder(8, 4, base=32).eval()
    images = torch.rand(2, 3, side, side)
    expected = network(images)
    found = network.to(device)(images.to(device))
    assert relative_error(found.mean, expected.mean) < 1e-4
    assert relative_error(found.logvar, expected.logvar) < 1e-4


@torch.inference_mode()
def test_kl_vae(device, relative_error):
    """The networks of diffusers, by which `klvae` and most of the zoo work."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 3}
    blocks["up_block_types"] = ("UpDecoderBlock2D",) * 3
    network = AutoencoderKL(block_out_channels=(32, 32, 64), **blocks).eval()
    images = torch.rand(2, 3, 64, 64)
    expected = network.decode(network.encode(images).latent_dist.mode()).sample
    network.to(device)
    found = network.decode(network.encode(images.to(device)).latent_dist.mode()).sample
    assert relative_error(found, expected) < 1e-4


@pytest.fixture
def dit(device):
    torch.manual_seed(0)
    config = DiTConfig(depth=2, width=64, heads=2, patch=1, side=8, channels=4, classes=3)
    network = DiT(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return network


@torch.inference_mode()
def test_dit(dit, device, relative_error):
    x, t, labels = torch.randn(3, 4, 8, 8), torch.tensor([0.1, 0.5, 1.0]), torch.tensor([0, 1, 3])
    expected = dit(x, t, labels)
    found = dit.to(device)(x.to(device), t.to(device), labels.to(device))
    assert relative_error(found, expected) < 1e-4


@pytest.fixture
def no_synchronisation(device):
    """Fail where the host waits for the device, of which a CUDA graph holds nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
    yield
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def one_decoding(tokenizer, device):
    """Decode once, for whatever is kept after the first call, and return a call of it."""
    latent = Latent(torch.randn(2, 4, 8, 8, device=device), (64, 64))
    noise = FixedNoise(KeyedNoise(0, ["a", "b"], "decode"))

    def call():
        noise.rewind()
        return tokenizer.decode(latent, noise)

    call()
    return call


@torch.inference_mode()
def test_decoding_never_waits(one_decoding, no_synchronisation):
    one_decoding()


@torch.inference_mode()
def test_dit_never_waits(dit, device, request):
    dit.to(device)
    inputs = (torch.randn(2, 4, 8, 8), torch.rand(2), torch.tensor([0, 1]))
    inputs = [value.to(device) for value in inputs]
    dit(*inputs)
    request.getfixturevalue("no_synchronisation")
    dit(*inputs)
