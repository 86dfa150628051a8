"""Rank correlation between scores of reconstructions and of generated images."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdd_bench.cli.gen.correlate import command
from ssdd_bench.errors import UserError
from ssdd_bench.report.correlate import correlate
from ssdd_bench.results.schema import GenerationRecord, MetricValue
from ssdd_bench.results.store import load_results, save_result

FIXTURE = Path(__file__).parents[1] / "fixtures" / "result.json"
EULER = GenerationRecord(
    *("DiT-S/2", {}, 1, "flow", "euler", 50, 50, 1.0, (0.0, 1.0), 4, "equal", 10),
    *("per channel", None, None),
)


@pytest.fixture
def results():
    (base,) = load_results([FIXTURE])

    def make(quality, value, key, generation=None, seed=0):
        tokenizer = replace(base.tokenizer, id="jpeg", options={"quality": quality})
        label = f"jpeg:quality={quality}" + (f" + {generation.model}" if generation else "")
        return replace(
            base,
            tokenizer=replace(tokenizer, label=label),
            metrics={key: MetricValue(value, 2, key == "psnr", "test")},
            generation=generation,
            seed=seed,
            fingerprint=f"{quality}{seed}{generation.guidance_scale if generation else 0}",
        )

    return [
        *(make(quality, value, "psnr") for quality, value in ((1, 20.0), (2, 25.0), (3, 30.0))),
        make(4, 50.0, "psnr"),  # has no counterpart
        make(1, 9.0, "fd_effnet", EULER),
        make(2, 3.0, "fd_effnet", EULER, seed=0),
        make(2, 5.0, "fd_effnet", EULER, seed=1),
        make(3, 6.0, "fd_effnet", replace(EULER, model="DiT-S/1")),
        make(3, 1.0, "fd_effnet", replace(EULER, guidance_scale=2.0)),  # another setting
    ]


def test_ranks_are_paired_by_tokenizer_and_seeds_averaged(results):
    (found,) = correlate(results, "psnr", "fd_effnet")
    assert [row[2] for row in found.labels] == [9.0, 4.0, 6.0]
    # Ranks 1 2 3 against 3 1 2, whose correlation is -0.5; fewer is better on one side only.
    assert found.value == pytest.approx(0.5)
    assert found.settings.startswith("DiT-S, euler 50, cfg 1,")


@pytest.mark.medium
def test_the_verb_and_what_is_missing(results, tmp_path):
    for one in results:
        save_result(one, tmp_path)
    arguments = [str(tmp_path), "--reconstruction", "psnr"]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "+0.50" in done.stdout
    done = CliRunner().invoke(command, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)[0]["value"] == pytest.approx(0.5)
    with pytest.raises(UserError, match="no setting has 3 tokenizers"):
        correlate(results[:5], "psnr", "fd_effnet")


def test_a_correlation_in_full(results):
    (found,) = correlate(results, "psnr", "fd_effnet")
    assert (found.reconstruction, found.generation) == ("psnr", "fd_effnet")
    assert found.settings == "DiT-S, euler 50, cfg 1, 64 px, 28 samples against sample"
    names = [f"jpeg:quality={quality}" for quality in (1, 2, 3)]
    assert found.labels == tuple(zip(names, (20.0, 25.0, 30.0), (9.0, 4.0, 6.0), strict=True))


def test_the_sign_says_whether_better_goes_with_better(results):
    def flip(one):
        psnr = one.metrics.get("psnr")
        return replace(
            one, metrics={"mse": replace(psnr, higher_is_better=False)} if psnr else one.metrics
        )

    (found,) = correlate([flip(one) for one in results], "mse", "fd_effnet")
    assert found.value == pytest.approx(-0.5)


@pytest.mark.medium
def test_other_sizes_and_scores_that_are_not_finite_are_left_out(results):
    large = [replace(one, resolution=128) for one in results]
    assert [
        one.settings.split(", ")[3] for one in correlate([*results, *large], "psnr", "fd_effnet")
    ] == [
        *("64 px", "128 px"),
    ]
    endless = [
        replace(
            results[0],
            metrics={"psnr": replace(results[0].metrics["psnr"], value=None, infinite=28)},
        )
    ]
    with pytest.raises(UserError, match="3 tokenizers"):
        correlate(endless + results[1:], "psnr", "fd_effnet")
    for wrong in (("psnrr", "fd_effnet"), ("psnr", "fd_effnett")):
        with pytest.raises(UserError, match="did you mean"):
            correlate(results, *wrong)
    mixed = [*large[:4], *results[4:]]
    with pytest.raises(UserError, match="3 tokenizers"):
        correlate(mixed, "psnr", "fd_effnet")
