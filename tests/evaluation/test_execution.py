"""Settings of execution: their names, and networks that are left as they were."""

from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import nn

from ssdd_bench.api import LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.environment import memory_format
from ssdd_bench.evaluation.execution import (
    ExecutionSettings,
    callable_parts,
    clone_tensors,
    prepare,
)
from ssdd_bench.plugins.adapters.functions import from_functions
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.protocols.registry import get_protocol

CPU = torch.device("cpu")
PROTOCOL = get_protocol("default-v1")
AUTOCAST = get_protocol("ssdd-paper-v1")


@pytest.mark.parametrize(
    ("settings", "protocol", "name", "warned"),
    [
        ({}, PROTOCOL, "", False),
        ({"dtype": "float32"}, PROTOCOL, "", False),
        ({"dtype": "bfloat16"}, PROTOCOL, "bfloat16", True),
        ({"dtype": "bfloat16"}, AUTOCAST, "bfloat16", True),
        ({"dtype": "float32"}, AUTOCAST, "float32", True),
        ({"compile": "default", "cuda_graphs": True}, PROTOCOL, "compiled, CUDA graphs", False),
        ({"compile": "max-autotune"}, PROTOCOL, "max-autotune", False),
        ({"memory_format": "contiguous"}, PROTOCOL, "contiguous", False),
    ],
)
def test_only_what_differs_is_named_and_hashed(settings, protocol, name, warned):
    settings = ExecutionSettings(**settings)
    assert settings.name(protocol) == name
    assert bool(settings.differences(protocol)) == bool(name)
    assert bool([*settings.warnings(protocol)]) == warned


def test_a_dtype_takes_the_place_of_the_autocast_of_a_protocol():
    used = ExecutionSettings("float16").applied_to(AUTOCAST)
    assert (used.dtype, used.autocast, used.number_format) == ("float16", "none", "float16")
    assert ExecutionSettings().applied_to(AUTOCAST) is AUTOCAST


@pytest.mark.parametrize("compile", ["off", "default"])
def test_cuda_graphs_need_a_gpu_and_compilation(compile):
    with pytest.raises(UserError, match="GPU"):
        ExecutionSettings(compile=compile, cuda_graphs=True).check(CPU)
    if compile == "off":
        with pytest.raises(UserError, match="compile"):
            ExecutionSettings(cuda_graphs=True).check(torch.device("cuda"))


def tensors(tokenizer):
    return [p for network in tokenizer.networks().values() for p in network.parameters()]


