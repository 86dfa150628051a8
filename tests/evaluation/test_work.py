"""The work on a job: its description field by field, its chunks, and its clock."""

import os
import platform
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.memory import MemoryImages
from ssdd_bench.errors import DataError, PluginError
from ssdd_bench.evaluation import work as module
from ssdd_bench.evaluation.environment import describe_execution
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.folder import ClockRecord, Executed, JobFolder, JobIdentity, JobRecord
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.settings import BatchChoice, Settings, job_fingerprint
from ssdd_bench.evaluation.work import (
    JobWork,
    describe_job,
    first_images,
    job_grid,
    worker_name,
)
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.metrics.base import MetricOptions
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.schema import NUMBERS_VERSION

CPU = torch.device("cpu")
PROTOCOL, ORDERED = get_protocol("default-v1"), get_protocol("ssdd-paper-v1")
SETTINGS = Settings(16, PROTOCOL, ("psnr", "mse"), CPU, seed=3, load_threads=0)


class Noisy(Tokenizer):
    """Adds noise to each image, by a network."""

    latent = LatentSpec("continuous", 2, 3)
    steps = 7
    warnings = ("a guess",)
    changed = ("something",)

    def __init__(self) -> None:
        self.layer = nn.Conv2d(3, 3, 1)
        self.batches: list[int] = []

    def networks(self) -> dict[str, nn.Module]:
        return {"decoder": self.layer}

    def encode(self, images: torch.Tensor, noise: Any = None) -> Latent:
        return Latent(images[..., ::2, ::2], (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Any) -> torch.Tensor:
        self.batches.append(len(latent))
        assert isinstance(latent.data, torch.Tensor)
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * noise.normal((3, *latent.size))


class Damaged(MemoryImages):
    """Images of which one cannot be decoded."""

    def __init__(self, images: dict[str, torch.Tensor], bad: str) -> None:
        super().__init__(images)
        self._bad = bad

    def read(self, image_id: str) -> Image.Image:
        """Decode an image."""
        if image_id == self._bad:
            raise DataError("truncated")
        return super().read(image_id)


def letters(count: int, bad: int = -1) -> MemoryImages:
    """Images of one level each, of which one may be damaged."""
    images = {f"{i:04d}": torch.full((3, 16, 16), i, dtype=torch.uint8) for i in range(count)}
    return MemoryImages(images) if bad < 0 else Damaged(images, f"{bad:04d}")


def test_every_field_of_a_job(monkeypatch: pytest.MonkeyPatch, record: Any) -> None:
    there = {"inception": Path("x"), "dino_vitb16": Path("y")}
    monkeypatch.setattr(module, "cached_path", there.get)
    loaded = LoadedTokenizer(Noisy(), record("mine"))
    settings = replace(
        SETTINGS, metrics=("psnr", "rfid", "dreamsim"), execution=ExecutionSettings("bfloat16"),
        intervals=True, strict=True, speed=True,
    )  # fmt: skip
    source = letters(130)
    found = describe_job(loaded, source, settings, "images", {"cpu": "x"}, "typed", False, 65)
    assert found == JobRecord(
        identity=JobIdentity(
            job_fingerprint(loaded, settings, "images"), ("psnr", "rfid", "dreamsim"),
            ("dino_vitb16", "inception"), True, True, 130, 64,
        ),
        tokenizer=replace(loaded.record, label="mine (bfloat16)"),
        resolution=16,
        protocol=PROTOCOL.record(),
        seed=3,
        steps=7,
        latent=Noisy.latent,
        data="memory",
        borders=("0000", "0064", "0128"),
        options=MetricOptions(PROTOCOL.lpips_padding, PROTOCOL.dreamsim_resize),
        warnings=found.warnings,
        speed=True,
        pictures=False,
        picture_quality=65,
        environment={"cpu": "x"},
        command="typed",
        created=found.created,
        numbers_version=NUMBERS_VERSION,
    )  # fmt: skip
    guess, changed, execution = found.warnings
    assert guess == "a guess"
    assert changed.startswith("block-mean: loading it changed something")
    assert "bfloat16" in execution
    plain = describe_job(loaded, source, SETTINGS, "images")
    assert (plain.pictures, plain.picture_quality, plain.command) == (True, 100, "")
    assert plain.environment["torch"] == torch.__version__


def test_noise_in_the_order_of_the_set_makes_one_chunk() -> None:
    assert (ORDERED.decoder_noise, PROTOCOL.decoder_noise) == ("ordered", "philox")
    assert job_grid(130, ORDERED).sizes == (130,)
    assert job_grid(130, PROTOCOL).sizes == (64, 64, 2)


def test_a_process_has_its_machine_and_number() -> None:
    assert worker_name() == f"{platform.node()}:{os.getpid()}"


class Noting(Progress):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def images_done(self, count: int) -> None:
        self.seen.append(count)

    def chunk_done(self, chunk: int) -> None:
        self.seen.append(f"chunk {chunk}")


IDENTITY = JobIdentity("ab" * 32, ("psnr", "mse"), (), False, False, 5, 2)


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path / "job", IDENTITY)


