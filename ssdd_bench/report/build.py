"""A whole report in a folder, made from result files alone: tables, figures and a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from itertools import tee
from pathlib import Path
from typing import Literal

import pandas as pd

from ssdd_bench.report.figures.chart import Chart, Distributions
from ssdd_bench.report.figures.curves import curve_charts, published_chart, speed_chart
from ssdd_bench.report.figures.distribution import distribution_chart
from ssdd_bench.report.figures.draw import draw
from ssdd_bench.report.figures.drawing import SUFFIXES, Drawing
from ssdd_bench.report.figures.palette import Palette
from ssdd_bench.report.frame import metric_directions, to_csv
from ssdd_bench.report.gallery import copy_to, link_from
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.report.html import render
from ssdd_bench.report.loading import Source
from ssdd_bench.report.page import build_page, first_of_each
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.rows import to_json
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tables.model import Table
from ssdd_bench.report.tags import TagsOfSets, build_tag_tables, split_by_tag
from ssdd_bench.results.files import write_text
from ssdd_bench.results.places import REPORT

_Begun = tuple[Future[Drawing] | None, tuple[Chart | Distributions, Palette, Sequence[str]]]
Samples = Literal["copy", "link", "embed"]
_METRICS = 4  # figures of speed of one kind
BY_TAG = {"by-tag.md", "by-tag.csv"}
# In the order of the page.
FIGURES = (
    *("quality-vs-speed", "generation-vs-speed", "quality-vs-rate", "quality-vs-steps"),
    *("quality-vs-resolution", "speed-scaling", "score-distributions", "published-figure"),
)


def build_report(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    drawings: Iterable[Drawing],
    out: Path,
    tags: TagsOfSets | None = None,
    compare: str = "",
    samples: Samples = "copy",
) -> list[Path]:
    """Write a report and return its files; those of an earlier report with more to show go.

    Args:
        source: input.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that the page begins with.
        drawings: see :func:`draw_figures`; they are waited for when all else is done.
        out: folder of the report.
        tags: adds tables by subject; None for a report without.
        compare: two labels that the page's first sentence compares; chosen where empty.
        samples: where the page has the saved crops: ``copy`` beside it, ``link`` to where they
            lie, or ``embed`` as many as one file can hold.

    Raises:
        OutputError: a file cannot be written.
        UserError: a saved image is damaged, or no image has a tag.
    """
    frame, by_tag = source.frame, list[Table]()
    for_page, for_files = tee(drawings)
    shown = [*source.tables, *(published_table(name, file) for name, file in published.items())]
    texts = {
        "table.md": to_markdown(source.tables),
        "table.csv": to_csv(frame),
        "table.tex": to_latex(shown),
        REPORT: to_json(source),
        "table.html": render("tables.html.j2", tables=shown),
    }
    if tags:
        means = split_by_tag(frame, tags)
        by_tag = build_tag_tables(frame, means)
        texts |= {"by-tag.md": to_markdown(by_tag), "by-tag.csv": means.to_csv(index=False)}
    place = {"copy": copy_to, "link": link_from}.get(samples)
    texts["index.html"] = build_page(
        *(source, published, metric, for_page, by_tag, compare),
        place=place(out) if place else None,
    )
    written = [write_text(out / name, text) for name, text in texts.items()]
    for one in first_of_each(for_files).values():
        written += [one.save(out / f"{one.name}{suffix}") for suffix in SUFFIXES]
    for name in {f"{name}{suffix}" for name in FIGURES for suffix in SUFFIXES} | BY_TAG:
        if out / name not in written:
            (out / name).unlink(missing_ok=True)
    return written


def draw_figures(
    frame: pd.DataFrame,
    published: Mapping[str, PublishedFile],
    metric: str,
    executor: Executor | None = None,
) -> Iterator[Drawing]:
    """Draw every figure that the rows have something for.

    The first figure of each name becomes files of all kinds; the page alone has the others.

    Args:
        frame: rows of a source.
        published: numbers by others; may be empty.
        metric: the quality that figures show; the mean PSNR comes beside it where it is known.
        executor: begins at once, while this process does other things. Without one, each figure is
            drawn when it is asked for.
    """
    frame = pool_seeds(frame)
    palette, seen, begun = Palette.of(frame), set[str](), list[_Begun]()
    for chart in choose_charts(frame, published, metric):
        call = chart, palette, (".svg",) if chart.name in seen else SUFFIXES
        seen.add(chart.name)
        begun.append((executor.submit(draw, *call) if executor else None, call))
    return _collect(sorted(begun, key=lambda pair: FIGURES.index(pair[1][0].name)))


def _collect(begun: Iterable[_Begun]) -> Iterator[Drawing]:
    """Wait for drawings; those that nobody draws, since a process was killed, are drawn here."""
    for future, call in begun:
        try:
            yield future.result() if future else draw(*call)
        except BrokenExecutor:
            yield draw(*call)


def choose_charts(
    frame: pd.DataFrame, published: Mapping[str, PublishedFile], metric: str
) -> Iterator[Chart | Distributions]:
    """Yield what figures show, beginning with those that take the longest to draw.

    Quality against speed is shown for each of four metrics, of which the page shows one at a time.
    The other charts of quality show ``metric`` and the mean PSNR.
    """
    measured = [key for key in metric_directions(frame) if frame[key].notna().any()]
    measured = sorted(measured, key=lambda key: key != metric)
    metrics = list(dict.fromkeys([metric, *(key for key in measured if key == "psnr")]))
    single = {key for scores in frame["scores"] for key in scores}
    if distributions := distribution_chart(frame, [key for key in measured if key in single][:2]):
        yield distributions
    for kind in ("reconstruction", "generation"):
        for key in measured[:_METRICS]:
            if chart := speed_chart(frame, key, kind):
                yield chart
    yield from curve_charts(frame, metrics)
    if printed := published_chart([row for file in published.values() for row in file.rows]):
        yield printed
