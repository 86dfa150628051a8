"""Saved images for the page, and the images that a tokenizer does best and worst on."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import Scores, metric_directions
from ssdd_bench.report.groups import comparable_groups, row_names
from ssdd_bench.report.loading import Source
from ssdd_bench.report.ranking import is_baseline, is_ranked
from ssdd_bench.report.tables.columns import sections_by_rate
from ssdd_bench.results.files import write_bytes
from ssdd_bench.results.pictures import FOLDER, Pictures, is_lossless

BUDGET = 7_000_000  # characters of images in a page of a single file
EXTREMES = 4  # best and worst images named per tokenizer

Place = Callable[[Path], str]
"""Turns the file of a crop into its address in the page."""


@dataclass(frozen=True)
class Photo:
    """One reference and its reconstructions, by their addresses."""

    name: str  # image id; "photo 3" where the run kept no scores and so no ids
    reference: str
    reconstructions: dict[str, str]  # by tokenizer
    scores: dict[str, dict[str, tuple[float, int]]]  # by tokenizer and metric: score, rank from 1


@dataclass
class Set:
    """Photos of one group of comparable rows."""

    group: int  # position in comparable_groups(frame)
    title: str
    n: int
    saved: int  # by the runs; more than the photos where the page would grow too large
    lossless: bool  # every crop keeps all pixels
    photos: list[Photo] = field(default_factory=list)


@dataclass(frozen=True)
class Extremes:
    """Best and worst images of one tokenizer by one metric, ranked by ``difference`` if any.

    An image has its id, its score, the difference from the mean of the other tokenizers on the
    same image, and its position among the photos of the group's set; None for no difference or
    position. Scores of several seeds are averaged, and the crops of the first are shown.
    """

    group: int
    tokenizer: str
    crops: str  # its name in :attr:`Photo.reconstructions`
    metric: str
    best: list[dict[str, Any]]
    worst: list[dict[str, Any]]


def embed(path: Path) -> str:
    """Write a crop as an address that holds it."""
    return "data:image/webp;base64," + base64.b64encode(_bytes(path)).decode()


def link_from(folder: Path) -> Place:
    """Give crops the addresses of their files, as seen from the page's folder."""
    base = folder.absolute()
    return lambda path: PurePath(os.path.relpath(path.absolute(), base)).as_posix()


def copy_to(folder: Path) -> Place:
    """Copy crops into ``samples/`` beside the page, unless they lie there already.

    Raises:
        OutputError: on use, if the folder cannot be written.
    """

    def place(path: Path) -> str:
        target = folder / FOLDER / path.parent.name / path.name
        if target.absolute() != path.absolute():
            data = _bytes(path)
            if not (target.is_file() and target.read_bytes() == data):
                write_bytes(target, data, durable=False)
        return target.relative_to(folder).as_posix()

    return place


def build_sets(source: Source, place: Place = embed, budget: int | None = BUDGET) -> list[Set]:
    """Collect the saved crops photo by photo.

    Args:
        source: of the report.
        place: address of a crop; see :func:`embed`, :func:`link_from` and :func:`copy_to`.
        budget: characters of addresses. As many photos as fit are taken, alike from every group,
            in their order; None for all.

    Raises:
        UserError: a crop cannot be read.
    """
    if not source.pictures:
        return []
    sets, room = [], _Room(math.inf if budget is None else budget)
    for index, group in enumerate(comparable_groups(source.frame)):
        rows = [
            (name, source.pictures[fingerprint], scores)
            for name, fingerprint, scores in zip(
                row_names(group.rows), group.rows["fingerprint"], group.rows["scores"], strict=True
            )
            if fingerprint in source.pictures
        ]
        if rows:
            saved = max(len(mine) for _, mine, _ in rows)
            first = [mine.reconstructions[0] for _, mine, _ in rows]
            lossless = all(map(is_lossless, [rows[0][1].references[0], *first]))
            one = Set(index, group.title, group.n, saved, lossless)
            directions = metric_directions(source.frame)
            sets.append((one, _photos(rows, directions, one.saved, place, room)))
    for photos in zip_longest(*(photos for _, photos in sets)):
        for (one, _), photo in zip(sets, photos, strict=True):
            if photo:
                one.photos.append(photo)
    return [one for one, _ in sets if one.photos]


