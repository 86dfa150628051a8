"""The gate: planted regressions fail it, the same model never does, and unlike is not compared."""

import math
from collections import Counter
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import reconstruct
from ssdd_bench.gate.compare import compare
from ssdd_bench.gate.load import ScoredResult, load_side
from ssdd_bench.gate.paired import paired_change
from ssdd_bench.gate.thresholds import Threshold, learn, parse_rules
from ssdd_bench.metrics.features.base import make_extractor
from ssdd_bench.metrics.moments import frechet_distance, moments_of
from ssdd_bench.metrics.pixel_errors import (
    PSNR,
    PooledPSNR,
    absolute_errors,
    decibel,
    squared_errors,
)
from ssdd_bench.metrics.ssim import SSIM
from ssdd_bench.plugins.registry import load_tokenizer
from ssdd_bench.results.schema import NUMBERS_VERSION, MetricValue
from ssdd_bench.ssdd import tokenizer as ssdd_tokenizer
from ssdd_bench.weights.files import load_safetensors

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"


@pytest.fixture
def again(base, measure):
    """Measure one of the base's tokenizers anew, beside the base's result of it."""

    def measure_and_compare(out, request, any_change=False):
        head = measure(request, out)
        kept = [one for one in load_side(str(base / "results")) if one.key == head[0].key]
        return compare(kept, head, {}, any_change)

    return measure_and_compare


def regressions(found):
    return {one.metric for one in found.differences if one.verdict == "regression"}


def result_with(metric="rfid", higher=False, scores=(), **value):
    """A result with one metric, and scores of single images where they are given."""
    (plain,) = load_side(str(FIXTURE))
    found = MetricValue(
        **{"value": 0.0, "n": 28, "higher_is_better": higher, "backend": "x"} | value
    )
    single = {metric: pd.Series(scores, [f"{i}" for i in range(len(scores))])} if scores else {}
    return ScoredResult(replace(plain.result, metrics={metric: found}), single)


@pytest.mark.parametrize(
    ("base", "head", "higher", "rule", "change", "verdict", "strict"),
    [
        (2.0, 2.0, False, None, 0.0, "same", "same"),
        (100.0, 101.0, False, None, 1.0, "worse", "worse"),  # 1% by default
        (0.3, 0.303, False, None, 0.003, "worse", "worse"),  # 0.0030000000000000027
        (2.0, 2.03, False, None, 0.03, "regression", "regression"),
        (100.0, 99.0, False, None, -1.0, "better", "better"),
        (2.0, 1.97, False, None, -0.03, "better", "changed"),
        (2.0, 2.03, True, None, 0.03, "better", "changed"),
        (2.0, 1.97, True, None, -0.03, "regression", "regression"),
        (2.0, 2.5, False, "rfid:0.5", 0.5, "worse", "worse"),
        (2.0, 2.5, False, "rfid:0.49", 0.5, "regression", "regression"),
        (2.0, 2.5, False, "rfid:25%", 0.5, "worse", "worse"),
        (-2.0, -1.5, False, "rfid:25%", 0.5, "worse", "worse"),
        (2.0, 2.19, False, "rfid:10%", 0.19, "worse", "worse"),
        (2.0, 2.21, False, "rfid:10%", 0.21, "regression", "regression"),  # of 2.21 it is less
        (2.0, 2.5, False, "psnr:9", 0.5, "regression", "regression"),
        (0.0, 0.5, False, "rfid:25%", 0.5, "regression", "regression"),
        (None, 0.5, False, None, None, "better", "better"),
        (0.5, None, True, None, None, "better", "better"),
        (None, 0.5, True, None, None, "regression", "regression"),
        (None, None, True, None, None, "same", "same"),
    ],
)
def test_a_score_of_a_set(base, head, higher, rule, change, verdict, strict):
    sides = [
        result_with(higher=higher, value=one, infinite=0 if one is not None else 3)
        for one in (base, head)
    ]
    thresholds = parse_rules([rule] if rule else [])
    for any_change, expected in ((False, verdict), (True, strict)):
        found = compare(sides[:1], sides[1:], thresholds, any_change)
        (one,) = found.differences
        assert (one.verdict, one.base, one.head, one.interval) == (expected, base, head, None)
        assert one.change == (None if change is None else pytest.approx(change))
        assert one.threshold == thresholds.get("rfid", Threshold(0.01, True, True))
        assert found.exit_code == one.fails == (expected in ("regression", "changed"))
        assert (one.key, one.metric) == (sides[0].key, "rfid")


