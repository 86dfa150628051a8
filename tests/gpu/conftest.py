"""Fixtures of the tests on a GPU, all of which also run on a CPU, with small networks."""

import importlib.util
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ssdd_bench.nn.decoder import SIZES, SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.ssdd.tokenizer import SSDDTokenizer


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark all tests of this folder; what libraries warn of on a GPU is shown and no error."""
    item.add_marker("gpu")
    item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """Return the GPU, or with $SSDD_BENCH_GPU_TESTS_ON_CPU the CPU."""
    if os.environ.get("SSDD_BENCH_GPU_TESTS_ON_CPU"):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: run `make gpu` where there is one")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(scope="session")
def small(device: torch.device) -> bool:
    """Return True where sizes are cut so that a CPU needs seconds."""
    return device.type == "cpu"


@pytest.fixture(autouse=True)
def freed(device: torch.device):
    """Give the memory and the compiled code of a test back."""
    yield
    torch._dynamo.reset()
    if device.type == "cuda":
        torch.cuda.empty_cache()


@pytest.fixture
def load_script(monkeypatch):
    """Import a file of this folder that is a script and no part of a package."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"gpu_{name}", Path(__file__).with_name(name))
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def fill_zeros(network, std=0.02):
    """Randomise the branches that start at zero, which would hide differences."""
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=std)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def make_decoder(small):
    """Build a decoder of a published size on the CPU, without zeros; a narrow one if small."""

    def make(size, z_dim=4):
        torch.manual_seed(0)
        wanted = SIZES[size]
        if small:
            wanted = replace(wanted, widths=(32, 32, 32, 64), heads=4, depth=2, groups=8)
        return fill_zeros(SSDDDecoder(wanted, z_dim))

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Return a file with a small encoder and decoder of random weights."""
    torch.manual_seed(0)
    networks = {"encoder": SSDDEncoder(8, 4, base=16), "decoder": SSDDDecoder("XXS", 4)}
    state = {
        f"{role}.{name}": value
        for role, network in networks.items()
        for name, value in fill_zeros(network).state_dict().items()
    }
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(state, path)
    return path


@pytest.fixture
def tokenizer(checkpoint, device):
    """Return a small SSDD of random weights, on the device."""
    return SSDDTokenizer(checkpoint).to(device)


@pytest.fixture(scope="session")
def relative_error():
    """Measure the root mean square of a difference in units of the reference's own."""

    def measure(found, reference):
        found, reference = (x.detach().cpu().double() for x in (found, reference))
        assert found.shape == reference.shape
        return ((found - reference).square().mean() / reference.square().mean()).sqrt().item()

    return measure
