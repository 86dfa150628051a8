"""Memory formats by one rule, and TF32 switched off and restored."""

import pytest
import torch
from torch import nn

from ssdd_bench.api.formats import (
    PRECISIONS,
    choose_memory_format,
    has_kernels,
    set_memory_format,
    tf32,
)
from ssdd_bench.evaluation.environment import memory_format
from ssdd_bench.plugins.registry import load_tokenizer

CONVOLUTION, LINEAR = nn.Conv2d(3, 4, 3), nn.Linear(3, 4)
VIDEO = nn.Sequential(CONVOLUTION, nn.Conv3d(3, 4, 3))


@pytest.mark.parametrize(
    ("network", "device", "dtype", "expected"),
    [
        (CONVOLUTION, "cpu", torch.float32, torch.channels_last),
        (CONVOLUTION, "cpu", torch.bfloat16, torch.channels_last),
        (CONVOLUTION, "cpu", torch.float16, torch.contiguous_format),
        (CONVOLUTION, "cuda", torch.float32, torch.contiguous_format),
        (CONVOLUTION, "cuda:1", torch.bfloat16, torch.channels_last),
        (CONVOLUTION, "cuda", torch.float16, torch.channels_last),
        (LINEAR, "cpu", torch.float32, torch.contiguous_format),
        (VIDEO, "cpu", torch.float32, torch.contiguous_format),
    ],
)
def test_the_rule(network, device, dtype, expected):
    assert choose_memory_format(network, device, dtype) == expected


@pytest.mark.parametrize(
    ("dtype", "name"), [(torch.bfloat16, "bf16"), (torch.float16, "fp16"), (torch.float32, "")]
)
@pytest.mark.parametrize("there", [True, False])
def test_a_cpu_is_asked_for_half_precision(monkeypatch, dtype, name, there):
    for one in ("bf16", "fp16"):
        found = (lambda: there) if one == name else (lambda: not there)
        monkeypatch.setattr(torch.ops.mkldnn, f"_is_mkldnn_{one}_supported", found)
    assert has_kernels(dtype, "cpu") is (there or not name)
    assert has_kernels(dtype, "cuda")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert has_kernels(dtype, "cpu") is (not name)


def test_networks_are_converted_where_they_lie():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(3, 4))
    set_memory_format([network, nn.Linear(2, 2)])
    assert memory_format([network]) == "channels_last"


@pytest.mark.medium
@pytest.mark.parametrize("name", ["ssdd", "klvae", "diffusion"])
def test_every_tokenizer_is_loaded_in_the_format_of_the_rule(name):
    assert memory_format(load_tokenizer(name).networks().values()) == "channels_last"


has_newer = hasattr(torch.backends.cuda.matmul, "fp32_precision")
newer = pytest.mark.skipif(not has_newer, reason="PyTorch before 2.9")


@pytest.fixture
def restored():
    """Put PyTorch's precisions back."""
    before = {one: one.get() for one in PRECISIONS.values()}
    yield
    for one, value in before.items():
        one.put(value)
    assert {one: one.get() for one in before} == before


def parts():
    if not has_newer:
        return []
    owners = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    return [part.fp32_precision for part in owners]


@newer
@pytest.mark.parametrize("before", ["tf32", "ieee", "none"])
def test_tf32_is_off_and_then_as_before(before, restored):
    """Also where the user has set it by PyTorch's newer interface."""
    torch.backends.cudnn.conv.fp32_precision = before  # and not that of the others
    now = parts()
    with tf32(False):
        assert parts() == ["ieee"] * 3
        with tf32(True):
            assert parts() == ["tf32"] * 3
        assert parts() == ["ieee"] * 3
    assert parts() == now


def older():
    backends = torch.backends
    found = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    return *found, torch.get_float32_matmul_precision()


@pytest.mark.parametrize("matmul", ["highest", "high", "medium"])
@pytest.mark.parametrize("cudnn", [True, False])
def test_tf32_is_set_by_the_older_interface_too(matmul, cudnn, restored):
    """Its getters raise errors where the newer one says something else."""
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = cudnn
    before = older(), parts()
    with tf32(False):
        assert older() == (False, False, "highest")
        with tf32(True):
            assert older() == (True, True, "high")
            with torch.backends.cudnn.flags(enabled=False):  # reads and restores all flags
                assert not torch.backends.cudnn.enabled
            assert older() == (True, True, "high")
        assert older() == (False, False, "highest")
        assert parts() == ["ieee"] * len(parts())
    assert (older(), parts()) == before == ((matmul != "highest", cudnn, matmul), before[1])


@newer
@pytest.mark.parametrize("allowed", [True, False])
def test_a_mixture_of_the_interfaces_is_left_as_it_was(allowed, restored):
    backends = torch.backends
    backends.cuda.matmul.fp32_precision = backends.cudnn.rnn.fp32_precision = "tf32"
    backends.cudnn.conv.fp32_precision = backends.mkldnn.conv.fp32_precision = "ieee"
    before = [one.get() for one in PRECISIONS.values()]
    with tf32(allowed):
        assert older() == (allowed, allowed, "high" if allowed else "highest")
    assert [one.get() for one in PRECISIONS.values()] == before


def test_what_stands_already_is_not_touched(monkeypatch):
    """Another thread may compute while a context of the same kind is entered."""
    with tf32(False):
        calls = []
        for one in PRECISIONS.values():
            monkeypatch.setattr(one, "_put", calls.append)
        with tf32(False):
            assert older() == (False, False, "highest")
        assert not calls
        monkeypatch.undo()