@pytest.mark.parametrize(
    ("gaps", "rule", "change", "verdict"),
    [
        ([-1.0] * 4, None, -1.0, "regression"),
        ([1.0] * 4, None, 1.0, "better"),
        ([0.0] * 4, None, 0.0, "same"),
        ([-1.0] * 4, "psnr:1", -1.0, "worse"),
        ([-3.0, 1.0, 1.0, -3.0], None, -1.0, "worse"),  # zero is in the interval
        ([-0.001] * 4, None, -0.001, "worse"),  # of 25 dB a ten-thousandth
        ([-1.0, -1.0, np.inf, np.nan], None, -1.0, "regression"),
        ([np.inf] * 4, None, 0.0, "same"),
    ],
)
def test_scores_of_single_images(gaps, rule, change, verdict):
    base = [20.0, 30.0, 24.0, 26.0]
    before = result_with("psnr", True, base, value=25.0)
    after = result_with("psnr", True, list(np.add(base, gaps)), value=25.0)
    (one,) = compare([before], [after], parse_rules([rule] if rule else [])).differences
    assert (one.change, one.verdict) == (pytest.approx(change), verdict)
    assert rule or one.threshold == Threshold(1e-4, True, True)
    low, high = one.interval
    assert low <= one.change <= high
    assert (low == high) == (len({gap for gap in gaps if np.isfinite(gap)}) < 2)
    unpaired = ScoredResult(after.result, {})
    (one,) = compare([before], [unpaired], {}).differences
    assert (one.change, one.interval) == (0.0, None)


def seeded(one, seed):
    return ScoredResult(replace(one.result, seed=seed), one.scores)


def test_another_seed_widens_the_threshold_of_a_set():
    """A quarter of the score over the root of the number of images: 4.7% for 28."""
    base, near, far = (result_with(value=value) for value in (2.0, 2.06, 2.1))
    for head, seed, verdict in (
        (near, 0, "regression"),
        (near, 1, "worse"),
        (far, 1, "regression"),
    ):
        (one,) = compare([base], [seeded(head, seed)], {}).differences
        assert (one.verdict, one.detectable) == (verdict, None)


@pytest.mark.medium
def test_another_seed_widens_the_threshold_of_single_images():
    """Student's quantile of 95%, with three degrees of freedom, takes the interval's place."""
    base = [20.0, 30.0, 24.0, 26.0]
    before = result_with("psnr", True, base, value=25.0)
    gaps = [-0.1, -1.0, -0.8, -0.4]  # a mean of -0.575
    after = result_with("psnr", True, list(np.add(base, gaps)), value=24.425)
    paired = paired_change(before.scores, after.scores, "psnr")
    critical = 2.35336 * paired.deviation
    half = (paired.interval[1] - paired.interval[0]) / 2
    assert half < critical
    (same,) = compare([before], [after], {}).differences
    (other,) = compare([before], [seeded(after, 1)], {}).differences
    power = 0.8416212 * paired.deviation
    assert same.detectable == pytest.approx(half + power, rel=1e-5)
    assert other.detectable == pytest.approx(critical + power, rel=1e-5)
    for scale, verdict in ((0.75, "worse"), (1.0, "regression")):
        shifted = list(np.add(base, gaps) - (scale - 1) * 0.575)
        head = seeded(result_with("psnr", True, shifted, value=24.0), 1)
        (found,) = compare([before], [head], {}).differences
        assert found.verdict == verdict
        assert (0.575 * scale > critical) == (verdict == "regression")


