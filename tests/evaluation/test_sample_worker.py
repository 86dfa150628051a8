"""The worker that scores samples: what it opens, reads, saves and writes into the record."""

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from colours import Colours

from ssdd_bench.api.formats import TORCH
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.evaluation import chunks, environment, sample_worker
from ssdd_bench.evaluation.chunks import PixelDigest
from ssdd_bench.evaluation.folder import FORMAT
from ssdd_bench.evaluation.job import data_fingerprint
from ssdd_bench.evaluation.loading import describe_external
from ssdd_bench.evaluation.sample_row import departures, generated_label
from ssdd_bench.evaluation.sample_worker import ScoringGroup, ScoringPlan, ScoringWorker
from ssdd_bench.evaluation.samples import find_generation_protocol
from ssdd_bench.launch.tasks import Opened, Progress
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.places import result_path
from ssdd_bench.results.schema import NUMBERS_VERSION, DataRecord, GeneratedRecord, LatentRecord
from ssdd_bench.results.store import load_results

CPU = torch.device("cpu")
GFID = find_generation_protocol("gfid-v1")
FOLDER = Path(__file__).parents[2] / "results" / "generation"
LABELS = [0, 1] * 10


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Chunks of five images, and no network."""
    monkeypatch.setattr(
        "ssdd_bench.metrics.features.base.make_extractor", lambda name, device: Colours(device)
    )
    monkeypatch.setattr(chunks, "SMALLEST", 5)


@pytest.fixture(scope="module")
def images(photos):
    """Twenty-four crops of the reference, uint8 (N, H, W, 3)."""
    source = open_images(photos)
    return np.stack([CROPS["adm"](source.read(name), 16) for name in source.ids])


@pytest.fixture(scope="module")
def samples(images, tmp_path_factory):
    """Twenty samples with labels."""
    path = tmp_path_factory.mktemp("drawn") / "samples.npz"
    np.savez(path, arr_0=images[:20] // 2, arr_1=np.array(LABELS))
    return path


@pytest.fixture(scope="module")
def made():
    """A record of samples, of which nothing is like that of others."""
    (result,) = load_results(sorted(FOLDER.glob("ssdd-DiT-nano-2-euler-20_*.json"))[:1])
    return GeneratedRecord(
        fingerprint="",
        generation=result.generation,
        tokenizer=result.tokenizer,
        decoder_steps=7,
        latent=result.latent,
        resolution=16,
        samples=20,
        seed=5,
        classes=("cat", "dog"),
        warnings=(),
        execution=replace(result.execution, device="another device"),
        environment={},
        command="",
    )


def write(made, samples, folder):
    """Write a folder of samples with its record."""
    folder.mkdir()
    (folder / "samples.npz").write_bytes(samples.read_bytes())
    (folder / "generated.json").write_text(json.dumps(asdict(made)))
    return folder


def plan_of(samples, reference, out, metrics=("gfid", "fd_effnet"), **more):
    return ScoringPlan((samples,), reference, GFID, out, metrics, **more)


def worker_of(plan, reference=None):
    parts = (plan.out or plan.samples[0].parent) / "parts"
    return ScoringWorker(plan, parts, reference or plan.open_reference(), CPU)


def open_worker(plan):
    worker = worker_of(plan)
    return worker, worker.open(0)


def finish(plan, progress=None):
    worker, opened = open_worker(plan)
    worker.work(0, opened.missing, Progress())
    return worker.finish(0, progress or Progress())


@pytest.mark.parametrize("strict", [True, False])
def test_what_chunks_depend_on(samples, photos, tmp_path, monkeypatch, strict):
    files = mock.Mock()
    files.return_value.missing.return_value = (2, 3)
    monkeypatch.setattr(sample_worker, "ChunkFiles", files)
    monkeypatch.setattr(sample_worker, "cached_path", lambda name: name == "inception")
    keys = ("gfid", "fd_dinov2", "fd_effnet", "package.metric")
    _, opened = open_worker(plan_of(samples, photos, tmp_path, keys, strict=strict))
    sets = data_fingerprint(open_images(samples)), data_fingerprint(open_images(photos))
    job = fingerprint([NUMBERS_VERSION, *sets, 16, GFID.sha256, "samples", 0])
    of_chunks = {
        "job": job,
        "metrics": keys,
        "labels": fingerprint(LABELS),
        "weights": ["inception"],
        "strict": strict,
        "images": [20, 24],
        "sizes": [5, 5],
        "torch": TORCH,
        "format": FORMAT,
    }
    path = result_path(tmp_path, "samples", 16, "gfid-v1", job)
    folder = tmp_path / "parts" / f"{path.stem}-{fingerprint(of_chunks)[:10]}"
    files.assert_called_once_with(folder, of_chunks, 9)
    assert opened == Opened((5,) * 8 + (4,), (2, 3))


def test_scores_of_a_gpu_are_another_result(samples, photos, tmp_path, monkeypatch):
    plan = plan_of(samples, photos, tmp_path, ("gfid",))
    on_cpu = finish(plan)
    monkeypatch.setattr(environment, "device_name", lambda device: "a GPU")
    worker, opened = open_worker(plan)
    assert opened.result is None
    assert opened.missing == tuple(range(9))
    assert worker._jobs[0].fingerprint != on_cpu.fingerprint


def test_chunks_of_samples_without_labels_or_of_other_classes(
    samples, made, images, photos, tmp_path, monkeypatch
):
    files = mock.Mock()
    monkeypatch.setattr(sample_worker, "ChunkFiles", files)
    np.savez(tmp_path / "bare.npz", arr_0=images[:3])
    folders = [
        write(replace(made, classes=classes), samples, tmp_path / str(number))
        for number, classes in enumerate([("dog", "cat"), ("cat", "dog"), ()])
    ]
    for one in (tmp_path / "bare.npz", *folders):
        open_worker(plan_of(one, photos, tmp_path))
    labels = [call.args[1]["labels"] for call in files.call_args_list]
    assert labels == [None, None, fingerprint(LABELS), fingerprint(LABELS)]


@pytest.mark.parametrize("labelled", [True, False])
def test_default_metrics(samples, images, photos, tmp_path, monkeypatch, labelled):
    chosen = mock.Mock(return_value=("fd_effnet",))
    monkeypatch.setattr(sample_worker, "default_sample_metrics", chosen)
    np.savez(tmp_path / "bare.npz", arr_0=images)
    plan = plan_of(samples if labelled else tmp_path / "bare.npz", photos, tmp_path, ())
    reference = plan.open_reference()
    worker = worker_of(plan, reference)
    worker.open(0)
    chosen.assert_called_once_with(GFID, labelled, reference)
    assert worker._jobs[0].keys == ("fd_effnet",)


def test_samples_are_named_by_how_they_were_made(samples, made, photos, tmp_path):
    folder = write(made, samples, tmp_path / "made")
    worker, _ = open_worker(plan_of(folder, photos, tmp_path))
    assert worker._jobs[0].label == generated_label(made)
    worker, _ = open_worker(plan_of(folder, photos, tmp_path, label="mine"))
    assert worker._jobs[0].label == "mine"
    source = data_fingerprint(open_images(folder / "samples.npz"))
    sets = source, data_fingerprint(open_images(photos))
    found = fingerprint([NUMBERS_VERSION, *sets, 16, GFID.sha256, "mine", made.seed])
    assert worker._jobs[0].fingerprint == found


def test_how_images_are_read(samples, photos, tmp_path, monkeypatch):
    calls = []

    class Watched(ImageLoader):
        def __init__(self, *args, **known):
            calls.append((args, known))
            super().__init__(*args, **known)

    monkeypatch.setattr(sample_worker, "ImageLoader", Watched)
    threads = mock.Mock(return_value=1)
    monkeypatch.setattr(sample_worker, "choose_load_threads", threads)
    plan = plan_of(samples, photos, tmp_path, load_threads=2, max_image_mb=7)
    worker, _ = open_worker(plan)
    threads.assert_called_once_with(2, CPU, has_networks=False)
    assert worker._jobs[0].samples.max_mb == 7
    worker.work(0, [4, 8], Progress())
    source = worker._reference.images
    groups = [source.ids[:5], source.ids[20:]]
    options = {"strict": True, "threads": 1, "groups": groups}
    assert calls == [((source, 16, "adm", 64), options)]


def test_every_image_goes_to_the_scores_with_its_label(
    samples, images, photos, tmp_path, monkeypatch
):
    """Groups of three images, of chunks that do not follow each other."""
    calls = []

    class Watched(MetricSuite):
        def add_samples(self, ids, images, labels=None):
            calls.append((list(ids), images, labels))
            super().add_samples(ids, images, labels)

        def add_references(self, ids, images, labels=None, hashes=None):
            calls.append((list(ids), images, labels, hashes))
            super().add_references(ids, images, labels, hashes)

    monkeypatch.setattr(sample_worker, "MetricSuite", Watched)
    monkeypatch.setattr(sample_worker, "GROUP", 3)
    monkeypatch.setattr(sample_worker.time, "perf_counter", itertools.count(100.0).__next__)
    worker, _ = open_worker(plan_of(samples, photos, tmp_path))
    progress = mock.Mock()
    worker.work(0, [4, 1, 8, 6, 3], progress)
    ids = open_images(samples).ids
    names = open_images(photos).ids
    tensors = torch.from_numpy(images).permute(0, 3, 1, 2)
    halves = torch.from_numpy(images // 2).permute(0, 3, 1, 2)
    classes = [0] * 12 + [1] * 12
    expected = [
        (list(ids[a:b]), halves[a:b], LABELS[a:b]) for a, b in ((5, 8), (8, 10), (15, 18), (18, 20))
    ] + [
        (list(names[a:b]), tensors[a:b], classes[a:b], pixel_hashes(tensors[a:b]))
        for a, b in ((0, 3), (3, 5), (20, 23), (23, 24), (10, 13), (13, 15))
    ]
    assert [(one[0], *one[2:]) for one in calls] == [(one[0], *one[2:]) for one in expected]
    assert all(torch.equal(one[1], other[1]) for one, other in zip(calls, expected, strict=True))
    counts = [3, 2, 3, 2, 3, 2, 3, 1, 3, 2]
    assert [call.args[0] for call in progress.images_done.call_args_list] == counts
    assert [call.args[0] for call in progress.chunk_done.call_args_list] == [1, 3, 4, 8, 6]
    files = worker._jobs[0].files
    assert files.missing() == (0, 2, 5, 7)
    for chunk in (1, 3, 4, 6, 8):
        arrays, facts = files.read(chunk)
        of_chunk = slice(5 * chunk - 20, 5 * chunk - 15) if chunk > 3 else slice(0)
        hashes = pixel_hashes(tensors[of_chunk]) if chunk > 3 else ()
        assert arrays["hashes"].dtype == np.uint8
        assert arrays["hashes"].shape == (len(hashes), 16 if hashes else 0)
        assert arrays["hashes"].tobytes() == b"".join(hashes)
        assert facts["executed"]["seconds"] == 1


@pytest.mark.medium
def test_scores_are_made_once_for_the_chunks_of_a_job(samples, photos, tmp_path, monkeypatch):
    suites = mock.Mock(side_effect=MetricSuite)
    monkeypatch.setattr(sample_worker, "MetricSuite", suites)
    plan = replace(plan_of(samples, photos, tmp_path), samples=(samples, samples), strict=True)
    worker = worker_of(plan)
    for job in (0, 1):
        worker.open(job)
    for job in (0, 0, 1, 0):
        worker.work(job, [0, 4], Progress())
    assert suites.call_count == 3
    worker.close()
    worker.work(0, range(9), Progress())
    assert suites.call_count == 4
    known = {
        **{"strict": True, "kind": "samples", "moments": None, "expected": 20},
        "only_merges": False,
    }
    assert suites.call_args == mock.call(("gfid", "fd_effnet"), CPU, **known)
    suites.reset_mock()
    worker.finish(0, Progress())
    suites.assert_called_once_with(("gfid", "fd_effnet"), CPU, **known | {"only_merges": True})


def test_the_record_of_samples_from_elsewhere(samples, images, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(sample_worker.time, "perf_counter", itertools.count(100.0).__next__)
    progress = mock.Mock()
    found = finish(plan_of(samples, photos, tmp_path, ("gfid",), command="typed"), progress)
    progress.stage.assert_called_once_with("scores")
    source, reference = open_images(samples), open_images(photos)
    pixels = PixelDigest()
    pixels.update(reference.ids, pixel_hashes(torch.from_numpy(images).permute(0, 3, 1, 2)))
    assert found.tokenizer == describe_external("samples", "samples", stochastic=True)
    assert found.latent == LatentRecord("unknown", 0, 0, None, None, None, None)
    ids = fingerprint(source.ids)
    assert found.data == DataRecord(reference.name, 20, ids, pixels.hexdigest())
    facts = found.resolution, found.seed, found.steps, found.speed, found.generation
    assert facts == (16, 0, None, None, None)
    assert found.protocol == GFID.record()
    assert found.seconds == 9 + 1  # of nine chunks, and to add them up
    assert found.command == "typed"
    assert found.execution.device == "cpu"
    assert found.path == next(tmp_path.glob("*.json"))
    assert not (tmp_path / "parts").exists()


def test_the_record_of_samples_that_were_made_here(samples, made, photos, tmp_path):
    folder = write(made, samples, tmp_path / "made")
    plan = plan_of(folder, photos, None, ("gfid",), label="mine")
    found = finish(plan)
    assert found.tokenizer == replace(made.tokenizer, label="mine")
    facts = found.seed, found.steps, found.latent, found.execution, found.generation
    assert facts == (5, 7, made.latent, made.execution, made.generation)
    assert found.warnings == tuple(departures(made, GFID, plan.open_reference()))
    assert found.path is None


@pytest.mark.parametrize("pictured", [True, False])
def test_moments_are_known_by_their_file(samples, images, tmp_path, pictured):
    rows = np.random.default_rng(0).normal(size=(9, 6))
    arrays = {"mu": rows.mean(0), "sigma": np.cov(rows.T)}
    if pictured:
        arrays["arr_0"] = images[:9]
    np.savez(tmp_path / "moments.npz", **arrays)
    plan = plan_of(samples, tmp_path / "moments.npz", tmp_path / "out", ("gfid",))
    assert finish(plan).data.pixels_sha256 == plan.open_reference().identity


@pytest.mark.medium
def test_a_complete_result_is_kept_unless_it_is_forced(samples, photos, tmp_path):
    plan = plan_of(samples, photos, tmp_path, ("gfid",))
    found = finish(plan)
    _, opened = open_worker(plan)
    (saved,) = load_results([found.path])
    assert (opened.result.path, opened.missing) == (found.path, ())
    assert opened.result.record == saved
    for other in (replace(plan, force=True), replace(plan, metrics=("gfid", "fd_effnet"))):
        _, opened = open_worker(other)
        assert opened.result is None
        assert opened.missing == tuple(range(9))


def test_what_a_killed_launch_left_of_a_result_is_deleted(samples, photos, tmp_path, monkeypatch):
    plan = plan_of(samples, photos, tmp_path, ("gfid", "fd_effnet"))
    with monkeypatch.context() as killed:
        killed.setattr(sample_worker.ChunkFiles, "delete", lambda files: None)
        finish(plan)
    more, opened = open_worker(replace(plan, metrics=("gfid", "fd_effnet", "kid")))
    more.work(0, opened.missing[:1], Progress())
    assert len(list((tmp_path / "parts").iterdir())) == 2
    (_, opened) = open_worker(replace(plan, metrics=("gfid",)))
    assert opened.result is not None
    (folder,) = (tmp_path / "parts").iterdir()
    assert len(list(folder.iterdir())) == 1, "chunks with another metric stay"


def test_a_result_is_complete_if_no_metric_can_be_added(monkeypatch):
    there, missing = SimpleNamespace(unavailable=""), SimpleNamespace(unavailable="why")
    old = SimpleNamespace(
        metrics={"fd_effnet": there, "fd_effnet_intra": missing, "gfid": missing, "isc": there}
    )

    def complete(*keys, strict=False):
        return sample_worker._is_complete(old, keys, strict)

    monkeypatch.setattr(sample_worker, "cached_path", lambda name: None)
    assert complete("fd_effnet", "isc", "gfid")  # its weights are not there yet
    assert complete("fd_effnet", strict=True)
    assert not complete("gfid", strict=True)
    assert not complete("fd_effnet_intra")  # there may be labels now
    assert not complete("fd_effnet", "kid")
    monkeypatch.setattr(sample_worker, "cached_path", lambda name: name)
    assert not complete("fd_effnet", "gfid")


def test_a_group_opens_the_reference_once(samples, photos, tmp_path):
    plan = plan_of(samples, photos, tmp_path)
    reference = plan.open_reference()
    group = ScoringGroup(plan, tmp_path, reference)
    assert (group.name, group.jobs) == ("scores", (str(samples),))
    assert group.load("cpu")._reference is reference
    elsewhere = group.__getstate__()
    assert elsewhere["_reference"] is None
    assert elsewhere["plan"] == plan
    opened = ScoringGroup(plan, tmp_path).load("cpu")._reference
    assert opened.identity == reference.identity
