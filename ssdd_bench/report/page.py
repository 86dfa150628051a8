"""The page: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import pandas as pd

from ssdd_bench.report.figures.style import Drawing, Palette, inline_svg
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.gallery import Set, build_sets, find_extremes
from ssdd_bench.report.groups import (
    Group,
    comparable_groups,
    describe_hardware,
    pool_seeds,
    row_names,
)
from ssdd_bench.report.loading import Source
from ssdd_bench.report.methods import build_method_tables, merge_alike, versions
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.ranking import ELIGIBLE_RULE, TIE_RULE, is_ranked
from ssdd_bench.report.tables.build import build_report_tables, build_tables, images_of
from ssdd_bench.report.tables.columns import format_number, metric_name
from ssdd_bench.report.tables.html import asset, render
from ssdd_bench.report.tables.model import MISSING, Table

_SCRIPTS: Final = ("base.js", "tables.js", "figures.js", "gallery.js")


def build_page(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    drawings: Sequence[Drawing] = (),
    by_tag: Sequence[Table] = (),
    tables: Sequence[Table] = (),
) -> str:
    """Render the page: equal input gives equal text.

    Args:
        source: input of the report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures begin with.
        drawings: figures; may be empty.
        by_tag: tables by subject, in a section of their own; may be empty.
        tables: from :func:`build_report_tables`, where they are built already.

    Raises:
        UserError: a saved image is damaged.
    """
    frame, results = pool_seeds(source.frame), source.results
    sets = build_sets(source)
    groups = list(comparable_groups(frame))
    tables = tables or build_report_tables(frame)
    extremes = find_extremes(source, sets)
    palette = Palette.of(frame)
    return render(
        "page.html.j2",
        gallery_style=asset("gallery.css"),
        scripts=map(asset, _SCRIPTS),
        data=_json(_data(frame, drawings, palette, sets)),
        digest=source.digest,
        facts=_facts(source),
        findings=[(group.title, _findings(group)) for group in groups],
        any_tied=any(cell.tied for table in tables for c in table.columns for cell in c.cells),
        cautions=merge_alike(text for one in tables for text in (*one.footnotes, *one.remarks)),
        tables=tables,
        by_tag=by_tag,
        figures=drawings,
        first={one.key for one in first_of_each(drawings).values()},
        inline=inline_svg,
        choices={one.metric: metric_name(one.metric) for one in drawings if one.metric},
        metric=metric,
        legend=[
            (index, family, palette.color(family))
            for index, family in enumerate(palette.families)
            if any(family == owner for one in drawings for owner, _ in one.parts.values())
        ],
        published=[published_table(name, file) for name, file in published.items()],
        sets=sets,
        extremes=[
            (index, group.title, mine)
            for index, group in enumerate(groups)
            if (mine := [one for one in extremes if one.group == index])
        ],
        methods=build_method_tables(results),
        commands=sorted({result.command for result in results}),
        versions=versions(results),
        tie_rule=TIE_RULE,
        eligible_rule=ELIGIBLE_RULE,
        metric_name=metric_name,
        show=format_number,
    )


def first_of_each(drawings: Sequence[Drawing]) -> dict[str, Drawing]:
    """Choose the figure of each name that becomes files and that the page shows at first."""
    return {one.name: one for one in reversed(drawings)}


def _json(data: Any) -> str:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _facts(source: Source) -> list[tuple[str, str]]:
    """List the tokenizers, the images, the machines and the dates."""
    frame = source.frame
    images = dict.fromkeys(
        f"{n} {images_of(kind)} {name}"
        for n, kind, name in zip(frame["n"], frame["kind"], frame["data"], strict=True)
    )
    dates = sorted(result.created[:10] for result in source.results)
    return [
        ("Tokenizers", f"{frame['label'].nunique()}: {', '.join(dict.fromkeys(frame['label']))}"),
        ("Resolutions", ", ".join(f"{size} px" for size in sorted(set(frame["resolution"])))),
        ("Images", "; ".join(images)),
        ("Protocols", ", ".join(dict.fromkeys(frame["protocol"]))),
        ("Machines", "; ".join(describe_hardware(frame)) or "not timed"),
        ("Measured", " to ".join(dict.fromkeys((dates[0], dates[-1])))),
        ("Version", f"ssdd-bench {versions(source.results)}"),
    ]


def _findings(group: Group) -> list[dict[str, str]]:
    """Find the best of each ranked column, the runner-up and the ties."""
    names, ranked = row_names(group.rows), is_ranked(group.rows)
    found = []
    for column in build_tables(group.rows)[0].columns:
        rows = list(zip(names, column.cells, ranked, strict=True))
        best = [(name, cell.text) for name, cell, _ in rows if cell.best]
        others = [
            f"{name} {cell.text}"
            for name, cell, may in sorted(rows, key=lambda row: not row[1].second)
            if may and not cell.best and cell.text != MISSING
        ]
        if best and column.key != "model img/s":  # the same for all tokenizers of one latent
            found.append(
                {
                    "what": column.heading,
                    "best": ", ".join(name for name, _ in best),
                    "value": best[0][1],
                    "next": others[0] if len(best) == 1 else "",
                    "tied": ", ".join(name for name, cell, _ in rows if cell.tied),
                }
            )
    return found


def _data(
    frame: pd.DataFrame, drawings: Sequence[Drawing], palette: Palette, sets: Sequence[Set]
) -> dict[str, Any]:
    """Collect the input of the scripts: names, parts of the figures by id, and images."""
    families = palette.families
    return {
        "metrics": {
            key: {"name": metric_name(key), "higher": higher}
            for key, higher in metric_directions(frame).items()
            if frame[key].notna().any()
        },
        "parts": {
            gid: [families.index(family) if family in families else -1, tip]
            for one in drawings
            for gid, (family, tip) in one.parts.items()
        },
        "panels": {one.key: one.panels for one in drawings},
        "sets": [asdict(one) for one in sets],
    }
