"""Settings of execution on a GPU: compilation, graphs, the clock, batches and TF32."""

from dataclasses import replace

import pytest
import torch

import ssdd_bench as sb
from ssdd_bench.api.formats import tf32
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.evaluation.environment import memory_format
from ssdd_bench.evaluation.execution import ExecutionSettings, prepare
from ssdd_bench.evaluation.timing import CUDA_TIMING, time_by_turns, time_calls
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.protocols.registry import get_protocol

PROTOCOL = get_protocol("default-v1")
CYCLES = 20_000_000  # about ten milliseconds


def decode(tokenizer, images, device):
    with torch.inference_mode():
        latent = tokenizer.encode(images.to(device))
        ids = [str(index) for index in range(len(images))]
        return tokenizer.decode(latent, KeyedNoise(0, ids, "decode"))


@pytest.mark.parametrize("name", ["ssdd", "klvae"])
@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        (ExecutionSettings(), 1e-3),
        (ExecutionSettings("bfloat16"), 0.1),
        (ExecutionSettings("float16"), 0.03),
        pytest.param(ExecutionSettings(compile="default"), 1e-3, marks=pytest.mark.slow),
        pytest.param(
            ExecutionSettings("bfloat16", "default", cuda_graphs=True), 0.1, marks=pytest.mark.slow
        ),
    ],
    ids=["eager", "bf16", "fp16", "compiled", "graphs"],
)
def test_every_setting_is_near_float32_on_a_cpu(name, settings, tolerance, device):
    if settings.compile != "off" and device.type == "cpu":
        pytest.skip("tests/evaluation compiles on a CPU, which takes minutes")
    images = torch.rand(2, 3, 64, 64)
    exact = decode(load_tokenizer(name), images, "cpu")
    tokenizer = load_tokenizer(name, device)
    used = settings.applied_to(PROTOCOL)
    with prepare(tokenizer, used, device, settings, 64, 2):
        first, second = (decode(tokenizer, images, device) for _ in range(2))
    assert first.dtype == torch.float32
    torch.testing.assert_close(first, second, rtol=0, atol=0)  # graphs overwrite nothing
    assert (first.cpu() - exact).abs().max() < tolerance


def test_half_precision_is_channels_last(device):
    if device.type == "cpu":
        pytest.skip("a CPU keeps float32 in channels_last too")
    tokenizer = load_tokenizer("klvae", device)
    assert memory_format(tokenizer.networks().values()) == "contiguous"
    settings = ExecutionSettings("bfloat16")
    with prepare(tokenizer, settings.applied_to(PROTOCOL), device, settings, 64, 1):
        assert memory_format(tokenizer.networks().values()) == "channels_last"


@pytest.mark.parametrize("index", range(max(1, torch.cuda.device_count())))
def test_the_clock_times_the_device_that_works(index, device):
    if device.type == "cpu":
        pytest.skip("tests/evaluation has the test of a CPU")
    device = torch.device("cuda", index)

    def sleep():
        with torch.cuda.device(device):
            torch.cuda._sleep(CYCLES)

    settings = replace(CUDA_TIMING, seconds=0.1, warmup=2, min_calls=10)
    assert min(time_calls(sleep, device, settings)) > 0.002
    assert time_by_turns([sleep, sleep], device, 3).min() > 0.002


def test_products_and_convolutions_are_exact_without_tf32(device):
    if device.type == "cpu":
        pytest.skip("a CPU has no TF32")
    x = torch.randn(512, 512, device="cuda")
    weight = torch.randn(64, 64, 3, 3, device="cuda")
    images = torch.randn(4, 64, 32, 32, device="cuda")

    def errors():
        product = ((x @ x).double() - x.double() @ x.double()).abs().max()
        found = torch.nn.functional.conv2d(images, weight).double()
        exact = torch.nn.functional.conv2d(images.double(), weight.double())
        return product.item(), (found - exact).abs().max().item()

    with tf32(False):
        assert max(errors()) < 1e-3
    with tf32(True):
        if torch.cuda.get_device_capability()[0] >= 8:
            assert min(errors()) > 1e-3


def test_codecs_are_timed_on_the_cpu_and_batches_on_the_gpu(device):
    if device.type == "cpu":
        pytest.skip("a CPU is timed with one image")
    options = {"data": "sample", "resolution": 64, "limit": 8, "metrics": ["psnr"], "speed": True}
    codec = sb.evaluate("jpeg", device="cuda", progress=False, **options)
    assert codec.speed.batches == (1,)
    assert codec.execution.device == "cpu"
    network = sb.evaluate("klvae", device="cuda", progress=False, **options)
    assert network.speed.batches[:2] == (1, 2)
    assert network.speed.decode.images_per_s >= network.speed.decode_single.images_per_s
