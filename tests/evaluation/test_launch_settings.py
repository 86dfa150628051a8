"""Launch settings: refused combinations, and a run on Ray that loses one of its workers."""

import os
import signal
import time

import psutil
import pytest
from scores import measured

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.progress import Callbacks
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.launch.shares import Share
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import parse_requests


def test_workers_on_ray_take_no_shares() -> None:
    with pytest.raises(UserError, match="shares"):
        Launch(ray_gpus=0, share=Share(0, 2)).check()


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


@pytest.mark.slow
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
