"""The document of all rows: seeds pooled, and each result behind a row named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.rows import describe_results, to_json
from ssdd_bench.results.places import place_of, revision_of
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import load_results, save_result

ROOT = Path(__file__).parents[2]
Make = Callable[..., Result]


def test_rows_hold_what_a_leaderboard_filters_by(make_result: Make, tmp_path: Path) -> None:
    protocol = PROTOCOLS.get("default-v1")
    recorded = {"id": protocol.id, "sha256": protocol.sha256}
    one = make_result("ssdd", protocol=recorded, fingerprint="1" * 64)
    path = save_result(one, tmp_path)
    document = json.loads(to_json(load_source([path])))
    (row,) = document["rows"]
    assert (row["label"], row["resolution"], row["protocol"]) == ("ssdd", 64, "default-v1")
    assert (row["data"], row["n"], row["data_sha256"]) == (
        one.data.name,
        one.data.n,
        one.data.pixels_sha256,
    )
    assert (row["f"], row["floats_per_pixel"]) == (one.latent.f, one.latent.floats_per_pixel)
    assert row["psnr"] == one.metrics["psnr"].value
    assert one.speed is not None
    assert row["decode_ips"] == one.speed.decode.images_per_s
    assert row["standing"] == document["protocols"]["default-v1"]["standing"]
    assert document["protocols"]["default-v1"] | recorded == document["protocols"]["default-v1"]
    assert document["higher_is_better"]["psnr"] is True
    assert (row["revision"], row["licence"]) == (revision_of(one), one.tokenizer.licence)
    assert row["weights"] == one.tokenizer.weights
    assert [found["file"] for found in row["results"]] == [place_of(one).as_posix()]
    assert row["results"][0]["command"] == one.command


def test_a_row_names_every_seed(make_result: Make, tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        save_result(make_result(seed=seed, fingerprint=str(seed) * 64), tmp_path)
    (row,) = json.loads(to_json(load_source([tmp_path])))["rows"]
    found = [(one["seed"], one["fingerprint"]) for one in row["results"]]
    assert found == [(seed, str(seed) * 64) for seed in (0, 1, 2)]
    assert row["seeds"] == [0, 1, 2]


@pytest.mark.medium
def test_where_results_lie_makes_no_difference(make_result: Make, tmp_path: Path) -> None:
    one, other = make_result("a", fingerprint="1" * 64), make_result("b", fingerprint="2" * 64)
    for folder, results in (("x", (one, other)), ("y/deep", (other, one))):
        for result in results:
            save_result(result, tmp_path / folder)
    texts = {to_json(load_source([tmp_path / folder])) for folder in ("x", "y/deep")}
    assert len(texts) == 1
    save_result(replace(one, seconds=1.5), tmp_path / "x")
    assert to_json(load_source([tmp_path / "x"])) in texts  # no row has it


def test_generated_images_name_the_model_and_the_former_version() -> None:
    path = min((ROOT / "results" / "generation").glob("*.json"))
    (result,) = load_results([path])
    made = result.generation
    assert made is not None
    document = json.loads(to_json(load_source([path])))
    (row,) = document["rows"]
    (former,) = PROTOCOLS.get("gfid-v1").superseded
    assert (row["kind"], row["standing"]) == ("generation", "superseded-protocol")
    assert document["protocols"][row["protocol"]]["former"] == former.change
    assert row["model"] == made.model
    assert row["weights"].keys() == result.tokenizer.weights.keys() | made.weights.keys()
    assert describe_results([result])["revision"] == row["revision"]
