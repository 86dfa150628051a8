"""Results that lack the ratio of their speed, and the ratios that they get."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssdd_bench.evaluation import comparison as module
from ssdd_bench.evaluation.comparison import ComparisonGroup
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.interleave import Turns
from ssdd_bench.evaluation.job import Finished, Job
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.launch.tasks import Opened, Progress
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import SpeedComparison
from ssdd_bench.results.store import from_json, load_results

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
BASE = from_json(read_json(EXAMPLE), EXAMPLE)
CONFIG = RunConfig(tuple(parse_requests("jpeg,identity")), (16, 24), Path("out"), interleave=True)


def done(
    label: str,
    resolution: int = 16,
    protocol: str = "default-v1",
    against: str | None = None,
    reused: bool = True,
    timed: bool = True,
    seed: int = 0,
) -> tuple[Job, Finished]:
    job = Job(parse_requests(label)[0], resolution, get_protocol(protocol), seed)
    assert BASE.speed is not None
    comparison = None if against is None else SpeedComparison(against, 2.0, (1.0, 3.0), 15)
    speed = replace(BASE.speed, comparison=comparison) if timed else None
    tokenizer = replace(BASE.tokenizer, label=label)
    named = BASE.protocol | {"id": protocol}
    result = replace(
        BASE, tokenizer=tokenizer, speed=speed, resolution=resolution, protocol=named, seed=seed
    )
    return job, Finished(result, Path(f"{label}.json"), reused)


@pytest.mark.parametrize(
    ("rows", "jobs"),
    [
        ([], 0),
        ([done("jpeg"), done("identity")], 1),
        ([done("jpeg"), done("identity", timed=False)], 1),
        ([done("jpeg"), done("identity", against="jpeg")], 0),
        ([done("jpeg"), done("identity", against="jpeg (compiled)")], 0),
        ([done("jpeg"), done("identity", against="downsample")], 1),
        ([done("jpeg"), done("identity", against="jpeg", reused=False)], 1),  # measured anew
        ([done("jpeg", reused=False), done("identity", against="jpeg")], 0),
        ([done("jpeg"), done("identity", against="jpeg:quality=5")], 1),
        ([done("jpeg")], 0),  # nothing to compare with
        ([done("identity"), done("downsample")], 0),  # the baseline failed
        ([done("jpeg"), done("jpeg", seed=1)], 0),
        ([done("jpeg", 16), done("identity", 24)], 0),
        ([done("jpeg"), done("identity", protocol="ldm-v1")], 0),
    ],
)
def test_settings_that_lack_a_ratio(rows: Any, jobs: int) -> None:
    assert len(ComparisonGroup(CONFIG, "jpeg", rows).jobs) == jobs


def test_a_job_for_each_size_and_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        done(label, side, protocol)
        for label in ("jpeg", "identity")
        for side, protocol in ((24, "default-v1"), (16, "default-v1"), (16, "ldm-v1"))
    ]
    group = ComparisonGroup(CONFIG, "jpeg", rows)
    assert group.name == "timing by turns"
    assert group.jobs == (
        "timing by turns at 24 px, default-v1",
        "timing by turns at 16 px, default-v1",
        "timing by turns at 16 px, ldm-v1",
    )
    assert group.plan == [[rows[0], rows[3]], [rows[1], rows[4]], [rows[2], rows[5]]]
    kept: list[bool] = []
    monkeypatch.setattr(module, "keep_freed_memory", lambda: kept.append(True))
    opened = group.load("cpu").open(1)
    assert kept == [True]  # as in the processes that time each tokenizer alone
    assert opened == Opened()


def test_each_result_gets_its_ratio(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tokenizers of the run are compared, on its images and with its settings."""
    seen = []

    def compare(loaded: Any, baseline: str, examples: Any, settings: Any) -> Any:
        seen.append((baseline, len(examples.ids), settings))
        assert loaded.keys() == {"jpeg", "identity", "downsample", "jpeg:quality=5"}
        assert loaded["identity"].record.id == "identity"
        return {
            "jpeg": Turns(np.array([2.0]), 8, None),
            "identity": Turns(np.array([4.0]), 8, SpeedComparison(baseline, 0.5, (0.4, 0.6), 15)),
            "jpeg:quality=5": Turns(np.array([2.0]), 8, None),
        }

    def loads(request: TokenizerRequest, device: torch.device) -> LoadedTokenizer:
        assert device == torch.device("cpu")
        return load(request, device)

    monkeypatch.setattr(module, "compare_by_turns", compare)
    monkeypatch.setattr(module, "load", loads)
    stages: list[str] = []

    class Noting(Progress):
        def stage(self, name: str) -> None:
            stages.append(name)

    config = replace(CONFIG, out=tmp_path, data=photos, limit=5, metrics=("psnr",))
    rows = [done("jpeg", seed=4), done("jpeg", seed=5), done("identity"), done("downsample"),
            done("jpeg:quality=5", timed=False)]  # fmt: skip
    worker = ComparisonGroup(config, "jpeg", rows).load("cpu")
    found = worker.finish(0, Noting())
    assert stages == ["speed"]
    assert seen == [("jpeg", 5, config.settings(rows[0][0], torch.device("cpu")))]
    assert [(one.path, one.reused) for one in found] == [(two.path, True) for _, two in rows]
    ratios = [one.result.speed and one.result.speed.comparison for one in found]
    mine = SpeedComparison("jpeg", 0.5, (0.4, 0.6), 15)
    assert ratios == [None, None, mine, None, None]
    rates = [one.result.speed and one.result.speed.decode.images_per_s for one in found]
    assert BASE.speed is not None
    assert rates == [4, 4, 2, BASE.speed.decode.images_per_s, None]
    assert found[4] == rows[4][1]
    saved = {one.tokenizer.label: one for one in load_results([tmp_path])}
    assert saved.keys() == {"jpeg", "identity", "downsample"}
    assert saved["identity"] == found[2].result
