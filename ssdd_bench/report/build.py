"""A whole report in a folder, made from result files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from ssdd_bench.report import curves
from ssdd_bench.report.frame import metric_directions, to_csv
from ssdd_bench.report.loading import Source
from ssdd_bench.report.page import build_page, build_table_page
from ssdd_bench.report.plots import published_plot, quality_speed_plot
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.seeds import pool_seeds
from ssdd_bench.report.tables.build import build_report_tables
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tags import TagsOfSets, build_tag_tables, split_by_tag
from ssdd_bench.results.files import write_atomically

SUFFIXES = (".png", ".svg", ".pdf")


def build_texts(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    tags: TagsOfSets | None = None,
) -> dict[str, str]:
    """Make everything that is text, by file name: tables and the page.

    Args:
        source: what to report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures begin with.
        tags: adds tables by subject; None for a report without.

    Raises:
        UserError: a saved picture is damaged, or no image has a tag.
    """
    tables = build_report_tables(source.frame)
    shown = [*tables, *(published_table(name, file) for name, file in published.items())]
    means = split_by_tag(source.frame, tags) if tags else None
    by_tag = [] if means is None else build_tag_tables(source.frame, means)
    texts = {
        "table.md": to_markdown(tables),
        "table.csv": to_csv(source.frame),
        "table.tex": to_latex(shown),
        "table.html": build_table_page(shown),
        "index.html": build_page(source, published, metric, by_tag),
    }
    if means is not None:
        texts |= {"by-tag.md": to_markdown(by_tag), "by-tag.csv": means.to_csv(index=False)}
    return texts


def build_report(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    out: Path,
    tags: TagsOfSets | None = None,
) -> Iterator[Path]:
    """Write a report and yield its files; a figure with nothing to show is removed.

    Args:
        source: what to report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures show; the mean PSNR comes beside it where it is known.
        out: folder of the report.
        tags: adds tables by subject; None for a report without.

    Raises:
        OutputError: a file cannot be written.
        UserError: a saved picture is damaged, or no image has a tag.
    """
    for name, text in build_texts(source, published, metric, tags).items():
        path = out / name
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
        yield path
    if not tags:
        for name in ("by-tag.md", "by-tag.csv"):  # of an earlier report
            (out / name).unlink(missing_ok=True)
    for name, draw in _figures(source.frame, published, metric).items():
        paths = [out / f"{name}{suffix}" for suffix in SUFFIXES]
        if draw(paths):
            yield from paths
        else:
            for path in paths:  # of an earlier report, which had something to show
                path.unlink(missing_ok=True)


def _figures(
    frame: pd.DataFrame, published: Mapping[str, PublishedFile], metric: str
) -> dict[str, Callable[[Sequence[Path]], bool]]:
    """Each figure by file name, drawn by a call that says whether there was anything to draw."""
    frame = pool_seeds(frame[frame["kind"] == "reconstruction"])
    measured = [key for key in metric_directions(frame) if frame[key].notna().any()]
    metrics = [metric, *(key for key in ("psnr",) if key in measured and key != metric)]
    single = {key for scores in frame["scores"] for key in scores}
    rows = [row for file in published.values() for row in file.rows]

    def speed(paths: Sequence[Path]) -> bool:
        known = frame[metric].notna() & (frame["decode_ips"] > 0)
        if known.any():
            quality_speed_plot(frame, metric, *paths)
        return bool(known.any())

    def printed(paths: Sequence[Path]) -> bool:
        drawn = [row for row in rows if "rfid" in row.metrics and row.images_per_s is not None]
        if drawn:
            published_plot(drawn, *paths)
        return bool(drawn)

    return {
        "quality-vs-speed": speed,
        "quality-vs-rate": lambda paths: curves.rate_plot(frame, metrics, *paths),
        "quality-vs-steps": lambda paths: curves.steps_plot(frame, metrics, *paths),
        "quality-vs-resolution": lambda paths: curves.resolution_plot(frame, metrics, *paths),
        "score-distributions": lambda paths: curves.distribution_plot(
            frame, [key for key in measured if key in single][:4], *paths
        ),
        "speed-scaling": lambda paths: curves.speed_scaling_plot(frame, *paths),
        "published-figure": printed,
    }
