"""Output of the gate, at the width of a terminal."""

import io
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from ssdd_bench.gate.compare import Comparison, Difference
from ssdd_bench.gate.load import Key
from ssdd_bench.gate.outputs import (
    HEADINGS,
    _grid,
    add_to_summary,
    describe_speed,
    print_comparison,
    row_texts,
    to_document,
    to_junit,
    to_markdown,
    verdict,
)
from ssdd_bench.gate.speed import SpeedRatio
from ssdd_bench.gate.thresholds import Threshold

JOB = Key("my-tokenizer:checkpoint=/a/long/path/of/some/weights.safetensors", 256, "default-v1", 3)
OTHER = JOB._replace(resolution=512)
DEFAULT = Threshold(1e-4, True, is_default=True)
SET = Threshold(0.05, False)


def difference(key=JOB, metric="psnr_pooled", verdict="regression", threshold=DEFAULT):
    interval = (-0.512, -0.489)
    return Difference(key, metric, 20.644, 20.144, -0.5, interval, threshold, verdict, 0.0213)


def printed(comparison, width):
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue().splitlines()


def test_all_columns_fit_into_84():
    (job, heading, row, *_) = printed(Comparison((difference(),), (), ()), 84)
    assert job == str(JOB)
    assert heading.replace("  ", " ").split() == list(HEADINGS)
    assert max(map(len, (heading, row))) <= 84
    for text in row_texts(difference()).values():
        assert text in row


@pytest.mark.parametrize("width", [120, 80, 60, 40, 20, 8])
def test_metrics_jobs_and_verdicts_are_never_shortened(width):
    found = (difference(), difference(metric="a_metric_of_a_package", verdict="better"))
    lines = printed(Comparison(found, (), ()), width)
    assert str(JOB) in lines
    rows = [line.split() for line in lines]
    assert ["psnr_pooled", "regression"] in [[row[0], row[-1]] for row in rows if row]
    assert ["a_metric_of_a_package", "better"] in [[row[0], row[-1]] for row in rows if row]
    assert not any("…" in line for line in lines)


def test_each_job_is_one_heading():
    found = Comparison((difference(), difference(metric="ssim"), difference(OTHER)), (), ())
    assert [printed(found, 80).count(str(key)) for key in (JOB, OTHER)] == [1, 1]
    markdown = to_markdown(found)
    assert [markdown.count(f"**{key}**") for key in (JOB, OTHER)] == [1, 1]


def test_thresholds_that_nobody_has_set_are_marked():
    unset = printed(Comparison((difference(),), (), ()), 100)
    assert any("0.01%*" in line for line in unset)
    assert any(line.startswith("* not set") and "--fail" in line for line in unset)
    given = printed(Comparison((difference(threshold=SET),), (), ()), 100)
    assert not any("*" in line for line in given)
    assert "not set" in to_markdown(Comparison((difference(),), (), ()))


def test_the_smallest_change_that_is_found_is_printed_and_explained():
    lines = printed(Comparison((difference(),), (), ()), 100)
    assert "0.0213" in lines[2]
    assert any(line.startswith("found: ") and "80%" in line for line in lines)
    unknown = replace(difference(), detectable=None)
    assert not any("found:" in line for line in printed(Comparison((unknown,), (), ()), 100))


@pytest.mark.parametrize(
    ("width", "one_job", "two_jobs"), [(84, True, True), (80, False, True), (60, False, False)]
)
def test_a_column_that_is_left_out_is_not_explained(width, one_job, two_jobs):
    narrow = replace(difference(OTHER), interval=None)  # its table has all columns in 80
    for found, is_shown in (((difference(),), one_job), ((difference(), narrow), two_jobs)):
        lines = printed(Comparison(found, (), ()), width)
        headings = [line for line in lines if line.startswith("metric")]
        assert any("found" in heading for heading in headings) == is_shown
        assert any(line.startswith("found: ") for line in lines) == is_shown


@pytest.mark.parametrize(("how", "failures"), [("regression", 1), ("changed", 1), ("worse", 0)])
def test_junit_fails_where_the_gate_does(how, failures):
    found = Comparison((difference(verdict=how),), (), ())
    assert found.exit_code == failures
    assert f'failures="{failures}"' in to_junit(found)


def test_speed_is_one_line():
    ratio = SpeedRatio(0.1, 0.2, 0.5, (0.45, 0.55), 15, Threshold(0.1, True))
    line = describe_speed("a", "b", ratio, 256)
    assert line.startswith("b decodes 0.500 times as fast as a (0.450 to 0.550; 0.2 s and 0.1 s,")
    assert line.endswith("allowed loss 10%): regression")
    slow = replace(ratio, threshold=Threshold(0.6, True))
    assert describe_speed("a", "b", slow, 256).endswith(
        "15 turns at 256 px, allowed loss 60%): no regression"
    )
    default = replace(ratio, threshold=Threshold(0.1, True, is_default=True))
    assert describe_speed("a", "b", default, 256).endswith(
        "allowed loss 10%, the default): regression"
    )


