"""Number formats of a protocol, and noise: both must not depend on the device."""

import pytest
import torch
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import FixedNoise, KeyedNoise, OrderedNoise
from ssdd_bench.evaluation.evaluate import evaluate

IDS = ["a", "b", "n\udce9e"]


@pytest.mark.parametrize("shape", [(3, 64, 64), (4, 7, 5), (1,)])
def test_noise_has_the_bits_of_the_cpu(shape, device):
    def sources():
        yield KeyedNoise(7, IDS, "decode")
        yield OrderedNoise(7, len(IDS), ids=IDS)
        yield OrderedNoise(7, len(IDS), after=OrderedNoise(7, 2), ids=IDS)
        yield FixedNoise(KeyedNoise(7, IDS, "encode"))

    for here, there in zip(sources(), sources(), strict=True):
        for _ in range(2):  # the second call continues the streams
            found = there.normal(shape, device=device)
            assert found.device == device
            assert torch.equal(found.cpu(), here.normal(shape))


class Rounding(Tokenizer):
    """Measure how a product and a convolution are rounded, while it is evaluated."""

    latent = LatentSpec("continuous", f=8, channels=3)

    def __init__(self):
        torch.manual_seed(0)
        self.layers = nn.ModuleDict({"linear": nn.Linear(512, 512), "conv": nn.Conv2d(256, 64, 3)})
        self.errors = {}

    def networks(self):
        return {"decoder": self.layers}

    def encode(self, images, noise=None):
        device = images.device
        inputs = {"linear": torch.randn(64, 512), "conv": torch.randn(2, 256, 32, 32)}
        for name, layer in self.layers.items():
            x = inputs[name].to(device)
            weight = layer.weight.double()
            exact = (
                nn.functional.linear(x.double(), weight, layer.bias.double())
                if name == "linear"
                else nn.functional.conv2d(x.double(), weight, layer.bias.double())
            )
            error = (layer(x) - exact).abs().max() / exact.abs().max()
            self.errors[name] = error.item()
        return Latent(nn.functional.avg_pool2d(images, 8), tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        return nn.functional.interpolate(latent.data, scale_factor=8)


def use_old_flags():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def use_new_flags():
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.conv.fp32_precision = "tf32"


def flags():
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    if hasattr(cuda, "fp32_precision"):  # the old ones cannot be read where these were set
        return cuda.fp32_precision, cudnn.conv.fp32_precision
    return cuda.allow_tf32, cudnn.allow_tf32


@pytest.fixture
def restored():
    """Put torch's switches back to their defaults, the old ones first."""
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        torch.backends.cuda.matmul.fp32_precision = "none"
        torch.backends.cudnn.conv.fp32_precision = "tf32"


def rounding(device, photos):
    tokenizer = Rounding()
    evaluate(tokenizer, data=photos, resolution=32, metrics="mae", device=device, progress=False)
    return tokenizer.errors


LIMIT = 3e-5  # Relative to the largest output, TF32 is off by about 3e-4 and float32 by 1e-6.


@pytest.mark.parametrize("switch", [use_old_flags, use_new_flags])
def test_protocols_without_tf32_never_use_it(switch, device, restored, make_photos):
    if switch is use_new_flags and not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
        pytest.skip("this torch has the old switches only")
    photos = make_photos(2, (32, 32))
    switch()
    before = flags()
    errors = rounding(device, photos)
    assert max(errors.values()) < LIMIT
    assert flags() == before


def test_tf32_would_be_seen(device, restored):
    if device.type == "cpu":
        pytest.skip("a CPU has no TF32")
    use_old_flags()
    tokenizer = Rounding()
    tokenizer.to(device)
    tokenizer.encode(torch.rand(1, 3, 32, 32, device=device))
    assert min(tokenizer.errors.values()) > LIMIT
