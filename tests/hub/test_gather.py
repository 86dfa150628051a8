"""The gathered document: a row per sound result, and the rest by name."""

import json
from pathlib import Path

from ssdd_bench.hub.gather import gather
from ssdd_bench.hub.layout import place_of
from ssdd_bench.hub.staging import put
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json, load_results

ROOT = Path(__file__).parents[2]


def test_rows_hold_what_a_leaderboard_filters_by(save, tmp_path: Path) -> None:
    path = save(0)
    result = from_json(read_json(path), path)
    place = place_of(result).as_posix()
    put(tmp_path, place, path.read_bytes())
    put(tmp_path, "results/stray.txt", b"")
    document = gather(tmp_path)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    (row,) = document["rows"]
    assert row["file"] == place
    assert row["standing"] == "current"
    assert (row["tokenizer"], row["resolution"]) == (result.tokenizer.label, result.resolution)
    assert (row["data"], row["n"]) == (result.data.name, result.data.n)
    assert row["protocol_sha256"] == document["protocols"]["default-v1"]
    assert row["floats_per_pixel"] == result.latent.floats_per_pixel
    assert row["metrics"]["psnr"]["value"] == result.metrics["psnr"].value
    assert row["decode_ips"] == result.speed.decode.images_per_s
    assert [one["file"] for one in document["left_out"]] == ["results/stray.txt"]


def test_an_older_row_is_marked(save, tmp_path: Path) -> None:
    path = save(0, numbers_version=None)
    put(tmp_path, place_of(from_json(read_json(path), path)).as_posix(), path.read_bytes())
    assert [row["standing"] for row in gather(tmp_path)["rows"]] == ["unrecorded-numbers"]


def test_generated_images_have_rows_too(tmp_path: Path) -> None:
    (result, *_) = load_results([ROOT / "results" / "generation"])
    (path, *_) = sorted((ROOT / "results" / "generation").glob("*.json"))
    put(tmp_path, place_of(result).as_posix(), path.read_bytes())
    ((row,), left_out) = (gather(tmp_path)[key] for key in ("rows", "left_out"))
    assert left_out == []
    assert (row["kind"], row["standing"]) == ("generation", "superseded-protocol")
    assert row["model"] == result.generation.model
    assert row["decode_ips"] == result.generation.decoder_time.images_per_s


def test_an_empty_repository(tmp_path: Path) -> None:
    document = gather(tmp_path)
    assert (document["rows"], document["left_out"]) == ([], [])
    assert document["protocols"].keys() == PROTOCOLS.all().keys()
