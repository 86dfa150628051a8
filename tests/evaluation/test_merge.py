"""The result of a job from the files of its chunks, field by field."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from job_records import BASE, RECORD

from ssdd_bench.api import LatentSpec
from ssdd_bench.errors import DataError, UnavailableError, UserError
from ssdd_bench.evaluation import merge as module
from ssdd_bench.evaluation.chunks import ChunkState, PixelDigest
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.folder import (
    ClockRecord,
    Executed,
    JobFolder,
    JobIdentity,
    JobRecord,
)
from ssdd_bench.evaluation.latent_size import LatentCounts
from ssdd_bench.evaluation.merge import execution_warnings, merge_job
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord, ExecutionRecord, LatentRecord

EXECUTION = ExecutionRecord("cpu", 2, "float32", "none", True, "AVX2", True, None)
IDENTITY = JobIdentity("ab" * 32, ("psnr", "mse"), (), False, False, 5, 2)
LEVELS = {"a": 0, "b": 10, "c": 20, "e": 40}  # "d" cannot be decoded
ERRORS = {"a": 1, "b": 2, "c": 3, "e": 4}


def record(**changes: Any) -> JobRecord:
    plain = replace(
        RECORD,
        identity=IDENTITY,
        tokenizer=replace(BASE.tokenizer, extra={"known": 1}),
        protocol=get_protocol("default-v1").record(),
        options=MetricOptions(True, True),
        pictures=True,
        picture_quality=100,
    )
    return replace(plain, **changes)


def images(ids: str, shift: bool = False) -> torch.Tensor:
    levels = [LEVELS[one] + (ERRORS[one] if shift else 0) for one in ids]
    return torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 16, 16)


def fill(folder: JobFolder, chunks: tuple[str, ...] = ("ab", "c", "e")) -> None:
    """Save three chunks of a, b; c and the bad d; e."""
    with MetricSuite(IDENTITY.metrics, torch.device("cpu")) as suite:
        for number, ids in enumerate(chunks):
            references, reconstructions = images(ids), images(ids, shift=True)
            suite.add_pairs(list(ids), references, reconstructions)
            state = ChunkState(
                ids=tuple(ids),
                hashes=np.array([[*one] for one in pixel_hashes(references)], np.uint8),
                skipped={"d": "truncated"} if "c" in ids else {},
                enlarged=number,
                latent=LatentCounts(256 * len(ids), 16 * len(ids), 0, np.array([[number, 16]])),
                metrics=suite.take(),
                examples=None if number else Examples(tuple(ids), references, reconstructions),
                warnings=("said twice", f"chunk {number}") if number else ("said twice",),
            )
            folder.save(number, state, Executed(EXECUTION, "here:1", 10.0 ** (number + 2)))


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    found = JobFolder(tmp_path / "parts" / "job", IDENTITY)
    fill(found)
    return found


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The merge takes a quarter of a second."""
    now = iter(range(1000))
    monkeypatch.setattr(time, "perf_counter", lambda: next(now) / 4)


def test_every_field_of_a_result(folder: JobFolder) -> None:
    job = record()
    found = merge_job(folder, job)
    pixels = PixelDigest()
    pixels.update(tuple("abce"), pixel_hashes(images("abce")))
    assert found.tokenizer == replace(
        BASE.tokenizer, extra={"known": 1, "code_usage": 0.75, "code_entropy_bits": math.log2(3)}
    )
    assert (found.resolution, found.protocol, found.seed, found.steps) == (16, job.protocol, 3, 5)
    assert found.latent == LatentRecord("discrete", 4, 1, (1, 4, 4), 16, None, 64 * 2 / 1024)
    assert found.data == DataRecord(
        "letters", 4, fingerprint(tuple("abce")), pixels.hexdigest(), ("d",)
    )
    assert [*found.metrics] == ["psnr", "mse"]
    squares = {one: (error / 255) ** 2 for one, error in ERRORS.items()}
    assert found.per_image["mse"] == pytest.approx(squares, rel=1e-6)
    assert found.metrics["mse"].value == pytest.approx(sum(squares.values()) / 4, rel=1e-6)
    assert found.metrics["mse"].n == 4
    assert (found.speed, found.execution, found.environment) == (None, EXECUTION, {"cpu": "x"})
    assert (found.command, found.created) == ("ssdd-bench run", "2025-01-01T00:00:00Z")
    assert (found.numbers_version, found.fingerprint) == (5, "ab" * 32)
    assert 11100 < found.seconds < 11101
    before, skipped, enlarged, *others = found.warnings
    assert before == "known before"
    assert skipped.startswith("1 image could not be decoded and was left out")
    assert skipped.endswith("first d: truncated")
    assert enlarged.startswith("3 images")
    assert others == ["said twice", "chunk 1", "chunk 2"]
    assert found.examples is not None
    assert found.examples.ids == ("a", "b")
    assert torch.equal(found.examples.references, images("ab"))
    assert torch.equal(found.examples.reconstructions, images("ab", shift=True))
    assert (found.generation, found.scores, found.path) == (None, "", None)


