"""A Ray cluster of two machines, both of which are processes of this one; the second is lost."""

import threading
import time
from functools import partial
from pathlib import Path

import pytest
from dummy_groups import Dummy, Seen, read_log

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from ssdd_bench.launch.processes import Processes  # noqa: E402
from ssdd_bench.launch.ray import RaySlots, cluster  # noqa: E402
from ssdd_bench.launch.scheduler import Scheduler  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
CHUNKS = 150


@pytest.fixture
def machines():
    """Start two machines with room for one worker each."""
    both = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = both.add_node(num_cpus=1)
    yield both, second
    both.shutdown()


def test_the_work_of_a_machine_that_is_lost_goes_to_another(machines, tmp_path, monkeypatch):
    """RAY_ADDRESS leads to a cluster that is there before the run and after it."""
    both, second = machines
    monkeypatch.setenv("RAY_ADDRESS", both.address)
    groups = [Dummy(name, {"x": CHUNKS}, tmp_path) for name in "ab"]
    seen = Seen(groups)
    lost = threading.Event()

    def lose() -> None:
        while len({row[1] for row in chunks(tmp_path)}) < 2:
            time.sleep(0.05)
        both.remove_node(second, allow_graceful=False)
        lost.set()

    thread = threading.Thread(target=lose)
    with cluster(2, 0, 1):
        slots = RaySlots(2, partial(Processes, ("cpu",)), "cpu")
        thread.start()
        Scheduler(groups, slots, seen).run()
    thread.join()
    assert lost.is_set()
    expected = " ".join(f"0.{chunk}" for chunk in range(CHUNKS))
    assert seen.results == {"a/x": expected, "b/x": expected}
    assert both.head_node.any_processes_alive(), "the cluster stays"


def chunks(folder: Path) -> list[list[object]]:
    log = folder / "log"
    return [row for row in read_log(folder) if row[3] == "chunk"] if log.exists() else []
