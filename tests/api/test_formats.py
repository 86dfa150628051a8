"""Memory formats by one rule, and TF32 switched off and restored."""

import pytest
import torch
from torch import nn

from ssdd_bench.api.formats import choose_memory_format, has_kernels, set_memory_format, tf32
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
    chosen, reason = choose_memory_format(network, device, dtype)
    assert chosen == expected
    assert reason


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


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="PyTorch before 2.9"
)
@pytest.mark.parametrize("before", ["tf32", "ieee", "none"])
def test_tf32_is_off_and_then_as_before(before, monkeypatch):
    """Also where the user has set it by PyTorch's newer interface."""
    parts = [torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn]
    old = [part.fp32_precision for part in parts]
    try:
        torch.backends.cudnn.conv.fp32_precision = before  # and not that of the others
        now = [part.fp32_precision for part in parts]
        with tf32(False):
            assert [part.fp32_precision for part in parts] == ["ieee"] * 3
            with tf32(True):
                assert [part.fp32_precision for part in parts] == ["tf32"] * 3
            assert [part.fp32_precision for part in parts] == ["ieee"] * 3
        assert [part.fp32_precision for part in parts] == now
    finally:
        for part, value in zip(parts, old, strict=True):
            part.fp32_precision = value
    assert isinstance(torch.backends.cudnn.allow_tf32, bool)  # the older interface works again
