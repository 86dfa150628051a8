"""Output of a running evaluation: on a terminal, and in a log."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ssdd_bench.cli._live import follow
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.job import Failure, Finished
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.results.schema import MetricValue, Result
from ssdd_bench.results.store import load_results

HEIGHT = 12


def plan(tokenizers: str, **options: object) -> RunConfig:
    return replace(
        RunConfig(tuple(parse_requests(tokenizers)), (64,), Path("out"), ("psnr", "lpips_alex")),
        **options,
    )


def screen(width: int = 100, terminal: bool = True) -> Console:
    return Console(force_terminal=terminal, file=io.StringIO(), width=width, height=HEIGHT)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def result() -> Result:
    (found,) = load_results([Path(__file__).parents[1] / "fixtures" / "result.json"])
    scores = {
        "psnr": MetricValue(23.456, 4, True, "test"),
        "lpips_alex": MetricValue(None, 4, False, "test", unavailable="no weights"),
    }
    return replace(found, metrics=scores, seconds=12.0)


def named(result: Result, label: str) -> Finished:
    record = replace(result.tokenizer, label=label)
    return Finished(replace(result, tokenizer=record), Path(f"{label}.json"), reused=False)


def follow_all(console: Console, plan: RunConfig, result: Result) -> None:
    jobs = plan.jobs()
    with follow(console) as listener:
        for number, job in enumerate(jobs, start=1):
            listener.job_started(job, number, len(jobs), 4, 0)
            listener.images_done(job, 4)
            listener.stage(job, "metrics")
            listener.job_finished(job, named(result, job.request.label))


@pytest.mark.medium
def test_each_job_has_one_line_in_the_order_of_measuring(result: Result) -> None:
    qualities = ",".join(map(str, range(10, 60)))
    console = screen()
    follow_all(console, plan(f"jpeg:quality={qualities}"), result)
    lines = [line for line in text(console).splitlines() if "23.46" in line]
    found = [line.split("quality=")[1][:2] for line in lines]
    assert found == qualities.split(",")


def test_a_line_has_every_score_the_speed_and_the_time(result: Result) -> None:
    console = screen(40, terminal=False)
    told: list[Result] = []
    with follow(console, told.append) as listener:
        first, second = named(result, "jpeg"), named(result, "ssdd")
        listener.job_finished(plan("jpeg").jobs()[0], first)
        seeded = replace(second.result, seed=2, speed=None)
        listener.job_finished(None, Finished(seeded, Path("ssdd.json"), reused=True))
    assert told == [first.result, seeded]
    first, second = text(console).split("\n")[:2]
    assert re.fullmatch(
        r"jpeg at 64 px, default-v1: lpips_alex \S, psnr 23.46, decode [\d.]+ images/s, 12 s", first
    )
    assert re.fullmatch(
        r"ssdd at 64 px, default-v1, seed 2: lpips_alex \S, psnr 23.46, kept", second
    )


def test_the_running_job_is_below_and_leaves_no_bar(result: Result) -> None:
    console = screen()
    first, second = plan("jpeg,webp").jobs()
    with follow(console) as listener:
        listener.job_started(first, 1, 2, 4, 0)
        listener.job_started(second, 2, 2, 4, 1)
        listener.job_finished(first, named(result, "jpeg"))
        listener.images_done(second, 2)
        listener.job_finished(second, named(result, "webp"))
        before = len(text(console))
    assert text(console).index("23.46") < text(console).rindex("[2/2] webp")
    assert "[1/2]" not in text(console)[before:]
    assert "[2/2]" not in text(console)[before:]


def test_an_interrupt_leaves_the_lines(result: Result) -> None:
    console = screen()

    def interrupted() -> None:
        with follow(console) as listener:
            first, second = plan("jpeg,webp").jobs()
            listener.job_finished(first, named(result, "jpeg"))
            listener.job_started(second, 2, 2, 4, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "23.46" in text(console)
    assert "\x1b[?25h" in text(console)  # the cursor is back


def test_a_failure_stands_among_the_lines() -> None:
    console = screen()
    with follow(console) as listener:
        (job,) = plan("jpeg").jobs()
        listener.job_started(job, 1, 1, 4, 0)
        problem = Problem("ValueError", "[red] is no markup")
        listener.jobs_failed([job], Failure("jpeg at 64 px", 1, problem))
    assert "failed: jpeg at 64 px: ValueError: [red] is no markup" in text(console)


@pytest.mark.slow
def test_a_log_gets_lines_and_no_bars(result: Result) -> None:
    console = screen(terminal=False)
    follow_all(console, plan("jpeg,webp"), result)
    assert text(console).count("23.46") == 2
    assert "\x1b[" not in text(console)
    assert "━" not in text(console)
