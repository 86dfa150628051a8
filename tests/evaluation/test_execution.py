"""Settings of execution: their names, and networks that are left as they were."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import torch
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation import execution as module
from ssdd_bench.evaluation.environment import memory_format
from ssdd_bench.evaluation.execution import (
    DEFAULT_EXECUTION,
    ExecutionSettings,
    PreparedTokenizer,
    autocast,
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


def test_all_that_differs_is_named_in_one_order():
    settings = ExecutionSettings("bfloat16", "default", "channels_last", True)
    assert settings.name(PROTOCOL) == "bfloat16, compiled, channels_last, CUDA graphs"
    expected = {
        "dtype": "bfloat16",
        "compile": "default",
        "memory_format": "channels_last",
        "cuda_graphs": True,
    }
    assert settings.differences(PROTOCOL) == expected
    (warning,) = settings.warnings(PROTOCOL)
    assert "bfloat16" in warning
    assert PROTOCOL.id in warning
    assert PROTOCOL.number_format in warning
    del expected["dtype"]
    assert replace(settings, dtype="float32").differences(PROTOCOL) == expected
    assert replace(settings, dtype=None).differences(PROTOCOL) == expected


def test_a_dtype_takes_the_place_of_the_autocast_of_a_protocol():
    used = ExecutionSettings("float16").applied_to(AUTOCAST)
    assert used == replace(AUTOCAST, dtype="float16", autocast="none")
    assert used.number_format == "float16"
    assert ExecutionSettings().applied_to(AUTOCAST) is AUTOCAST


def test_settings_concern_tokenizers_with_networks():
    settings = ExecutionSettings("float16")
    assert settings.for_tokenizer(Still()) is DEFAULT_EXECUTION
    assert settings.for_tokenizer(Noted(nn.Conv2d(3, 3, 1))) is settings


@pytest.mark.parametrize("compile", ["off", "default"])
def test_cuda_graphs_need_a_gpu_and_compilation(compile):
    with pytest.raises(UserError, match="GPU"):
        ExecutionSettings(compile=compile, cuda_graphs=True).check(CPU)
    if compile == "off":
        with pytest.raises(UserError, match="compile"):
            ExecutionSettings(cuda_graphs=True).check(torch.device("cuda"))
    ExecutionSettings(compile=compile).check(CPU)
    ExecutionSettings(compile="default", cuda_graphs=True).check(torch.device("cuda"))


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


@pytest.mark.slow
def test_networks_of_a_library_are_compiled_for_a_while(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    tokenizer = load_tokenizer("klvae")
    images = torch.rand(1, 3, 32, 32)
    exact = decode(tokenizer, images)[1]
    settings = ExecutionSettings(compile="default")
    with prepare(tokenizer, PROTOCOL, CPU, settings, 32, 1) as prepared:
        assert prepared.compile_s > 0
        assert (decode(tokenizer, images)[1] - exact).abs().max() < 1e-4
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


@pytest.mark.filterwarnings("ignore:.*(is deprecated|is not supported in Python):FutureWarning")
def test_an_exported_program_is_not_compiled(compiler):
    program = torch.jit.trace(nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8))
    tokenizer = from_functions(
        program, program, LatentSpec("continuous", 1, 3), networks={"encoder": program}
    )
    with (
        pytest.raises(UserError, match="exported"),
        prepare(tokenizer, PROTOCOL, CPU, ExecutionSettings(compile="default"), 8, 1),
    ):
        pass
    network = nn.Conv2d(3, 3, 1)  # it comes first, and is not compiled yet
    settings = ExecutionSettings(compile="default")
    prepared = PreparedTokenizer(Noted(network, program), PROTOCOL, CPU, settings, 1)
    with pytest.raises(UserError, match="exported"):
        prepared.compile(8)
    prepared.close()
    assert "forward" not in vars(network)


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


def test_outputs_of_graphs_are_copied_wherever_they_are():
    @dataclass
    class Pair:
        mean: torch.Tensor
        name: str = "x"

    one = torch.ones(2)
    found = clone_tensors((one, [one], {"key": one}, Pair(one), None))
    one.zero_()
    assert found[0].sum() == found[1][0].sum() == found[2]["key"].sum() == found[3].mean.sum() == 2


def test_named_tuples_stay_what_they_are():
    class Two(NamedTuple):
        first: torch.Tensor
        second: str

    one = torch.ones(2)
    found = clone_tensors(Two(one, "x"))
    assert type(found) is Two
    assert found.first is not one
    assert torch.equal(found.first, one)
    assert found.second == "x"


class Noted(Tokenizer):
    """Decodes with one network, and notes what it is called with; ``to`` moves nothing."""

    latent = LatentSpec("continuous", 1, 3)

    def __init__(self, *networks: nn.Module) -> None:
        self.parts = networks
        self.moved, self.encoded, self.decoded = [], [], []

    def networks(self):
        return dict(zip(("decoder", "encoder"), self.parts, strict=False))

    def to(self, device, dtype=None):
        self.moved.append((device, dtype))
        return self

    def encode(self, images, noise=None):
        self.encoded.append((images, noise))
        return Latent(images, (images.shape[-2], images.shape[-1]))

    def decode(self, latent, noise):
        modes = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        self.decoded.append((latent.data, noise, modes))
        return self.parts[0](latent.data)


class Compiler:
    """Stands in for ``torch.compile``: notes its arguments and returns a function that adds 1."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.resets, self.output = [], [], None
        monkeypatch.setattr(torch, "compile", self.compile)
        monkeypatch.setattr(torch.compiler, "reset", lambda: self.resets.append("reset"))

    def compile(self, forward, **options):
        self.asked.append((forward, options))

        def compiled(*inputs, **keywords):
            self.output = forward(*inputs, **keywords) + 1
            return self.output

        return compiled


