"""Make the data set ``sample-synthetic``: ``python tests/data/make_synthetic.py FOLDER``.

Everything follows from this file, from fixed seeds and from Pillow's own font. Lines are drawn
four times too large and averaged; text is drawn at its size, as programs do.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 512
SCALE: Final = 4  # of line drawings before they are averaged

Colour = tuple[int, int, int]
Point = tuple[float, float]
Draw = ImageDraw.ImageDraw

BLACK: Final = (0, 0, 0)
WHITE: Final = (255, 255, 255)
WORDS: Final = (
    "a an and at autumn behind blue bridge by candle careful distant door early evening eleven "
    "field follow garden glass harbour hill in ink island kettle lantern late letter light line "
    "listen map meadow morning mountain narrow never north of old on open over page paper quiet "
    "rain reader river road rope salt seven shadow slow small station stone street summer table "
    "the through tide to tower turn under valley village walk water while white window winter"
)
CODE: Final = """def mean_by_tag(scores, tags):
    groups = {}
    for name, score in scores.items():
        for tag in tags.get(name, ()):
            groups.setdefault(tag, []).append(score)
    return {
        tag: sum(values) / len(values)
        for tag, values in sorted(groups.items())
    }

# >>> mean_by_tag({"a": 1.0, "b": 3.0},
# ...             {"a": ["x"], "b": ["x", "y"]})
# {'x': 2.0, 'y': 3.0}"""


def draw_all() -> dict[str, Image.Image]:
    """Return every picture by file name: RGB, 512 x 512."""
    texts = (book, footnotes, columns, code, sizes, table)
    lines = (house, waves, plan, rosette, hatching, chart)
    pages = {f"{one.__name__}.png": _render(one, 1) for one in texts}
    return pages | {f"{one.__name__}.png": _render(one, SCALE) for one in lines}


def book(draw: Draw) -> None:
    """A page of a novel."""
    _write(draw, _sentences(1, 240), 40, 40, 432, 17, (20, 20, 20))


def footnotes(draw: Draw) -> None:
    """Small print."""
    _fill(draw, (250, 248, 240))
    _write(draw, _sentences(2, 700), 24, 24, 464, 10, (40, 36, 30))


def columns(draw: Draw) -> None:
    """A leaflet with a headline and two columns."""
    _write(draw, "The tower over the harbour", 24, 20, 464, 34, (140, 20, 30))
    for column in (0, 1):
        _write(draw, _sentences(3 + column, 130), 24 + 240 * column, 110, 220, 14, BLACK)


def code(draw: Draw) -> None:
    """Source code, light on dark."""
    _fill(draw, (24, 26, 34))
    colours = [(120, 200, 255), (230, 230, 230), (150, 220, 140), (250, 190, 110)]
    for number, line in enumerate(CODE.splitlines()):
        colour = (120, 130, 140) if line.startswith("#") else colours[number % len(colours)]
        indent = len(line) - len(line.lstrip())
        draw.text((24 + 9 * indent, 28 + 34 * number), line.lstrip(), colour, _font(19))


def sizes(draw: Draw) -> None:
    """One line in ever smaller letters, blue on yellow."""
    _fill(draw, (205, 205, 120))
    top = 12.0
    for size in (72, 54, 40, 30, 23, 17, 13, 10, 8):
        draw.text((16, top), "Ink, salt & 7 ropes: 0.58?", (60, 60, 160), _font(size))
        top += 1.35 * size + 6


def table(draw: Draw) -> None:
    """Numbers between rules."""
    rng = random.Random(5)
    for row in range(22):
        top = 24 + 21 * row
        if row in (0, 1, 21):
            draw.line((24, top - 3, 488, top - 3), BLACK, 1)
        for column in range(6):
            text = f"col {column}" if row == 0 else f"{rng.uniform(0, 1000):.2f}"
            draw.text((28 + 78 * column, top), text, BLACK, _font(14))


def house(draw: Draw) -> None:
    """A house, a tree and the sun in outlines."""
    _line(draw, [(90, 440), (90, 240), (330, 240), (330, 440), (90, 440)], 3)
    _line(draw, [(70, 250), (210, 130), (350, 250)], 3)
    for left, top in ((125, 290), (245, 290)):
        _line(draw, _box(left, top, 50, 60), 2)
        _line(draw, [(left + 25, top), (left + 25, top + 60)], 1)
        _line(draw, [(left, top + 30), (left + 50, top + 30)], 1)
    _line(draw, _box(190, 360, 45, 80), 2)
    for ring in range(5):
        _line(draw, _circle(420, 270, 20 + 11 * ring, 60), 1.5)
    _line(draw, [(412, 335), (412, 440)], 2)
    _line(draw, [(428, 335), (428, 440)], 2)
    _line(draw, _circle(430, 90, 36, 60), 2)
    for ray in range(16):
        angle = ray * math.pi / 8
        _line(draw, [_polar(430, 90, 46, angle), _polar(430, 90, 66, angle)], 1.5)
    _line(draw, [(20, 440), (492, 440)], 3)


def waves(draw: Draw) -> None:
    """Waves that become finer from left to right and fainter downwards."""
    for row in range(15):
        grey = 12 * row
        middle = 34 + 32 * row
        points = [(x, middle + 13 * math.sin(x * x / 1800)) for x in _steps(0, 512, 1024)]
        _line(draw, points, 1.5, (grey, grey, grey))


