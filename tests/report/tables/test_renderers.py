"""Tables: the same cells in a terminal and in Markdown, the best marked, remarks numbered."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from ssdd_bench.report.frame import to_csv, to_frame
from ssdd_bench.report.html import render
from ssdd_bench.report.tables.build import build_tables
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tables.model import Cell, Column, Table
from ssdd_bench.report.tables.terminal import print_tables
from ssdd_bench.results.schema import MetricValue, Result

Make = Callable[..., Result]


@pytest.fixture
def frame(make_result: Make) -> pd.DataFrame:
    return to_frame(
        [
            make_result(label, size, ips, {"psnr": psnr, "fd_effnet": distance}, **more)
            for size in (64, 128)
            for label, ips, psnr, distance, more in (
                ("ssdd", 20.0, 24.1, 12.3, {}),
                ("klvae", 30.0, 22.6, 19.8, {"note": ""}),
                ("identity", 900.0, None, 0.0, {"role": "control", "note": "", "steps": None}),
            )
        ]
    )


def printed(frame: pd.DataFrame, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        print_tables(build_tables(frame), console)
    return capture.get()


def cells(table: Table, key: str) -> dict[str, str]:
    columns = {column.key: column for column in table.columns}
    names = [cell.text for cell in columns["tokenizer"].cells]
    return dict(zip(names, (cell.text for cell in columns[key].cells), strict=True))


@pytest.mark.medium
def test_headings_have_arrows_and_distances_their_n_but_never_the_name_fid(
    frame: pd.DataFrame,
) -> None:
    headings = {column.key: column.heading for column in build_tables(frame)[0].columns}
    assert headings["fd_effnet"] == "fd_effnet@28 ↓"
    assert headings["psnr"] == "PSNR ↑"
    for text in (to_markdown(build_tables(frame)), printed(frame)):
        assert "fid" not in text.lower()


@pytest.mark.medium
@pytest.mark.parametrize("width", [80, 120])
def test_scores_stay_where_names_and_machines_are_long(make_result: Make, width: int) -> None:
    machine = "NVIDIA A100-SXM4-80GB"
    label = "stabilityai-stable-diffusion-3.5-large:checkpoint=/data/checkpoints/step-250000"
    frame = to_frame([make_result(label), make_result("b", decode_ips=99.0, device=machine)])
    text = printed(frame, width)
    assert "24.12" in text
    assert "PSNR" in text
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", text).splitlines())) <= width


@pytest.mark.medium
def test_footnotes_of_columns_left_out_are_left_out(frame: pd.DataFrame) -> None:
    assert "biased" in printed(frame, 200)
    assert "biased" not in printed(frame, 40)


@pytest.mark.medium
@pytest.mark.parametrize("width", [46, 60, 80, 100, 120, 200])
def test_captions_explain_the_columns_that_are_shown(make_result: Make, width: int) -> None:
    frame = to_frame([make_result(label, params_decoder=10**6) for label in ("ssdd", "klvae")])
    (table,) = build_tables(frame)
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", printed(frame, width)).split())
    caption, _, left_out = text.partition("Left out here: ")
    hidden = left_out.rstrip(".").split(", ")
    assert len(table.explanations()) >= 5
    for sentence, keys in table.explanations().items():
        assert sentence in table.caption
        gone = "spreads" in hidden if sentence.startswith("±") else set(keys) <= set(hidden)
        assert (sentence in caption) is not gone, sentence
    assert (left_out == "") is (width >= 120)


@pytest.mark.medium
def test_html_has_no_spreads_and_does_not_explain_them(frame: pd.DataFrame) -> None:
    tables = build_tables(frame)
    assert any("±" in table.caption for table in tables)
    text = render("tables.html.j2", tables=tables)
    assert "Images/s: " in text
    assert "±" not in text


@pytest.mark.medium
def test_a_warning_of_every_row_marks_the_heading_and_others_mark_cells(
    make_result: Make,
) -> None:
    special = make_result("ssdd")
    metrics = {"psnr": replace(special.metrics["psnr"], warning="only here")}
    special = replace(special, metrics={**special.metrics, **metrics})
    (table,) = build_tables(to_frame([make_result("klvae", note=""), special]))
    columns = {column.key: column for column in table.columns}
    biased = next(i for i, text in enumerate(table.footnotes, 1) if "biased" in text)
    here = table.footnotes.index("only here") + 1
    mini = table.footnotes.index("mini weights, trained on 720 photographs") + 1
    assert columns["fd_effnet"].notes == (biased,)
    assert all(cell.notes == () for cell in columns["fd_effnet"].cells)
    assert [cell.notes for cell in columns["psnr"].cells] == [(), (here,)]
    assert [cell.notes for cell in columns["tokenizer"].cells] == [(), (mini,)]


@pytest.mark.medium
def test_no_warning_is_lost(make_result: Make) -> None:
    absent = MetricValue(None, 28, False, "", unavailable="install lpips")
    results = []
    for label in ("a", "b"):
        result = make_result(label, warnings=(f"warned {label}", "both"))
        assert result.speed is not None
        speed = replace(result.speed, warning=f"load {label}")
        metrics = {**result.metrics, "lpips_alex": absent}
        results.append(replace(result, speed=speed, metrics=metrics))
    for few in (results, results[:1], [results[0], make_result("c", decode_ips=None)]):
        frame = to_frame(few)
        markdown, terminal = to_markdown(build_tables(frame)), printed(frame, 160)
        for notes in frame["footnotes"]:
            for note in notes:
                assert note.text in markdown
                assert note.text in terminal


@pytest.mark.medium
def test_markdown_is_a_well_formed_table(frame: pd.DataFrame) -> None:
    lines = to_markdown(build_tables(frame)).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 * (2 + 2 + 3)  # headings, rates and rows
    assert len({line.count("|") for line in rows}) == 1
    (best,) = (line for line in rows[7:] if "ssdd<sup>" in line)
    assert "**24.10**" in best
    assert any(line.startswith("1. ") for line in lines)


def test_marks_of_the_best_the_second_and_a_tie() -> None:
    marks = [Cell("1", best=True), Cell("2", second=True, tied=True)]
    table = Table("title", "caption", "name", "tags", [Column("a", "a", marks)])
    assert [line for line in to_markdown([table]).split("\n") if "1" in line or "2" in line] == [
        *("| **1** |", "| <ins>2</ins>≈ |"),
    ]
    assert r"\textbf{1} \\" in to_latex([table])
    assert r"\underline{2}$^{\approx}$ \\" in to_latex([table])


@pytest.mark.medium
def test_markdown_escapes_bars(make_result: Make) -> None:
    assert r"images:path=a\|b" in to_markdown(
        build_tables(to_frame([make_result("images:path=a|b")]))
    )


@pytest.mark.medium
def test_markdown_holds_no_html_of_a_label(make_result: Make) -> None:
    row = make_result("<script>a</script>", warnings=("<img src=x onerror=b>",))
    text = to_markdown(build_tables(to_frame([row])))
    assert "&lt;script>" in text
    assert "&lt;img" in text
    assert "<script" not in text
    assert "<img" not in text


@pytest.mark.medium
def test_terminal_bolds_the_best_and_numbers_footnotes(frame: pd.DataFrame) -> None:
    text = printed(frame)
    assert "\x1b[1m24.10\x1b[0m" in text
    assert "\x1b[1m22.60" not in text
    assert "ssdd¹" in text
    assert "¹ mini weights" in text


@pytest.mark.medium
@pytest.mark.parametrize("width", [100, 120, 200])
def test_terminal_cuts_no_number_and_names_what_it_leaves_out(
    make_result: Make, width: int
) -> None:
    metrics = {"psnr_pooled": 21.0, "mse": 0.004, "mae": 0.05}
    labels = ("jpeg:quality=50", "ssdd:steps=16")
    frame = to_frame([make_result(label, 128, 1234.5, metrics) for label in labels])
    text = printed(frame, width)
    assert "…" not in text
    assert all(label in text for label in labels)
    assert "1234 ±" in text or "1235 ±" in text
    assert ("Left out here: mae, mse, memory MB" in text) == (width < 200)


@pytest.mark.medium
def test_a_narrow_terminal_keeps_the_first_metrics(make_result: Make) -> None:
    frame = to_frame([make_result(metrics={"rfid": 2.0, "mae": 0.1, "psnr_pooled": 20.0})])
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(frame, 60))
    hidden = " ".join(text.partition("Left out here:")[2].split())
    assert hidden.index("mae") < hidden.index("memory MB") < hidden.index("psnr_pooled")
    assert "rfid" not in hidden
    assert "rFID" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 60


@pytest.mark.medium
def test_markup_in_labels_is_printed_as_it_is(make_result: Make) -> None:
    assert "[bold]x[/nope]" in printed(to_frame([make_result(note="[bold]x[/nope]")]))


def test_csv_reads_back(frame: pd.DataFrame) -> None:
    back = pd.read_csv(io.StringIO(to_csv(frame)))
    assert list(back["label"]) == list(frame["label"])
    assert back["psnr"].isin([math.inf]).sum() == 2
    assert back["fd_effnet"].tolist() == frame["fd_effnet"].tolist()
    assert "biased" in back["footnotes"].iloc[0]


@pytest.mark.medium
def test_a_metric_that_no_row_has_is_a_line_and_not_a_column(make_result: Make) -> None:
    absent = MetricValue(None, 28, False, "", unavailable="ssdd-bench weights fetch inception")
    results = [make_result(label, metrics={"psnr": 20.0}) for label in ("a", "b")]
    results = [replace(one, metrics={**one.metrics, "rfid": absent}) for one in results]
    (table,) = build_tables(to_frame(results))
    assert "rfid" not in [column.key for column in table.columns]
    assert table.remarks == ["rfid is not available: ssdd-bench weights fetch inception"]
    assert "- rfid is not available" in to_markdown(build_tables(to_frame(results)))
    present = replace(absent, value=1.5, unavailable="")
    results.append(replace(results[0], metrics={**results[0].metrics, "rfid": present}))
    (table,) = build_tables(to_frame(results))
    assert "rfid" in [column.key for column in table.columns]
    assert table.remarks == []


@pytest.mark.medium
def test_seeds_and_images_spread_apart(make_result: Make) -> None:
    results = []
    for seed, value in enumerate((20.0, 20.5)):
        result = make_result("ssdd", seed=seed)
        psnr = replace(result.metrics["psnr"], value=value, interval=(value - 1, value + 2))
        results.append(replace(result, metrics={"psnr": psnr}))
    _, spread = build_tables(to_frame(results))
    assert cells(spread, "psnr") == {"ssdd": "20.00 to 20.50"}
    assert cells(spread, "psnr 95%") == {"ssdd": "19.25 to 22.25"}
    twice = [results[0], replace(results[0], fingerprint="another machine")]
    assert [table.kind for table in build_tables(to_frame(twice))] == ["reconstruction"]
