"""The grid of a run, and the settings of each of its jobs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.job import Job
from ssdd_bench.evaluation.settings import Settings
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import get_protocol

CPU = torch.device("cpu")
DEFAULT, SAMPLES = get_protocol("default-v1"), get_protocol("ldm-v1")


def config(tokenizers: str, **changes: Any) -> RunConfig:
    return RunConfig(tuple(parse_requests(tokenizers)), (16,), Path("out"), **changes)


def grid(one: RunConfig) -> list[tuple[str, int, str, int]]:
    return [(j.request.label, j.resolution, j.protocol.id, j.seed) for j in one.jobs()]


def test_the_grid_is_in_the_order_of_tokenizers_sizes_protocols_and_seeds() -> None:
    one = config("ssdd,jpeg", protocols=("default-v1", "ldm-v1"), seeds=(4, 5))
    assert (DEFAULT.posterior, SAMPLES.posterior) == ("mode", "sample")
    assert grid(replace(one, resolutions=(32, 16))) == [
        *(
            ("ssdd", side, protocol, seed)
            for side in (32, 16)
            for protocol in ("default-v1", "ldm-v1")
            for seed in (4, 5)
        ),
        *(
            ("jpeg", side, protocol, seed)
            for side in (32, 16)
            for protocol, seed in (("default-v1", 4), ("ldm-v1", 4), ("ldm-v1", 5))
        ),
    ]
    again = replace(one, requests=one.requests * 2, protocols=("ldm-v1",), seeds=(4, 4))
    assert grid(again) == [("ssdd", 16, "ldm-v1", 4), ("jpeg", 16, "ldm-v1", 4)]


def test_a_protocol_of_generation_is_refused() -> None:
    with pytest.raises(UserError, match="gfid-v1"):
        config("jpeg", protocols=("gfid-v1",)).jobs()


@pytest.mark.parametrize(
    ("tokenizers", "changes", "label"),
    [
        ("jpeg,identity", {}, ""),
        ("jpeg,identity", {"interleave": True}, "jpeg"),
        ("jpeg,identity", {"interleave": True, "baseline": "identity"}, "identity"),
        ("jpeg:quality=5,6", {"interleave": True, "baseline": "jpeg:quality=6"}, "jpeg:quality=6"),
    ],
)
def test_the_baseline_is_one_of_the_tokenizers(
    tokenizers: str, changes: dict[str, Any], label: str
) -> None:
    assert config(tokenizers, **changes).baseline_label() == label


@pytest.mark.parametrize(
    ("tokenizers", "changes", "error"),
    [
        ("jpeg,identity", {"baseline": "jpeg"}, UserError),
        ("jpeg,identity", {"interleave": True, "speed": False}, UserError),
        ("jpeg", {"interleave": True}, UserError),
        ("jpeg,identity", {"interleave": True, "baseline": "downsample"}, UnknownNameError),
    ],
)
def test_a_baseline_needs_another_tokenizer_and_the_clock(
    tokenizers: str, changes: dict[str, Any], error: type[UserError]
) -> None:
    with pytest.raises(error):
        config(tokenizers, **changes).baseline_label()


def test_equal_tokenizers_are_one() -> None:
    one = config("jpeg", interleave=True)
    with pytest.raises(UserError):
        replace(one, requests=one.requests * 2).baseline_label()


def test_every_setting_of_a_job_arrives() -> None:
    (request,) = parse_requests("jpeg")
    one = config(
        "jpeg", batch_size=(1, 2), execution=ExecutionSettings("float16"), intervals=True,
        strict=True, load_threads=3, speed=False,
    )  # fmt: skip
    job = Job(request, 24, SAMPLES, 7)
    assert one.settings(job, CPU) == Settings(
        24, SAMPLES, SAMPLES.metric_keys, CPU, 7, (1, 2), False, True, True,
        ExecutionSettings("float16"), 3,
    )  # fmt: skip
    assert replace(one, metrics=("mae",)).settings(job, CPU).metrics == ("mae",)
    assert replace(one, speed=True).settings(job, CPU).speed is True


def test_the_images_are_those_of_the_data(photos: Path) -> None:
    def ids(**changes: Any) -> tuple[str, ...]:
        return config("jpeg", data=photos, **changes).source().ids

    assert len(ids()) == 24
    assert len(ids(limit=5)) == len(ids(sample=5)) == 5
    assert ids(sample=5, sample_seed=1) != ids(sample=5) == ids(limit=5)
    assert set(ids(limit=3, sample=5, sample_seed=1)) < set(ids(sample=5, sample_seed=1))
    assert config("jpeg", data=photos, max_image_mb=7).source().max_mb == 7
