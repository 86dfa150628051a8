"""The page: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import pandas as pd

from ssdd_bench.errors import counted
from ssdd_bench.report.figures.drawing import Drawing
from ssdd_bench.report.figures.palette import Palette
from ssdd_bench.report.frame import metric_directions, to_records
from ssdd_bench.report.gallery import Extremes, Place, Set, build_sets, find_extremes
from ssdd_bench.report.groups import comparable_groups, describe_hardware, row_names
from ssdd_bench.report.headline import Headline, find_headline
from ssdd_bench.report.html import asset, render
from ssdd_bench.report.loading import Source
from ssdd_bench.report.methods import build_method_tables, merge_alike, versions
from ssdd_bench.report.published import PublishedFile, published_table
from ssdd_bench.report.ranking import TIE_RULE
from ssdd_bench.report.strips import cut_strips
from ssdd_bench.report.tables.build import images_of
from ssdd_bench.report.tables.columns import metric_decimals, metric_name
from ssdd_bench.report.tables.model import Table, section_key

_SCRIPTS: Final = ("base.js", "figures.js", "tables.js", "hints.js", "gallery.js")
_STYLES: Final = ("page.css", "tables.css", "gallery.css")


@dataclass
class Board:
    """Tables of the same images under the same protocol, one per resolution."""

    title: str
    protocol: str
    data: str
    tabs: dict[str, list[Table]] = field(default_factory=dict)  # by size in px


def build_page(
    source: Source,
    published: Mapping[str, PublishedFile],
    metric: str,
    drawings: Iterable[Drawing] = (),
    by_tag: Sequence[Table] = (),
    compare: str = "",
    place: Place | None = None,
) -> str:
    """Render the page: equal input gives equal text.

    Args:
        source: input of the report.
        published: numbers by others, shown apart; may be empty.
        metric: the quality that figures begin with.
        drawings: figures; may be empty. They are waited for when all else is done.
        by_tag: tables by subject, in a section of their own; may be empty.
        compare: two labels that the first sentence compares; chosen where empty.
        place: gives each saved crop its address; by default the page holds as many as it can.

    Raises:
        UserError: a saved image is damaged, or ``compare`` names none of the results.
    """
    frame, tables, results = source.pooled, source.tables, source.results
    sets = build_sets(source, place, None) if place else build_sets(source)
    extremes = find_extremes(source, sets)
    palette = Palette.of(frame)
    headline = find_headline(frame, compare)
    content = {
        "styles": map(asset, _STYLES),
        "scripts": map(asset, _SCRIPTS),
        "digest": source.digest,
        "headline": headline,
        "strips": cut_strips(source, headline) if headline else None,
        "conditions": _conditions(source, headline),
        "facts": _facts(source),
        "cautions": merge_alike(text for one in tables for text in (*one.footnotes, *one.remarks)),
        "boards": _boards(frame, tables),
        "choices_of_rows": _choices_of_rows(frame, tables),
        "tie_rule": TIE_RULE,
        "by_tag": by_tag,
        "metric": metric,
        "published": [published_table(name, file) for name, file in published.items()],
        "sets": sets,
        "extremes": extremes,
        "methods": build_method_tables(results),
        "commands": sorted({result.command for result in results}),
        "versions": versions(results),
    }
    data = _data(frame, palette, sets, extremes)
    names = row_names(headline.group.rows).to_dict() if headline else {}
    data["method"] = names[headline.method.name] if headline else ""
    drawings = list(drawings)
    data |= _parts(palette, drawings)
    return render("page.html.j2", data=_json(data), **content, **_figures(palette, drawings))


def first_of_each(drawings: Iterable[Drawing]) -> dict[str, Drawing]:
    """Choose the figure of each name that becomes files and that the page shows at first."""
    firsts: dict[str, Drawing] = {}
    for one in drawings:
        firsts.setdefault(one.name, one)
    return firsts


def _boards(frame: pd.DataFrame, tables: Sequence[Table]) -> list[Board]:
    """Gather tables of one set of images and one protocol; each resolution becomes a tab."""
    boards: dict[tuple[Any, ...], Board] = {}
    for table in tables:
        row = frame.loc[table.indices[0]]
        key = tuple(row[["kind", "protocol", "data", "n"]])
        title = f"{row['kind'].capitalize()}: {row['n']} {images_of(row['kind'])} {row['data']}"
        board = boards.setdefault(key, Board(title, row["protocol"], row["data"]))
        size = str(row["resolution"])
        if table.kind != "seeds" and size in board.tabs:  # other pixels of the same size
            size = f"{size} ({row['data_sha256'][:8]})"
        if table.kind == "seeds":
            size = list(board.tabs)[-1]
        board.tabs.setdefault(size, []).append(table)
    return list(boards.values())


def _choices_of_rows(frame: pd.DataFrame, tables: Sequence[Table]) -> dict[str, list[str]]:
    """List the values that rows can be chosen by, where there are several."""
    rates = dict.fromkeys(section_key(one) for table in tables for one, _ in table.sections)
    found = {
        "rate": list(rates),
        "px": [str(size) for size in sorted(set(frame["resolution"]))],
        "data": list(dict.fromkeys(frame["data"])),
        "protocol": list(dict.fromkeys(frame["protocol"])),
    }
    return {key: values for key, values in found.items() if len(values) > 1}


def _json(data: Any) -> str:
    """Write JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _conditions(source: Source, headline: Headline | None) -> list[str]:
    """List what the headline holds for: images, protocol and machine."""
    frame = source.frame
    rows = frame.loc[[headline.method.name, headline.baseline.name]] if headline else frame
    images = dict.fromkeys(
        f"{n} {images_of(kind)} {name}"
        for n, kind, name in zip(rows["n"], rows["kind"], rows["data"], strict=True)
    )
    protocols = ", ".join(dict.fromkeys(rows["protocol"]))
    processors = sorted({str(one.environment.get("cpu") or "") for one in source.results} - {""})
    machines = describe_hardware(rows)
    where = "; ".join(machines)
    if len(processors) == 1 and all(one.startswith("cpu") for one in machines) and machines:
        where += f", {processors[0]}"
    rate = _explain_rate(headline) if headline else ""
    return [part for part in (rate, "; ".join(images), protocols, where) if part]