def test_the_clock_brings_its_environment(folder: JobFolder) -> None:
    plain = merge_job(folder, record()).seconds
    assert BASE.speed is not None
    folder.save_clock(ClockRecord(IDENTITY, BASE.speed, {"cpu": "y"}, 5e5))
    found = merge_job(folder, record())
    assert (found.speed, found.environment) == (BASE.speed, {"cpu": "y"})
    assert found.seconds == pytest.approx(plain + 5e5)


def test_metrics_are_merged_as_they_were_asked_for(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []

    def make(*arguments: Any, **more: Any) -> MetricSuite:
        made.append((arguments, more))
        return MetricSuite(*arguments, **more)

    monkeypatch.setattr(module, "MetricSuite", make)
    identity = replace(IDENTITY, intervals=True)
    other = JobFolder(folder.path, identity)
    for number in range(3):
        state, executed = folder.load(number)
        changed = replace(executed.execution, threads=9) if number else executed.execution
        other.save(number, state, replace(executed, execution=changed))
    job = record(identity=identity)
    found = merge_job(other, job)
    more = {"strict": False, "intervals": True, "expected": 5, "only_merges": True}
    cpu = torch.device("cpu")
    assert made == [((IDENTITY.metrics, cpu), {"options": job.options, **more})]
    assert found.execution == EXECUTION  # of the first chunk
    assert "(threads 2 and 9)" in found.warnings[-1]


@pytest.mark.parametrize("strict", [True, False])
def test_a_metric_that_the_chunks_lack(tmp_path: Path, strict: bool) -> None:
    identity = replace(IDENTITY, metrics=("rfid",), strict=strict)
    folder = JobFolder(tmp_path / "job", identity)
    fill(folder)
    job = record(identity=identity)
    if strict:
        with pytest.raises(UnavailableError):
            merge_job(folder, job)
    else:
        assert merge_job(folder, job).metrics["rfid"].unavailable


def test_chunks_that_are_missing(folder: JobFolder) -> None:
    folder.chunk_path(1).unlink()
    with pytest.raises(UserError, match="2 of 5 images: chunk 1, from 'c' until 'e'"):
        merge_job(folder, record())


def test_no_image_at_all(tmp_path: Path) -> None:
    identity = replace(IDENTITY, images=2)
    folder = JobFolder(tmp_path / "job", identity)
    with MetricSuite(IDENTITY.metrics, torch.device("cpu")) as suite:
        state = ChunkState(
            (), np.zeros((0, 16), np.uint8), {"a": "truncated", "b": "too large"}, 0,
            LatentCounts(0, 0, 0, np.zeros((0, 2), np.int64)), suite.take(),
        )  # fmt: skip
    folder.save(0, state, Executed(EXECUTION, "here:1", 1.0))
    with pytest.raises(DataError, match=r"letters: none of 2 images .* a: truncated"):
        merge_job(folder, record(identity=identity))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            LatentSpec("continuous", 8, 4),
            LatentRecord("continuous", 8, 4, (4, 2, 2), 4, 64 / 1024, None),
        ),
        (LatentSpec("bytes", 1, 0), LatentRecord("bytes", 1, 0, None, None, None, 0.0)),
        (
            LatentSpec("continuous", 0, 4, tokens=16),
            LatentRecord("continuous", 0, 4, (4, 1, 16), 16, 64 / 1024, None),
        ),
    ],
)
def test_other_latents(folder: JobFolder, spec: LatentSpec, expected: LatentRecord) -> None:
    folder_counts = [folder.load(number) for number in range(3)]
    for number, (state, executed) in enumerate(folder_counts):
        latent = replace(state.latent, codes=np.zeros((0, 2), np.int64))
        folder.save(number, replace(state, latent=latent), executed)
    found = merge_job(folder, record(latent=spec))
    assert found.latent == expected
    assert found.tokenizer.extra == {"known": 1}


def test_settings_that_differ_between_workers() -> None:
    def warn(*executions: ExecutionRecord) -> list[str]:
        return [*execution_warnings([Executed(one, "here:1", 1.0) for one in executions])]

    assert warn(EXECUTION, EXECUTION) == []
    assert warn(*(replace(EXECUTION, compile_s=one) for one in (1.0, 2.0))) == []
    (text,) = warn(*(replace(EXECUTION, threads=one, onednn=one > 2) for one in (4, 2, 4)))
    assert "(threads 2 and 4, onednn False and True)" in text


def test_batches_that_differ_between_workers() -> None:
    """A run on a GPU that was stopped and went on with another --batch-size."""
    (text,) = execution_warnings([Executed(EXECUTION, "here:1", 1.0, one) for one in (8, 32, 8)])
    assert "(batch size 32 and 8)" in text