@pytest.fixture
def compiler(monkeypatch):
    return Compiler(monkeypatch)


@pytest.mark.parametrize("posterior", ["mode", "sample"])
def test_the_first_call_is_that_of_an_evaluation(posterior, compiler, monkeypatch):
    now = [10.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    class Slow(Noted):
        def encode(self, images, noise=None):
            now[0] += 2.0
            return super().encode(images, noise)

        def decode(self, latent, noise):
            now[0] += 0.5
            return super().decode(latent, noise)

    network = nn.Conv2d(3, 3, 1)
    tokenizer = Slow(network)
    protocol = replace(AUTOCAST, posterior=posterior)
    prepared = PreparedTokenizer(tokenizer, protocol, CPU, ExecutionSettings(compile="default"), 2)
    assert prepared.compile_s is None
    assert not prepared.is_exact
    prepared.compile(8)
    assert prepared.compile_s == 2.5
    ((images, encoding),), ((latent, decoding, modes),) = tokenizer.encoded, tokenizer.decoded
    assert torch.equal(images, torch.full((2, 3, 8, 8), 0.5))
    assert latent is images
    assert modes == (True, True)
    for noise, stream in ((encoding, "encode"), (decoding, "decode")):
        if stream == "encode" and posterior == "mode":
            assert noise is None
            continue
        assert noise.ids == ("0", "1")
        expected = KeyedNoise(0, ["0", "1"], stream).normal((3, 8, 8))
        assert torch.equal(noise.normal((3, 8, 8)), expected)


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (ExecutionSettings(compile="default"), "default"),
        (ExecutionSettings(compile="max-autotune"), "max-autotune-no-cudagraphs"),
        (ExecutionSettings(compile="default", cuda_graphs=True), "reduce-overhead"),
        (ExecutionSettings(compile="max-autotune", cuda_graphs=True), "max-autotune"),
    ],
)
def test_each_network_runs_compiled_until_the_end(settings, mode, compiler, monkeypatch):
    steps = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append("step"))
    inner = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.ModuleList([nn.Conv2d(3, 3, 1)])])
    networks = [nn.Conv2d(3, 3, 1), inner]
    parts = [networks[0], inner[0], inner[1][0]]
    assert [*callable_parts(networks)] == parts
    images = torch.rand(1, 3, 4, 4)
    before = [part(images) for part in parts]
    inside = [in_channels_last(part)(images) for part in parts]
    eager = [part.forward for part in parts]
    prepared = PreparedTokenizer(Noted(*networks), PROTOCOL, CPU, settings, 1)
    prepared.compile(4)
    assert compiler.asked == [(one, {"dynamic": False, "mode": mode}) for one in eager]
    del steps[:]
    for part, expected in zip(parts, inside, strict=True):
        found = part(input=images)
        assert torch.equal(found, expected + 1)
        assert (found is compiler.output) is not settings.cuda_graphs
    assert steps == ["step"] * 3 * settings.cuda_graphs
    assert not prepared.is_exact
    with prepared.float32():
        assert all(map(torch.equal, [part(images) for part in parts], inside))
    assert all(map(torch.equal, [part(images) for part in parts], [one + 1 for one in inside]))
    assert not compiler.resets
    prepared.close()
    assert compiler.resets == ["reset"]
    assert all(map(torch.equal, [part(images) for part in parts], before))
    assert not any("forward" in vars(part) for part in parts)


