"""Results as a frame: one row per cell, numbers as numbers, remarks kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.report.frame import (
    Footnote,
    check_metric,
    default_metric,
    metric_directions,
    to_csv,
    to_frame,
    to_records,
)
from ssdd_bench.report.groups import comparable_groups
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import (
    Fidelity,
    GenerationRecord,
    LatentRecord,
    MetricValue,
    Result,
    SpeedComparison,
    Timing,
)
from ssdd_bench.results.store import load_results, save_result

Make = Callable[..., Result]
GENERATION = GenerationRecord(
    "DiT-S/2", {}, 1, "flow", "euler", 50, 50, 1.0, (0.0, 1.0), 4, "equal", 10, "", None, None
)


def test_a_former_version_of_a_protocol_is_named_as_such(make_result: Make) -> None:
    protocol = PROTOCOLS.get("default-v1")
    (former,) = protocol.superseded
    recorded = {"id": protocol.id, "sha256": former.sha256}
    present = make_result(label="a", protocol=recorded | {"sha256": protocol.sha256})
    older = make_result(label="b", protocol=recorded)
    alone = to_frame([older])
    assert alone["protocol"].tolist() == [f"default-v1 (former {former.sha256[:8]})"]
    frame = to_frame([present, older])
    by_label = frame.set_index("label")
    assert by_label["protocol"].to_dict() == {"a": "default-v1", "b": alone["protocol"].iloc[0]}
    assert by_label.loc["b", "standing"] == "superseded-protocol"
    notes = {label: [one.text for one in found] for label, found in by_label["footnotes"].items()}
    assert [former.change in " ".join(notes[label]) for label in "ab"] == [False, True]


@pytest.mark.slow
def test_a_former_version_of_a_protocol_never_stands_with_the_present_one(
    make_result: Make,
) -> None:
    protocol = PROTOCOLS.get("default-v1")
    (former,) = protocol.superseded
    versions = {"a": protocol.sha256, "b": former.sha256}
    frame = to_frame(
        [
            make_result(label=label, protocol={"id": protocol.id, "sha256": sha256})
            for label, sha256 in versions.items()
        ]
    )
    tables = build_tables(frame)
    assert len(tables) == 2
    assert not any(cell.best for table in tables for one in table.columns for cell in one.cells)
    assert former.change in to_markdown(tables)


def test_latent_is_height_width_channels_and_codecs_have_none(make_result: Make) -> None:
    shaped = make_result(latent=LatentRecord("continuous", 8, 4, (4, 2, 3), 6, 0.1, None))
    codec = make_result("jpeg", latent=LatentRecord("bytes", 1, 0, None, None, None, 0.75))
    frame = to_frame([shaped, codec]).set_index("id")
    assert frame["latent"].to_dict() == {"jpeg": "bytes", "ssdd": "2x3x4"}
    assert frame["tokens"].isna().to_dict() == {"jpeg": True, "ssdd": False}


def test_infinite_and_unavailable_metrics_differ(make_result: Make) -> None:
    result = make_result("identity", metrics={"psnr": None})
    absent = MetricValue(None, 28, False, "", unavailable="install lpips")
    result = replace(result, metrics={**result.metrics, "lpips_alex": absent})
    row = to_frame([result]).iloc[0]
    assert row["psnr"] == math.inf
    assert math.isnan(row["lpips_alex"])
    assert Footnote("lpips_alex", "lpips_alex is not available: install lpips") in row["footnotes"]


@pytest.mark.parametrize(
    ("label", "steps", "network"),
    [
        ("d", 8, "d"),
        ("d:f=16", 8, "d:f=16"),
        ("d:steps=4", 4, "d"),
        ("d:f=16,steps=4", 4, "d:f=16"),
        ("d:steps=12,t=2", 12, "d:t=2"),
        ("d:f=16,steps=4,t=2", 4, "d:f=16,t=2"),
        ("d:path=steps=4", 8, "d:path=steps=4"),
    ],
)
def test_a_network_is_named_without_its_steps(
    make_result: Make, label: str, steps: int, network: str
) -> None:
    result = make_result(label)
    result = replace(result, tokenizer=replace(result.tokenizer, options={"steps": steps}))
    (row,) = to_frame([result]).to_dict("records")
    assert (row["tokenizer"], row["network"]) == (label, network)
    made = replace(GENERATION, guidance_scale=1.5, guidance_interval=(0.2, 1.0), guided_channels=3)
    named = replace(result.tokenizer, label=f"{label} + DiT-S/2, euler 50, cfg 1.5")
    (row,) = to_frame([replace(result, tokenizer=named, generation=made)]).to_dict("records")
    assert (row["tokenizer"], row["network"]) == (label, f"{network} + DiT-S/2, euler 50, cfg 1.5")
    assert (row["model"], row["sampler"], row["sampling_steps"]) == ("DiT-S/2", "euler", 50)
    assert row["guidance"] == "1.5 in 0.2 to 1 on 3 channels"


@pytest.mark.medium
def test_protocols_of_one_name_and_other_numbers_never_share_a_table(make_result: Make) -> None:
    one = make_result()
    other = replace(one, protocol={**one.protocol, "sha256": "ab" * 32})
    assert set(to_frame([one, one])["protocol"]) == {"default-v1"}
    names = [table.title for table in build_tables(to_frame([one, other]))]
    assert len(names) == 2
    assert any("default-v1 (abababab)" in name for name in names)
    old, new = (replace(one, numbers_version=version) for version in (4, 5))
    assert list(to_frame([old, new])["protocol"]) == [
        "default-v1, numbers 4",
        "default-v1, numbers 5",
    ]
    unrecorded = replace(one, numbers_version=None)
    assert set(to_frame([unrecorded, new])["protocol"]) == {"default-v1"}


def test_metric_columns_do_not_depend_on_the_order_in_the_file(make_result: Make) -> None:
    result = make_result(metrics={"mae": 0.1})
    turned = replace(result, metrics=dict(reversed(result.metrics.items())))
    directions = metric_directions(to_frame([turned]))
    assert list(directions.items()) == [
        ("psnr", True),
        ("ssim", True),
        ("fd_effnet", False),
        ("mae", False),
    ]


def test_contradicting_directions_are_refused(make_result: Make) -> None:
    first, second = make_result(), make_result("klvae")
    psnr = replace(second.metrics["psnr"], higher_is_better=False)
    with pytest.raises(UserError, match="metric 'psnr'"):
        to_frame([first, replace(second, metrics={"psnr": psnr})])


def test_nothing_to_report_is_an_error() -> None:
    with pytest.raises(UserError, match="no results"):
        to_frame([])


def test_unknown_metric_names_the_nearest(make_result: Make) -> None:
    with pytest.raises(UnknownNameError, match="did you mean psnr"):
        check_metric(to_frame([make_result()]), "psnrr")


def test_only_equal_pixels_protocol_and_resolution_are_compared(make_result: Make) -> None:
    base = make_result()
    others = [
        make_result("b"),
        make_result("c", 128),
        make_result("d", n=100),
        make_result("e", protocol={"id": "other-v1"}),
        replace(make_result("f"), data=replace(base.data, pixels_sha256="33" * 32)),
    ]
    frame = to_frame([base, *others])
    groups = list(comparable_groups(frame))
    assert sorted(sorted(group.rows["label"]) for group in groups) == [
        ["b", "ssdd"],
        ["c"],
        ["d"],
        ["e"],
        ["f"],
    ]
    assert all(metric_directions(group.rows) == metric_directions(frame) for group in groups)


def test_numeric_columns_are_numeric(make_result: Make) -> None:
    frame = to_frame([make_result("identity", metrics={"psnr": None}, steps=None)])
    for column in ("psnr", "steps", "tokens", "decode_ips", "bits_per_pixel", "gmac_decode"):
        assert pd.api.types.is_numeric_dtype(frame[column]), column


def test_scores_of_single_images_come_along_and_may_be_gone(
    make_result: Make, tmp_path: Path
) -> None:
    path = tmp_path / "scores" / "a.parquet"
    path.parent.mkdir()
    pd.DataFrame({"id": ["x", "y"], "psnr": [20.0, math.inf]}).to_parquet(path)
    save_result(make_result("b", scores="scores/a.parquet"), tmp_path)
    save_result(make_result("a"), tmp_path)
    frame = load_source([tmp_path]).frame.set_index("label")
    assert frame.loc["b", "scores"]["psnr"].to_dict() == {"x": 20.0, "y": math.inf}
    assert frame.loc["a", "scores"] == {}
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match=r"a\.parquet: damaged: delete it"):
        load_source([tmp_path])
    path.unlink()
    assert load_source([tmp_path]).frame.equals(to_frame(load_results([tmp_path])))


NAN = math.nan
MODEL = Timing(0.5, 0.25, 1.0, 1, 1, 2, 4.0, 9.5, None, "of the model")
DECODER = Timing(2.0, 1.0, 4.0, 1, 1, 8, 4.0, 0.25, 77, "of the decoder")


def plain(row: pd.Series) -> dict[str, object]:
    """Values of a row, None in place of what is not known."""
    known = {key: value for key, value in row.items() if key not in ("scores", "footnotes")}
    return {str(key): None if pd.isna(value) else value for key, value in known.items()}


def test_every_column_of_a_reconstruction(make_result: Make) -> None:
    one = make_result("d:f=4,steps=6 (odd)", 96, seed=3, steps=6, n=5)
    assert one.speed is not None
    speed = replace(
        one.speed,
        decode=replace(DECODER, q1_s=1.6, q3_s=2.5),
        encode=replace(one.speed.encode, batch=3, images_per_s=6.0, q1_s=0.25, q3_s=0.75),
        decode_single=replace(DECODER, batch=1, median_s=0.125),
        comparison=SpeedComparison("c", 1.5, (1.25, 1.75), 3),
        fidelity=Fidelity(33.0, 0.5),
        threads=11,
    )
    execution = replace(
        *(one.execution,),
        device="gpu",
        threads=7,
        dtype="float16",
        compile="default",
        cuda_graphs=True,
        memory_format="channels_last",
        suffix="odd",
    )
    interval = replace(one.metrics["psnr"], interval=(20.0, 30.0))
    one = replace(
        one,
        speed=speed,
        execution=execution,
        latent=LatentRecord("continuous", 4, 9, (9, 3, 2), 6, 0.5, 1.25),
        metrics={"psnr": interval},
    )
    assert (
        plain(to_frame([one]).iloc[0]).items()
        >= {
            "label": "d:f=4,steps=6 (odd)",
            "tokenizer": "d:f=4,steps=6 (odd)",
            "network": "d:f=4 (odd)",
            "id": "d",
            "title": "SSDD-S",
            "family": "diffusion decoder",
            "role": "tokenizer",
            "stochastic": True,
            "model": "",
            "sampler": "",
            "sampling_steps": None,
            "guidance": "",
            "resolution": 96,
            "protocol": "default-v1",
            "f": 4,
            "channels": 9,
            "latent": "3x2x9",
            "tokens": 6,
            "floats_per_pixel": 0.5,
            "bits_per_pixel": 1.25,
            "steps": 6,
            "n": 5,
            "psnr": 24.125,
            "psnr_low": 20.0,
            "psnr_high": 30.0,
            "model_ips": None,
            "model_ips_q1": None,
            "model_ips_q3": None,
            "encode_ips": 6.0,
            "encode_ips_q1": 4.0,
            "encode_ips_q3": 12.0,
            "decode_ips": 4.0,
            "decode_ips_q1": 3.2,
            "decode_ips_q3": 5.0,
            "params_encoder": 1_100_000,
            "params_decoder": 13_400_000,
            "gmac_model": None,
            "gmac_decode": 0.25,
            "peak_memory_bytes": 77,
            "peak_memory_kind": "of the decoder",
            "device": "gpu",
            "threads": 11,
            "dtype": "float16",
            "compile": "default",
            "cuda_graphs": True,
            "memory_format": "channels_last",
            "batch": 8,
            "decode_ms": 125.0,
            "decode_ratio": 1.5,
            "decode_ratio_low": 1.25,
            "decode_ratio_high": 1.75,
            "decode_baseline": "c",
            "fidelity_psnr": 33.0,
            "fidelity_difference": 0.5,
            "seed": 3,
            "data": "sample",
            "data_sha256": "2" * 64,
            "note": "mini weights, trained on 720 photographs",
            "kind": "reconstruction",
            "identity": fingerprint(
                ["d", {"size": "S", "steps": 6}, "1", {"ssdd.safetensors": "ab" * 32}, 6, {}]
            ),
            "fingerprint": one.fingerprint,
        }.items()
    )
    fewer = replace(one, speed=replace(speed, threads=None, decode_single=None))
    row = plain(to_frame([fewer]).iloc[0])
    assert (row["threads"], row["decode_ms"]) == (7, None)
    alone = replace(one, speed=replace(speed, decode=replace(DECODER, batch=1), decode_single=None))
    assert plain(to_frame([alone]).iloc[0])["decode_ms"] == 2000.0
    exact = replace(one, speed=replace(speed, fidelity=Fidelity(None, 0.0)))
    assert plain(to_frame([exact]).iloc[0])["fidelity_psnr"] == math.inf


def test_every_column_of_generated_images(make_result: Make) -> None:
    generation = replace(GENERATION, model_time=MODEL, decoder_time=DECODER, guidance_scale=1.25)
    one = make_result("a + DiT-S/2, euler 50", decode_ips=None, generation=generation)
    row = plain(to_frame([one]).iloc[0])
    assert (
        row.items()
        >= {
            "tokenizer": "a",
            "network": "a + DiT-S/2, euler 50",
            "model": "DiT-S/2",
            "sampler": "euler",
            "sampling_steps": 50,
            "guidance": "1.25",
            "kind": "generation",
            "model_ips": 4.0,
            "model_ips_q1": 2.0,
            "model_ips_q3": 8.0,
            "gmac_model": 9.5,
            "encode_ips": None,
            "encode_ips_q1": None,
            "decode_ips": 4.0,
            "decode_ips_q1": 2.0,
            "decode_ips_q3": 8.0,
            "gmac_decode": 0.25,
            "peak_memory_bytes": 77,
            "peak_memory_kind": "of the decoder",
            "device": "cpu: example processor",
            "threads": 2,
            "dtype": "float32",
            "batch": 8,
            "decode_ms": None,
            "decode_ratio": None,
            "decode_baseline": "",
        }.items()
    )
    timed_later = replace(one, generation=replace(generation, model_time=None, decoder_time=None))
    bare = plain(to_frame([timed_later]).iloc[0])
    assert bare["identity"] == row["identity"]
    assert (
        bare.items()
        >= {
            "model_ips": None,
            "decode_ips": None,
            "gmac_model": None,
            "gmac_decode": None,
            "peak_memory_bytes": None,
            "peak_memory_kind": "",
            "device": "",
            "threads": None,
            "dtype": "",
            "compile": "",
            "cuda_graphs": False,
            "memory_format": "",
            "batch": None,
        }.items()
    )


@pytest.mark.parametrize(
    "change",
    [{"model": "DiT-B/2"}, {"steps": 51}, {"guidance_scale": 2.0}, {"sampler": "heun"}],
)
def test_another_way_to_generate_is_another_identity(
    make_result: Make, change: dict[str, object]
) -> None:
    one = make_result("a", generation=GENERATION)
    other = replace(one, generation=replace(GENERATION, **change))
    assert len(set(to_frame([one, other])["identity"])) == 2


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "1"),
        ({"guidance_interval": (0.25, 0.5), "guided_channels": 3}, "1"),
        ({"guidance_scale": 1.5}, "1.5"),
        ({"guidance_scale": 0.5, "guidance_interval": (0.0, 0.5)}, "0.5 in 0 to 0.5"),
        ({"guidance_scale": 1.5, "guidance_interval": (0.25, 1.0)}, "1.5 in 0.25 to 1"),
        ({"guidance_scale": 4.0, "guided_channels": 3}, "4 on 3 channels"),
    ],
)
def test_guidance_in_words(make_result: Make, change: dict[str, object], text: str) -> None:
    one = make_result("a", generation=replace(GENERATION, **change))
    assert to_frame([one])["guidance"].tolist() == [text]


def test_footnotes_one_by_one(make_result: Make) -> None:
    one = make_result(warnings=("first", "second"))
    assert one.speed is not None
    metrics = {
        "psnr": MetricValue(20.0, 27, True, "", infinite=3, warning="odd"),
        "ssim": MetricValue(None, 28, True, "", unavailable="why"),
        "mse": MetricValue(None, 28, False, "", infinite=28),
    }
    one = replace(one, metrics=metrics, speed=replace(one.speed, warning="load"))
    (notes,) = to_frame([one])["footnotes"]
    assert notes == (
        Footnote("psnr", "odd"),
        Footnote("psnr", "3 of 27 images are identical to their originals and left out of psnr"),
        Footnote("psnr", "psnr is computed on 27 of 28 images"),
        Footnote("ssim", "ssim is not available: why"),
        Footnote("label", "mini weights, trained on 720 photographs"),
        Footnote("label", "first"),
        Footnote("label", "second"),
        Footnote("decode_ips", "load"),
    )
    bare = replace(make_result(note=""), metrics={"psnr": MetricValue(1.0, 28, True, "")})
    assert to_frame([bare])["footnotes"].tolist() == [()]


def test_rows_are_ordered_by_size_protocol_images_label_and_seed(make_result: Make) -> None:
    base = make_result("a10b2")
    ordered = [
        base,
        replace(base, fingerprint="1" * 64),
        replace(base, seed=2),
        replace(base, seed=10),
        make_result("a10b11"),
        make_result("b"),
        replace(base, data=replace(base.data, name="z")),
        replace(base, protocol={"id": "e", "sha256": "0"}),
        make_result("a", 65),
        make_result("a", 8, generation=GENERATION),
        make_result("a", 32, protocol={"id": "e", "kind": "generation"}),
    ]
    keys = ["label", "fingerprint", "seed", "data", "protocol", "resolution", "kind"]
    scores = [{"psnr": pd.Series([float(i)])} for i in range(len(ordered))]
    frame = to_frame(ordered[::-1], scores[::-1])
    assert [one["psnr"][0] for one in frame["scores"]] == list(range(len(ordered)))
    assert frame[keys].equals(to_frame(ordered)[keys])
    assert to_frame(ordered)["scores"].tolist() == [{}] * len(ordered)


def test_protocols_are_named_apart(make_result: Make) -> None:
    protocols = [("a", "1" * 64, 4), ("a", "2" * 64, 5), ("a", "2" * 64, None), ("b", "3" * 64, 4)]
    results = [
        make_result(f"{i}", protocol={"id": name, "sha256": digest}, numbers_version=version)
        for i, (name, digest, version) in enumerate(protocols)
    ]
    assert set(to_frame(results)["protocol"]) == {
        "a (11111111), numbers 4",
        "a (22222222), numbers 5",
        "a (22222222), numbers not recorded",
        "b",
    }


def test_plain_values_for_json(make_result: Make) -> None:
    one = make_result("a", metrics={"psnr": None, "mae": -math.inf, "ssim": 0.25}, note="same")
    twice = replace(one, warnings=("same",), tokenizer=replace(one.tokenizer, stochastic=False))
    frame = to_frame([twice], [{"psnr": pd.Series([1.0])}])
    frame["seeds"] = [(1, 2)]
    (row,) = to_records(frame).values()
    assert list(to_records(frame)) == ["0"]
    assert (
        row.items()
        >= {
            "label": "a",
            "psnr": "inf",
            "mae": "-inf",
            "ssim": 0.25,
            "stochastic": False,
            "steps": 1,
            "decode_ips": 20,
            "seeds": [1, 2],
            "footnotes": [row["footnotes"][0], "same"],
        }.items()
    )
    assert [type(row[key]) for key in ("n", "decode_ips", "gmac_decode")] == [int, int, float]
    assert not {"bits_per_pixel", "model", "decode_ms", "scores"} & row.keys()
    header, line, end = to_csv(frame).split("\n")
    assert header.startswith("label,tokenizer,network,id,title,")
    assert header.endswith(",footnotes")
    assert "scores" not in header
    assert line.endswith("; same; same")
    assert end == ""


def test_the_first_metric_that_holds_values_is_the_default(make_result: Make) -> None:
    frame = to_frame([make_result(metrics={"rfid": None})])
    assert default_metric(frame) == "rfid"
    frame["rfid"] = NAN
    assert default_metric(frame) == "psnr"
    frame[["psnr", "ssim", "fd_effnet"]] = NAN
    assert default_metric(frame) is None
