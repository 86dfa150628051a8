"""What a run shows on a terminal while it goes, and what a log gets."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ssdd_bench.cli._live import follow
from ssdd_bench.evaluation.job import Failure, Finished
from ssdd_bench.evaluation.run import RunConfig
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
    with follow(plan, console) as listener:
        for number, job in enumerate(jobs, start=1):
            listener.job_started(job, number, len(jobs), 4)
            listener.images_done(4)
            listener.stage("metrics")
            listener.job_finished(named(result, job.request.label))


def test_more_rows_than_a_screen_holds_all_stay(result: Result) -> None:
    """Each is printed once, in the order of measuring, and headings stand on every screen."""
    qualities = ",".join(map(str, range(10, 60)))
    console = screen()
    follow_all(console, plan(f"jpeg:quality={qualities}"), result)
    lines = [line for line in text(console).splitlines() if "23.46" in line]
    assert [line.split("quality=")[1][:2] for line in lines] == qualities.split(",")
    assert text(console).count("decode images/s") == -(-50 // (HEIGHT - 3))


def test_the_running_job_is_below_and_leaves_no_bar(result: Result) -> None:
    console = screen()
    run = plan("jpeg,webp")
    first, second = run.jobs()
    with follow(run, console) as listener:
        listener.job_started(first, 1, 2, 4)
        listener.job_finished(named(result, "jpeg"))
        listener.job_started(second, 2, 2, 4)
        listener.images_done(2)
        listener.job_finished(replace(named(result, "webp"), reused=True))
        before = len(text(console))
    assert text(console).index("23.46") < text(console).index("[2/2] webp")
    assert "[2/2]" not in text(console)[before:]
    assert "kept" in text(console)


def test_an_interrupt_leaves_the_rows(result: Result) -> None:
    console = screen()
    run = plan("jpeg,webp")

    def interrupted() -> None:
        with follow(run, console) as listener:
            listener.job_finished(named(result, "jpeg"))
            listener.job_started(run.jobs()[1], 2, 2, 4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "23.46" in text(console)
    assert "\x1b[?25h" in text(console)  # the cursor is back


def test_a_failure_stands_among_the_rows(result: Result) -> None:
    console = screen()
    run = plan("jpeg,webp")
    with follow(run, console) as listener:
        listener.job_started(run.jobs()[0], 1, 2, 4)
        listener.job_failed(Failure("jpeg at 64 px", 1, ValueError("[red] is no markup")))
        listener.job_finished(named(result, "webp"))
    assert "failed: jpeg at 64 px: ValueError: [red] is no markup" in text(console)


def test_columns_follow_the_plan_and_the_width(result: Result) -> None:
    heading = "tokenizer px psnr lpips_alex decode images/s seconds"

    def words(width: int, run: RunConfig) -> str:
        console = screen(width)
        with follow(run, console) as listener:
            listener.job_finished(named(result, run.requests[0].label))
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text(console))
        return " ".join(next(line for line in plain.splitlines() if "tokenizer" in line).split())

    assert words(100, plan("jpeg")) == heading
    assert words(60, plan("jpeg")) == heading.replace(" lpips_alex", "")
    assert words(100, plan("jpeg", speed=False)) == heading.replace(" decode images/s", "")
    several = plan("ssdd", seeds=(0, 1), protocols=("default-v1", "ssdd-paper-v1"))
    assert words(120, several) == heading.replace("px", "px protocol seed")


def test_a_log_gets_rows_and_no_bars(result: Result) -> None:
    console = screen(terminal=False)
    follow_all(console, plan("jpeg,webp"), result)
    assert text(console).count("23.46") == 2
    assert "\x1b[" not in text(console)
    assert "━" not in text(console)
