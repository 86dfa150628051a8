"""Execution of an evaluation: devices, batches, labels, fingerprints and records."""

from dataclasses import replace

import pytest
import torch

import ssdd_bench as sb
from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import as_source
from ssdd_bench.errors import OutputError, ResolutionError, UserError
from ssdd_bench.evaluation import evaluate as module
from ssdd_bench.evaluation import memory, timing, work
from ssdd_bench.evaluation import settings as settings_module
from ssdd_bench.evaluation.evaluate import evaluate_loaded
from ssdd_bench.evaluation.execution import ExecutionSettings
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.settings import Settings, job_fingerprint
from ssdd_bench.launch.tasks import Progress
from ssdd_bench.protocols.registry import get_protocol

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SETTINGS = Settings(64, get_protocol("default-v1"), ("psnr",), CPU)


def test_the_order_of_images_with_ids_changes_nothing():
    images = {name: torch.full((3, 16, 16), value) for name, value in (("b", 0.2), ("a", 0.9))}
    made = [
        sb.evaluate("jpeg", data=data, resolution=16, metrics=["psnr"], progress=False, speed=False)
        for data in (images, [*images.items()], [*images.items()][::-1])
    ]
    assert len({(one.fingerprint, one.data) for one in made}) == 1
    assert [*made[0].per_image["psnr"]] == ["a", "b"]


def measure(name, **changes):
    return sb.evaluate(
        name, data="sample", resolution=32, limit=2, metrics=["psnr"], device="cpu",
        progress=False, **changes,
    )  # fmt: skip


@pytest.mark.medium
def test_saving_takes_the_place_of_no_other_job(tmp_path):
    """Leave the first result and its scores of single images as they are."""
    result = measure("identity")
    result.save(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert {path.suffix for path in before} >= {".json", ".parquet"}
    other = replace(measure("identity", seed=1), fingerprint=result.fingerprint[:10] + "0" * 54)
    with pytest.raises(OutputError, match="another job"):
        other.save(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_unusual_execution_is_recorded_and_named():
    usual, same, other = (
        measure("ssdd", dtype=dtype, speed=dtype == "bfloat16")
        for dtype in (None, "float32", "bfloat16")
    )
    assert usual.fingerprint == same.fingerprint != other.fingerprint
    assert usual.metrics == same.metrics != other.metrics
    assert (usual.tokenizer.label, other.tokenizer.label) == ("ssdd", "ssdd (bfloat16)")
    assert (other.execution.dtype, other.execution.suffix) == ("bfloat16", "bfloat16")
    assert any("bfloat16" in warning for warning in other.warnings)
    assert not usual.warnings
    assert 30 < other.speed.fidelity.psnr < 80
    assert 0 < other.speed.fidelity.max_difference < 0.1


@pytest.fixture
def codec():
    return load("jpeg:quality=50")


def test_a_codec_runs_on_the_cpu_and_its_metrics_where_the_others_do(codec, monkeypatch, photos):
    class Stopped(Exception):
        pass

    def suite(keys, device, *more, **known):
        raise Stopped(device.type)

    monkeypatch.setattr(work, "MetricSuite", suite)
    monkeypatch.setattr(settings_module, "device_name", lambda device: f"some {device.type}")
    with pytest.raises(Stopped, match="cuda"):
        evaluate_loaded(codec, as_source(photos), replace(SETTINGS, device=GPU))


def test_every_argument_arrives(monkeypatch, photos):
    """Also through the command's function: tests/evaluation/test_run.py."""
    calls = []

    def stop(loaded, source, settings, progress):
        calls.append((loaded, source, settings))
        return progress

    monkeypatch.setattr(module, "evaluate_loaded", stop)
    protocol = get_protocol("ldm-v1")
    bar = sb.evaluate(
        "jpeg:quality=5", data=photos, resolution=24, protocol="ldm-v1", metrics="mae", limit=3,
        sample=5, sample_seed=1, max_image_mb=7, seed=9, device="cpu", batch_size=(1, 2),
        dtype="bfloat16", compile="default", memory_format="contiguous", speed=True,
        intervals=True, strict=True, load_threads=2, progress=False, label="mine",
    )  # fmt: skip
    ((loaded, source, settings),) = calls
    assert loaded.record.label == "mine"
    assert loaded.record.options["quality"] == 5
    assert source.ids == as_source(photos, 3, sample=5, sample_seed=1).ids
    assert source.max_mb == 7
    execution = ExecutionSettings("bfloat16", "default", "contiguous")
    assert settings == Settings(
        24, protocol, ("mae",), CPU, 9, (1, 2), True, True, True, execution, 2
    )
    (task,) = bar._progress.tasks
    assert (task.description, task.total) == ("mine", 3)
    assert bar._progress.console.quiet
    assert bar._progress.console.stderr
    calls.clear()
    bar = sb.evaluate("jpeg", data=photos, resolution=24, protocol=protocol, sample=5)
    ((loaded, source, settings),) = calls
    assert (loaded.record.label, source.max_mb) == ("jpeg", MAX_IMAGE_MB)
    assert source.ids == as_source(photos, sample=5).ids
    assert not bar._progress.console.quiet
    assert settings == Settings(24, protocol, protocol.metric_keys, CPU)
    with pytest.raises(UserError, match="CUDA"):
        sb.evaluate("jpeg", data=photos, resolution=24, device="cpu", cuda_graphs=True)


@pytest.mark.medium
def test_stages_and_the_clock_of_an_evaluation(codec, photos, monkeypatch):
    monkeypatch.setattr(timing, "CPU_TIMING", timing.TimingSettings(0.0, 0, 1, 1))
    monkeypatch.setattr(memory, "release_memory", lambda device: None)

    class Noting(Progress):
        def __init__(self):
            self.seen = []

        def stage(self, name):
            self.seen.append(name)

    source = as_source(photos, 2)
    settings = replace(SETTINGS, resolution=16, seed=4)
    for speed, stages in ((False, ["scores"]), (True, ["speed", "scores"])):
        progress = Noting()
        found = evaluate_loaded(codec, source, replace(settings, speed=speed), progress)
        assert progress.seen == stages
        assert (found.speed is not None) == speed
        assert found.fingerprint == job_fingerprint(codec, settings, data_fingerprint(source))
    codec.tokenizer.latent = replace(codec.tokenizer.latent, f=5)
    with pytest.raises(ResolutionError):
        evaluate_loaded(codec, source, settings)
