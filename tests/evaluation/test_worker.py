"""Chunks of a job: any worker, any order and any interruption give one result, to the bit."""

import pickle
import re
import weakref
from collections import Counter
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from job_records import BASE
from PIL import Image

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.images import open_images
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, OutputError, PluginError, ResolutionError, UserError
from ssdd_bench.evaluation import chunks as chunks_module
from ssdd_bench.evaluation import work as work_module
from ssdd_bench.evaluation import worker as module
from ssdd_bench.evaluation.chunk_files import DamagedChunkError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.evaluate import evaluate_loaded
from ssdd_bench.evaluation.folder import ClockRecord, JobFolder, find_jobs, read_job
from ssdd_bench.evaluation.job import Failure, Finished, Job, data_fingerprint
from ssdd_bench.evaluation.loading import LoadedTokenizer, load
from ssdd_bench.evaluation.result import Evaluation
from ssdd_bench.evaluation.run import run
from ssdd_bench.evaluation.work import describe_job
from ssdd_bench.evaluation.worker import (
    EvaluationGroup,
    EvaluationWorker,
    make_groups,
    merge_folder,
)
from ssdd_bench.launch.tasks import Opened, Problem, Progress
from ssdd_bench.metrics.features import base as features
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.pictures import find_pictures
from ssdd_bench.results.store import find_results, load_results

CPU = torch.device("cpu")
METRICS = ("psnr", "psnr_pooled", "ssim")
SIDE = 16


class Pictures(ImageSource):
    """Images made on request, some of which are bad."""

    def __init__(self, n, bad=()):
        self.name = "pictures"
        self.ids = tuple(f"{i:04d}" for i in range(n))
        self.bad = {self.ids[i] for i in bad}
        self.reads = Counter()

    def read(self, image_id):
        self.reads[image_id] += 1
        if image_id in self.bad:
            raise DataError("truncated")
        rng = np.random.default_rng(int(image_id))
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        side = SIDE + int(image_id) % 3 - 1  # a third of them are enlarged
        return small.resize((side, side), Image.Resampling.BICUBIC)