def test_texts_of_a_row():
    assert tuple(row_texts(difference()).values()) == (
        *("psnr_pooled", "20.644", "20.144", "-0.5", "-0.512 to -0.489", "0.01%*"),
        *("0.0213", "regression"),
    )
    endless = Difference(JOB, "psnr", None, 50.123456, None, None, SET, "better")
    texts = ["psnr", "∞", "50.123", "", "", "0.05", "", "better"]
    assert row_texts(endless) == dict(zip(HEADINGS, texts, strict=True))


def test_markdown_and_junit_in_full():
    found = Comparison((difference(threshold=SET),), ("an obstacle <&>",), ("a note",))
    lines = to_markdown(found).split("\n")
    assert lines[0].endswith(verdict(found))
    failure = f"- **{JOB}: psnr_pooled 20.644 -> 20.144 (-0.5, allowed 0.05)**"
    assert lines[1:5] == ["", failure, "- an obstacle <&>", "- a note"]
    assert lines[5].startswith("- found: ")
    assert lines[6:9] == ["", f"**{JOB}**", ""]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[9:]]
    assert cells[0] == list(HEADINGS)
    assert [cell.strip("*`") for cell in cells[2]] == [
        *row_texts(difference(threshold=SET)).values()
    ]
    assert cells[3:] == [[""]]
    suite = ElementTree.fromstring(to_junit(found))
    assert suite.tag == "testsuite"
    counts = {"tests": "2", "failures": "1", "errors": "1"}
    assert suite.attrib == {"name": "ssdd-bench compare", **counts}
    case, obstacle = suite
    assert case.attrib == {"classname": str(JOB), "name": "psnr_pooled"}
    message = case.find("failure").get("message")
    assert message == "20.644 -> 20.144 (-0.5, allowed 0.05)"
    assert obstacle.attrib == {"classname": "comparable", "name": "an obstacle <&>"}
    assert obstacle.find("error").attrib == {"message": "an obstacle <&>"}
    assert to_junit(found).startswith("<?xml")


def test_the_document_and_the_verdicts():
    worse, fails, better = (difference(verdict=one) for one in ("worse", "regression", "changed"))
    verdicts = [
        verdict(Comparison(*sides, ()))
        for sides in (
            *(((worse,), ()), ((better, fails), ()), ((worse, better), ())),
            *(((worse,), ("x",)), ((), ())),
        )
    ]
    assert verdicts == [
        *("no regression", "regression", "changed", "not comparable", "not comparable"),
    ]
    document = to_document(Comparison((fails,), ("o",), ("n",)))
    assert (document["exit_code"], document["verdict"]) == (2, "not comparable")
    assert (document["obstacles"], document["notes"]) == (("o",), ("n",))
    assert document["differences"][0]["base"] == 20.644
    assert document["differences"][0]["key"] == JOB


def test_the_summary_grows_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    add_to_summary("nowhere")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    add_to_summary("≈ one\n")
    add_to_summary("two\n")
    assert (tmp_path / "summary.md").read_text("utf-8") == "≈ one\ntwo\n"


def test_rows_have_colours_and_columns_go_where_they_do_not_fit():
    found = [
        difference(verdict=one) for one in ("regression", "changed", "better", "worse", "same")
    ]
    headings, lines = _grid(found, 200)
    assert headings == list(HEADINGS)
    assert [line.style for line in lines] == ["bold", "red", "red", "green", "yellow", ""]
    width = max(len(line) for line in lines)
    assert _grid(found, width) == (headings, lines)
    headings, (heading, *_) = _grid(found, width - 1)
    assert headings == heading.plain.split() == [one for one in HEADINGS if one != "found"]


def test_the_star_of_a_default_is_no_list_in_markdown():
    lines = to_markdown(Comparison((difference(),), (), ())).split("\n")
    assert lines[2].endswith(r"allowed 0.01%\*)**")
    assert lines[3].startswith(r"- \* not set")


def test_what_fails_among_many_jobs_stands_beside_the_verdict():
    fine = difference(OTHER, "psnr", "better", SET)
    assert printed(Comparison((difference(), fine), (), ()), 200)[-2:] == [
        f"{JOB}: psnr_pooled 20.644 -> 20.144 (-0.5, allowed 0.01%*)",
        "regression",
    ]


def test_relative_thresholds_have_few_digits():
    assert str(Threshold(0.25 / 20**0.5, True)) == "5.59%"


def test_the_whole_output_of_a_terminal():
    """Remarks are plain: neither brackets nor numbers are formatted, nor is a line broken."""
    remark = "results/a.json: [bold]12 of 24[/bold] images are in both sets of the comparison"
    stream = io.StringIO()
    console = Console(file=stream, width=50, force_terminal=True, color_system="standard")
    print_comparison(
        Comparison((difference(OTHER, "psnr", "better", SET),), (), (remark,)), console
    )
    assert stream.getvalue().split("\n") == [
        f"\x1b[1m{OTHER}\x1b[0m",
        "\x1b[1mmetric  base    head    change  allowed  verdict\x1b[0m",
        "\x1b[32mpsnr    20.644  20.144  -0.5    0.05     better\x1b[0m",
        remark,
        "no regression",
        "",
    ]