@pytest.mark.parametrize(
    ("eager", "compiled", "sizes", "fits"),
    [
        (64, 64, ["64 compiled"], 64),
        (64, 63, ["64 compiled", "32", "32 compiled"], 32),
        (8, 8, ["64 compiled", "32", "16", "8", "8 compiled"], 8),
        (16, 8, ["64 compiled", "32", "16", "16 compiled", "8 compiled"], 8),
    ],
)
def test_compilation_halves_the_batch_where_memory_ends(
    eager, compiled, sizes, fits, compiler, monkeypatch
):
    """Networks are not compiled for each batch on the way: eager calls find what fits."""
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    tried, network = [], nn.Conv2d(3, 3, 1)

    class Small(Noted):
        def decode(self, latent, noise):
            is_compiled = "forward" in vars(network)
            tried.append(f"{len(latent)} compiled" if is_compiled else f"{len(latent)}")
            if len(latent) > (compiled if is_compiled else eager):
                raise torch.OutOfMemoryError("no memory left")
            return super().decode(latent, noise)

    settings = ExecutionSettings(compile="default")
    with prepare(Small(network), PROTOCOL, CPU, settings, 8, 64) as prepared:
        assert tried == sizes
        assert prepared.splitter.size == fits
        assert len(prepared.splitter.warnings) == {64: 0, 32: 1, 8: 3}[fits]
        assert prepared.compile_s > 0
        assert len(compiler.resets) == (fits < 64)  # the graphs that did not fit
        assert "forward" in vars(network)
    assert "forward" not in vars(network)


def test_compilation_of_a_network_that_does_not_fit_at_all(compiler, monkeypatch):
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)

    def fail(error):
        raise error

    network, settings = nn.Conv2d(3, 3, 1), ExecutionSettings(compile="default")
    tokenizer = Noted(network)
    for error, expected in (
        (torch.OutOfMemoryError("no memory left"), UserError),
        (RuntimeError("something else"), RuntimeError),
    ):
        tokenizer.decode = lambda latent, noise, error=error: fail(error)
        with pytest.raises(expected), prepare(tokenizer, PROTOCOL, CPU, settings, 8, 4):
            pass
        assert "forward" not in vars(network)


def test_nothing_is_reset_without_compilation(compiler):
    prepared = PreparedTokenizer(Noted(nn.Conv2d(3, 3, 1)), PROTOCOL, CPU, DEFAULT_EXECUTION, 1)
    prepared.close()
    assert not compiler.resets
    assert not compiler.asked


def test_the_clock_waits_for_a_gpu(compiler, monkeypatch):
    """The device is said to be a GPU; the tensors stay on the CPU."""
    gpu, full, seen = torch.device("cuda"), torch.full, []

    def on_cpu(shape, value, device):
        seen.append(("full", device))
        return full(shape, value)

    monkeypatch.setattr(torch, "full", on_cpu)
    monkeypatch.setattr(module, "autocast", lambda device, protocol: nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: seen.append(("wait", device)))
    settings = ExecutionSettings(compile="default")
    prepared = PreparedTokenizer(Noted(nn.Conv2d(3, 3, 1)), PROTOCOL, gpu, settings, 1)
    prepared.compile(4)
    assert seen == [("full", gpu), ("wait", gpu)]


@pytest.mark.parametrize("newer", [True, False])
def test_every_size_may_have_its_graph(newer, compiler, monkeypatch):
    """The limit has two names in PyTorch's versions, and holds while the tokenizer is used."""
    name = "recompile_limit" if newer else "cache_size_limit"
    config = SimpleNamespace(**{name: 8})

    @contextmanager
    def patch(changes: dict[str, int]) -> Iterator[None]:
        vars(config).update(changes)
        yield
        vars(config)[name] = 8

    config.patch = patch
    monkeypatch.setitem(vars(torch), "_dynamo", SimpleNamespace(config=config))
    tokenizer, settings = Noted(nn.Conv2d(3, 3, 1)), ExecutionSettings(compile="default")
    with prepare(tokenizer, PROTOCOL, CPU, settings, 8, 2) as prepared:
        assert vars(config) == {name: module.RECOMPILE_LIMIT, "patch": patch}
        assert prepared.tokenizer is tokenizer
        assert tokenizer.encoded[0][0].shape == (2, 3, 8, 8)
    assert vars(config)[name] == 8
    assert compiler.resets == ["reset"]


