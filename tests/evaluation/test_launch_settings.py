"""Launch settings: refused combinations, and a run on Ray that loses one of its workers."""

import os
import signal
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from scores import measured

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import launch_settings as module
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.launch_settings import Launch, count_gpus
from ssdd_bench.evaluation.progress import Callbacks
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.launch.ranks import Rank
from ssdd_bench.launch.shares import Share
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import parse_requests

CPU, GPU = torch.device("cpu"), torch.device("cuda", 1)


def test_the_gpus_of_a_cluster_are_elsewhere() -> None:
    assert Launch(ray_gpus=1).choose_device("auto").type == "cuda"
    assert Launch(ray_gpus=0).choose_device("auto").type == "cpu"


class Killer(Callbacks):
    """Kills a process of a worker when a third of the images are done."""

    def __init__(self) -> None:
        self.done = 0
        self.killed: list[int] = []

    def images_done(self, job, count):
        self.done += count
        if self.done > 100 and not self.killed:
            below = psutil.Process().children(recursive=True)
            self.killed = [one.pid for one in below if is_host(one)][:1]
            os.kill(self.killed[0], signal.SIGKILL)


def is_host(process: psutil.Process) -> bool:
    try:
        return any("ray::Host" in word for word in process.cmdline())
    except psutil.NoSuchProcess:  # it ended meanwhile, or is a zombie
        return False


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")  # Ray leaves sockets to the garbage collector
def test_a_run_on_ray_that_loses_a_worker_equals_one_in_process(
    make_photos, slow_plugin, tmp_path, monkeypatch, capsys
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv(VARIABLE, str(slow_plugin))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    config = RunConfig(
        requests=tuple(parse_requests("slow,jpeg:quality=30")),
        resolutions=(16,),
        out=tmp_path / "one",
        metrics=("psnr", "ssim", "fd_effnet"),
        data=make_photos(150, (16, 16)),
        device="cpu",
        speed=False,
        pictures=False,
    )
    run_jobs(config)
    monkeypatch.setenv("SLOW_SECONDS", "0.03")
    killer = Killer()
    lost = run_jobs(
        RunConfig(**{**vars(config), "out": tmp_path / "ray"}),
        killer,
        Launch(jobs=2, ray_gpus=0, threads=1),
    )
    assert not lost.failures
    assert killer.killed
    assert measured(tmp_path / "ray") == measured(tmp_path / "one")
    assert capsys.readouterr().out == "", "what Ray says of the death goes to standard error"
    deadline = time.monotonic() + 20
    while any("ray" in one.name() for one in psutil.Process().children(recursive=True)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, False),
        ({"in_process": True, "jobs": 1}, False),
        ({"in_process": True, "jobs": 2}, True),
        ({"jobs": 2, "timeout": 1.0}, False),
        ({"in_process": True, "timeout": 1.0}, True),
        ({"in_process": True, "share": Share(0, 2)}, False),
        ({"ray_gpus": 0, "in_process": True}, True),
        ({"ray_gpus": 0, "rank": Rank(0, 1, 0, 1)}, True),
        ({"ray_gpus": 0, "share": Share(0, 2)}, True),
        ({"ray_gpus": 0, "jobs": 3}, False),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], refused: bool) -> None:
    with pytest.raises(UserError) if refused else nullcontext():
        Launch(**settings)


def test_a_share_is_that_of_the_rank() -> None:
    assert Launch().own_share is None
    assert Launch(share=Share(1, 3)).own_share == Share(1, 3)
    assert Launch(rank=Rank(2, 4, 0, 2)).own_share == Share(2, 4)