def plan(draw: Draw) -> None:
    """A floor plan in white on blue."""
    _fill(draw, (24, 60, 120))
    walls: list[list[Point]] = [_box(50, 60, 410, 390), [(230, 60), (230, 250)]]
    walls += [[(50, 250), (330, 250)], [(330, 160), (330, 450)], [(330, 160), (460, 160)]]
    for wall in walls:
        _line(draw, wall, 5, WHITE)
    for x, y, start in ((180, 250, 0.0), (330, 300, 1.5), (280, 60, 0.5)):
        points = [_polar(x, y, 45, start * math.pi + t) for t in _steps(0, math.pi / 2, 30)]
        _line(draw, [(x, y), *points], 1, WHITE)
    for step in range(12):
        _line(draw, [(340 + 10 * step, 400), (340 + 10 * step, 445)], 1, WHITE)
    for left in _steps(50, 460, 41):
        _line(draw, [(left, 475), (left, 485)], 0.8, (190, 210, 240))
    _line(draw, [(50, 480), (460, 480)], 0.8, (190, 210, 240))


def rosette(draw: Draw) -> None:
    """Curves of a toothed wheel in three inks."""
    _fill(draw, (252, 250, 244))
    inks = ((200, 30, 40), (20, 110, 60), (30, 60, 180))
    for (small, arm), ink in zip(((0.37, 0.62), (0.23, 0.41), (0.61, 0.83)), inks, strict=True):
        points = []
        for t in _steps(0, 46 * math.pi, 3000):
            x = (1 - small) * math.cos(t) + arm * small * math.cos((1 - small) / small * t)
            y = (1 - small) * math.sin(t) - arm * small * math.sin((1 - small) / small * t)
            points.append((256 + 235 * x, 256 + 235 * y))
        _line(draw, points, 0.7, ink)


def hatching(draw: Draw) -> None:
    """Balls shaded by hatches of several widths and directions."""
    for place in range(9):
        x, y = 92 + 164 * (place % 3), 92 + 164 * (place // 3)
        angle, gap = place * math.pi / 9, 3 + 1.5 * (place % 3)
        _line(draw, _circle(x, y, 70, 120), 1.5)
        for offset in _steps(-70, 70, int(140 / gap)):
            half = math.sqrt(max(0.0, 70**2 - offset**2))
            foot = _polar(x, y, offset, angle + math.pi / 2)
            ends = [_polar(*foot, way * half, angle) for way in (-1, 1)]
            _line(draw, ends, 0.5 + (offset + 70) / 90)


def chart(draw: Draw) -> None:
    """Three curves with axes and a grid."""
    for at in _steps(60, 480, 8):
        _line(draw, [(at, 40), (at, 450)], 0.5, (200, 200, 200))
        _line(draw, [(60, at - 30), (480, at - 30)], 0.5, (200, 200, 200))
    _line(draw, [(60, 40), (60, 450), (480, 450)], 2)
    inks = ((31, 119, 180), (214, 39, 40), (44, 160, 44))
    for number, ink in enumerate(inks):
        points = [
            (x, 430 - 350 * (1 - math.exp(-(x - 60) / (60 + 70 * number))) + 9 * math.sin(x / 9))
            for x in _steps(60, 480, 400)
        ]
        _line(draw, points, 2, ink)
        _line(draw, [(340, 330 + 30 * number), (380, 330 + 30 * number)], 2, ink)
        draw.text(
            (390 * SCALE, (321 + 30 * number) * SCALE), f"run {number + 1}", ink, _font(16 * SCALE)
        )


def _render(paint: Callable[[Draw], None], scale: int) -> Image.Image:
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), WHITE)
    paint(ImageDraw.Draw(image))
    return image.reduce(scale)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fill(draw: Draw, colour: Colour) -> None:
    draw.rectangle((0, 0, SIDE * SCALE, SIDE * SCALE), colour)


def _line(draw: Draw, points: Iterable[Point], width: float, colour: Colour = BLACK) -> None:
    scaled = [(SCALE * x, SCALE * y) for x, y in points]
    draw.line(scaled, colour, round(SCALE * width), "curve")


def _write(
    draw: Draw, text: str, left: int, top: float, width: int, size: int, colour: Colour
) -> None:
    """Set a paragraph, line by line, to the end of the page."""
    font, line = _font(size), ""
    for word in [*text.split(), ""]:
        longer = f"{line} {word}".strip()
        if word and draw.textlength(longer, font) <= width:
            line = longer
            continue
        if top + 1.4 * size > SIDE - 20:
            return
        draw.text((left, top), line, colour, font)
        line, top = word, top + 1.4 * size


def _sentences(seed: int, count: int) -> str:
    rng, known = random.Random(seed), WORDS.split()
    words = [rng.choice(known) for _ in range(count)]
    start = 0
    while start < count:
        words[start] = words[start].capitalize()
        start = min(start + rng.randint(5, 14), count)
        words[start - 1] += "."
    return " ".join(words)


def _steps(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * i / (count - 1) for i in range(count)]


def _box(left: float, top: float, width: float, height: float) -> list[Point]:
    right, bottom = left + width, top + height
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _circle(x: float, y: float, radius: float, corners: int) -> list[Point]:
    return [_polar(x, y, radius, angle) for angle in _steps(0, 2 * math.pi, corners)]


def _polar(x: float, y: float, radius: float, angle: float) -> Point:
    return (x + radius * math.cos(angle), y + radius * math.sin(angle))


if __name__ == "__main__":
    for name, image in draw_all().items():
        image.save(Path(sys.argv[1]) / name, optimize=True)