class Noisy(Tokenizer):
    """Every second pixel, with noise: stochastic."""

    latent = LatentSpec("continuous", 2, 3)

    def encode(self, images, noise=None):
        return Latent(images[..., ::2, ::2], tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * noise.normal((3, *latent.size))


class Levels(Tokenizer):
    """Sixteen levels of each pixel: deterministic and discrete."""

    latent = LatentSpec("discrete", 1, 3, bits_per_value=4)

    def encode(self, images, noise=None):
        return Latent((images * 15).round().long(), tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        return latent.data / 15


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Chunks of 4 images."""
    monkeypatch.setattr(chunks_module, "SMALLEST", 4)


@pytest.fixture(scope="module")
def loaded(record):
    def make(name):
        if name == "codec":
            return load("jpeg:quality=30")
        made = {"stochastic": Noisy, "deterministic": Levels}[name]()
        return LoadedTokenizer(made, record(name))

    return make


WORKERS = []


@pytest.fixture(autouse=True)
def closed():
    """Workers are closed, as launchers do."""
    yield
    while WORKERS:
        WORKERS.pop().close()


class Plan:
    """A job in a folder of results, and workers for it."""

    def __init__(self, out, loaded, source, **changes):
        job = Job(
            TokenizerRequest("test"),
            SIDE,
            changes.pop("protocol", get_protocol("default-v1")),
            changes.pop("seed", 0),
        )
        self.out = out
        self.source = source
        self.config = RunConfig(
            (job.request,), (SIDE,), out, METRICS, data=source, speed=False, device="cpu"
        )
        self.config = replace(self.config, **changes)
        self.environment = {"cpu": "x"}
        self.group = EvaluationGroup(self.config, (job,), data_fingerprint(source), source)
        self.loaded = loaded
        source.reads.clear()

    def worker(self):
        WORKERS.append(
            EvaluationWorker(self.group, self.loaded, self.source, CPU, self.environment)
        )
        return WORKERS[-1]

    def run(self, worker=None):
        """Do what is left, in order, in one call."""
        worker = worker or self.worker()
        opened = worker.open(0)
        if opened.result:
            return opened.result
        if opened.missing:
            worker.work(0, opened.missing, Progress())
        if opened.untimed:
            worker.time(0, Progress())
        return worker.finish(0, Progress())

    @property
    def folder(self):
        (path,) = find_jobs(self.out)
        return JobFolder(path, read_job(path).identity)


def content(finished):
    """All of a result that must not depend on who computed it and when."""
    rows = finished.path.parent / finished.result.scores
    pictures = find_pictures(finished.path, finished.result)
    plain = replace(
        finished.result, seconds=0, created="", execution=None, environment={}, command=""
    )
    crops = (*pictures.references, *pictures.reconstructions)
    return plain, rows.read_bytes(), [path.read_bytes() for path in crops]


N, BAD = 27, (0, 8, 9, 10, 11, 13)
"""Seven chunks: the first begins with a bad image, the third is bad as a whole."""


@pytest.fixture(scope="module")
def once(tmp_path_factory, loaded):
    """The result of one pass by one worker."""
    made = {}

    def get(name):
        if name not in made:
            plan = Plan(tmp_path_factory.mktemp(name), loaded(name), Pictures(N, BAD))
            made[name] = content(plan.run())
        return made[name]

    return get


KINDS = ("deterministic", "stochastic", "codec")


@pytest.mark.medium
@pytest.mark.parametrize("name", KINDS)
def test_a_pass_in_one_piece(once, name):
    result, _, _ = once(name)
    assert result.data.n == N - len(BAD)
    assert result.data.skipped == tuple(f"{i:04d}" for i in BAD)
    (skipped,) = (one for one in result.warnings if "6 images could not be decoded" in one)
    assert re.search(rf"first {BAD[0]:04d}: \w+", skipped)
    assert any("enlarged" in one for one in result.warnings)
    assert result.metrics["psnr"].n == N - len(BAD)
    assert (result.latent.bits_per_pixel is None) == (name == "stochastic")
    assert ("code_usage" in result.tokenizer.extra) == (name == "deterministic")


@pytest.mark.medium
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_any_order_and_any_worker(once, loaded, tmp_path, name, seed):
    plan = Plan(tmp_path, loaded(name), Pictures(N, BAD))
    workers = [plan.worker(), plan.worker()]
    opened = [worker.open(0) for worker in workers]
    assert opened[0] == opened[1]
    assert opened[0].images == (4,) * 6 + (3,)
    assert opened[0].missing == tuple(range(7))
    rng = np.random.default_rng(seed)
    order = rng.permutation(7).tolist()
    done = []

    class Noting(Progress):
        def chunk_done(self, chunk):
            done.append(chunk)

    while order:
        count = int(rng.integers(1, 4))
        some, order = order[:count], order[count:]
        workers[int(rng.integers(2))].work(0, some, Noting())
    assert sorted(done) == list(range(7))
    finished = workers[seed % 2].finish(0, Progress())
    assert content(finished) == once(name)
    assert not (tmp_path / "parts").exists()
    assert plan.run().reused


@pytest.mark.medium
def test_distances_and_their_intervals_do_not_depend_on_the_order(loaded, tmp_path, monkeypatch):
    class Means(features.Extractor):
        layers: ClassVar = {"pool": 6}
        backend = "test"

        def __init__(self, device):
            pass

        def __call__(self, images):
            both = torch.cat([images.float().mean((2, 3)), images.float().std((2, 3))], 1)
            return {"pool": both.numpy()}

    monkeypatch.setattr(features, "make_extractor", lambda key, device: Means(device))
    found = []
    for order in (range(7), (6, 2, 0, 1, 5, 4, 3)):
        plan = Plan(
            tmp_path / str(order), loaded("stochastic"), Pictures(N, BAD),
            metrics=("fd_effnet",), intervals=True, pictures=False,
        )  # fmt: skip
        worker = plan.worker()
        worker.open(0)
        for chunk in order:
            worker.work(0, [chunk], Progress())
        found.append(worker.finish(0, Progress()).result.metrics["fd_effnet"])
    assert found[0] == found[1]
    assert found[0].value > 0


def test_fewer_images_than_a_chunk_has(once, loaded, tmp_path):
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(3))
    assert plan.worker().open(0).images == (3,)
    finished = plan.run()
    assert finished.result.data.n == 3


@pytest.mark.medium
def test_evaluate_finds_what_a_run_finds(loaded, tmp_path):
    source = Pictures(N, BAD)
    plan = Plan(tmp_path, loaded("stochastic"), source)
    saved = plan.run().result
    settings = plan.config.settings(plan.group.plan[0], CPU)
    found = evaluate_loaded(loaded("stochastic"), source, settings)
    assert found.metrics == saved.metrics
    assert found.data == saved.data
    assert found.latent == saved.latent
    assert found.fingerprint == saved.fingerprint
    assert found.warnings == saved.warnings
    assert set(found.per_image) == {"psnr", "ssim"}
    assert found.examples.ids == ("0001", "0002", "0003")  # of the first chunk


def interrupted(plan, after):
    """Stop a run when so many chunks are saved, at the moment of the next."""

    class Stop(Progress):
        def __init__(self):
            self.left = after

        def chunk_done(self, chunk):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    worker = plan.worker()
    opened = worker.open(0)
    with pytest.raises(KeyboardInterrupt):
        worker.work(0, opened.missing, Stop())


@pytest.mark.medium
@pytest.mark.parametrize("after", [1, 4, 7])
def test_an_interrupted_run_goes_on_after_the_last_chunk(once, loaded, tmp_path, after):
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(N, BAD))
    interrupted(plan, after)
    again = Plan(tmp_path, loaded("stochastic"), Pictures(N, BAD))
    opened = again.worker().open(0)
    assert opened.missing == tuple(range(after, 7))
    assert content(again.run()) == once("stochastic")
    assert sum(again.source.reads.values()) == max(0, N - 4 * after)


@pytest.fixture
def stopped(loaded, tmp_path):
    """A job of which three chunks are there."""
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(N, BAD))
    interrupted(plan, 3)
    return plan


@pytest.mark.medium
def test_a_file_that_cannot_be_read_is_named_and_made_again(stopped, once):
    path = stopped.folder.chunk_path(1)
    path.write_bytes(path.read_bytes()[:-3])
    worker = stopped.worker()
    with pytest.warns(RuntimeWarning, match=path.name):
        opened = worker.open(0)
    assert opened.missing == (1, 3, 4, 5, 6)
    worker.work(0, opened.missing, Progress())
    assert content(worker.finish(0, Progress())) == once("stochastic")


@pytest.mark.medium
def test_a_chunk_of_another_job_is_named_and_made_again(stopped, once, loaded, tmp_path):
    other = Plan(tmp_path / "other", loaded("stochastic"), Pictures(N, BAD), seed=1)
    interrupted(other, 3)
    path = stopped.folder.chunk_path(1)
    path.write_bytes(other.folder.chunk_path(1).read_bytes())
    with pytest.warns(RuntimeWarning, match=f"{path.name} cannot be used: its job is"):
        assert stopped.worker().open(0).missing == (1, 3, 4, 5, 6)
    assert content(stopped.run()) == once("stochastic")


def test_other_weights_have_another_folder(stopped, loaded, record):
    changed = replace(record("stochastic"), weights={"w.bin": "cd" * 32})
    other = Plan(stopped.out, LoadedTokenizer(Noisy(), changed), Pictures(N, BAD))
    assert other.worker().open(0).missing == tuple(range(7))
    assert len(find_jobs(stopped.out)) == 2


def test_missing_images_are_named(stopped):
    folder = stopped.folder
    worker = stopped.worker()
    worker.open(0)
    worker.work(0, [4, 6], Progress())
    with pytest.raises(UserError, match=r"8 of 27 images: chunk 3, from '0012' until '0016' and 1"):
        worker.finish(0, Progress())
    worker.work(0, [3], Progress())
    with pytest.raises(UserError, match="4 of 27 images: chunk 5, from '0020' until '0024':"):
        worker.finish(0, Progress())
    assert folder.missing() == (5,)
    assert find_jobs(stopped.out) == [folder.path]


def test_an_image_in_two_chunks_is_named(stopped):
    """A repeated image takes a forged file: chunks are of different images."""
    folder = stopped.folder
    state, executed = folder.load(2 - 1)
    worker = stopped.worker()
    worker.work(0, worker.open(0).missing, Progress())
    folder.save(3, state, executed)
    with pytest.raises(DataError, match="'0004' came twice"):
        worker.finish(0, Progress())


def test_results_are_not_searched_among_chunks(stopped, tmp_path):
    with pytest.raises(UserError, match="no result files"):
        find_results([stopped.out])
    with pytest.raises(UserError, match="no result files"):
        find_results([tmp_path])


def test_only_bad_images(loaded, tmp_path):
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(6, range(6)))
    with pytest.raises(DataError, match=r"pictures: none of 6 images .* 0000: truncated"):
        plan.run()


def test_strict_refuses_a_bad_image(loaded, tmp_path):
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(N, BAD), strict=True)
    with pytest.raises(DataError, match="0000"):
        plan.run()


@pytest.mark.medium
def test_states_do_not_pile_up(loaded, tmp_path, monkeypatch):
    alive, most = [], []
    save = JobFolder.save

    def watched(self, chunk, state, executed):
        most.append(sum(one() is not None for one in alive))
        alive.append(weakref.ref(state))
        save(self, chunk, state, executed)

    monkeypatch.setattr(JobFolder, "save", watched)
    Plan(tmp_path, loaded("stochastic"), Pictures(64)).run()
    assert len(most) == 16
    assert max(most) <= 1


def test_noise_in_the_order_of_the_set_is_one_chunk(loaded, tmp_path):
    plan = Plan(
        tmp_path, loaded("stochastic"), Pictures(N, BAD), protocol=get_protocol("ssdd-paper-v1")
    )
    assert plan.worker().open(0).images == (N,)


def test_groups_and_failures_go_to_other_processes(loaded, tmp_path):
    group = Plan(tmp_path, loaded("stochastic"), Pictures(N)).group
    copy = pickle.loads(pickle.dumps(group))
    assert copy.jobs == group.jobs == ("test at 16 px, default-v1",)
    assert copy.plan == group.plan

    here = EvaluationGroup(group.config, group.plan, "", open_images(None), {"cpu": "x"})
    there = pickle.loads(pickle.dumps(here))
    assert there._environment is None
    assert there._source.ids == here._source.ids

    class Odd(PluginError):
        def __init__(self):
            super().__init__("two\nlines")
            self.lock = open

    try:
        raise Odd
    except Odd as error:
        failure = Failure("test", 2, Problem.of(error))
    assert pickle.loads(pickle.dumps(failure)) == failure
    assert str(failure) == "test: Odd: two lines (--debug shows where)"
    assert "Traceback" in failure.problem.trace


@pytest.mark.medium
def test_a_speed_of_another_machine_is_not_added(loaded, tmp_path, clock):
    Plan(tmp_path, loaded("codec"), Pictures(5)).run()
    plan = Plan(tmp_path, loaded("codec"), Pictures(5), speed=True)
    plan.environment = {"cpu": "y"}
    assert plan.worker().open(0).missing == (0, 1)
    finished = plan.run()
    assert finished.result.environment == {"cpu": "y"}
    assert finished.result.speed == BASE.speed


@pytest.mark.medium
def test_a_new_metric_goes_beside_the_old_ones(loaded, tmp_path):
    first = Plan(tmp_path, loaded("codec"), Pictures(5), metrics=("mse",)).run()
    second = Plan(tmp_path, loaded("codec"), Pictures(5), metrics=("mae",))
    assert set(second.run().result.metrics) == {"mse", "mae"}
    assert first.path == second.run().path
    assert second.run().reused


@pytest.mark.medium
def test_a_forced_run_measures_again(loaded, tmp_path):
    Plan(tmp_path, loaded("codec"), Pictures(5)).run()
    plan = Plan(tmp_path, loaded("codec"), Pictures(5), force=True)
    assert plan.worker().open(0).missing == (0, 1)
    assert not plan.run().reused


@pytest.mark.medium
def test_networks_are_left_as_they_were(loaded, tmp_path, monkeypatch):
    """After a failure too."""
    closed = []
    from ssdd_bench.evaluation.work import JobWork

    close = JobWork.close
    monkeypatch.setattr(JobWork, "close", lambda self: (closed.append(self), close(self)))
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(5))
    plan.run()
    assert len(closed) == 1  # by the job's end, before the worker's

    class Broken(Noisy):
        def decode(self, latent, noise):
            raise PluginError("no")

    broken = LoadedTokenizer(Broken(), plan.loaded.record)
    with pytest.raises(PluginError):
        Plan(tmp_path / "b", broken, Pictures(5)).run()
    assert len(closed) == 2


def test_a_full_disk_ends_the_run(loaded, tmp_path, monkeypatch):
    def full(arrays, path, metadata):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssdd_bench.evaluation.chunk_files.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        Plan(tmp_path, loaded("stochastic"), Pictures(5)).run()


@pytest.mark.medium
def test_a_run_and_its_restart_from_the_first_to_the_last_line(tmp_path, make_photos):
    """Through the public function, with plugins by name."""
    photos = make_photos(9, (20, 20))
    options = {"resolutions": (16,), "data": photos, "metrics": METRICS, "speed": False,
               "device": "cpu", "progress": False}  # fmt: skip
    whole = run(["identity", "jpeg:quality=30"], out=tmp_path / "a", **options)
    assert not whole.failures
    calls = []
    save = JobFolder.save

    class Stopped(Exception):
        pass

    def failing(self, chunk, state, executed):
        calls.append(chunk)
        if len(calls) == 5:  # the second job's second chunk
            raise KeyboardInterrupt
        save(self, chunk, state, executed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobFolder, "save", failing)
        with pytest.raises(KeyboardInterrupt):
            run(["identity", "jpeg:quality=30"], out=tmp_path / "b", **options)
    assert calls == [0, 1, 2, 0, 1]
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JobFolder, "save", lambda *a: (calls.append(a[1]), save(*a)))
        again = run(["identity", "jpeg:quality=30"], out=tmp_path / "b", **options)
    assert calls == [1, 2]
    assert [one.reused for one in again.finished] == [True, False]
    assert [*map(content, again.finished)] == [*map(content, whole.finished)]


def test_a_group_for_each_tokenizer_with_what_is_known_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "describe_environment", lambda device: {"device": device})
    source = Pictures(3)
    config = RunConfig(tuple(parse_requests("jpeg,identity")), (16, 24), tmp_path, data=source)
    jobs = config.jobs()
    found = [vars(group) for group in make_groups(config, source, CPU)]
    assert found == [
        {
            "config": config,
            "plan": plan,
            "data_hash": data_fingerprint(source),
            "_environment": {"device": CPU},
            "_source": source,
            "name": name,
            "jobs": tuple(f"{name} at {side} px, default-v1" for side in (16, 24)),
        }
        for name, plan in (("jpeg", jobs[:2]), ("identity", jobs[2:]))
    ]


def test_a_group_loads_onto_a_device(tmp_path, monkeypatch):
    """Environment and images that do not come along are looked up where it is loaded."""
    kept = []
    monkeypatch.setattr(module, "describe_environment", lambda device: {"device": device})
    monkeypatch.setattr(module, "load", lambda request, device: ("loaded", request, device))
    monkeypatch.setattr(module, "keep_freed_memory", lambda: kept.append(True))
    source, device = Pictures(3), torch.device("meta")
    config = RunConfig(tuple(parse_requests("jpeg")), (16,), tmp_path, data=source)
    own = {
        "_loaded": ("loaded", config.requests[0], device),
        "_device": device,
        "_jobs": {},
        "_current": None,
    }
    given = EvaluationGroup(config, config.jobs(), "", source, {"cpu": "x"})
    rest = {"_group": given, "_environment": {"cpu": "x"}, "_source": source}
    assert vars(given.load("meta")) == own | rest
    bare = EvaluationGroup(config, config.jobs(), "", source)
    worker = bare.load("meta")
    rest |= {"_group": bare, "_environment": {"device": device}}
    assert vars(worker) == own | rest
    assert kept == [True, True]


def test_an_open_job_is_described(loaded, tmp_path):
    plan = Plan(
        tmp_path, loaded("stochastic"), Pictures(6), speed=True, command="ssdd-bench run",
        pictures=False, picture_quality=65, strict=True,
    )  # fmt: skip
    opened = plan.worker().open(0)
    (path,) = find_jobs(tmp_path)
    assert opened == Opened((4, 2), (0, 1), True, folder=path.name)
    record = read_job(path)
    settings = plan.config.settings(plan.group.plan[0], CPU)
    expected = describe_job(
        plan.loaded, plan.source, settings, plan.group.data_hash, {"cpu": "x"}, "ssdd-bench run",
        False, 65,
    )  # fmt: skip
    expected = replace(expected, created=record.created)
    JobFolder(tmp_path / "expected", expected.identity).claim(expected)
    assert record == read_job(tmp_path / "expected")
    again = replace(plan.config, command="another", pictures=True)
    plan.group = EvaluationGroup(again, plan.group.plan, plan.group.data_hash, plan.source)
    worker = plan.worker()
    assert worker.open(0) == opened
    resumed = replace(record, command="another", pictures=True)  # created when it first was
    assert read_job(path) == resumed
    assert worker._jobs[0].record.created == record.created


def test_a_resolution_that_does_not_fit(loaded, tmp_path):
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(3))
    plan.group = EvaluationGroup(
        plan.config, (replace(plan.group.plan[0], resolution=15),), "", plan.source
    )
    with pytest.raises(ResolutionError, match="14 or 16"):
        plan.worker().open(0)


class Stages(Progress):
    def __init__(self):
        self.seen = []

    def stage(self, name):
        self.seen.append(name)


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows the speed of an example, and keeps what it is given."""
    given = []

    def measure(tokenizer, examples, *more, **named):
        given.append(examples.ids)
        return BASE.speed

    monkeypatch.setattr(work_module, "measure_speed", measure)
    return given


@pytest.mark.medium
def test_the_clock_is_read_and_saved(loaded, tmp_path, clock):
    plan = Plan(tmp_path, loaded("codec"), Pictures(11, (0,)), speed=True)
    worker, stages = plan.worker(), Stages()
    worker.work(0, worker.open(0).missing, stages)
    plan.environment = {"cpu": "y"}
    worker = plan.worker()
    assert worker.open(0).untimed
    worker.time(0, stages)
    record = read_job(plan.folder.path)
    found = plan.folder.load_clock()
    assert found == ClockRecord(record.identity, BASE.speed, {"cpu": "y"}, found.seconds)
    assert 0 < found.seconds < 60
    assert clock == [("0001", "0002", "0003")]  # of the first chunk
    assert plan.worker().open(0) == Opened((4, 4, 3), folder=plan.folder.path.name)
    finished = worker.finish(0, stages)
    assert stages.seen == ["speed", "scores"]
    assert (finished.result.speed, finished.result.environment) == (BASE.speed, {"cpu": "y"})
    opened = plan.worker().open(0)
    assert opened == Opened(result=replace(finished, reused=True))


@pytest.mark.medium
def test_a_speed_that_is_missing_is_added(loaded, tmp_path, clock):
    old = Plan(tmp_path, loaded("codec"), Pictures(3), command="first").run()
    plan = Plan(tmp_path, loaded("codec"), Pictures(3), speed=True, command="second")
    worker, stages = plan.worker(), Stages()
    assert worker.open(0) == Opened(untimed=True)
    assert not find_jobs(tmp_path)
    worker.time(0, stages)
    finished = worker.finish(0, stages)
    assert stages.seen == ["speed"]
    seconds = finished.result.seconds
    assert old.result.seconds < seconds < old.result.seconds + 60
    wanted = replace(old.result, speed=BASE.speed, command="second", seconds=seconds)
    assert finished == Finished(wanted, old.path, reused=False)
    assert load_results([tmp_path]) == [finished.result]
    assert clock == [("0000", "0001", "0002")]
    assert not find_jobs(tmp_path)


def test_what_an_old_result_has_is_computed_again(loaded, tmp_path):
    """The folder is for the old metrics and the new ones."""
    old = Plan(tmp_path, loaded("codec"), Pictures(3), metrics=("psnr",)).run()
    reused = replace(old, reused=True)
    fewer = Plan(tmp_path, loaded("codec"), Pictures(3), metrics=("psnr",))
    assert fewer.worker().open(0) == Opened(result=reused)
    plan = Plan(tmp_path, loaded("codec"), Pictures(3), metrics=("mse",))
    opened = plan.worker().open(0)
    assert opened == Opened((3,), (0,), folder=plan.folder.path.name)
    assert read_job(plan.folder.path).identity.metrics == ("mse", "psnr")
    assert plan.folder.path.name.startswith(f"{old.path.stem}-")


class Work:
    """Stands in for the work on a job: keeps what it is asked."""

    def __init__(self, seen, loaded, source, settings):
        self.seen, self.side = seen, settings.resolution
        seen.append(("begun", loaded, source, settings))

    def compute(self, folder, chunks, progress):
        self.seen.append((self.side, folder.path.name, chunks, progress))
        if not chunks:
            raise KeyboardInterrupt

    def close(self):
        self.seen.append(("closed", self.side))


def test_one_job_is_at_work_at_a_time(loaded, tmp_path, monkeypatch):
    seen, progress = [], Progress()
    monkeypatch.setattr(module, "JobWork", lambda *given: Work(seen, *given))
    plan = Plan(tmp_path, loaded("stochastic"), Pictures(6))
    first = plan.group.plan[0]
    jobs = first, replace(first, resolution=8)
    plan.group = EvaluationGroup(plan.config, jobs, "hash", plan.source)
    worker = plan.worker()
    folders = [worker.open(job).folder for job in range(2)]
    worker.work(0, (0,), progress)
    worker.work(0, (1,), progress)
    worker.work(1, (0, 1), progress)
    with pytest.raises(KeyboardInterrupt):
        worker.work(1, (), progress)
    worker.work(1, (1,), progress)
    worker.close()
    worker.close()
    begun = [("begun", plan.loaded, plan.source, plan.config.settings(job, CPU)) for job in jobs]
    assert seen == [
        begun[0],
        (16, folders[0], (0,), progress),
        (16, folders[0], (1,), progress),
        ("closed", 16),
        begun[1],
        (8, folders[1], (0, 1), progress),
        (8, folders[1], (), progress),
        ("closed", 8),
        begun[1],
        (8, folders[1], (1,), progress),
        ("closed", 8),
    ]


@pytest.mark.medium
def test_a_damaged_chunk_is_computed_again_at_the_end(stopped, once, monkeypatch):
    damage_data(stopped)
    worker, stages, calls = stopped.worker(), Stages(), []
    worker.work(0, worker.open(0).missing, Progress())
    work = worker.work
    monkeypatch.setattr(worker, "work", lambda *given: calls.append(given) or work(*given))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        finished = worker.finish(0, stages)
    assert [given[:2] for given in calls] == [(0, [1])]
    assert stages.seen == ["scores", "scores"]
    assert content(finished) == once("stochastic")
    assert worker._current is None


def damage_data(plan):
    """Change a bit of the second chunk."""
    path = plan.folder.chunk_path(1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.medium
def test_a_folder_is_merged_whatever_run_it_is_of(stopped, once, monkeypatch):
    worker = stopped.worker()
    worker.work(0, worker.open(0).missing, Progress())
    folder = stopped.folder
    damage_data(stopped)
    with (
        pytest.warns(RuntimeWarning, match=f"{folder.chunk_path(1).name} is damaged"),
        pytest.raises(DamagedChunkError) as raised,
    ):
        merge_folder(folder.path, stopped.out)
    assert raised.value.chunk == 1
    assert folder.missing() == (1,)
    assert not list(stopped.out.glob("*.json"))
    with pytest.raises(UserError, match="chunk 1"):
        merge_folder(folder.path, stopped.out)
    worker = stopped.worker()
    worker.work(0, worker.open(0).missing, Progress())
    saved, save = [], Evaluation.save
    record = read_job(folder.path)
    monkeypatch.setattr(
        Evaluation, "save", lambda self, *given: saved.append(given) or save(self, *given)
    )
    finished = merge_folder(folder.path, stopped.out)
    assert saved == [(stopped.out, record.pictures, record.picture_quality)]
    assert (finished.path.parent, finished.reused) == (stopped.out, False)
    assert content(finished) == once("stochastic")
    assert load_results([finished.path]) == [finished.result]
    assert not find_jobs(stopped.out)