def test_notes_and_obstacles_name_the_job():
    one = result_with()
    name = "ssdd, 64 px, default-v1, seed 0"
    assert str(one.key) == name
    other = ScoredResult(replace(one.result, seed=1), {})
    found = compare([one], [one, other], {})
    assert (found.notes, found.obstacles) == ((f"{name[:-1]}1: only in HEAD",), ())
    found = compare([one, other], [one], {})
    assert (found.notes, found.obstacles) == ((), (f"{name[:-1]}1: not in HEAD",))
    assert (found.exit_code, compare([], [], {}).exit_code) == (2, 2)
    # An obstacle of one job hides neither those of others nor their scores.
    far = replace(one.result, data=replace(one.result.data, n=9))
    third, fourth = seeded(one, 2), seeded(one, 3)
    head = [seeded(ScoredResult(far, {}), seed) for seed in (1, 2)] + [fourth]
    found = compare([one, other, third, fourth], head, {})
    assert [line.partition(": ")[0] for line in found.obstacles] == [
        f"{name[:-1]}{seed}" for seed in range(3)
    ]
    assert [difference.key.seed for difference in found.differences] == [3]
    changed = replace(one.result, tokenizer=replace(one.result.tokenizer, weights={}), steps=9)
    assert compare([one], [ScoredResult(changed, {})], {}).notes == (
        *(f"{name}: other weights", f"{name}: steps 1 and 9"),
    )

    def runs(**execution):
        changed = replace(one.result.execution, **execution)
        return ScoredResult(replace(one.result, execution=changed), {})

    for before, after, words in (
        ({"device": "cpu"}, {"device": "cpu", "threads": 5}, ["and 5 threads"]),
        ({"device": "cpu"}, {"device": "gpu", "threads": 5, "cpu_kernels": ""}, ["cpu and gpu"]),
        ({"device": "gpu"}, {"device": "gpu", "threads": 5}, []),
        (
            {"device": "cpu"},
            {"device": "cpu", "threads": 5, "cpu_kernels": "AVX9"},
            ["and 5 threads", "and AVX9"],
        ),
        ({"device": "gpu"}, {"device": "gpu", "cpu_kernels": "AVX9"}, ["and AVX9"]),
    ):
        notes = compare([runs(**before)], [runs(**after)], {}).notes
        for note, words_in_it in zip(notes, words, strict=True):
            assert note.startswith(f"{name}: ")
            assert words_in_it in note

    upgraded = replace(one.result, environment={**one.result.environment, "torch": "99.0"})
    (note,) = compare([one], [ScoredResult(upgraded, {})], {}).notes
    assert "99.0" in note
    plain = (PSNR.backend, PooledPSNR.backend, SSIM.backend)
    assert not any(torch.__version__.partition("+")[0] in backend for backend in plain)


@pytest.mark.slow
def test_unchanged_model_passes_with_all_differences_zero(again, base, tmp_path):
    request = f"ssdd:checkpoint={base / 'decoder.safetensors'}"
    found = again(tmp_path, request)
    assert found.exit_code == 0
    assert [one.change for one in found.differences] == [0, 0, 0, 0]


@pytest.mark.slow
def test_weights_off_by_a_hundredth(again, base, mini_weights, tmp_path):
    checkpoint = base / "decoder.safetensors"
    state = load_safetensors(checkpoint)
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if name.startswith("decoder.") and value.ndim > 1:
            noise = torch.randn(value.shape, generator=generator).to(value.dtype)
            state[name] = value + 0.01 * value.std() * noise
    save_file(state, checkpoint)
    try:
        found = again(tmp_path, f"ssdd:checkpoint={checkpoint}")
    finally:
        checkpoint.write_bytes(mini_weights.read_bytes())
    assert found.exit_code == 1
    assert any("other weights" in note for note in found.notes)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["shift", "truncate"])
def test_faults_of_rounding(again, tmp_path, monkeypatch, level):
    real = reconstruct.to_uint8

    def faulty(images, ids):
        if level == "truncate":
            return (images.clamp(0, 1) * 254.9999).to(torch.uint8)
        return (real(images, ids).int() + 1).clamp(0, 255).to(torch.uint8)

    monkeypatch.setattr(reconstruct, "to_uint8", faulty)
    found = again(tmp_path, "jpeg:quality=90")
    assert "mae" in regressions(found) or "psnr" in regressions(found)


@pytest.mark.slow
def test_one_step_fewer(measure, tmp_path, monkeypatch):
    before = measure("diffusion:steps=3", tmp_path / "before")
    grid = ssdd_tokenizer.power_schedule
    monkeypatch.setattr(
        ssdd_tokenizer, "power_schedule", lambda steps, power: grid(steps - 1, power)
    )
    # The shipped teacher is better with fewer steps, so that only a strict gate minds.
    after = measure("diffusion:steps=3", tmp_path / "after")
    assert compare(before, after, {}).exit_code == 0
    assert compare(before, after, {}, any_change=True).exit_code == 1