class Videos(nn.Sequential):
    """Has weights of four and of five dimensions."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.Conv3d(4, 3, 1))


@pytest.mark.parametrize(
    ("networks", "choice", "exact"),
    [
        ((nn.Conv2d(3, 3, 1),), "auto", True),
        ((nn.Conv2d(3, 3, 1),), "channels_last", True),
        ((nn.Conv2d(3, 3, 1),), "contiguous", False),
        ((nn.Conv2d(3, 3, 1), nn.Linear(3, 3)), "contiguous", False),
        ((nn.Linear(3, 3), nn.Conv2d(3, 3, 1)), "contiguous", False),
        ((nn.Linear(3, 3),), "channels_last", True),
        ((nn.Conv2d(3, 3, 1), Videos()), "channels_last", True),
        ((), "contiguous", True),
    ],
)
def test_another_memory_format_is_not_exact(networks, choice, exact):
    settings = ExecutionSettings(memory_format=choice)
    assert PreparedTokenizer(Noted(*networks), PROTOCOL, CPU, settings, 1).is_exact is exact


def test_weights_of_videos_keep_their_format():
    network = Videos()
    settings = ExecutionSettings(memory_format="channels_last")
    PreparedTokenizer(Noted(network), PROTOCOL, CPU, settings, 1)
    assert memory_format([network[0]]) == "contiguous"


@pytest.mark.parametrize(
    ("protocol", "device", "exact"),
    [
        (PROTOCOL, CPU, True),
        (replace(PROTOCOL, tf32=True), CPU, True),
        (replace(PROTOCOL, tf32=True), torch.device("cuda"), False),
        (replace(PROTOCOL, tf32=False), torch.device("cuda"), True),
        (replace(PROTOCOL, dtype="float16"), CPU, False),
        (replace(PROTOCOL, autocast="bfloat16"), CPU, False),
    ],
)
def test_other_numbers_are_not_exact(protocol, device, exact):
    tokenizer = Noted(nn.Conv2d(3, 3, 1))
    assert PreparedTokenizer(tokenizer, protocol, device, DEFAULT_EXECUTION, 1).is_exact is exact
    dtype = {"float32": torch.float32, "float16": torch.float16}[protocol.dtype]
    assert tokenizer.moved == [(device, torch.float32), (device, dtype)]


def test_the_best_memory_format_is_that_of_the_dtype():
    """Channels-last is faster on a GPU for half precision alone."""
    gpu = torch.device("cuda")
    for dtype, found in (("float32", "contiguous"), ("bfloat16", "channels_last")):
        network = nn.Conv2d(3, 4, 3)
        used = replace(PROTOCOL, dtype=dtype)
        PreparedTokenizer(Noted(network), used, gpu, DEFAULT_EXECUTION, 1)
        assert memory_format([network]) == found


def in_channels_last(network):
    """A copy in the memory format of a CPU, in which the last bit of a convolution may differ."""
    return deepcopy(network).to(memory_format=torch.channels_last)


def test_parameters_and_buffers_are_put_back():
    """A network in half precision while it is used; each tensor is the one before, and no other."""

    class Moved(Noted):
        def to(self, device, dtype=None):
            super().to(device, dtype)
            return Tokenizer.to(self, device, dtype)

    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3)))
    network.eval()
    images = torch.rand(1, 3, 4, 4)
    expected, inside = network(images), in_channels_last(network)(images)
    modules = [*network.modules()]
    before = {name: one.data_ptr() for name, one in network.state_dict().items()}
    attributes = [{*vars(one)} for one in modules]
    used = replace(PROTOCOL, dtype="bfloat16")
    prepared = PreparedTokenizer(Moved(network), used, CPU, DEFAULT_EXECUTION, 1)
    floats = [one for one in network.state_dict().values() if one.is_floating_point()]
    assert {one.dtype for one in floats} == {torch.bfloat16}
    with prepared.float32() as tokenizer:
        assert tokenizer is prepared.tokenizer
        assert torch.equal(network(images), inside)
    floats = [one for one in network.state_dict().values() if one.is_floating_point()]
    assert {one.dtype for one in floats} == {torch.bfloat16}
    prepared.close()
    assert {name: one.data_ptr() for name, one in network.state_dict().items()} == before
    assert [{*vars(one)} for one in modules] == attributes
    assert torch.equal(network(images), expected)


def test_the_context_of_the_networks_under_test(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *given, **options: (given, options))
    gpu = torch.device("cuda", 1)
    assert autocast(gpu, AUTOCAST) == (("cuda", torch.bfloat16), {"enabled": True})
    assert autocast(CPU, PROTOCOL) == (("cpu", torch.bfloat16), {"enabled": False})
