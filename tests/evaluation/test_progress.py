"""Bars of progress: how far they are moved, and what they show."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.job import Failure, Finished, Job
from ssdd_bench.evaluation.progress import Bar, Callbacks, RunBar, new_progress, progress_bar
from ssdd_bench.launch.tasks import Problem
from ssdd_bench.plugins.registry import parse_requests
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.records import read_json
from ssdd_bench.results.store import from_json

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
RESULT = from_json(read_json(EXAMPLE), EXAMPLE)
JOB = Job(parse_requests("jpeg")[0], 64, get_protocol("default-v1"))


def hidden() -> Progress:
    """Bars that are never on the screen."""
    made = new_progress(Console(file=io.StringIO(), width=100))
    made.disable = True
    return made


def test_a_bar_has_five_columns() -> None:
    console = Console(file=io.StringIO(), width=100)
    progress = new_progress(console)
    assert progress.console is console
    kinds = (TextColumn, BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn)
    assert len(progress.columns) == len(kinds)
    assert all(map(isinstance, progress.columns, kinds))
    task = progress.add_task("[b]title[/b]", total=10, completed=3, state="[i]state[/i]")
    with console.capture() as captured:
        console.print(progress.get_renderable())
    text = captured.get()
    assert text.startswith("[b]title[/b] ")
    assert " 3/10 [i]state[/i] " in text
    assert progress.tasks[0].id == task


def test_a_bar_moves_its_own_task() -> None:
    progress = hidden()
    other = progress.add_task("other", total=10, state="")
    task = progress.add_task("ours", total=10, completed=2, state="")
    bar = Bar(progress, task)
    bar.images_done(3)
    assert [(one.completed, one.fields) for one in progress.tasks] == [
        (0, {"state": ""}),
        (5, {"state": ""}),
    ]
    bar.images_done(-1)
    assert progress.tasks[1].completed == 4
    bar.show(9, "scores")
    assert [(one.id, one.completed, one.fields) for one in progress.tasks] == [
        (other, 0, {"state": ""}),
        (task, 9, {"state": "scores"}),
    ]


@pytest.mark.parametrize(("reused", "moved"), [(True, RESULT.data.n + 2), (False, 0)])
def test_a_run_moves_over_the_images_of_all_jobs(reused: bool, moved: int) -> None:
    progress = hidden()
    bar = RunBar(Bar(progress, progress.add_task("run", total=1000, state="")))
    bar.job_started(JOB, 1, 2, 100, 30)
    assert progress.tasks[0].completed == 30
    bar.images_done(JOB, 5)
    bar.images_done(JOB, -2)
    assert progress.tasks[0].completed == 33
    result = replace(RESULT, data=replace(RESULT.data, skipped=("a", "b")))
    bar.job_finished(JOB, Finished(result, EXAMPLE, reused))
    assert progress.tasks[0].completed == 33 + moved


@pytest.mark.parametrize("quiet", [False, True])
def test_a_failure_is_a_line_above_the_bar(quiet: bool, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("title", 8, quiet=quiet) as bar:
        RunBar(bar).jobs_failed(
            [JOB], Failure("[b]x\x1b" + 120 * "y", 1, Problem("UserError", "z"))
        )
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert ("failed: [b]x\\x1b" + 120 * "y" + ": z" in lines) is not quiet
    assert bool(lines) is not quiet


def test_callbacks_do_nothing() -> None:
    finished = Finished(RESULT, EXAMPLE, True)
    calls = Callbacks()
    calls.job_started(JOB, 1, 2, 100, 30)
    calls.images_done(JOB, 5)
    calls.stage(JOB, "scores")
    calls.job_finished(JOB, finished)
    assert vars(calls) == {}


@pytest.mark.parametrize("title", ["klvae", "[1/4] ssdd:checkpoint=train/f8c4/distil.safetensors"])
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_only_texts_give_way_on_a_narrow_terminal(title: str, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    progress = new_progress(console)
    terms = "10.0 images/s l1 0.543 perceptual 0.878 kl 2.43e-05 gan -0.0121 discriminator 0.123"
    progress.add_task(title, total=1_501_500, completed=1_000_000, state=terms)
    with console.capture() as captured:
        console.print(progress.get_renderable())
    (line,) = captured.get().splitlines()
    assert line.startswith(title[:8])
    assert line.startswith(f"{title} ") or "…" in line.split("━")[0]
    assert " 1000000/1501500 10.0 " in line
    assert line.rstrip().endswith("-:--:--")


@pytest.mark.parametrize(("given", "total"), [({}, None), ({"total": 5}, 5)])
def test_a_bar_is_on_standard_error_from_the_first_call_on(
    given: dict[str, int], total: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("title", **given) as bar:
        (task,) = bar._progress.tasks
        assert (task.description, task.total, task.completed) == ("title", total, 0)
        assert task.fields == {"state": ""}
        assert not bar._progress.live.is_started
        bar.images_done(0)
        assert bar._progress.live.is_started
    assert not bar._progress.live.is_started
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "title" in shown.err
    assert f"0/{'?' if total is None else total}" in shown.err


def test_a_refusal_leaves_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError), progress_bar("title", 5):
        raise UserError("refused")
    assert capsys.readouterr() == ("", "")


def test_a_quiet_bar_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("title", 8, quiet=True) as bar:
        bar.show(3, "")
        (task,) = bar._progress.tasks
        assert (task.total, task.completed) == (8, 3)
    assert capsys.readouterr() == ("", "")