def test_chunks_are_computed_in_the_order_asked_for(
    folder: JobFolder, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    save = folder.save

    def slow(chunk: int, *more: Any) -> None:
        save(chunk, *more)
        now[0] += 100  # counts for the next chunk

    monkeypatch.setattr(folder, "save", slow)
    tokenizer, progress = Noisy(), Noting()
    encode = tokenizer.encode

    def taking(images: torch.Tensor, noise: Any = None) -> Latent:
        now[0] += 1
        return encode(images, noise)

    monkeypatch.setattr(tokenizer, "encode", taking)
    source = letters(5)
    settings = replace(SETTINGS, execution=ExecutionSettings(memory_format="contiguous"))
    with JobWork(LoadedTokenizer(tokenizer, record()), source, settings) as work:
        work.compute(folder, (2, 0), progress)
    assert progress.seen == [1, "chunk 2", 1, 1, "chunk 0"]
    assert folder.missing() == (1,)
    assert set(tokenizer.batches) == {1}
    last, executed = folder.load(2)
    execution = replace(
        describe_execution(CPU, [tokenizer.layer.to(memory_format=torch.contiguous_format)]),
        suffix="contiguous",
    )
    assert executed == Executed(execution, worker_name(), 1.0, batch=1)
    assert folder.load(0)[1].seconds == 103.0  # the save, and two images, one of them twice
    assert (last.ids, last.examples) == (("0004",), None)
    first, _ = folder.load(0)
    assert first.ids == ("0000", "0001")
    assert first.examples is not None
    for position, name in enumerate(first.ids):
        image = torch.full((1, 3, 16, 16), position) / 255
        noise = KeyedNoise(3, [name], "decode").normal((3, 16, 16))
        expected = to_uint8(image + 0.1 * noise, [name])[0]
        assert torch.equal(first.examples.reconstructions[position], expected)
    assert first.latent.values == 2 * 3 * 8 * 8


def test_a_bad_image_is_an_error_if_strict(folder: JobFolder, record: Any) -> None:
    for strict in (False, True):
        settings = replace(SETTINGS, strict=strict)
        with JobWork(LoadedTokenizer(Noisy(), record()), letters(5, bad=1), settings) as work:
            if strict:
                with pytest.raises(DataError, match="0001"):
                    work.compute(folder, [0], Progress())
            else:
                work.compute(folder, [0], Progress())
                assert folder.load(0)[0].skipped.keys() == {"0001"}


def test_a_plugin_that_fails_is_named(folder: JobFolder, record: Any) -> None:
    class Exits(Noisy):
        def decode(self, latent: Latent, noise: Any) -> torch.Tensor:
            raise SystemExit(0)

    with JobWork(LoadedTokenizer(Exits(), record()), letters(5), SETTINGS) as work:
        with pytest.raises(PluginError, match="block-mean"):
            work.compute(folder, [0], Progress())
        job = describe_job(LoadedTokenizer(Noisy(), record()), letters(5), SETTINGS, "", {})
        with pytest.raises(PluginError, match="block-mean"):
            work.time(job, first_images(letters(5), SETTINGS))


def test_the_clock_uses_the_settings_of_the_job(
    record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def measure(prepared: Any, *arguments: Any) -> str:
        asked.append((prepared.tokenizer, prepared.protocol, prepared.device, *arguments))
        return "a speed"

    monkeypatch.setattr(module, "measure_speed", measure)
    ticks = iter((5.0, 7.5))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    tokenizer, source = Noisy(), letters(5)
    loaded = LoadedTokenizer(tokenizer, record())
    settings = replace(SETTINGS, batch_size=(4, 2), execution=ExecutionSettings("bfloat16"))
    job = describe_job(loaded, source, settings, "", {"cpu": "x"})
    examples = first_images(source, settings)
    with JobWork(loaded, source, settings) as work:
        found = work.time(job, examples)
        assert tokenizer.layer.weight.dtype == torch.bfloat16
    assert tokenizer.layer.weight.dtype == torch.float32
    used = replace(PROTOCOL, dtype="bfloat16", autocast="none")
    assert asked == [(tokenizer, used, CPU, examples, (4, 2), 3)]
    assert found == ClockRecord(job.identity, "a speed", {"cpu": "x"}, 2.5)  # type: ignore[arg-type]


def test_pictures_for_the_clock(folder: JobFolder, record: Any) -> None:
    identity = replace(IDENTITY, images=12, size=12)
    folder = JobFolder(folder.path, identity)
    source = letters(12)
    with JobWork(LoadedTokenizer(Noisy(), record()), source, SETTINGS) as work:
        again = work.examples(folder)  # none is there: they are read
        work.compute(folder, [0], Progress())
        found = work.examples(folder)
        state, executed = folder.load(0)
        folder.save(0, replace(state, examples=None), executed)
        others = work.examples(folder)
    assert found.ids == again.ids == others.ids == source.ids[:8]
    assert torch.equal(found.references, again.references)
    assert torch.equal(found.references, others.references)
    assert len(found.reconstructions) == 8
    assert len(again.reconstructions) == len(others.reconstructions) == 0


def test_the_first_images_that_can_be_read() -> None:
    found = first_images(letters(12, bad=1), SETTINGS)
    assert isinstance(found, Examples)
    assert found.ids == tuple(f"{i:04d}" for i in (0, *range(2, 9)))
    assert found.references[:, 0, 0, 0].tolist() == [0, *range(2, 9)]
    assert found.references.shape == (8, 3, 16, 16)
    assert found.references.dtype == torch.uint8
    assert found.reconstructions.shape == (0, 3, 16, 16)
    with pytest.raises(DataError, match="0001"):
        first_images(letters(12, bad=1), replace(SETTINGS, strict=True))


def test_networks_and_metrics_are_kept_until_the_end(
    folder: JobFolder, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    suite = module.MetricSuite

    def make(*arguments: Any, **more: Any) -> Any:
        made.append((arguments, more))
        return suite(*arguments, **more)

    monkeypatch.setattr(module, "MetricSuite", make)
    settings = replace(SETTINGS, intervals=True)
    with JobWork(LoadedTokenizer(Noisy(), record()), letters(5), settings) as work:
        work.compute(folder, [0], Progress())
        work.compute(folder, [1], Progress())
    options = PROTOCOL.metric_options
    arguments = (("psnr", "mse"), CPU, PROTOCOL.metric_batch, options, False, True)
    assert made == [(arguments, {"expected": 5})]


@pytest.mark.usefixtures("uncompiled")
def test_scores_take_the_batch_that_compiled_networks_fit(
    folder: JobFolder, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No larger one is tried again, and chunks say why the batch is smaller."""

    class Small(Noisy):
        def decode(self, latent: Latent, noise: Any) -> torch.Tensor:
            tried.append(len(latent))
            if len(latent) > 3:
                raise torch.OutOfMemoryError("no memory left")
            return super().decode(latent, noise)

    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    monkeypatch.setattr(module, "choose_batches", lambda size, device: BatchChoice(8, (8,)))
    tried: list[int] = []
    folder = JobFolder(folder.path, replace(IDENTITY, images=12, size=6))
    settings = replace(SETTINGS, execution=ExecutionSettings(compile="default"))
    with JobWork(LoadedTokenizer(Small(), record()), letters(12), settings) as work:
        work.compute(folder, [0], Progress())
        work.compute(folder, [1], Progress())
    assert tried == [8, 4, 2, 2, *[2] * 6]
    sizes = [
        [word for word in text.split() if word.isdigit()] for text in folder.load(0)[0].warnings
    ]
    assert sizes == [["8"], ["4"]]
    second, executed = folder.load(1)
    assert not second.warnings
    assert executed.batch == 8, "as the settings say"