@pytest.mark.parametrize(
    ("launch", "device", "devices", "crowds"),
    [
        (Launch(), "cpu", ["cpu"], False),
        (Launch(jobs=2), "cpu", ["cpu", "cpu"], True),
        (Launch(), "cuda", ["cuda:0", "cuda:1", "cuda:2"], False),
        (Launch(), "cuda:1", ["cuda:1"], False),
        (Launch(jobs=2), "cuda", ["cuda:0", "cuda:1"], False),
        (Launch(jobs=4), "cuda", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"], True),
        (Launch(rank=Rank(4, 8, 4, 5)), "cuda", ["cuda:1"], False),
        (Launch(rank=Rank(1, 2, 1, 2)), "cpu", ["cpu"], True),
        (Launch(rank=Rank(1, 2, 0, 1)), "cpu", ["cpu"], False),
        (Launch(in_process=True), "cuda", ["cuda:0", "cuda:1", "cuda:2"], False),
        (Launch(rank=Rank(4, 8, 4, 5)), "cuda:2", ["cuda:2"], False),
        (Launch(rank=Rank(3, 8, 3, 5)), "cuda", ["cuda:0"], False),
        (Launch(ray_gpus=0, jobs=2), "cpu", ["cpu", "cpu"], True),
        (Launch(ray_gpus=0), "cpu", ["cpu"], False),
        (Launch(ray_gpus=1, jobs=2), "cpu", ["cpu", "cpu"], False),
    ],
)
def test_workers_take_the_devices_by_turns(
    monkeypatch: pytest.MonkeyPatch, launch: Launch, device: str, devices: list[str], crowds: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert [*launch.devices(torch.device(device))] == devices
    assert launch.crowds(torch.device(device)) is crowds


@pytest.mark.parametrize(
    ("launch", "device", "expected"),
    [
        (Launch(), "cpu", (["cpu"], (6, 6), (9, 9))),
        (Launch(jobs=2), "cpu", (["cpu"] * 2, (3, 6), (4, 9))),
        (Launch(jobs=4), "cpu", (["cpu"] * 4, (1, 6), (2, 9))),
        (Launch(jobs=7), "cpu", (["cpu"] * 7, (1, 6), (1, 9))),
        (Launch(jobs=2, threads=5), "cpu", (["cpu"] * 2, (5, 5), (4, 9))),
        (Launch(jobs=12), "cpu", (["cpu"] * 12, (1, 6), (1, 9))),
        (Launch(rank=Rank(1, 2, 1, 3)), "cpu", (["cpu"], (6, 6), (3, 9))),
        (Launch(rank=Rank(1, 2, 1, 3), jobs=2), "cpu", (["cpu"] * 2, (3, 6), (1, 9))),
    ],
)
def test_workers_share_threads_and_cores(
    monkeypatch: pytest.MonkeyPatch, launch: Launch, device: str, expected: object
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(module, "cores", lambda: 9)
    monkeypatch.setattr(module, "Processes", lambda *found: found)
    devices, threads, cores, preload = launch.slots(torch.device(device))  # type: ignore[misc]
    assert ([*devices], threads, cores) == expected  # type: ignore[has-type]
    assert preload is module.PRELOAD  # type: ignore[has-type]


def test_one_process_is_the_first_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(module, "InProcess", lambda name: name)
    slots: object = Launch(in_process=True).slots(torch.device("cuda"))
    assert slots == "cuda:0"
    with Launch().connected():
        pass


def test_gpus_of_workers_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_gpus("cpu", 3) == 3
    assert count_gpus("cuda", 0) == 0
    assert (count_gpus("cpu"), count_gpus("cpu", elsewhere=True)) == (0, 0)
    assert count_gpus("auto", elsewhere=True) == count_gpus("cuda", elsewhere=True) == 1
    monkeypatch.setattr(module, "choose_device", {"auto": CPU, "cuda:1": GPU}.__getitem__)
    assert (count_gpus("auto"), count_gpus("cuda:1")) == (0, 1)


def test_without_a_cluster_the_device_is_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_device", {"cuda:1": GPU}.__getitem__)
    assert Launch().choose_device("cuda:1") is GPU


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's slots as they are asked for, on a cluster of five GPUs with eleven cores for each."""
    stand_in = SimpleNamespace(
        RaySlots=lambda count, make, *more: (count, (make.func, make.args, make.keywords), *more),
        count_slots=lambda gpus: 5 // gpus,
        cpus_beside=lambda gpus: 11 * gpus,
        cluster=lambda *given: given,
    )
    monkeypatch.setitem(sys.modules, "ssdd_bench.launch.ray", stand_in)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    monkeypatch.setattr(module, "cores", lambda: 9)


@pytest.mark.parametrize(
    ("launch", "device", "count", "threads", "beside", "cpus"),
    [
        (Launch(ray_gpus=0), CPU, 1, (6, 6), 6, 6),
        (Launch(ray_gpus=0, jobs=2), CPU, 2, (3, 6), 3, 3),
        (Launch(ray_gpus=0, jobs=4), CPU, 4, (1, 6), 1, 1),
        (Launch(ray_gpus=0, jobs=9), CPU, 9, (1, 6), 1, 1),
        (Launch(ray_gpus=0, jobs=4, threads=2), CPU, 4, (2, 2), 2, 2),
        (Launch(ray_gpus=1), GPU, 5, (6, 6), 11, 1),
        (Launch(ray_gpus=2), GPU, 2, (6, 6), 22, 1),
        (Launch(ray_gpus=1, jobs=3), GPU, 3, (6, 6), 11, 1),
        (Launch(ray_gpus=1, threads=4), GPU, 5, (4, 4), 11, 1),
    ],
)
@pytest.mark.usefixtures("ray")
def test_workers_on_ray(
    launch: Launch,
    device: torch.device,
    count: int,
    threads: tuple[int, int],
    beside: int,
    cpus: int,
) -> None:
    """Workers on CPUs share the threads of this machine; each GPU has cores beside it."""
    arguments = ((device.type,), threads, (beside, 9), module.PRELOAD)
    make = (module.Processes, arguments, {})
    found: object = launch.slots(device)
    assert found == (count, make, device.type, launch.ray_gpus, cpus)
    connected: object = launch.connected()
    assert connected == (launch.jobs or 1, launch.ray_gpus, threads[0])
