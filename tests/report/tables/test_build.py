"""Tables of a report: grouped by rate, ranked per column, nothing published ranked."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.published import load_published, published_table
from ssdd_bench.report.ranking import ELIGIBLE_RULE, TIE_RULE, TIED_WORDS
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.latex import escape_latex, to_latex
from ssdd_bench.report.tables.model import Table, section_key
from ssdd_bench.results.schema import Fidelity, GenerationRecord, LatentRecord, MetricValue, Result

Make = Callable[..., Result]
GENERATION = GenerationRecord(
    "DiT-S/2", {}, 1, "flow", "euler", 50, 50, 1.0, (0.0, 1.0), 4, "equal", 10, "", None, None
)
PUBLISHED = Path(__file__).parents[3] / "results" / "published"
STREAM = LatentRecord("bytes", 1, 0, None, None, None, 0.75)
SMALL = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)


@pytest.fixture
def results(make_result: Make) -> list[Result]:
    return [
        make_result(label, size, ips, {"psnr": psnr, "fd_effnet": 50 - (psnr or 50)}, **more)
        for size in (64, 128)
        for label, ips, psnr, more in (
            ("ssdd", 20.0, 24.1, {}),
            ("klvae", 30.0, 22.6, {"note": ""}),
            ("dcae", 25.0, 20.0, {"latent": SMALL, "note": ""}),
            ("jpeg", 900.0, 23.0, {"latent": STREAM, "note": "", "steps": None}),
            ("identity", 999.0, None, {"latent": STREAM, "role": "control", "note": ""}),
        )
    ]


def marked(table: Table, heading: str, mark: str) -> list[str]:
    """Tokenizers whose cells of the first column with this heading carry a mark."""
    column = next(column for column in table.columns if column.heading == heading)
    pairs = zip(table.columns[0].cells, column.cells, strict=True)
    return [name.text for name, cell in pairs if getattr(cell, mark)]


@pytest.mark.medium
def test_rows_stand_by_compression_rate_and_resolutions_in_tables_of_their_own(
    results: list[Result],
) -> None:
    small, large = build_tables(to_frame(results))
    for table, size in ((small, 64), (large, 128)):
        assert [(section_key(heading), count) for heading, count in table.sections] == [
            ("f8c4", 2),
            ("f16c4", 1),
            ("byte streams", 1),
            ("controls", 1),
        ]
        assert f"{size} × {size} px" in table.title
        assert [cell.text for cell in table.columns[0].cells][2:] == ["dcae", "jpeg", "identity"]


@pytest.mark.medium
def test_each_rate_has_its_best_and_controls_are_not_ranked(make_result: Make) -> None:
    """A decoder of four times as many floats per pixel takes nothing from the others."""
    plain = make_result().latent
    results = [
        make_result(label, metrics={"psnr": psnr}, note="", latent=latent)
        for label, psnr, latent in (
            *(("a", 24.0, plain), ("b", 23.0, plain), ("c", 22.0, plain)),
            *(("d", 20.0, SMALL), ("e", 19.0, SMALL)),
        )
    ]
    results.append(make_result("copy", metrics={"psnr": 99.0}, role="control", note=""))
    (table,) = build_tables(to_frame(results))
    assert marked(table, "PSNR ↑", "best") == ["a", "d"]
    assert marked(table, "PSNR ↑", "second") == ["b"]  # of three or more


@pytest.mark.medium
def test_steps_are_a_column_and_no_part_of_a_name(make_result: Make) -> None:
    results = [make_result(f"ssdd:f=8,steps={steps}", steps=steps) for steps in (2, 16)]
    (table,) = build_tables(to_frame(results))
    columns = {column.key: [cell.text for cell in column.cells] for column in table.columns}
    assert columns["tokenizer"] == ["ssdd:f=8", "ssdd:f=8"]
    assert columns["steps"] == ["2", "16"]


@pytest.mark.medium
def test_what_other_images_might_turn_round_is_marked(write_run: Callable[..., Path]) -> None:
    """Paired scores decide: the same means tie where images disagree and not where they agree."""
    agree = {"a": [20.0, 25.0, 30.0, 35.0], "b": [19.9, 24.9, 29.9, 34.9], "c": [9.0] * 4}
    differ = {"a": [20.0, 25.0, 30.0, 35.0], "b": [35.0, 30.0, 24.8, 19.8], "c": [9.0] * 4}
    for scores, tied in ((agree, []), (differ, ["b"])):
        source = load_source([write_run(scores, name=f"runs{len(tied)}")])
        (quality,) = build_tables(source.frame)
        assert marked(quality, "PSNR ↑", "tied") == tied


def test_one_label_of_two_machines_is_two_rows(make_result: Make) -> None:
    twice = [make_result("a"), make_result("a", device="cuda"), make_result("b")]
    table = build_tables(to_frame(twice))[0]
    names = [cell.text for cell in table.columns[0].cells]
    assert names == ["a (cpu: example processor)", "a (cuda)", "b"]


@pytest.mark.medium
def test_seeds_compete_by_their_mean(make_result: Make) -> None:
    """The luckiest single seed is not the best."""
    scores = {("a", 0): 20.0, ("a", 1): 24.0, ("b", 0): 23.0, ("b", 1): 23.5}
    results = [
        make_result(label, seed=seed, metrics={"psnr": value})
        for (label, seed), value in scores.items()
    ]
    quality, spread = build_tables(to_frame(results))
    assert [cell.text for cell in quality.columns[0].cells] == ["a", "b"]
    assert marked(quality, "PSNR ↑", "best") == ["b"]
    assert spread.kind == "seeds"
    (ranges,) = (column for column in spread.columns if column.heading == "PSNR, seeds")
    assert [cell.text for cell in ranges.cells] == ["20.00 to 24.00", "23.00 to 23.50"]
    assert "mean over seeds 0, 1." in quality.caption


@pytest.mark.medium
def test_how_latents_were_generated_is_in_columns_where_it_differs(make_result: Make) -> None:
    one = make_result("ssdd + DiT-S/2, euler 50", generation=GENERATION)
    other = replace(
        one,
        tokenizer=replace(one.tokenizer, label="ssdd + DiT-S/2, euler 50, cfg 1.5"),
        generation=replace(GENERATION, guidance_scale=1.5),
    )
    table = build_tables(to_frame([one, other]))[0]
    assert [cell.text for cell in table.columns[0].cells] == ["ssdd", "ssdd"]
    (guidance,) = (column for column in table.columns if column.heading == "guidance")
    assert [cell.text for cell in guidance.cells] == ["1", "1.5"]
    assert "sampler" not in [column.heading for column in table.columns]
    assert "DiT-S/2, euler, 50 steps" in table.caption
    single = replace(one, generation=replace(GENERATION, steps=1))
    assert "DiT-S/2, euler, 1 step, guidance 1." in build_tables(to_frame([single]))[0].caption


@pytest.mark.medium
def test_a_metric_of_one_resolution_only_says_why(make_result: Make) -> None:
    """No reason is lost, and each says the resolution that it is about."""
    absent = MetricValue(None, 28, False, "", unavailable="too small")
    small = make_result("a", 64)
    small = replace(small, metrics={**small.metrics, "rfid": absent})
    large = make_result("a", 128, metrics={"rfid": 2.0})
    first, second = build_tables(to_frame([small, large]))
    assert first.remarks == ["rfid is not available: too small"]
    assert "rfid" not in [column.key for column in first.columns]
    assert "rfid" in [column.key for column in second.columns]
    assert {column.key for column in second.columns if column.lower_is_better} == {
        "rfid",
        "fd_effnet",
    }


@pytest.mark.medium
def test_generated_images_have_tables_of_their_own(make_result: Make) -> None:
    one = make_result("ssdd + DiT")
    protocol = {**one.protocol, "id": "gfid-v1", "kind": "generation"}
    metrics = {"gfid": MetricValue(31.0, 28, False, "test"), "isc": MetricValue(9.0, 28, True, "")}
    generated = replace(one, protocol=protocol, metrics=metrics)
    tables = build_tables(to_frame([make_result("klvae"), generated]))
    assert [table.kind for table in tables] == ["reconstruction", "generation"]
    headings = [column.heading for column in tables[1].columns]
    assert "gFID@28 ↓" in headings
    assert "PSNR ↑" not in headings
    assert "gFID@28 ↓" not in [column.heading for column in tables[0].columns]


def test_published_numbers_are_never_ranked() -> None:
    for name, file in load_published(PUBLISHED).items():
        table = published_table(name, file)
        assert "not measured here" in table.caption
        assert len(table.columns[0].cells) == len(file.rows)
        assert not any(cell.best or cell.second for c in table.columns for cell in c.cells)


def test_latex_escapes_whatever_a_name_may_hold() -> None:
    text = escape_latex("50%_a&b {c} #1 ~^\\ <x> 10 µs ≈ 中")
    assert r"50\%\_a\&b \{c\} \#1" in text
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{}" in text
    assert text.endswith(r"\texttt{U+4E2D}")


@pytest.mark.medium
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_as_it_stands(make_result: Make, tmp_path: Path) -> None:
    awkward = "klvae:path=50%_a&b#{c}~^\\中"
    frame = to_frame([make_result(awkward), make_result("ssdd", warnings=("§ 5 → $x$ “q” ½",))])
    published = [published_table(*item) for item in load_published(PUBLISHED).items()]
    (tmp_path / "table.tex").write_text(to_latex([*build_tables(frame), *published]), "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert (tmp_path / "table.pdf").stat().st_size > 10_000


@pytest.mark.medium
def test_a_control_that_prints_like_the_best_is_not_called_best(make_result: Make) -> None:
    results = [
        make_result("a", metrics={"psnr": 24.0}),
        make_result("b", metrics={"psnr": 23.0}),
        make_result("copy", metrics={"psnr": 24.0}, role="control"),
    ]
    table = build_tables(to_frame(results))[0]
    assert marked(table, "PSNR ↑", "best") == ["a"]


def measured(make: Make, label: str, psnr: float, ips: float = 20.0, **more: object) -> Result:
    """A result with one metric, whose interval is 0.5 to each side."""
    made = make(label, 64, ips, {"psnr": psnr}, **more)
    value = replace(made.metrics["psnr"], interval=(psnr - 0.5, psnr + 0.5))
    return replace(made, metrics={"psnr": value})


def test_names_and_headings_tell_what_they_mean(make_result: Make) -> None:
    plain = make_result("klvae")
    known = replace(plain, tokenizer=replace(plain.tokenizer, id="klvae", title="KLVAE"))
    other = replace(plain, tokenizer=replace(plain.tokenizer, label="b", title="Bicubic"))
    (table,) = build_tables(to_frame([known, other]))
    assert {one.text: one.hint for one in table.columns[0].cells} == {"klvae": "", "b": "Bicubic"}
    hints = {column.key: column.hint for column in table.columns}
    assert "dB" in hints["psnr"]
    assert hints["decode img/s"] == ""


@pytest.mark.medium
def test_a_whole_table(make_result: Make) -> None:
    (table,) = build_tables(
        to_frame(
            [
                measured(make_result, "a", 24.0, 20.0, note="shared"),
                measured(make_result, "b", 23.9, 40.0, note="shared", warnings=("own",)),
                measured(make_result, "c", 20.0, 10.0, note="shared", steps=None),
                measured(make_result, "z", 30.0, 80.0, note="shared", role="control"),
            ]
        )
    )
    assert table.title == "Reconstruction, 64 × 64 px, default-v1, sample"
    assert table.name == "reconstruction-64-default-v1-sample-28-22222222"
    assert (table.kind, table.indices, table.remarks) == ("reconstruction", [0, 1, 2, 3], [])
    assert [(section_key(heading), count) for heading, count in table.sections] == [
        *(("f8c4", 3), ("controls", 1)),
    ]
    assert table.footnotes == ["shared", "own"]
    assert {one.key: [cell.full for cell in one.cells] for one in table.columns} == {
        "tokenizer": ["a", "b", "c", "z"],
        "steps": ["1", "1", "–", "1"],
        "psnr": ["24.00", "23.90", "20.00", "30.00"],
        "encode img/s": ["40.0 ±3.6"] * 4,
        "decode img/s": ["20.0 ±1.8", "40.0 ±3.6", "10.0 ±0.9", "80.0 ±7.1"],
        "decode GMAC": ["0.57"] * 4,
        "memory MB": ["512"] * 4,
        "decoder M": ["13.4"] * 4,
        "latent": ["8×8×4"] * 4,
        "per pixel": ["0.0625 fl"] * 4,
    }
    columns = {one.key: one for one in table.columns}
    assert {key for key, one in columns.items() if not one.numeric} == {"tokenizer", "latent"}
    assert {key for key, one in columns.items() if not one.main} == {
        *("decode GMAC", "memory MB", "latent", "per pixel"),
    }
    assert {key for key, one in columns.items() if one.notes} == {"tokenizer"}
    assert columns["tokenizer"].notes == (1,)
    assert [cell.notes for cell in columns["tokenizer"].cells] == [(), (2,), (), ()]
    for key, best, second, tied in (
        ("psnr", "a", "b", "b"),
        ("encode img/s", "abc", "", ""),
        ("decode img/s", "b", "a", ""),
        ("decode GMAC", "", "", ""),
    ):
        heading = columns[key].heading
        found = ("".join(marked(table, heading, mark)) for mark in ("best", "second", "tied"))
        assert tuple(found) == (best, second, tied), key
    hints = [re.findall(r"-?[0-9.]+", one.hint) for one in columns["psnr"].cells]
    assert hints == [
        ["95", "23.50", "24.50"],
        ["95", "23.40", "24.40", "-0.10", "-0.81", "0.61"],  # 0.5 * 2 ** 0.5 to each side
        ["95", "19.50", "20.50", "-4.00", "-4.71", "-3.29"],
        ["95", "29.50", "30.50"],
    ]
    assert TIED_WORDS in columns["psnr"].cells[1].hint
    assert TIED_WORDS not in columns["psnr"].cells[2].hint
    for piece in (
        *("n = 28 images of sample (pixels 22222222), protocol default-v1, seed 0.", "batch 8, on"),
        *("2 threads, float32.", TIE_RULE, ELIGIBLE_RULE),
    ):
        assert piece in table.caption
    assert "  " not in table.caption


@pytest.mark.medium
def test_a_whole_table_of_seeds(make_result: Make) -> None:
    results = [
        measured(make_result, "a", 24.0, seed=0, note="n"),
        measured(make_result, "a", 25.0, seed=1, note="m"),
        measured(make_result, "b", 20.0, note="n"),
    ]
    table, spread = build_tables(to_frame(results))
    assert (table.indices, spread.indices) == ([0, 2], [0])
    texts = {one.key: [cell.text for cell in one.cells] for one in table.columns}
    assert (texts["seeds"], texts["psnr"]) == (["0, 1", "0"], ["24.50", "20.00"])
    assert "seeds" in {one.key for one in table.columns if not one.main}
    assert "spread over seeds of reconstruction" in spread.title.lower()
    assert (table.footnotes, table.columns[0].notes) == (["n", "m"], (1,))
    assert [cell.notes for cell in table.columns[0].cells] == [(2,), ()]
    assert spread.name == "spread-over-seeds-of-reconstruction-64-default-v1-sample-28-22222222"
    assert (spread.kind, spread.footnotes) == ("seeds", [])
    assert {one.key: [cell.text for cell in one.cells] for one in spread.columns} == {
        "tokenizer": ["a"],
        "steps": ["1"],
        "psnr": ["24.00 to 25.00"],
        "psnr 95%": ["24.00 to 25.00"],
    }
    assert "seeds 0, 1." in spread.caption
    assert "Bold: " in table.caption
    for rule in (ELIGIBLE_RULE, TIE_RULE):
        assert rule not in table.caption + spread.caption


@pytest.mark.medium
def test_machines_batches_and_makers_of_a_table(make_result: Make) -> None:
    one, other = (
        make_result(label, generation=made, device=device, params_decoder=size)
        for label, made, device, size in (
            ("a + DiT-S/2, euler 50", GENERATION, "x", 1_500_000),
            ("b + DiT-S/1, euler 20", replace(GENERATION, model="DiT-S/1", steps=20), "y", 0),
        )
    )
    assert other.speed is not None
    other = replace(other, speed=replace(other.speed, decode=replace(other.speed.decode, batch=4)))
    (table,) = build_tables(to_frame([one, other]))
    texts = {column.heading: [cell.text for cell in column.cells] for column in table.columns}
    assert (
        texts.items()
        >= {
            "tokenizer": ["a", "b"],
            "model": ["DiT-S/2", "DiT-S/1"],
            "sampling steps": ["50", "20"],
            "decoder steps": ["1", "1"],
            "decoder M": ["1.5", "–"],
            "batch": ["8", "4"],
            "machine": ["x, 2 threads, float32", "y, 2 threads, float32"],
        }.items()
    )
    assert not {"sampler", "guidance", "per pixel", "seeds"} & texts.keys()
    numeric = {column.heading for column in table.columns if not column.numeric}
    assert numeric == {"tokenizer", "model", "latent", "machine"}
    shared = "euler, guidance 1.", "batch 4, 8, on the machine in each row"
    for piece in (*shared, "generated images against sample"):
        assert piece in table.caption
    assert marked(table, "decode img/s", "best") == []
    assert marked(table, "PSNR ↑", "best") == ["a", "b"]


@pytest.mark.medium
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("difference", [0.0, 0.25, None])
def test_latency_and_fidelity_are_explained_where_they_are_shown(
    make_result: Make, batch: int, difference: float | None
) -> None:
    one = make_result("a")
    assert one.speed is not None
    decode = replace(one.speed.decode, batch=batch)
    single = replace(decode, batch=1)
    fidelity = None if difference is None else Fidelity(40.0 if difference else None, difference)
    speed = replace(one.speed, decode=decode, decode_single=single, fidelity=fidelity)
    (table,) = build_tables(to_frame([replace(one, speed=speed)]))
    keys = {column.key for column in table.columns}
    for key, word, shown in (
        ("decode ms", "Decode ms:", batch > 1),
        ("fidelity dB", "Fidelity:", bool(difference)),
    ):
        assert (key in keys) is (word in table.caption) is shown