def fake(values, seed=0, **changes):
    """Make up scores of single images for a result like another one."""
    like = changes.pop("like")
    scores = pd.Series(values, [f"{i:03}" for i in range(len(values))])
    value = replace(like.result.metrics["psnr"], value=float(np.mean(values)), n=len(values))
    result = replace(like.result, metrics={"psnr": value}, seed=seed, **changes)
    return ScoredResult(result, {"psnr": scores})


@pytest.mark.slow
def test_other_draws_of_the_same_model_hardly_ever_fail_with_learnt_thresholds(base):
    like = load_side(str(base / "results"))[0]
    rng = np.random.default_rng(0)
    images = rng.normal(25, 4, 80)

    def draw(seed):
        return fake(images + rng.normal(0, 0.3, 80), seed, like=like)

    learnt = learn([draw(seed) for seed in range(10)])
    codes = [compare([draw(0)], [draw(0)], learnt).exit_code for _ in range(50)]
    assert sum(codes) <= 5  # 5% of 50 is 2.5
    careless = {"psnr": Threshold(0, False)}
    assert any(compare([draw(0)], [draw(0)], careless).exit_code for _ in range(50))
    worse = fake(images - 0.5 + rng.normal(0, 0.3, 80), like=like)
    assert compare([draw(0)], [worse], learnt).exit_code == 1


def test_another_seed_is_compared_where_that_of_the_base_is_missing(base):
    (one, *_) = load_side(str(base / "results"))

    def several(*seeds):
        return [seeded(one, seed) for seed in seeds]

    found = compare(several(0, 1), several(5, 1, 3), {})
    assert found.exit_code == 0
    assert {x.key.seed for x in found.differences} == {0, 1}
    assert [note for note in found.notes if "seed 3" in note]
    assert [note for note in found.notes if "seed 5" in note and "only in HEAD" in note]
    assert compare(several(0, 1), several(3), {}).exit_code == 2


def test_results_of_one_name_are_matched_by_fingerprint_then_by_images():
    one = result_with(value=2.0)

    def other(name, value, **change):
        data = replace(one.result.data, **{"pixels_sha256": name} | change)
        metric = replace(one.result.metrics["rfid"], value=value)
        changed = replace(one.result, data=data, fingerprint=name, metrics={"rfid": metric})
        return ScoredResult(changed, {})

    sides = [one, other("a", 5.0), other("b", 9.0, ids_sha256="b", n=3)]
    for order in permutations(sides):
        found = compare(sides, order, {})
        assert [x.change for x in found.differences] == [0, 0, 0]
        assert (found.exit_code, found.obstacles, found.notes) == (0, (), ())
    # The weights changed, and with them the fingerprint: the images tell.
    (worse,) = (replace(x, result=replace(x.result, fingerprint="new")) for x in [sides[1]])
    found = compare(sides[:2], [worse, one], {})
    assert [x.change for x in found.differences] == [0, 0]
    found = compare(sides[:1], [one, worse], {})
    (note,) = found.notes
    assert "only in HEAD" in note


def test_scores_of_images_that_are_missing_are_named_and_loosen_nothing(base):
    (one, *_) = load_side(str(base / "results"))
    bare = replace(one, scores={})
    found = compare([bare], [bare], {})
    (note,) = (note for note in found.notes if "BASE" in note)
    assert "psnr" in note
    assert "fd_effnet" not in note
    psnr = one.result.metrics["psnr"]
    worse = replace(psnr, value=psnr.value * 0.999)
    head = replace(one, result=replace(one.result, metrics={**one.result.metrics, "psnr": worse}))
    assert compare([bare], [head], {}).exit_code == 1
    assert not [note for note in compare([one], [one], {}).notes if "lacks scores" in note]


def test_thresholds_of_what_is_not_compared_are_named():
    one = result_with(value=2.0)
    with pytest.raises(UserError, match="did you mean psnr"):
        compare([one], [one], parse_rules(["pnsr:-0.1"]))
    found = compare([one], [one], parse_rules(["ssim:-0.1", "rfid:1%", "decode_ips:10%"]))
    (note,) = found.notes
    assert "ssim" in note
    assert found.exit_code == 0


SEEDS = 14
IMAGES = 12