def decode(tokenizer, images):
    latent = tokenizer.encode(images)
    return latent, tokenizer.decode(latent, KeyedNoise(0, ["a"], "decode"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdd", "klvae"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_are_narrow_for_a_while_and_images_never(name, dtype):
    tokenizer = load_tokenizer(name)
    before = [one.data_ptr() for one in tensors(tokenizer)]
    images = torch.rand(1, 3, 32, 32)
    _, exact = decode(tokenizer, images)
    used = replace(PROTOCOL, dtype=dtype)
    with prepare(tokenizer, used, CPU, ExecutionSettings(dtype), 32, 1) as prepared:
        assert {one.dtype for one in tensors(tokenizer)} == {getattr(torch, dtype)}
        assert not prepared.is_exact
        latent, decoded = decode(tokenizer, images)
        assert latent.data.dtype == decoded.dtype == torch.float32
        assert 0 < (decoded - exact).abs().max() < 0.1
        with prepared.float32():
            _, again = decode(tokenizer, images)
            assert torch.equal(again, exact)
        assert torch.equal(decode(tokenizer, images)[1], decoded)
    assert [one.data_ptr() for one in tensors(tokenizer)] == before
    assert torch.equal(decode(tokenizer, images)[1], exact)


@pytest.mark.parametrize(
    ("choice", "found", "exact"),
    [("auto", "channels_last", True), ("contiguous", "contiguous", False)],
)
def test_memory_format(choice, found, exact):
    tokenizer = load_tokenizer("klvae")
    for network in tokenizer.networks().values():
        network.to(memory_format=torch.contiguous_format)
    settings = ExecutionSettings(memory_format=choice)
    with prepare(tokenizer, PROTOCOL, CPU, settings, 32, 1) as prepared:
        assert memory_format(tokenizer.networks().values()) == found
        assert prepared.is_exact == exact
    assert memory_format(tokenizer.networks().values()) == "contiguous"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdd", "klvae"])
def test_networks_are_compiled_for_a_while(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    tokenizer = load_tokenizer(name)
    images = torch.rand(1, 3, 32, 32)
    exact = decode(tokenizer, images)[1]
    parts = [*callable_parts(tokenizer.networks().values())]
    settings = ExecutionSettings(compile="default")
    with prepare(tokenizer, PROTOCOL, CPU, settings, 32, 1) as prepared:
        assert prepared.compile_s > 0
        assert not prepared.is_exact
        assert all("forward" in vars(part) for part in parts)
        assert (decode(tokenizer, images)[1] - exact).abs().max() < 1e-4
        with prepared.float32():
            assert not any("forward" in vars(part) for part in parts)
        assert all("forward" in vars(part) for part in parts)
    assert not any("forward" in vars(part) for part in parts)
    assert torch.equal(decode(tokenizer, images)[1], exact)


@pytest.mark.slow
def test_kernels_of_the_real_compiler_give_the_same_images():
    """Also for batches of other sizes, each of which is compiled on its own."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 3, 1))
    tokenizer = from_functions(
        lambda images: images,
        network,
        LatentSpec("continuous", 1, 3),
        networks={"decoder": network},
    )
    images = torch.rand(3, 3, 16, 16)
    exact = decode(tokenizer, images)[1]
    settings = ExecutionSettings(compile="default")
    with prepare(tokenizer, PROTOCOL, CPU, settings, 16, 1) as prepared:
        for size in (1, 2, 3):
            with torch.inference_mode():
                found = decode(tokenizer, images[:size])[1]
            torch.testing.assert_close(found, exact[:size], rtol=0, atol=1e-5)
        assert prepared.compile_s > 0


@pytest.mark.filterwarnings("ignore:.*is deprecated:FutureWarning")
def test_an_exported_program_is_not_compiled():
    program = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8))
    tokenizer = from_functions(
        program, program, LatentSpec("continuous", 1, 3), networks={"encoder": program}
    )
    with (
        pytest.raises(UserError, match="exported"),
        prepare(tokenizer, PROTOCOL, CPU, ExecutionSettings(compile="default"), 8, 1),
    ):
        pass


@pytest.mark.slow
def test_the_first_calls_of_compiled_networks_are_guarded():
    network = nn.Conv2d(3, 3, 1)

    def leave(latent):
        raise SystemExit(0)

    def change(latent):
        torch.set_default_dtype(torch.float64)
        return network(latent)

    def made(decoder):
        return from_functions(
            lambda images: images,
            decoder,
            LatentSpec("continuous", 1, 3),
            networks={"decoder": network},
        )

    settings, guard = ExecutionSettings(compile="default"), Guard("plugin")
    with (
        pytest.raises(PluginError, match="plugin called"),
        prepare(made(leave), PROTOCOL, CPU, settings, 8, 1, guard),
    ):
        pass
    with prepare(made(change), PROTOCOL, CPU, settings, 8, 1, guard):
        assert torch.get_default_dtype() == torch.float32
        assert guard.changed == ("torch's default dtype",)


def test_moving_the_networks_is_guarded():
    class Moves(Still):
        def to(self, device, dtype=None):
            torch.set_default_dtype(torch.float64)
            return super().to(device, dtype)

    guard = Guard("plugin")
    with prepare(Moves(), PROTOCOL, CPU, ExecutionSettings(), 8, 1, guard):
        assert torch.get_default_dtype() == torch.float32
    assert guard.changed == ("torch's default dtype",)


class Still(Tokenizer):
    """A tokenizer that is never called."""

    latent = LatentSpec("continuous", 1, 3)

    def encode(self, images, noise=None):
        raise AssertionError

    def decode(self, latent, noise):
        raise AssertionError


def test_functions_get_images_in_the_dtype_of_their_networks():
    network = nn.Conv2d(3, 3, 1)
    tokenizer = from_functions(
        network, network, LatentSpec("continuous", 1, 3), networks={"encoder": network}
    ).to("cpu", torch.bfloat16)
    assert tokenizer.encode(torch.rand(1, 3, 8, 8)).data.dtype == torch.float32


def test_outputs_of_graphs_are_copied_wherever_they_are():
    @dataclass
    class Pair:
        mean: torch.Tensor
        name: str = "x"

    one = torch.ones(2)
    found = clone_tensors((one, [one], {"key": one}, Pair(one), None))
    one.zero_()
    assert found[0].sum() == found[1][0].sum() == found[2]["key"].sum() == found[3].mean.sum() == 2
