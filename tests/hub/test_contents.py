"""Contents that cannot be true are found, and committed results have none."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from ssdd_bench.hub.contents import content_findings
from ssdd_bench.hub.findings import NOTES, Problem
from ssdd_bench.metrics.catalog import METRICS
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.schema import Result

Change = Callable[[Result], Result]


def problems(result: Result) -> list[Problem]:
    return [problem for problem, _ in content_findings(result)]


def top(**changes: object) -> Change:
    return lambda one: dataclasses.replace(one, **changes)


def inner(field: str, **changes: object) -> Change:
    return lambda one: dataclasses.replace(
        one, **{field: dataclasses.replace(getattr(one, field), **changes)}
    )


def metric(key: str, **changes: object) -> Change:
    return lambda one: dataclasses.replace(
        one, metrics=one.metrics | {key: dataclasses.replace(one.metrics[key], **changes)}
    )


def protocol(**changes: object) -> Change:
    return lambda one: dataclasses.replace(one, protocol=one.protocol | changes)


def decode(**changes: object) -> Change:
    return lambda one: dataclasses.replace(
        one,
        speed=dataclasses.replace(
            one.speed, decode=dataclasses.replace(one.speed.decode, **changes)
        ),
    )


@pytest.fixture
def network(results: list[Result]) -> Result:
    return next(one for one in results if one.tokenizer.weights)


def test_results_of_this_project_have_no_problem(results: list[Result]) -> None:
    assert [problem for one in results for problem in problems(one)] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (protocol(id="my-lab-v1"), Problem.PROTOCOL_UNKNOWN),
        (protocol(sha256="0" * 64), Problem.PROTOCOL_HASH),
        (protocol(tf32=True), Problem.PROTOCOL_ALTERED),
        (top(fingerprint="abc"), Problem.FINGERPRINT),
        (inner("tokenizer", weights={}), Problem.CHECKSUM),
        (inner("tokenizer", weights={"a": "abc"}), Problem.CHECKSUM),
        (top(seconds=-1.0), Problem.VALUE),
        (top(created="yesterday"), Problem.VALUE),
        (top(scores="../../secret"), Problem.VALUE),
        (inner("latent", f=0), Problem.VALUE),
        (metric("psnr", value=412.0), Problem.VALUE),
        (metric("psnr", value=-1.0), Problem.VALUE),
        (metric("ssim", value=1.01), Problem.VALUE),
        (metric("fd_effnet", value=-0.5), Problem.VALUE),
        (metric("psnr", value=None), Problem.VALUE),
        (metric("psnr", n=36), Problem.VALUE),
        (metric("psnr", higher_is_better=False), Problem.VALUE),
        (metric("psnr", interval=(25.0, 24.0)), Problem.VALUE),
        (decode(images_per_s=1e6), Problem.VALUE),
        (decode(median_s=0.0), Problem.VALUE),
        (decode(batch=0), Problem.VALUE),
    ],
)
def test_each_problem_is_found(network: Result, change: Change, problem: Problem) -> None:
    found = problems(change(network))
    assert problem in found
    assert set(found) <= {problem, Problem.PROTOCOL_ALTERED}


def test_a_former_version_of_a_protocol_is_a_note(network: Result) -> None:
    former = dataclasses.replace(PROTOCOLS.get("default-v1"), decoder_noise="keyed").record()
    former["encoder_noise"] = "keyed"
    (superseded,) = PROTOCOLS.get("default-v1").superseded
    recorded = json.loads(json.dumps(former | {"sha256": superseded.sha256}))
    assert problems(top(protocol=recorded)(network)) == [Problem.PROTOCOL_SUPERSEDED]
    assert {Problem.PROTOCOL_SUPERSEDED} == NOTES
    altered = top(protocol=recorded | {"tf32": True})(network)
    assert problems(altered) == [Problem.PROTOCOL_SUPERSEDED, Problem.PROTOCOL_ALTERED]


def test_a_codec_needs_no_checksum(results: list[Result]) -> None:
    (one, *_) = [one for one in results if one.tokenizer.role == "codec"]
    assert not one.tokenizer.weights
    assert problems(one) == []


def test_bounds_leave_room_for_rounding_alone(network: Result) -> None:
    assert problems(metric("fd_effnet", value=-1e-6)(network)) == []
    assert METRICS.get("psnr").maximum == 150
