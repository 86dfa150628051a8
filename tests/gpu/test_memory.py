"""Memory and time of a device: peaks, batches that do not fit, and the clock."""

import gc

import pytest
import torch
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.memory import peak_memory
from ssdd_bench.evaluation.timing import TimingSettings, time_calls

MIB = 1 << 20


def test_peak_of_a_known_allocation(device):
    if device.type == "cpu":
        pytest.skip("tests/evaluation has the test of a CPU")
    held = torch.ones(32 * MIB, dtype=torch.uint8, device=device)  # was there before
    for size in (64, 16):  # the second peak is the lower one

        def call(size=size):
            first = torch.ones(size * MIB, dtype=torch.uint8, device=device)
            return first + 1

        assert peak_memory(call, device) == (2 * size * MIB, "cuda allocated")
    assert held.sum() == 32 * MIB


class Hungry(Tokenizer):
    """Take much memory for each image of a batch while it decodes."""

    latent = LatentSpec("continuous", f=8, channels=3)

    def __init__(self, bytes_per_image, fits):
        self.layer = nn.Conv2d(3, 3, 1)
        with torch.no_grad():
            self.layer.weight.copy_(0.9 * torch.eye(3)[..., None, None])
            self.layer.bias.zero_()
        self.bytes_per_image = bytes_per_image
        self.fits = fits  # images, where no memory runs out by itself
        self.batches = []

    def networks(self):
        return {"decoder": self.layer}

    def encode(self, images, noise=None):
        return Latent(nn.functional.avg_pool2d(images, 8), tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        x = nn.functional.interpolate(self.layer(latent.data), scale_factor=8)
        if self.fits is not None and len(x) > self.fits:
            raise MemoryError
        torch.empty(len(x), self.bytes_per_image, dtype=torch.uint8, device=x.device)
        self.batches.append(len(x))
        return x + 0.01 * noise.normal(x.shape[1:], device=x.device)


@pytest.fixture
def little_memory(device):
    """Leave this process about 1 GiB of the GPU."""
    if device.type == "cpu":
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    allowed = torch.cuda.memory_reserved(device) + (1 << 30)
    torch.cuda.set_per_process_memory_fraction(allowed / total, device)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.fixture
def scores(device, make_photos):
    photos = make_photos(8, (64, 64))

    def evaluated(tokenizer, batch):
        found = evaluate(
            tokenizer,
            data=photos,
            resolution=64,
            metrics=["psnr", "ssim", "mae"],
            device=device,
            batch_size=batch,
            progress=False,
        )
        return {key: value.value for key, value in found.metrics.items()}, found.warnings

    return evaluated


def test_a_batch_that_does_not_fit_is_halved_and_the_scores_stay(scores, device, request):
    cuda = device.type == "cuda"
    expected, warnings = scores(Hungry(1, None), 1)
    assert not warnings
    request.getfixturevalue("little_memory")
    tokenizer = Hungry(300 * MIB if cuda else 1, None if cuda else 2)
    found, warnings = scores(tokenizer, 8)
    assert found == pytest.approx(expected, rel=1e-6)
    if cuda:  # a CPU takes one image at a time
        assert tokenizer.batches == [2, 1, 2, 2, 2]  # the first image is repeated by itself
        assert [warning.split(":")[0] for warning in warnings] == [
            "out of memory with 8 images at a time",
            "out of memory with 4 images at a time",
        ]
        assert torch.cuda.memory_allocated(device) < 300 * MIB


def test_the_clock_times_the_device_and_not_the_host(device):
    if device.type == "cpu":
        pytest.skip("tests/evaluation has the test of a CPU")
    settings = TimingSettings(seconds=0.0, warmup=2, min_calls=5, max_calls=5)
    cycles = 20_000_000  # about 10 ms
    with torch.cuda.device(device):
        one, two = (
            sorted(time_calls(lambda n=n: torch.cuda._sleep(n * cycles), device, settings))[2]
            for n in (1, 2)
        )
    assert 0.001 < one < 0.1
    assert two == pytest.approx(2 * one, rel=0.2)


def test_the_clock_times_the_second_device(device):
    if device.type == "cpu" or torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    second = torch.device("cuda", 1)

    def call():
        with torch.cuda.device(second):
            torch.cuda._sleep(20_000_000)

    settings = TimingSettings(seconds=0.0, warmup=1, min_calls=3, max_calls=3)
    assert min(time_calls(call, second, settings)) > 0.001
