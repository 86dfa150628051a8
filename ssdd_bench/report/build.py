"""A whole report in a folder, made from result files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from ssdd_bench.report.figures import curves
from ssdd_bench.report.figures.distribution import draw_distributions
from ssdd_bench.report.figures.published import draw_published
from ssdd_bench.report.figures.speed import draw_speed
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import metric_directions, to_csv
from ssdd_bench.report.loading import Source
from ssdd_bench.report.page.build import build_page, first_of_each
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.seeds import pool_seeds
from ssdd_bench.report.tables.build import build_report_tables
from ssdd_bench.report.tables.html import to_html
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tags import TagsOfSets, build_tag_tables, split_by_tag
from ssdd_bench.results.files import write_atomically

SUFFIXES = (".png", ".svg", ".pdf")
FIGURES = (
    *("quality-vs-speed", "generation-vs-speed", "quality-vs-rate", "quality-vs-steps"),
    *("quality-vs-resolution", "score-distributions", "speed-scaling", "published-figure"),
)


def build_texts(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    drawings: Sequence[Drawing],
    tags: TagsOfSets | None = None,
) -> dict[str, str]:
    """Make everything that is text, by file name: tables and the page.

    Args:
        source: what to report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures begin with.
        drawings: figures for the page.
        tags: adds tables by subject; None for a report without.

    Raises:
        UserError: a saved image is damaged, or no image has a tag.
    """
    tables = build_report_tables(source.frame)
    shown = [*tables, *(published_table(name, file) for name, file in published.items())]
    means = split_by_tag(source.frame, tags) if tags else None
    by_tag = [] if means is None else build_tag_tables(source.frame, means)
    texts = {
        "table.md": to_markdown(tables),
        "table.csv": to_csv(source.frame),
        "table.tex": to_latex(shown),
        "table.html": to_html(shown),
        "index.html": build_page(source, published, metric, drawings, by_tag),
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
        UserError: a saved image is damaged, or no image has a tag.
    """
    drawings = draw_figures(source.frame, published, metric)
    for name, text in build_texts(source, published, metric, drawings, tags).items():
        path = out / name
        write_atomically(path, partial(Path.write_text, data=text, encoding="utf-8"))
        yield path
    if not tags:
        for name in ("by-tag.md", "by-tag.csv"):  # of an earlier report
            (out / name).unlink(missing_ok=True)
    shown = first_of_each(drawings)
    for name in FIGURES:
        for path in (out / f"{name}{suffix}" for suffix in SUFFIXES):
            if name in shown:
                yield shown[name].save(path)
            else:
                path.unlink(missing_ok=True)  # of an earlier report, which had something to show


def draw_figures(
    frame: pd.DataFrame, published: Mapping[str, PublishedFile], metric: str
) -> list[Drawing]:
    """Draw every figure that the rows have something for.

    Quality against speed is drawn once for each metric, of which the page shows one at a time.
    The other figures of quality show ``metric`` and the mean PSNR.
    """
    frame = pool_seeds(frame)
    palette = Palette.of(frame)
    measured = [key for key in metric_directions(frame) if frame[key].notna().any()]
    measured = sorted(measured, key=lambda key: key != metric)
    metrics = list(dict.fromkeys([metric, *(key for key in measured if key == "psnr")]))
    single = {key for scores in frame["scores"] for key in scores}
    printed = [row for file in published.values() for row in file.rows]
    drawn = [
        *(
            draw_speed(frame, key, palette, kind)
            for kind in ("reconstruction", "generation")
            for key in measured
        ),
        curves.draw_rates(frame, metrics, palette),
        curves.draw_steps(frame, metrics, palette),
        curves.draw_resolutions(frame, metrics, palette),
        curves.draw_speeds(frame, palette),
        draw_distributions(frame, [key for key in measured if key in single][:4], palette),
        draw_published(printed),
    ]
    return [one for one in drawn if one is not None]
