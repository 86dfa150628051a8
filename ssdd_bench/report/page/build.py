"""One HTML page that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssdd_bench.report import methods
from ssdd_bench.report.figures.style import Drawing, Palette, inline_svg
from ssdd_bench.report.frame import metric_directions
from ssdd_bench.report.groups import Group, comparable_groups, describe_hardware, row_names
from ssdd_bench.report.loading import Source
from ssdd_bench.report.page.gallery import Set, build_sets, find_extremes
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.ranking import ELIGIBLE_RULE, TIE_RULE, is_ranked
from ssdd_bench.report.seeds import pool_seeds
from ssdd_bench.report.tables.build import build_report_tables, build_tables, images_of
from ssdd_bench.report.tables.html import asset, render
from ssdd_bench.report.tables.model import Table
from ssdd_bench.report.tables.numbers import format_number, metric_name


def build_page(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    drawings: Sequence[Drawing] = (),
    by_tag: Sequence[Table] = (),
) -> str:
    """Render the page.

    Args:
        source: what to report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures begin with.
        drawings: figures; may be empty.
        by_tag: tables by subject, in a section of their own; may be empty.

    Returns:
        HTML; equal input gives equal text.

    Raises:
        UserError: a saved image is damaged.
    """
    frame, results = pool_seeds(source.frame), source.results
    sets = build_sets(source)
    groups = list(comparable_groups(frame))
    tables = build_report_tables(frame)
    first = {id(one) for one in first_of_each(drawings).values()}
    figures = [_figure(one, hidden=id(one) not in first) for one in drawings]
    palette = Palette.of(frame)
    return render(
        "page.html.j2",
        scripts=[asset(name) for name in ("base.js", "tables.js", "figures.js", "gallery.js")],
        data=_json(_data(frame, drawings, palette, sets)),
        digest=source.digest,
        facts=_facts(source),
        findings=[(_group_title(group), _findings(group)) for group in groups],
        any_tied=any(cell.tied for table in tables for c in table.columns for cell in c.cells),
        cautions=_cautions(tables),
        tables=tables,
        by_tag=by_tag,
        figures=[one for one in figures if one["name"] != "published-figure"],
        published_figures=[one for one in figures if one["name"] == "published-figure"],
        choices={one["metric"]: metric_name(one["metric"]) for one in figures if one["metric"]},
        metric=metric,
        legend=[
            (index, family, palette.color(family))
            for index, family in enumerate(palette.families)
            if any(family == owner for one in drawings for owner, _ in one.parts.values())
        ],
        published=[published_table(name, file) for name, file in published.items()],
        sets=sets,
        extremes=_by_group(find_extremes(source, sets), groups),
        methods=methods.build_method_tables(results),
        commands=methods.commands(results),
        citation=methods.citation(results),
        tie_rule=TIE_RULE,
        eligible_rule=ELIGIBLE_RULE,
        metric_name=metric_name,
        show=format_number,
    )


def _json(data: Any) -> str:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _group_title(group: Group) -> str:
    return f"{group.resolution} × {group.resolution} px, {group.protocol}, {group.data}"


def _facts(source: Source) -> list[tuple[str, str]]:
    """List what was measured, when and on what."""
    frame, results = source.frame, source.results
    sizes = [f"{size} px" for size in sorted(set(frame["resolution"]))]
    images = dict.fromkeys(
        f"{n} {images_of(kind)} {name}"
        for n, kind, name in zip(frame["n"], frame["kind"], frame["data"], strict=True)
    )
    dates = sorted(result.created[:10] for result in results)
    versions = sorted({str(r.environment.get("ssdd_bench", "unknown")) for r in results})
    facts = [
        ("Tokenizers", f"{frame['label'].nunique()}: {', '.join(dict.fromkeys(frame['label']))}"),
        ("Resolutions", ", ".join(sizes)),
        ("Images", "; ".join(images)),
        ("Protocols", ", ".join(dict.fromkeys(frame["protocol"]))),
        ("Machines", "; ".join(describe_hardware(frame)) or "not timed"),
        ("Measured", dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"),
        ("Version", f"ssdd-bench {', '.join(versions)}"),
    ]
    return facts


def _findings(group: Group) -> list[dict[str, str]]:
    """Find the best of each ranked column, the runner-up and the ties."""
    ranked_rows = is_ranked(group.rows)
    rows = group.rows[ranked_rows]
    table = build_tables(group.rows)[0]
    columns = {column.key: column for column in table.columns}
    names = row_names(group.rows)
    found = []
    directions = {**metric_directions(rows), "encode img/s": True, "decode img/s": True}
    for key, higher in directions.items():
        column = columns.get(key)
        if column is None or not any(cell.best for cell in column.cells):
            continue
        source = {"encode img/s": "encode_ips", "decode img/s": "decode_ips"}.get(key, key)
        values = group.rows[source].where(ranked_rows)
        ranked = [
            (value, name, cell.text)
            for value, name, cell in zip(values, names, column.cells, strict=True)
            if not pd.isna(value) and math.isfinite(value)
        ]
        ranked.sort(key=lambda item: item[0], reverse=higher)
        ties = [name for name, cell in zip(names, column.cells, strict=True) if cell.tied]
        (_, name, text), (_, second, second_text) = ranked[0], ranked[1]
        best = [n for n, cell in zip(names, column.cells, strict=True) if cell.best]
        found.append(
            {
                "what": column.heading,
                "best": ", ".join(best) if len(best) > 1 else name,
                "value": text,
                "next": "" if len(best) > 1 else f"{second} {second_text}",
                "tied": ", ".join(ties),
            }
        )
    return found


def _cautions(tables: Sequence[Table]) -> list[str]:
    texts = [text for table in tables for text in (*table.footnotes, *table.remarks)]
    return methods.merge_alike(texts)


def _by_group(extremes: Sequence[Any], groups: Sequence[Group]) -> list[tuple[int, str, list[Any]]]:
    return [
        (index, _group_title(group), mine)
        for index, group in enumerate(groups)
        if (mine := [one for one in extremes if one.group == index])
    ]


def first_of_each(drawings: Sequence[Drawing]) -> dict[str, Drawing]:
    """Choose the figure of each name that becomes files and that the page shows at first."""
    return {one.name: one for one in reversed(drawings)}


def _figure(drawing: Drawing, *, hidden: bool) -> dict[str, Any]:
    """Describe a figure for the template."""
    return {
        "name": drawing.name,
        "key": drawing.key,
        "title": drawing.title,
        "metric": drawing.key.removeprefix(drawing.name).removeprefix("-"),
        "hidden": hidden,
        "svg": inline_svg(drawing.svg),
    }


def _data(
    frame: pd.DataFrame, drawings: Sequence[Drawing], palette: Palette, sets: Sequence[Set]
) -> dict[str, Any]:
    """Collect what the scripts need: names, parts of the figures by id, and images."""
    directions = metric_directions(frame)
    families = palette.families
    return {
        "metrics": {
            key: {"name": metric_name(key), "higher": higher}
            for key, higher in directions.items()
            if frame[key].notna().any()
        },
        "parts": {
            gid: [families.index(family) if family in families else -1, tip]
            for one in drawings
            for gid, (family, tip) in one.parts.items()
        },
        "panels": {one.key: one.panels for one in drawings},
        "sets": [
            {
                "group": one.group,
                "title": one.title,
                "n": one.n,
                "photos": [
                    {
                        "name": photo.name,
                        "reference": photo.reference,
                        "reconstructions": photo.reconstructions,
                        "scores": photo.scores,
                    }
                    for photo in one.photos
                ],
            }
            for one in sets
        ],
    }