@pytest.fixture(scope="module")
def seeds(base):
    """Results of the shipped decoder with several seeds, on the first images at 64 px."""
    like = load_side(str(base / "results"))
    (like,) = (one.result for one in like if one.result.tokenizer.id == "ssdd")
    batches = ImageLoader(open_images(None, IMAGES), 64, "adm", IMAGES)
    images, ids = next((batch.images, batch.ids) for batch in batches)
    tokenizer, network = load_tokenizer("ssdd"), make_extractor("effnet", torch.device("cpu"))

    def features(pixels):
        return moments_of(next(iter(network(pixels).values())))

    reference, found = features(images), []
    for seed in range(SEEDS):
        with torch.inference_mode():
            latent = tokenizer.encode(images.float() / 255)
            decoded = to_uint8(tokenizer.decode(latent, KeyedNoise(seed, ids, "decode")), ids)
        errors = squared_errors(images, decoded)
        scores = {
            "psnr": pd.Series([decibel(one) for one in errors], ids),
            "mae": pd.Series(absolute_errors(images, decoded), ids),
        }
        values = {key: one.mean() for key, one in scores.items()}
        values["psnr_pooled"] = decibel(np.mean(errors))
        values["fd_effnet"] = frechet_distance(reference, features(decoded))
        metrics = {
            key: replace(like.metrics["psnr" if "psnr" in key else "mae"], value=value, n=IMAGES)
            for key, value in values.items()
        }
        found.append(ScoredResult(replace(like, seed=seed, metrics=metrics), scores))
    return found


@pytest.mark.nightly
def test_other_seeds_of_one_model_hardly_ever_fail_without_thresholds(seeds):
    """Count failures in 182 comparisons: at most 5% by a metric; 1% of the distance fails 38%."""
    failures = Counter()
    pairs = [*permutations(seeds, 2)]
    for before, after in pairs:
        failures.update(regressions(compare([before], [after], {})))
    assert failures["fd_effnet"] <= 0.05 * len(pairs)
    assert failures["psnr"] <= 0.05 * len(pairs)
    strict = {"fd_effnet": Threshold(0.01, True)}
    careless = [regressions(compare([a], [b], strict)) for a, b in pairs[:60]]
    assert sum("fd_effnet" in one for one in careless) > 0.1 * len(careless)


def test_a_spoilt_image_fails_although_another_became_perfect():
    others = [40.0] * 5
    base = result_with("psnr", True, [math.inf, *others], value=40.0, infinite=1)
    head = result_with("psnr", True, [10.0, math.inf, *others[1:]], value=34.0, infinite=1)
    assert compare([base], [head], {}).exit_code == 1
    gained = result_with("psnr", True, [math.inf, math.inf, *others[1:]], value=40.0, infinite=2)
    assert compare([base], [gained], {}).exit_code == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: replace(r, protocol={**r.protocol, "sha256": "x"}), "protocol's hash"),
        (lambda r: replace(r, data=replace(r.data, n=3)), "12 images and 3"),
        (lambda r: replace(r, data=replace(r.data, ids_sha256="x")), "other images"),
        (lambda r: replace(r, data=replace(r.data, pixels_sha256="x")), "other pixels"),
        (lambda r: replace(r, numbers_version=1), f"numbers_version {NUMBERS_VERSION} and 1"),
        (lambda r: replace(r, metrics={}), "HEAD has no psnr"),
        (
            lambda r: replace(
                r, metrics={**r.metrics, "psnr": replace(r.metrics["psnr"], backend="mine")}
            ),
            ": measure BASE again",
        ),
        (
            lambda r: replace(
                r, metrics={**r.metrics, "psnr": replace(r.metrics["psnr"], unavailable="gone")}
            ),
            "HEAD has no psnr: gone",
        ),
        (lambda r: replace(r, resolution=128), "not in HEAD"),
    ],
)
def test_unlike_is_not_compared(base, change, reason):
    (one, *_) = load_side(str(base / "results"))
    found = compare([one], [ScoredResult(change(one.result), one.scores)], {})
    assert found.exit_code == 2
    assert any(reason in obstacle for obstacle in found.obstacles)


def test_a_metric_missing_on_both_sides_is_no_obstacle_whatever_the_reasons(base):
    def without_psnr(one, reason):
        psnr = replace(one.result.metrics["psnr"], value=None, unavailable=reason)
        metrics = {**one.result.metrics, "psnr": psnr}
        return ScoredResult(replace(one.result, metrics=metrics), one.scores)

    (one, *_) = load_side(str(base / "results"))
    found = compare([without_psnr(one, "no weights")], [without_psnr(one, "offline")], {})
    assert found.exit_code == 0
    assert "psnr" not in {one.metric for one in found.differences}
