"""Output of the gate, at the width of a terminal."""

import io

import pytest
from rich.console import Console

from ssdd_bench.gate.compare import Comparison, Difference
from ssdd_bench.gate.load import Key
from ssdd_bench.gate.outputs import (
    HEADINGS,
    describe_speed,
    print_comparison,
    row_texts,
    to_junit,
    to_markdown,
)
from ssdd_bench.gate.speed import SpeedRatio
from ssdd_bench.gate.thresholds import Threshold

JOB = Key("my-tokenizer:checkpoint=/a/long/path/of/some/weights.safetensors", 256, "default-v1", 3)
OTHER = JOB._replace(resolution=512)
DEFAULT = Threshold(1e-4, True, is_default=True)
SET = Threshold(0.05, False)


def difference(key=JOB, metric="psnr_pooled", verdict="regression", threshold=DEFAULT):
    return Difference(key, metric, 20.644, 20.144, -0.5, (-0.512, -0.489), threshold, verdict)


def printed(comparison, width):
    stream = io.StringIO()
    print_comparison(comparison, Console(file=stream, width=width))
    return stream.getvalue().splitlines()


def test_all_columns_fit_into_80():
    (job, heading, row, *_) = printed(Comparison((difference(),), (), ()), 80)
    assert job == str(JOB)
    assert heading.replace("  ", " ").split() == list(HEADINGS)
    assert max(map(len, (heading, row))) <= 80
    for text in row_texts(difference()):
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


@pytest.mark.parametrize(("verdict", "failures"), [("regression", 1), ("changed", 1), ("worse", 0)])
def test_junit_fails_where_the_gate_does(verdict, failures):
    found = Comparison((difference(verdict=verdict),), (), ())
    assert found.exit_code == failures
    assert f'failures="{failures}"' in to_junit(found)


def test_speed_is_one_line():
    ratio = SpeedRatio(0.1, 0.2, 0.5, (0.45, 0.55), 15, Threshold(0.1, True))
    line = describe_speed("a", "b", ratio, 256)
    assert line.startswith("b decodes 0.500 times as fast as a (0.450 to 0.550; 0.2 s and 0.1 s,")
    assert line.endswith("allowed loss 10%): regression")
