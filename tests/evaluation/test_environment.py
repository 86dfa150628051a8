"""The record of the settings of execution."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from ssdd_bench.evaluation import environment
from ssdd_bench.evaluation.environment import choose_load_threads, describe_execution, memory_format

CPU = torch.device("cpu")


def network(channels_last: bool) -> nn.Module:
    format_ = torch.channels_last if channels_last else torch.contiguous_format
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1), nn.Linear(2, 2))
    return layers.to(memory_format=format_)


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        ([], "none"),
        ([nn.Linear(2, 2)], "none"),
        ([network(True), nn.Linear(2, 2)], "channels_last"),
        ([network(False)], "contiguous"),
        ([network(False), network(True)], "mixed"),
    ],
)
def test_memory_format_is_that_of_the_weights_where_it_matters(networks, expected):
    assert memory_format(networks) == expected


def test_threads_and_format_are_those_of_now():
    found = describe_execution(CPU, [network(True)], "bfloat16 autocast")
    assert found.threads == torch.get_num_threads()
    assert (found.device, found.dtype) == ("cpu", "bfloat16 autocast")
    assert (found.memory_format, found.cudnn) == ("channels_last", None)
    assert found.cpu_kernels == torch.backends.cpu.get_cpu_capability()


def test_onednn_is_recorded_as_it_is_switched():
    before = describe_execution(CPU).onednn
    torch._C._set_mkldnn_enabled(False)
    try:
        assert describe_execution(CPU).onednn is False
    finally:
        torch._C._set_mkldnn_enabled(bool(before))


@pytest.mark.slow
def test_memory_is_kept_only_after_it_was_asked_for():
    code = (
        "import torch\n"
        "from ssdd_bench.evaluation.environment import describe_execution as look\n"
        "from ssdd_bench.evaluation.memory import keep_freed_memory\n"
        "cpu = torch.device('cpu')\n"
        "before = look(cpu).kept_memory\n"
        "print(before, keep_freed_memory() == look(cpu).kept_memory)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"


@pytest.mark.parametrize(
    ("device", "cores", "threads", "has_networks", "expected"),
    [
        ("cuda", 8, 8, True, 8),
        ("cuda", 64, 64, True, 16),
        ("cpu", 8, 8, True, 0),  # the network has them all
        ("cpu", 8, 6, True, 2),
        ("cpu", 8, 8, False, 7),  # a codec takes one
        ("cpu", 2, 8, True, 0),
        ("cpu", 1, 1, False, 0),
    ],
)
def test_loading_takes_no_core_from_a_network(
    device, cores, threads, has_networks, expected, monkeypatch
):
    monkeypatch.setattr(environment, "cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert choose_load_threads(None, torch.device(device), has_networks) == expected
    assert choose_load_threads(5, torch.device(device), has_networks) == 5
    assert choose_load_threads(0, torch.device(device), has_networks) == 0
