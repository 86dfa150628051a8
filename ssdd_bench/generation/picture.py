"""A picture of samples: a labelled column for each class, with gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP: Final = 4  # pixels between images and around them
_SIZE: Final = 12  # pixels of the letters
_LINE: Final = 18  # pixels of the line of labels


def draw_columns(
    columns: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[str], side: int
) -> Image.Image:
    """Draw images of equal size in columns, with a label above each.

    Args:
        columns: images (side, side, 3) of each column, from the top; some may have fewer.
        labels: of the columns. One that is wider than its column ends in "…".
        side: pixels of an image.

    Returns:
        A white picture with the images, their gaps and the labels.
    """
    step, rows = side + GAP, max(map(len, columns))
    picture = Image.new("RGB", (GAP + len(columns) * step, _LINE + rows * step), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(_SIZE)
    for place, (images, label) in enumerate(zip(columns, labels, strict=True)):
        left = GAP + place * step
        middle = (left + side / 2, _LINE / 2)
        pen.text(middle, _fit(label, font, step), fill="#1B1F23", font=font, anchor="mm")
        for row, pixels in enumerate(images):
            picture.paste(Image.fromarray(pixels), (left, _LINE + row * step))
    return picture


def _fit(label: str, font: Any, width: int) -> str:
    """Shorten a label to a width in pixels."""
    if font.getlength(label) <= width:
        return label
    kept = len(label)
    while kept and font.getlength(f"{label[:kept]}…") > width:
        kept -= 1
    return f"{label[:kept]}…"
