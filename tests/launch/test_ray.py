"""Workers on a Ray cluster of this machine: the same results and the same words for what breaks."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from threading import Thread

import psutil
import pytest
from dummy_groups import Dummy, Run, Seen, read_log

from ssdd_bench.errors import UserError
from ssdd_bench.launch.processes import Processes, start_server
from ssdd_bench.launch.scheduler import Scheduler

ray = pytest.importorskip("ray")
launch = pytest.importorskip("ssdd_bench.launch.ray")

pytestmark = [
    pytest.mark.slow,
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("default"),
]

CPUS = 2


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Start a cluster with room for two workers and end it with all its processes."""
    start_server()  # of workers of this process, which stays
    before = set(psutil.Process().children(recursive=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        with launch.cluster(CPUS, 0, 1):
            assert ray.cluster_resources()["CPU"] >= CPUS
            yield
            started = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(started, timeout=20)
    assert started
    assert not alive


def run(groups, folder: Path, slots: int = CPUS, **options) -> Seen:
    dummies = [Dummy(name, jobs, folder) for name, jobs in groups.items()]
    seen = Seen(dummies)
    places = launch.RaySlots(slots, partial(Processes, ("cpu",)), "cpu")
    Scheduler(dummies, places, seen, **options).run()
    return seen


def test_results_equal_those_of_one_process(run_dummies: Run, tmp_path: Path) -> None:
    groups = {"a": {"x": 7, "y": 2}, "b": {"x": 5}}
    (tmp_path / "alone").mkdir()
    seen = run(groups, tmp_path)
    assert seen.results == run_dummies(groups, 0, tmp_path / "alone").results
    assert seen.images == {"a/x": 21, "a/y": 6, "b/x": 15}
    assert len({row[1] for row in read_log(tmp_path)}) >= CPUS, "a process for each group"


@pytest.mark.parametrize("fault", ["raise", "sys.exit", "segfault"])
def test_a_fault_costs_its_own_job_as_elsewhere(
    run_dummies: Run, tmp_path: Path, fault: str
) -> None:
    groups = {"a": {"x": f"work {fault}", "y": 2}, "b": {"x": 3}}
    (tmp_path / "local").mkdir()
    local = run_dummies(groups, 2, tmp_path / "local")
    seen = run(groups, tmp_path)
    assert seen.results == local.results
    assert seen.failures.keys() == local.failures.keys() == {"a/x"}
    assert str(seen.failures["a/x"]) == str(local.failures["a/x"])


@pytest.mark.nightly
def test_a_hang_ends_with_its_actor(tmp_path: Path) -> None:
    """A minute, within which an actor starts on a slow machine too."""
    seen = run({"a": {"x": "work hang", "y": 2}, "b": {"x": 3}}, tmp_path, timeout=60)
    assert seen.failures.keys() == {"a/x"}
    assert seen.results.keys() == {"a/y", "b/x"}


@pytest.mark.parametrize("victim", ["actor", "worker"])
def test_one_of_two_is_killed_in_the_middle(tmp_path: Path, victim: str) -> None:
    groups = {"a": {"x": 60}, "b": {"x": 60}}
    killer = Thread(target=kill_one, args=(tmp_path, victim), daemon=True)
    killer.start()
    seen = run(groups, tmp_path)
    killer.join()
    assert (tmp_path / "killed").exists()
    expected = " ".join(f"0.{chunk}" for chunk in range(60))
    assert seen.results == {"a/x": expected, "b/x": expected}
    chunks = [row for row in read_log(tmp_path) if row[3] == "chunk"]
    assert len(chunks) <= 122, "no more than the chunk that was at work is computed again"


def kill_one(folder: Path, victim: str) -> None:
    """Kill the process that wrote the tenth line of the log, or the actor that it belongs to."""
    log = folder / "log"
    while not log.exists() or len(log.read_text().splitlines()) < 10:
        time.sleep(0.01)
    worker = psutil.Process(read_log(folder)[9][1])
    # The actor starts the server that forks the worker.
    pid = worker.pid if victim == "worker" else worker.parent().parent().pid
    if victim == "actor":
        assert "Host" in " ".join(psutil.Process(pid).cmdline())
    os.kill(pid, signal.SIGKILL)
    (folder / "killed").touch()


@pytest.mark.nightly
def test_fewer_machines_than_slots_do_it_all(tmp_path: Path) -> None:
    """A slot for which Ray finds no machine keeps nothing to itself."""
    groups = {name: {"x": 3} for name in "abcd"}
    assert len(run(groups, tmp_path, slots=CPUS + 2).results) == 4


def test_a_folder_that_a_machine_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    places = launch.RaySlots(1, partial(Processes, ("cpu",)), "cpu")
    monkeypatch.chdir(tmp_path)
    gone.rmdir()
    with pytest.raises(UserError, match="gone"):
        Scheduler([Dummy("a", {"x": 1}, tmp_path)], places).run()


def die() -> Processes[str]:
    os._exit(1)


def test_machines_where_nothing_starts_end_the_run(tmp_path: Path) -> None:
    register = ray.cloudpickle.register_pickle_by_value  # workers cannot import this module
    register(sys.modules[__name__])
    places = launch.RaySlots(1, die, "cpu")
    with pytest.raises(UserError, match="no worker starts"):
        Scheduler([Dummy("a", {"x": 1}, tmp_path)], places).run()


def test_that_no_machine_has_room_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "PLACEMENT", 1.0)
    with launch.RaySlots(1, partial(Processes, ("cuda",)), "cuda", gpus=1) as places:
        with pytest.warns(RuntimeWarning, match="1 free GPU"):
            places.wait(lambda slot, event: None)
        assert not places.is_there(0)


def test_the_room_of_the_cluster_is_counted() -> None:
    with pytest.raises(UserError, match="--jobs"):
        launch.count_slots(1)
    assert launch.cpus_beside(1) >= CPUS


def test_a_client_from_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    monkeypatch.setattr(launch.ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match="ray job submit"):
        launch.cluster(1, 0, 1).__enter__()
