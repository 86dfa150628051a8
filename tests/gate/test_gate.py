"""The gate: planted regressions fail it, the same model never does, and unlike is not compared."""

import json
import subprocess
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from ssdd_bench.cli.compare import command
from ssdd_bench.cli.noise import command as noise_command
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.evaluation import reconstruct
from ssdd_bench.evaluation.run import RunConfig, run_jobs
from ssdd_bench.gate.compare import compare
from ssdd_bench.gate.load import ScoredResult, load_side
from ssdd_bench.gate.speed import SpeedRatio, compare_speed
from ssdd_bench.gate.thresholds import Threshold, learn, load_learnt, parse_rules, save_learnt
from ssdd_bench.plugins.registry import TOKENIZERS, parse_requests
from ssdd_bench.results.schema import SCHEMA_VERSION
from ssdd_bench.ssdd import tokenizer as ssdd_tokenizer

METRICS = ("psnr", "ssim", "mae", "fd_effnet")
MINI = next((TOKENIZERS.all()["ssdd"].folder / "weights").glob("*.safetensors"))


def measure(request, out, seeds=(0,), limit=12):
    run_jobs(
        RunConfig(
            requests=tuple(parse_requests(request)),
            resolutions=(64,),
            out=out,
            metrics=METRICS,
            limit=limit,
            seeds=seeds,
            speed=False,
            pictures=False,
        )
    )
    return load_side(str(out))


