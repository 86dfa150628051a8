"""Rules of the gate, typed or learnt."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ssdd_bench.cli.noise import command as noise_command
from ssdd_bench.errors import OptionError, UserError
from ssdd_bench.gate.load import ScoredResult, load_side
from ssdd_bench.gate.thresholds import (
    Threshold,
    default_threshold,
    detectable,
    learn,
    load_learnt,
    parse_rules,
    project_rules,
    save_learnt,
)


@pytest.mark.parametrize("rule", ["psnr", "psnr:", "psnr:abc", "psnr:nan", "PSNR:-1", "a:1e999"])
def test_wrong_rule(rule):
    with pytest.raises(OptionError, match="is no threshold"):
        parse_rules([rule])


@pytest.mark.slow
def test_noise_is_learnt_from_seeds_and_kept(measure, tmp_path):
    measure("ssdd", tmp_path / "runs", seeds=(0, 1, 2), limit=4)
    done = CliRunner().invoke(
        noise_command, [str(tmp_path / "runs"), "--out", str(tmp_path / "noise.toml")]
    )
    assert done.exit_code == 0
    learnt = load_learnt(tmp_path / "noise.toml")
    results = load_side(str(tmp_path / "runs"))
    values = [one.result.metrics["psnr"].value for one in results]
    deviation = 2**0.5 * np.std(values, ddof=1)
    assert learnt["psnr"].deviation == pytest.approx(deviation)
    # Student's quantile of 1 - 0.05 / 4, for four metrics, with two degrees of freedom
    assert learnt["psnr"].amount == pytest.approx(6.205 * deviation, rel=1e-3)
    (line,) = (one for one in done.output.splitlines() if one.startswith("psnr "))
    found = float(line.split()[-1])
    assert found == pytest.approx(learnt["psnr"].amount + 0.8416 * deviation, rel=1e-3)


def measured(values, key="psnr", label="a", resolution=64):
    """Results of one tokenizer with a seed for each value."""
    (plain,) = load_side(str(Path(__file__).parents[1] / "fixtures" / "result.json"))
    tokenizer = replace(plain.result.tokenizer, label=label)
    return [
        ScoredResult(
            replace(
                *(plain.result,),
                tokenizer=tokenizer,
                resolution=resolution,
                seed=seed,
                metrics={key: replace(plain.result.metrics["psnr"], value=value)},
            ),
            {},
        )
        for seed, value in enumerate(values)
    ]


def test_the_largest_difference_of_two_seeds_over_jobs():
    """Student's quantiles of 0.95 for one metric of one job, of 0.975 for those of two."""
    pair = measured([20.0, 20.5])  # a deviation of 0.5 / sqrt(2)
    three = measured([1.0, 2.0, 3.0], label="b")  # of 1
    alone = measured([5.0, None], "rfid")
    root = pytest.approx(2**0.5)
    expected = pytest.approx(2.91999 * 2**0.5, rel=1e-4)
    assert learn(three) == {"psnr": Threshold(expected, False, deviation=root)}
    learnt = learn([*pair, *three, *alone, *measured([7.0], "ssim")])
    expected = pytest.approx(12.7062 * 0.5, rel=1e-4)
    assert learnt == {"psnr": Threshold(expected, False, deviation=root)}
    assert learn([*three, *pair]) == learn([*pair, *three])
    near = learn(measured([0.5, 0.5001]))["psnr"]
    assert near.deviation == pytest.approx(1e-4)  # of two values, sqrt(2) * 1e-4 / sqrt(2)
    assert near.amount == pytest.approx(6.3138e-4, rel=1e-3)
    small, other = measured([1.0]), measured([9.0], resolution=128)
    with pytest.raises(UserError):
        learn([*small, *other, *measured([9.0], label="b")])


@pytest.mark.parametrize("field", ["ids_sha256", "pixels_sha256"])
def test_other_images_or_weights_are_no_repetition(field):
    (one,) = measured([20.0])
    of_others = replace(one.result.data, **{field: "x"})
    trained = replace(one.result.tokenizer, weights={"decoder": "x"})
    for change in ({"data": of_others, "seed": 1}, {"tokenizer": trained, "seed": 1}, {}):
        with pytest.raises(UserError, match="two seeds"):
            learn([one, replace(one, result=replace(one.result, **change))])


@pytest.mark.parametrize(
    ("rule", "expected", "allowed", "text"),
    [
        ("rfid:+2%", Threshold(0.02, True), 0.08, "2%"),
        (" psnr : -0.1 ", Threshold(0.1, False), 0.1, "0.1"),
        ("a_1:.5", Threshold(0.5, False), 0.5, "0.5"),
        ("a:2.5e-1%", Threshold(0.0025, True), 0.01, "0.25%"),
        ("a:12", Threshold(12.0, False), 12.0, "12"),
    ],
)
def test_rules(rule, expected, allowed, text):
    (found,) = parse_rules([rule]).values()
    assert (found, str(found)) == (expected, text)
    assert found.allowed(-4.0) == pytest.approx(allowed)
    assert list(parse_rules([rule, "last:1"])) == [rule.partition(":")[0].strip(), "last"]
    assert str(Threshold(0.5, True, is_default=True)) == "50%*"
    assert not found.is_default


def test_learnt_thresholds_are_kept_to_the_last_digit(tmp_path):
    learnt = {"b": Threshold(1 / 3, False, deviation=1 / 7), "a": Threshold(1e-20, False)}
    save_learnt(learnt, tmp_path / "noise.toml")
    assert load_learnt(tmp_path / "noise.toml") == learnt
    (tmp_path / "noise.toml").write_text("x = 1")
    with pytest.raises(UserError, match=r"noise\.toml"):
        load_learnt(tmp_path / "noise.toml")


def test_rules_of_a_project(tmp_path):
    assert project_rules(tmp_path) == {}
    path = tmp_path / "pyproject.toml"
    for text in ("", "[tool.other]\nx = 1", "[tool.ssdd-bench.gate]"):
        path.write_text(text)
        assert project_rules(tmp_path) == {}
    path.write_text('[tool.ssdd-bench.gate]\nfail = ["psnr:1", "rfid:2%"]')
    assert project_rules(tmp_path) == {"psnr": Threshold(1.0, False), "rfid": Threshold(0.02, True)}
    for text, token in (
        ("tool = 1", "tool"),
        ("[tool]\nssdd-bench = 1", "ssdd-bench"),
        ("[tool.ssdd-bench]\ngate = 1", "gate"),
        ("[tool.ssdd-bench.gate]\nfial = []", "fial"),
        ('[tool.ssdd-bench.gate]\nfail = ["x"]', "x"),
    ):
        path.write_text(text)
        with pytest.raises((UserError, OptionError), match=token) as caught:
            project_rules(tmp_path)
        if token != "x":  # a rule, which may also be typed
            assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("paired", "other_seeds", "n", "amount"),
    [
        (True, False, 16, 1e-4),
        (True, True, 16, 1e-4),
        (False, False, 16, 0.01),
        (False, True, 16, 0.0625),
        (False, True, 50_000, 0.01),
    ],
)
def test_thresholds_that_nobody_has_set(paired, other_seeds, n, amount):
    assert default_threshold(paired, other_seeds, n) == Threshold(amount, True, True)


def test_the_smallest_worsening_found_has_the_power_it_says():
    rng = np.random.default_rng(0)
    measured = rng.normal(detectable(0.3, 0.1), 0.1, 100_000)
    assert np.mean(measured > 0.3) == pytest.approx(0.8, abs=0.005)
