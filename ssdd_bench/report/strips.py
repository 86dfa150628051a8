"""Strips of one photo: the original, and what the two tokenizers of the headline make of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from ssdd_bench.report.headline import Headline, paired_metric
from ssdd_bench.report.loading import Source
from ssdd_bench.results.pictures import Pixels, read_picture

CROP: Final = 200  # pixels of a strip's side, shown one to one
ZOOM: Final = 4  # magnification of the detail


@dataclass(frozen=True)
class Strips:
    """Crops of one photo, shown one to one, and a detail of them.

    Attributes:
        photo: its id, or its number where no ids are known.
        size: pixels of a side.
        detail: pixels of a side of the detail.
        left: of the detail, in pixels of the crop; likewise ``top``.
        crops: addresses of original, baseline and method, by name.
    """

    photo: str
    size: int
    detail: int
    left: int
    top: int
    crops: Mapping[str, str]


def cut_strips(source: Source, headline: Headline) -> Strips | None:
    """Cut the strips from the saved photo whose difference is nearest to the mean one.

    The detail is where the original has the steepest edges.

    Returns:
        None where no pictures were saved of both.

    Raises:
        UserError: a saved image is damaged.
    """
    rows = (headline.baseline, headline.method)
    baseline, method = (source.pictures.get(row["fingerprint"]) for row in rows)
    if baseline is None or method is None:
        return None
    saved = min(len(baseline), len(method))
    photo, name = 0, "photo 1"
    metric = paired_metric(headline.method, headline.baseline)
    if metric:
        each = headline.method["scores"][metric] - headline.baseline["scores"][metric]
        photo = int((each - each.mean()).abs().iloc[:saved].argmin())
        name = str(each.index[photo])
    images = {
        "original": read_picture(baseline.references[photo]),
        headline.baseline["label"]: read_picture(baseline.reconstructions[photo]),
        headline.method["label"]: read_picture(method.reconstructions[photo]),
    }
    size = min(CROP, headline.group.resolution)
    start = (headline.group.resolution - size) // 2
    crops = {key: one[start : start + size, start : start + size] for key, one in images.items()}
    detail = size // ZOOM
    top, left = _find_edges(crops["original"], detail)
    return Strips(name, size, detail, left, top, {key: _encode(one) for key, one in crops.items()})


def _find_edges(pixels: Pixels, side: int) -> tuple[int, int]:
    """Find the top and left of the square with the steepest edges."""
    grey = pixels.astype(np.float64).mean(axis=2)
    down, right = np.gradient(grey)
    edges = np.pad(down**2 + right**2, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    sums = edges[side:, side:] - edges[:-side, side:] - edges[side:, :-side] + edges[:-side, :-side]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(top), int(left)


def _encode(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=90, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