def gate(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Results of the shipped decoder, of its teacher and of a codec."""
    out = tmp_path_factory.mktemp("base")
    checkpoint = out / "decoder.safetensors"
    checkpoint.write_bytes(MINI.read_bytes())
    measure(f"ssdd:checkpoint={checkpoint},diffusion:steps=3,jpeg:quality=90", out / "results")
    return out


def again(base, out, request, any_change=False):
    """Measure one of the base's tokenizers anew, beside the base's result of it."""
    head = measure(request, out)
    kept = [one for one in load_side(str(base / "results")) if one.key == head[0].key]
    return compare(kept, head, {}, any_change)


def regressions(found):
    return {one.metric for one in found.differences if one.verdict == "regression"}


def test_unchanged_model_passes_with_all_differences_zero(base, tmp_path):
    request = f"ssdd:checkpoint={base / 'decoder.safetensors'}"
    found = again(base, tmp_path, request)
    assert found.exit_code == 0
    assert [one.change for one in found.differences] == [0, 0, 0, 0]


def test_weights_off_by_a_hundredth(base, tmp_path):
    checkpoint = base / "decoder.safetensors"
    state = load_file(checkpoint)
    generator = torch.Generator().manual_seed(0)
    for name, value in state.items():
        if name.startswith("decoder.") and value.ndim > 1:
            noise = torch.randn(value.shape, generator=generator).to(value.dtype)
            state[name] = value + 0.01 * value.std() * noise
    save_file(state, checkpoint)
    try:
        found = again(base, tmp_path, f"ssdd:checkpoint={checkpoint}")
    finally:
        checkpoint.write_bytes(MINI.read_bytes())
    assert found.exit_code == 1
    assert any("other weights" in note for note in found.notes)


@pytest.mark.parametrize(
    ("request_", "level"), [("jpeg:quality=90", "shift"), ("jpeg:quality=90", "truncate")]
)
def test_faults_of_rounding(base, tmp_path, monkeypatch, request_, level):
    real = reconstruct.to_uint8

    def faulty(images, ids):
        if level == "truncate":
            return (images.clamp(0, 1) * 254.9999).to(torch.uint8)
        return (real(images, ids).int() + 1).clamp(0, 255).to(torch.uint8)

    monkeypatch.setattr(reconstruct, "to_uint8", faulty)
    found = again(base, tmp_path, request_)
    assert "mae" in regressions(found) or "psnr" in regressions(found)


def test_one_step_fewer(base, tmp_path, monkeypatch):
    grid = ssdd_tokenizer.power_schedule
    monkeypatch.setattr(
        ssdd_tokenizer, "power_schedule", lambda steps, power: grid(steps - 1, power)
    )
    # The shipped teacher is better with fewer steps, so that only a strict gate minds.
    assert again(base, tmp_path / "lenient", "diffusion:steps=3").exit_code == 0
    found = again(base, tmp_path / "strict", "diffusion:steps=3", any_change=True)
    assert found.exit_code == 1


def fake(values, seed=0, **changes):
    """Make up scores of single images for a result like another one."""
    like = changes.pop("like")
    scores = {f"{i:03}": float(v) for i, v in enumerate(values)}
    value = replace(like.result.metrics["psnr"], value=float(np.mean(values)), n=len(values))
    result = replace(like.result, metrics={"psnr": value}, seed=seed, **changes)
    return ScoredResult(result, {"psnr": scores})


def test_other_draws_of_the_same_model_never_fail_with_learnt_thresholds(base):
    like = load_side(str(base / "results"))[0]
    rng = np.random.default_rng(0)
    images = rng.normal(25, 4, 80)

    def draw(seed):
        return fake(images + rng.normal(0, 0.3, 80), seed, like=like)

    learnt = learn([draw(seed) for seed in range(10)])
    codes = [compare([draw(0)], [draw(0)], learnt).exit_code for _ in range(50)]
    assert codes == [0] * 50
    careless = {"psnr": Threshold(0, False)}
    assert any(compare([draw(0)], [draw(0)], careless).exit_code for _ in range(50))
    worse = fake(images - 0.5 + rng.normal(0, 0.3, 80), like=like)
    assert compare([draw(0)], [worse], learnt).exit_code == 1


def test_a_change_in_doubt_or_within_the_threshold_passes(base):
    like = load_side(str(base / "results"))[0]
    rng = np.random.default_rng(0)
    images = rng.normal(25, 4, 40)
    before = fake(images, like=like)
    doubtful = fake(images + rng.normal(-0.05, 3, 40), like=like)
    clear = fake(images - 0.2, like=like)
    assert compare([before], [doubtful], {"psnr": Threshold(0, False)}).exit_code == 0
    assert compare([before], [clear], parse_rules(["psnr:-0.3"])).exit_code == 0
    assert compare([before], [clear], parse_rules(["psnr:-0.1"])).exit_code == 1
    assert compare([before], [clear], parse_rules(["psnr:-1%"])).exit_code == 0
    assert compare([clear], [before], {}).exit_code == 0


def test_scores_of_sets_have_a_threshold_and_a_direction(base):
    like = load_side(str(base / "results"))[0].result
    value = replace(like.metrics["mae"], backend="x")

    def rfid(number):
        return ScoredResult(replace(like, metrics={"rfid": replace(value, value=number)}), {})

    assert compare([rfid(2.0)], [rfid(2.01)], {}).exit_code == 0
    assert compare([rfid(2.0)], [rfid(2.03)], {}).exit_code == 1
    assert compare([rfid(2.0)], [rfid(2.03)], parse_rules(["rfid:+2%"])).exit_code == 0
    assert compare([rfid(2.0)], [rfid(1.5)], {}).exit_code == 0


def test_a_lossless_codec_that_loses_an_image_fails(base):
    like = load_side(str(base / "results"))[0].result
    perfect = replace(like.metrics["psnr"], value=None, infinite=3)
    spoilt = replace(perfect, value=50.0, infinite=2)
    sides = [
        ScoredResult(replace(like, metrics={"psnr": value}), {}) for value in (perfect, spoilt)
    ]
    assert compare(sides[:1], sides[1:], {}).exit_code == 1
    assert compare(sides[:1], sides[:1], {}).exit_code == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: replace(r, protocol={**r.protocol, "sha256": "x"}), "protocol's hash"),
        (lambda r: replace(r, data=replace(r.data, n=3)), "12 images and 3"),
        (lambda r: replace(r, data=replace(r.data, ids_sha256="x")), "other images"),
        (lambda r: replace(r, data=replace(r.data, pixels_sha256="x")), "other pixels"),
        (lambda r: replace(r, metrics={}), "HEAD has no psnr"),
        (
            lambda r: replace(
                r, metrics={**r.metrics, "psnr": replace(r.metrics["psnr"], backend="mine")}
            ),
            "psnr by",
        ),
        (
            lambda r: replace(
                r, metrics={**r.metrics, "psnr": replace(r.metrics["psnr"], unavailable="gone")}
            ),
            "psnr was not measured on both sides",
        ),
        (lambda r: replace(r, seed=7), "not in HEAD"),
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


def test_command_writes_every_form_and_exits_with_the_verdict(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    results = base / "results"
    done = gate(results, results, "--junit", "gate.xml", "--markdown", "gate.md")
    assert done.exit_code == 0
    assert "no regression" in done.stdout
    assert (tmp_path / "gate.md").read_text() == (tmp_path / "summary.md").read_text()
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("12", "0")
    head = tmp_path / "head"
    measure("jpeg:quality=90", head)
    (path,) = head.glob("*.json")
    data = json.loads(path.read_text())
    data["metrics"]["mae"]["value"] *= 2
    data["scores"] = ""
    path.write_text(json.dumps(data))
    before = next(results.glob("jpeg*.json"))
    done = gate(before, head, "--json", "--junit", "gate.xml")
    assert done.exit_code == json.loads(done.stdout)["exit_code"] == 1
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert suite.get("failures") == "1"
    assert gate(before, head, "--fail", "mae:+150%").exit_code == 0
    (tmp_path / "pyproject.toml").write_text('[tool.ssdd-bench.gate]\nfail = ["mae:+150%"]\n')
    assert gate(before, head).exit_code == 0
    assert gate(before, head, "--fail", "mae:+10%").exit_code == 1
    assert gate(results, head).exit_code == 2


def test_revisions_of_a_repository(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    for file in (base / "results").glob("jpeg*.json"):
        (tmp_path / "results" / file.name).write_bytes(file.read_bytes())
    for words in (
        ("init", "-q"),
        ("add", "results"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"),
    ):
        subprocess.run(["git", *words], check=True)
    assert gate("git:HEAD", "results").exit_code == 0
    assert gate("git:HEAD:results", "git:HEAD").exit_code == 0
    for where in ("git:gone", "git:--output=x", "git:HEAD:gone"):
        with pytest.raises(UserError):
            load_side(where)


@pytest.mark.parametrize("rule", ["psnr", "psnr:", "psnr:abc", "psnr:nan", "PSNR:-1", "a:1e999"])
def test_wrong_rule(rule):
    with pytest.raises(OptionError, match="is no threshold"):
        parse_rules([rule])


def test_noise_is_learnt_from_seeds_and_kept(tmp_path):
    measure("ssdd", tmp_path / "runs", seeds=(0, 1, 2), limit=4)
    done = CliRunner().invoke(
        noise_command, [str(tmp_path / "runs"), "--out", str(tmp_path / "noise.toml")]
    )
    assert done.exit_code == 0
    learnt = load_learnt(tmp_path / "noise.toml")
    results = load_side(str(tmp_path / "runs"))
    values = [one.result.metrics["psnr"].value for one in results]
    # Student's quantile of 0.9999 with two degrees of freedom
    assert learnt["psnr"].amount == pytest.approx(70.7 * 2**0.5 * np.std(values, ddof=1), rel=1e-3)
    with pytest.raises(UserError, match="two seeds"):
        learn(results[:1])
    (tmp_path / "noise.toml").write_text("x = 1")
    with pytest.raises(UserError, match="noise"):
        load_learnt(tmp_path / "noise.toml")
    save_learnt(learnt, tmp_path / "noise.toml")
    assert load_learnt(tmp_path / "noise.toml") == learnt


def test_speed_is_compared_by_turns():
    found = compare_speed("downsample", "diffusion:steps=2", 64, 5, Threshold(0.1, True))
    assert found.is_regression
    assert found.interval[1] < 1
    assert not compare_speed(
        "diffusion:steps=2", "downsample", 64, 5, Threshold(0.1, True)
    ).is_regression
    slower = SpeedRatio(1, 1.05, 0.95, (0.94, 0.96), 9, Threshold(0.1, True))
    assert not slower.is_regression
    unsure = SpeedRatio(1, 1.2, 0.8, (0.7, 1.01), 9, Threshold(0.1, True))
    assert not unsure.is_regression


def test_results_are_of_the_present_schema(base):
    assert {c.result.schema_version for c in load_side(str(base / "results"))} == {SCHEMA_VERSION}


pytest_plugins = ["pytester"]


def test_fixture_for_other_repositories(pytester):
    pytester.makepyfile(
        """
        def test_quality(ssdd_gate):
            ssdd_gate("jpeg:quality=90", "baseline", res=32, limit=2, metrics=["psnr"])
        """
    )
    first = pytester.runpytest("--ssdd-gate-update")
    first.assert_outcomes(skipped=1)
    assert list((pytester.path / "baseline").glob("*.json"))
    pytester.runpytest().assert_outcomes(passed=1)
    (path,) = (pytester.path / "baseline").glob("*.json")
    data = json.loads(path.read_text())
    data["metrics"]["psnr"]["value"] += 5
    data["scores"] = ""
    path.write_text(json.dumps(data))
    failed = pytester.runpytest()
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["*regression*"])
