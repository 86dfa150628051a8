"""Earlier results: when they suffice, and what a new one keeps of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssdd_bench.evaluation import resume
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.resume import can_be_computed, extend, has_scores, has_speed
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.metrics import base
from ssdd_bench.metrics.intervals import GROUPS, JACKKNIFE
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import MetricValue, Result
from ssdd_bench.results.store import from_json

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
BASE = from_json(read_json(EXAMPLE), EXAMPLE)
SPEED = BASE.speed
assert SPEED is not None
SCORE = MetricValue(1.0, GROUPS, True, "test")


def config(**changes: Any) -> RunConfig:
    return RunConfig((), (64,), Path("out"), **changes)


def old(skipped: tuple[str, ...] = (), **metrics: MetricValue) -> Result:
    return replace(BASE, metrics=metrics, data=replace(BASE.data, skipped=skipped))


NO_INTERVAL = replace(SCORE, interval_method="")
MISSING = replace(SCORE, value=None, backend="", unavailable="no file")


@pytest.mark.parametrize(
    ("found", "wanted", "changes", "enough"),
    [
        (old(), (), {}, True),
        (old(psnr=SCORE), ("psnr",), {}, True),
        (old(psnr=SCORE), ("psnr", "ssim"), {}, False),
        (old(psnr=SCORE, ssim=SCORE), ("psnr", "ssim"), {}, True),
        (old(("a",), psnr=SCORE), ("psnr",), {}, True),
        (old(("a",), psnr=SCORE), ("psnr",), {"strict": True}, False),
        (old(psnr=SCORE), ("psnr",), {"strict": True}, True),
        # Intervals are of Fréchet distances of twenty images or more.
        (old(fd_effnet=SCORE), ("fd_effnet",), {}, True),
        (old(fd_effnet=SCORE), ("fd_effnet",), {"intervals": True}, False),
        (
            old(fd_effnet=replace(SCORE, interval_method=JACKKNIFE)),
            ("fd_effnet",),
            {"intervals": True},
            True,
        ),
        (old(fd_effnet=replace(SCORE, n=GROUPS - 1)), ("fd_effnet",), {"intervals": True}, True),
        (old(psnr=SCORE), ("psnr",), {"intervals": True}, True),
        # No file is on this machine: only with strict is the reason an error.
        (old(rfid=MISSING), ("rfid",), {}, True),
        (old(rfid=MISSING), ("rfid",), {"strict": True}, False),
        (old(psnr=MISSING), ("psnr",), {}, True),
    ],
)
def test_scores_that_are_enough(
    monkeypatch: pytest.MonkeyPatch,
    found: Result,
    wanted: tuple[str, ...],
    changes: dict[str, Any],
    enough: bool,
) -> None:
    monkeypatch.setattr(resume, "cached_path", lambda asset: None)
    assert has_scores(found, wanted, config(**changes)) is enough


def test_a_metric_can_be_computed_once_all_its_files_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there = {"inception", "dino_vitb16"}
    monkeypatch.setattr(resume, "cached_path", lambda name: name if name in there else None)
    assert can_be_computed("rfid", MISSING)
    assert not can_be_computed("rfid", replace(MISSING, backend="Inception"))  # too few images
    assert not can_be_computed("dreamsim", MISSING)  # one of two
    assert not can_be_computed("lpips_alex", MISSING)
    assert not can_be_computed("psnr", MISSING)  # no file was missing
    there.add("dreamsim_ensemble")
    for spec, there_now in ((None, False), (object(), True)):
        monkeypatch.setattr(base, "find_spec", lambda name, spec=spec: spec)
        assert can_be_computed("dreamsim", MISSING) is there_now
    assert not has_scores(old(rfid=MISSING), ("rfid",), config())
    known = resume.find_metrics("pairs")
    other = {**known, "psnr": replace(known["psnr"], source="a package")}
    monkeypatch.setattr(resume, "find_metrics", lambda kind: other)
    assert can_be_computed("psnr", replace(MISSING, backend="my-metrics 1"))


@pytest.mark.parametrize(
    ("batches", "asked", "warning", "enough"),
    [
        ((1, 4), None, "", True),
        ((), 8, "", True),  # older than the list
        ((1, 4), "auto", "", True),
        ((1,), "auto", "", False),
        ((1, 4), 4, "", True),
        ((1, 4), 3, "", True),
        ((1, 4), 5, "", False),
        ((1, 4), 5, "out of memory", True),
        ((1, 4), (2, 4), "", True),
        ((1, 4), (2, 8), "", False),
    ],
)
def test_speed_that_is_enough(batches: Any, asked: Any, warning: str, enough: bool) -> None:
    assert SPEED is not None
    speed = replace(SPEED, batches=batches, warning=warning)
    assert has_speed(replace(BASE, speed=speed), config(batch_size=asked)) is enough


@pytest.mark.parametrize("asked", [None, "auto", 4])
def test_a_result_without_speed(asked: Any) -> None:
    without = replace(BASE, speed=None)
    assert has_speed(without, config(batch_size=asked)) is False
    assert has_speed(without, config(batch_size=asked, speed=False)) is True


def test_nothing_of_an_earlier_result_is_lost() -> None:
    settings = Settings(64, get_protocol("default-v1"), ("ssim", "mse"), torch.device("cpu"))
    kept = {"psnr": SCORE, "mse": SCORE, "gfid": SCORE, "of_a_package": SCORE}
    found = old(**kept)
    assert extend(settings, found) == replace(settings, metrics=("ssim", "mse", "psnr"), speed=True)
    plain = replace(found, speed=None)
    assert extend(settings, plain).speed is False
    assert extend(replace(settings, speed=True), plain).speed is True
    assert extend(replace(settings, intervals=True), plain).intervals is True
    other = replace(SCORE, interval_method="95%, bootstrap")
    assert extend(settings, old(psnr=other)).intervals is False
    both = old(psnr=other, rfid=replace(SCORE, interval_method=JACKKNIFE))
    assert extend(settings, both).intervals is True