def find_extremes(source: Source, sets: Sequence[Set]) -> list[Extremes]:
    """Rank the images of every tokenizer, by its lead over the others on the same image if any.

    The others have the same compression rate: a higher one would decide every difference. Codecs
    and controls beside tokenizers have no list.
    """
    found = []
    pairs = zip(comparable_groups(source.pooled), comparable_groups(source.frame), strict=True)
    for index, (group, unpooled) in enumerate(pairs):
        photos = {p.name: i for one in sets if one.group == index for i, p in enumerate(one.photos)}
        rows = group.rows[is_ranked(group.rows) & ~is_baseline(group.rows)]
        names = row_names(group.rows)[rows.index]
        in_set = row_names(unpooled.rows) if photos else names
        crops = dict(zip(names, in_set[rows.index], strict=True))
        rates = dict(zip(names, sections_by_rate(rows)[rows.index], strict=True))
        for metric, higher in metric_directions(source.frame).items():
            scores = {
                name: each[metric]
                for name, each in zip(names, rows["scores"], strict=True)
                if metric in each and len(each[metric]) > 1
            }
            means = dict[str, "pd.Series[float]"]()
            for rate in set(rates.values()):
                alike = {name: one for name, one in scores.items() if rates[name] == rate}
                means |= _means_of_others(alike)
            for name, each in scores.items():
                mean = means.get(name)
                finite = np.isfinite(each.to_numpy())
                ids, mine = each.index.to_numpy()[finite], each.to_numpy()[finite]
                lead = mine
                if mean is not None:
                    lead = mine - mean.reindex(each.index).to_numpy()[finite]
                order = np.argsort(-lead if higher else lead, kind="stable")
                few = min(EXTREMES, len(order) // 2)
                images = [
                    {
                        "image": ids[at],
                        "score": mine[at],
                        "difference": lead[at] if mean is not None else None,
                        "photo": photos.get(ids[at]),
                    }
                    for at in (*order[:few], *order[::-1][:few])
                ]
                if few:
                    best, worst = images[:few], images[few:]
                    found.append(Extremes(index, name, crops[name], metric, best, worst))
    return found


def _means_of_others(scores: Mapping[str, pd.Series[float]]) -> dict[str, pd.Series[float]]:
    """Average the other tokenizers, image by image; NaN where one of them lacks the image.

    Args:
        scores: of single images, by tokenizer. Those with an infinite score are left out.

    Returns:
        Means by tokenizer; a tokenizer without others has none.
    """
    finite = {name: each for name, each in scores.items() if np.isfinite(each.to_numpy()).all()}
    table = pd.DataFrame(finite)
    columns = dict(zip(finite, table.to_numpy().T, strict=True))
    means = {}
    for name in scores:
        others = [column for other, column in columns.items() if other != name]
        if others:
            means[name] = pd.Series(sum(others[1:], others[0]) / len(others), table.index)
    return means


@dataclass
class _Room:
    """Characters that are left for images."""

    left: float


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


def _photos(
    rows: Sequence[tuple[str, Pictures, Scores]],
    directions: dict[str, bool],
    count: int,
    place: Place,
    room: _Room,
) -> Iterator[Photo]:
    """Yield photos until one does not fit; of what would not fit, the rest is not read."""
    ranks = {
        (name, metric): each.rank(ascending=not directions[metric], method="min")
        for name, _, scores in rows
        for metric, each in scores.items()
    }
    for position in range(count):
        image = f"photo {position + 1}"
        here = [row for row in rows if position < len(row[1])]
        found: dict[str, dict[str, tuple[float, int]]] = {}
        for name, _, scores in here:
            for metric, each in scores.items():
                if math.isfinite(each.iloc[position]):
                    image = str(each.index[position])
                    rank = int(ranks[name, metric].iloc[position])
                    found.setdefault(name, {})[metric] = float(each.iloc[position]), rank
        texts = {"": place(here[0][1].references[position])}
        size = len(texts[""])
        for name, pictures, _ in here:
            if size <= room.left:
                texts[name] = place(pictures.reconstructions[position])
                size += len(texts[name])
        if size > room.left:
            return
        room.left -= size
        yield Photo(image, texts.pop(""), texts, found)
