"""Saved images for the page, and the images that a tokenizer does best and worst on."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ssdd_bench.errors import UserError
from ssdd_bench.report.frame import Scores, metric_directions
from ssdd_bench.report.groups import comparable_groups, row_names
from ssdd_bench.report.loading import Source

BUDGET = 7_000_000  # characters of images in one page
EXTREMES = 4  # best and worst images named per tokenizer


@dataclass(frozen=True)
class Photo:
    """One reference and its reconstructions, as data URIs of lossless WebP."""

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
    photos: list[Photo] = field(default_factory=list)


@dataclass(frozen=True)
class Extremes:
    """Best and worst images of one tokenizer by one metric, ranked by ``difference`` if any.

    An image has its id, its score, the difference from the mean of the other tokenizers on the
    same image, and its position among the photos of the group's set; None for no difference or
    position.
    """

    group: int
    tokenizer: str
    metric: str
    best: list[dict[str, Any]]
    worst: list[dict[str, Any]]


def build_sets(source: Source, budget: int = BUDGET) -> list[Set]:
    """Cut the saved grids into photos: as many as fit, alike from every group, in their order.

    Raises:
        UserError: a grid is damaged or shows other references than its neighbours.
    """
    sets, room = [], _Room(budget)
    for index, group in enumerate(comparable_groups(source.frame)):
        pixels = [
            (name, read_pairs(source.pictures[row["fingerprint"]], group.resolution), row["scores"])
            for name, (_, row) in zip(row_names(group.rows), group.rows.iterrows(), strict=True)
            if row["fingerprint"] in source.pictures
        ]
        if pixels:
            one = Set(index, group.title, group.n, min(len(pairs) for _, pairs, _ in pixels))
            sets.append((one, _photos(pixels, metric_directions(source.frame), one.saved, room)))
    for row in zip_longest(*(photos for _, photos in sets)):
        for (one, _), photo in zip(sets, row, strict=True):
            if photo:
                one.photos.append(photo)
    return [one for one, _ in sets if one.photos]


def find_extremes(source: Source, sets: Sequence[Set]) -> list[Extremes]:
    """Rank the images of every tokenizer, by its lead over the others on the same image if any."""
    found = []
    for index, group in enumerate(comparable_groups(source.frame)):
        photos = {p.name: i for one in sets if one.group == index for i, p in enumerate(one.photos)}
        names = row_names(group.rows)
        for metric, higher in metric_directions(source.frame).items():
            scores = {
                name: each[metric]
                for name, each in zip(names, group.rows["scores"], strict=True)
                if metric in each and len(each[metric]) > 1
            }
            others = _Others(scores)
            for name, each in scores.items():
                mine = each[np.isfinite(each)]
                mean = others.mean(name, mine.index)
                lead = mine - mean if mean is not None else mine
                order = lead.sort_values(ascending=not higher, kind="stable").index
                few = min(EXTREMES, len(order) // 2)
                rows = [
                    {
                        "image": image,
                        "score": mine[image],
                        "difference": lead[image] if mean is not None else None,
                        "photo": photos.get(image),
                    }
                    for image in (*order[:few], *order[::-1][:few])
                ]
                if few:
                    found.append(Extremes(index, name, metric, rows[:few], rows[few:]))
    return found


class _Others:
    """Means over other tokenizers, image by image.

    Args:
        scores: of single images, by tokenizer. Those with an infinite score are left out.
    """

    def __init__(self, scores: Mapping[str, pd.Series[float]]) -> None:
        finite = {name: each for name, each in scores.items() if np.isfinite(each).all()}
        self._index = next(iter(scores.values())).index if scores else pd.Index([])
        for each in finite.values():
            if not each.index.equals(self._index):
                self._index = self._index.union(each.index, sort=False)
        self._places = {name: place for place, name in enumerate(finite)}
        self._rows = np.empty((len(finite), len(self._index)))
        for name, place in self._places.items():
            each = finite[name]
            same = each.index.equals(self._index)
            self._rows[place] = each if same else each.reindex(self._index)

    def mean(self, name: str, images: pd.Index) -> pd.Series[float] | None:
        """Return the mean over all but this tokenizer, NaN where one of them lacks the image.

        None if there are no others.
        """
        place = self._places.get(name)
        count = len(self._rows) - (place is not None)
        if not count:
            return None
        own = 0.0 if place is None else self._rows[place].copy()
        if place is not None:
            self._rows[place] = 0.0  # adds nothing, and the sum is in the order of the rows
        total = np.add.reduce(self._rows, axis=0)
        if place is not None:
            self._rows[place] = own
        return pd.Series(total / count, self._index).reindex(images)


def read_pairs(path: Path, resolution: int) -> np.ndarray:
    """Read pairs of reference and reconstruction, uint8 (N, 2, H, W, 3)."""
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        rows = pixels.reshape(2, resolution, -1, resolution, 3)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged image. Delete it: a report can do without.") from error
    return rows.transpose(2, 0, 1, 3, 4)


@dataclass
class _Room:
    """Characters that are left for images."""

    left: int


def _photos(
    pixels: Sequence[tuple[str, np.ndarray, Scores]],
    directions: dict[str, bool],
    count: int,
    room: _Room,
) -> Iterator[Photo]:
    """Yield photos until one does not fit; what would not fit is not encoded to its end."""
    ranks = {
        (name, metric): each.rank(ascending=not directions[metric], method="min")
        for name, _, scores in pixels
        for metric, each in scores.items()
    }
    for position in range(count):
        reference = pixels[0][1][position][0]
        image = f"photo {position + 1}"
        found: dict[str, dict[str, tuple[float, int]]] = {}
        for name, pairs, scores in pixels:
            if not np.array_equal(pairs[position][0], reference):
                raise UserError(
                    f"the saved images of {name} show other references than those of "
                    f"{pixels[0][0]}. Measure both again."
                )
            for metric, each in scores.items():
                if math.isfinite(each.iloc[position]):
                    image = str(each.index[position])
                    rank = int(ranks[name, metric].iloc[position])
                    found.setdefault(name, {})[metric] = float(each.iloc[position]), rank
        texts = {"": _encode(reference)}
        size = len(texts[""])
        for name, pairs, _ in pixels:
            if size <= room.left:
                texts[name] = _encode(pairs[position][1])
                size += len(texts[name])
        if size > room.left:
            return
        room.left -= size
        yield Photo(image, texts.pop(""), texts, found)


def _encode(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", lossless=True, quality=80, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