def _explain_rate(headline: Headline) -> str:
    """Spell out the name of a compression rate, such as f8c4; "" for another kind of name."""
    row = headline.method
    if headline.rate != f"f{row['f']}c{row['channels']}":
        return ""
    channels = counted(row["channels"], "channel")
    return f"{headline.rate}: {channels} at 1/{row['f']} of the width and height"


def _facts(source: Source) -> list[tuple[str, str]]:
    """List the size of the report, its machines and dates."""
    frame = source.frame
    dates = sorted(result.created[:10] for result in source.results)
    return [
        ("Results", f"{len(frame)} of {frame['id'].nunique()} tokenizers"),
        ("Resolutions", ", ".join(f"{size} px" for size in sorted(set(frame["resolution"])))),
        ("Protocols", ", ".join(dict.fromkeys(frame["protocol"]))),
        ("Machines", "; ".join(describe_hardware(frame)) or "not timed"),
        ("Measured", " to ".join(dict.fromkeys((dates[0], dates[-1])))),
        ("Version", f"ssdd-bench {versions(source.results)}"),
    ]


def _figures(palette: Palette, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Collect the figures, those shown at first, and the tokenizers and metrics to choose from."""
    first = first_of_each(drawings)
    owners = {owner for one in drawings for owner, _ in one.parts.values()}
    return {
        "figures": drawings,
        "first": {one.key for one in first.values()},
        "hero": next((one for name, one in first.items() if name.endswith("vs-speed")), None),
        "choices": {one.metric: metric_name(one.metric) for one in drawings if one.metric},
        "legend": [
            (index, family, palette.color(family))
            for index, family in enumerate(palette.families)
            if family in owners
        ],
    }


def _data(
    frame: pd.DataFrame, palette: Palette, sets: Sequence[Set], extremes: Sequence[Extremes]
) -> dict[str, Any]:
    """Collect the input of the scripts but for figures: rows, names and images."""
    return {
        "metrics": {
            key: {"name": metric_name(key), "higher": higher, "decimals": metric_decimals(key)}
            for key, higher in metric_directions(frame).items()
            if frame[key].notna().any()
        },
        "families": palette.families,
        "sets": list(map(_pack, sets)),
        "extremes": [_short(vars(one)) for one in extremes],
        "groups": [group.title for group in comparable_groups(frame)],
        "rows": to_records(frame),
    }


def _parts(palette: Palette, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Collect the places of panels, and the family and hover text of the parts, by id."""
    families = palette.families
    return {
        "parts": {
            gid: [families.index(family) if family in families else -1, tip]
            for one in drawings
            for gid, (family, tip) in one.parts.items()
        },
        "panels": {one.key: one.panels for one in drawings},
    }


def _pack(one: Set) -> dict[str, Any]:
    """Write the photos of a set as columns, by the place of a tokenizer and of a metric.

    ``base`` is what all addresses begin with. A score is null where there is none.
    """
    names = list(dict.fromkeys(name for photo in one.photos for name in photo.reconstructions))
    found = {key: None for p in one.photos for mine in p.scores.values() for key in mine}
    addresses = [a for p in one.photos for a in (p.reference, *p.reconstructions.values())]
    base = os.path.commonprefix(addresses)  # noqa: RUF071 - of characters
    photos = [
        {
            "name": photo.name,
            "reference": photo.reference[len(base) :],
            "reconstructions": [
                photo.reconstructions[name][len(base) :] if name in photo.reconstructions else None
                for name in names
            ],
            "scores": [[photo.scores.get(name, {}).get(key) for key in found] for name in names],
        }
        for photo in one.photos
    ]
    packed = asdict(replace(one, photos=[])) | {"photos": _short(photos)}
    return packed | {"tokenizers": names, "metrics": list(found), "base": base}


def _short(value: Any) -> Any:
    """Round the numbers of nested lists and dictionaries to what is shown of them and a little."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
