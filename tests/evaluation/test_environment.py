"""The record of the settings of execution."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

import ssdd_bench
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import environment
from ssdd_bench.evaluation.environment import (
    LIBRARIES,
    choose_device,
    choose_load_threads,
    describe_environment,
    describe_execution,
    hide_home,
    memory_format,
)
from ssdd_bench.evaluation.memory import freed_memory_is_kept

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
    assert found.kept_memory is freed_memory_is_kept()


def test_onednn_is_recorded_as_it_is_switched():
    before = describe_execution(CPU).onednn
    torch._C._set_mkldnn_enabled(False)
    try:
        assert describe_execution(CPU).onednn is False
    finally:
        torch._C._set_mkldnn_enabled(bool(before))


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
    monkeypatch.setattr(environment, "own_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert choose_load_threads(None, torch.device(device), has_networks) == expected
    assert choose_load_threads(5, torch.device(device), has_networks) == 5
    assert choose_load_threads(0, torch.device(device), has_networks) == 0


def test_every_field_of_the_machine(monkeypatch):
    monkeypatch.setattr(environment, "git_commit", lambda: "ab+")
    monkeypatch.setattr(environment, "cpu_name", lambda: "x")
    monkeypatch.setattr(environment, "cores", lambda: 3)
    monkeypatch.setattr(environment, "LIBRARIES", ("numpy", "no-such-library"))
    plain = {
        "ssdd_bench": ssdd_bench.__version__,
        "commit": "ab+",
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "cpu": "x",
        "cores": 3,
        "memory_bytes": psutil.virtual_memory().total,
        "gpu_driver": None,
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "no-such-library": None,
    }
    assert describe_environment(CPU) == plain
    asked = []
    monkeypatch.setattr(environment, "_output", lambda *all: asked.append(all) or "5.1\n5.2")
    assert describe_environment(torch.device("cuda"))["gpu_driver"] == "5.1"
    assert asked == [("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")]
    monkeypatch.setattr(environment, "_output", lambda *command: None)
    assert describe_environment(torch.device("cuda"))["gpu_driver"] is None
    assert len(LIBRARIES) == len({*LIBRARIES})


def test_a_program_that_answers_or_does_not():
    assert environment._output(sys.executable, "-c", "print(' a ')") == "a"
    assert environment._output(sys.executable, "-c", "exit(1)") is None
    assert environment._output("/no/such/program") is None


def test_the_commit_has_forty_digits(monkeypatch, tmp_path):
    def git(*command):
        done = subprocess.run(["git", "-C", tmp_path, *command], check=True, capture_output=True)
        return done.stdout.decode().strip()

    package = tmp_path / "ssdd_bench" / "__init__.py"
    package.parent.mkdir()
    package.write_text("")
    monkeypatch.setattr(ssdd_bench, "__file__", str(package))
    assert environment.git_commit() is None
    git("init", "--quiet")
    git("add", ".")
    somebody = ("-c", "user.name=a", "-c", "user.email=a@b")
    git(*somebody, "commit", "--quiet", "-m", "one")
    git(*somebody, "tag", "--annotate", "-m", "one", "v1")
    commit = git("rev-parse", "HEAD")
    assert environment.git_commit() == commit
    package.write_text("changed")
    assert environment.git_commit() == f"{commit}+"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("x: y\nmodel name\t: Fast: 9 \nmodel name\t: Slow\n", "Fast: 9"),
        ("x: y\n", "z"),
        (None, "z"),
    ],
)
def test_the_processor_has_a_name(monkeypatch, tmp_path, text, name):
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "Path", lambda path: tmp_path / path.removeprefix("/"))
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "z")
    assert environment.cpu_name() == name
    monkeypatch.setattr(platform, "processor", lambda: "p")
    assert environment.cpu_name() == (name if name != "z" else "p")


def test_devices_by_name(monkeypatch):
    assert choose_device("cpu") == choose_device(CPU) == CPU
    for wrong in ("nonsense", "cuda:77"):
        with pytest.raises(UserError, match=wrong):
            choose_device(wrong)
    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda value=there: value)
        assert choose_device("auto").type == ("cuda" if there else "cpu")


def test_names_of_owners_are_hidden(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    assert hide_home("run /home/me/x /home/me") == "run ~/x ~"
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert hide_home("run /x") == "run /x"


def test_a_gpu_has_its_model_and_cudnn(monkeypatch):
    asked = []
    gpu = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda one: asked.append(one) or "H200")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    found = describe_execution(gpu)
    assert (found.device, found.cudnn, found.dtype) == ("H200", 91000, "float32")
    assert asked == [gpu]
