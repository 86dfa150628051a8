"""Figures of a report: the same ones whoever draws them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.report.build import draw_figures
from ssdd_bench.report.figures.drawing import Drawing
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.published import load_published

PUBLISHED = load_published(Path(__file__).parents[2] / "results" / "published")


class _Dying(Executor):
    """Draws at once, and has a process killed after some figures."""

    def __init__(self, lives: int) -> None:
        self.lives = lives
        self.calls: list[tuple[Any, ...]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls.append(args)
        future = Future[Any]()
        if len(self.calls) > self.lives:
            future.set_exception(BrokenExecutor())
        else:
            future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.medium
def test_figures_are_the_same_whoever_draws_them(write_run: Callable[..., Path]) -> None:
    source = load_source([write_run({"a": [20.0, 24.0], "b": [19.0, 25.0]})])

    def figures(executor: Executor | None = None) -> list[Drawing]:
        return list(draw_figures(source.pooled, PUBLISHED, "psnr", executor))

    dying = _Dying(lives=2)
    assert figures(dying) == figures()
    assert len(dying.calls) == len(figures()) == 5
    assert list(dict.fromkeys(one.name for one in figures())) == [
        *("quality-vs-speed", "score-distributions", "published-figure"),
    ]


@pytest.mark.medium
def test_the_first_figure_of_a_name_becomes_all_files(write_run: Callable[..., Path]) -> None:
    source = load_source([write_run({"a": [20.0, 24.0], "b": [19.0, 25.0]})])
    drawn = [(one.name, set(one.files)) for one in draw_figures(source.pooled, {}, "psnr")]
    assert drawn[0] == ("quality-vs-speed", {".png", ".svg", ".pdf"})
    assert drawn[1] == ("quality-vs-speed", {".svg"})
