"""A whole report in a folder, made from result files alone: tables, figures and a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from ssdd_bench.report.figures.curves import draw_curves, draw_published, draw_speed
from ssdd_bench.report.figures.distribution import draw_distributions
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import metric_directions, to_csv
from ssdd_bench.report.gallery import copy_to, link_from
from ssdd_bench.report.groups import pool_seeds
from ssdd_bench.report.loading import Source
from ssdd_bench.report.page import build_page, first_of_each
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.rows import FILE, to_json
from ssdd_bench.report.tables.html import render
from ssdd_bench.report.tables.latex import to_latex
from ssdd_bench.report.tables.markdown import to_markdown
from ssdd_bench.report.tables.model import Table
from ssdd_bench.report.tags import TagsOfSets, build_tag_tables, split_by_tag
from ssdd_bench.results.files import write_text

SUFFIXES = (".png", ".svg", ".pdf")
Samples = Literal["copy", "link", "embed"]
_METRICS = 4  # figures of speed of one kind
BY_TAG = {"by-tag.md", "by-tag.csv"}
FIGURES = (
    *("quality-vs-speed", "generation-vs-speed", "quality-vs-rate", "quality-vs-steps"),
    *("quality-vs-resolution", "score-distributions", "speed-scaling", "published-figure"),
)


def build_report(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    out: Path,
    tags: TagsOfSets | None = None,
    compare: str = "",
    samples: Samples = "copy",
) -> list[Path]:
    """Write a report and return its files; those of an earlier report with more to show go.

    Args:
        source: input.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures show; the mean PSNR comes beside it where it is known.
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
    drawings = draw_figures(source.pooled, published, metric)
    shown = [*source.tables, *(published_table(name, file) for name, file in published.items())]
    texts = {
        "table.md": to_markdown(source.tables),
        "table.csv": to_csv(frame),
        "table.tex": to_latex(shown),
        FILE: to_json(source),
        "table.html": render("tables.html.j2", tables=shown),
    }
    if tags:
        means = split_by_tag(frame, tags)
        by_tag = build_tag_tables(frame, means)
        texts |= {"by-tag.md": to_markdown(by_tag), "by-tag.csv": means.to_csv(index=False)}
    place = {"copy": copy_to, "link": link_from}.get(samples)
    texts["index.html"] = build_page(
        *(source, published, metric, drawings, by_tag, compare),
        place=place(out) if place else None,
    )
    figures = {
        f"{name}{suffix}": one
        for name, one in first_of_each(drawings).items()
        for suffix in SUFFIXES
    }
    written = [write_text(out / name, text) for name, text in texts.items()]
    written += [one.save(out / name) for name, one in figures.items()]
    for name in {f"{name}{suffix}" for name in FIGURES for suffix in SUFFIXES} | BY_TAG:
        if out / name not in written:
            (out / name).unlink(missing_ok=True)
    return written


def draw_figures(
    frame: pd.DataFrame, published: Mapping[str, PublishedFile], metric: str
) -> list[Drawing]:
    """Draw every figure that the rows have something for.

    Quality against speed is drawn for each of four metrics, of which the page shows one at a time.
    The other figures of quality show ``metric`` and the mean PSNR.
    """
    frame = pool_seeds(frame)
    palette = Palette.of(frame)
    measured = [key for key in metric_directions(frame) if frame[key].notna().any()]
    measured = sorted(measured, key=lambda key: key != metric)
    metrics = list(dict.fromkeys([metric, *(key for key in measured if key == "psnr")]))
    single = {key for scores in frame["scores"] for key in scores}
    drawn = [
        *(
            draw_speed(frame, key, palette, kind)
            for kind in ("reconstruction", "generation")
            for key in measured[:_METRICS]
        ),
        *draw_curves(frame, metrics, palette),
        draw_distributions(frame, [key for key in measured if key in single][:2], palette),
        draw_published([row for file in published.values() for row in file.rows]),
    ]
    return [one for one in drawn if one is not None]
