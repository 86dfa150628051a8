"""Drawn panels: readable labels, a true front, values that no scale has a place for."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cbook import pts_to_prestep
from matplotlib.figure import Figure
from matplotlib.text import Text

from ssdd_bench.report.figures.canvas import Canvas
from ssdd_bench.report.figures.chart import Chart, Mark, Panel
from ssdd_bench.report.figures.draw_panels import draw_panels, envelope
from ssdd_bench.report.figures.labels import place_labels, thin_out
from ssdd_bench.report.figures.palette import INK, PAPER, Palette

NAMES = (
    *("ssdd", "klvae", "tiny-autoencoder", "jpeg:quality=10", "jpeg:quality=50"),
    *("jpeg:quality=90", "downsample:f=8", "patch-pca:channels=4", "dc-ae", "vq", "flux", "last"),
)


def panel(*marks: Mark, higher: bool = True, ends: bool = False) -> Panel:
    return Panel(
        *(marks, "64 px", ("28 images",), "decode images/s (log)", "PSNR"),
        higher=higher,
        corner=not ends,
        ends=ends,
    )


def draw(*panels: Panel) -> Canvas:
    palette = Palette(dict.fromkeys(NAMES, "kl-vae"))
    return draw_panels(Chart("figure", "A figure", panels), palette)


def twelve() -> list[Mark]:
    return [
        Mark(10.0 + 3.1 * i**1.7, 20 + 5 * math.sin(i), name, label=name)
        for i, name in enumerate(NAMES)
    ]


def labels_in(axes: Axes) -> list[Text]:
    return [text for text in axes.texts if text.get_gid()]


def assert_labels_are_readable(axes: Axes, labels: Sequence[Text], marks: Sequence[Mark]) -> None:
    frame = axes.get_window_extent()
    boxes = [label.get_window_extent() for label in labels]
    for label, box in zip(labels, boxes, strict=True):
        assert frame.x0 <= box.x0, label.get_text()
        assert box.x1 <= frame.x1 + 1, label.get_text()
        assert frame.y0 <= box.y0, label.get_text()
        assert box.y1 <= frame.y1 + 1, label.get_text()
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for label, box in zip(labels, boxes, strict=True):
        for mark in marks:
            place = axes.transData.transform((mark.x, mark.y))
            assert not box.contains(*place), label.get_text()


@pytest.mark.medium
def test_twelve_labels_overlap_nothing() -> None:
    marks = twelve()
    (axes,) = draw(panel(*marks)).figure.axes
    labels = labels_in(axes)
    assert {label.get_text() for label in labels} == set(NAMES)
    assert_labels_are_readable(axes, labels, marks)


def test_crowded_marks_get_separate_labels() -> None:
    random = np.random.default_rng(0)
    marks = [
        Mark(x, y, name, label=name)
        for name, (x, y) in zip(NAMES, 0.5 + 0.06 * random.standard_normal((12, 2)), strict=True)
    ]
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    placed = place_labels(axes, marks)
    assert_labels_are_readable(axes, [texts[0] for texts in placed], [])
    astray = 0
    for mark, (label, *leader) in zip(marks, placed, strict=True):
        box = label.get_window_extent()
        gaps = {}
        for one in marks:
            x, y = axes.transData.transform((one.x, one.y))
            gaps[one.label] = np.hypot(
                max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0)
            )
        if gaps[mark.label] > min(gaps.values()):  # another mark is nearer
            astray += 1
            assert leader
    assert astray


def test_the_check_itself_notices_overlaps() -> None:
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels = [axes.text(0.5 + shift, 0.5, "naive label") for shift in (0, 0.01)]
    with pytest.raises(AssertionError):
        assert_labels_are_readable(axes, labels, [])


def test_labels_of_close_lines_stand_right_of_their_ends() -> None:
    marks = [
        Mark(size, 20 + 0.01 * i, name, line=name, label=name if size == 128 else "")
        for i, name in enumerate(NAMES[:5])
        for size in (64, 128)
    ]
    (axes,) = draw(panel(*marks, ends=True)).figure.axes
    labels = labels_in(axes)
    assert_labels_are_readable(axes, labels, marks)
    end = axes.transData.transform((128, 20))[0]
    assert all(label.get_window_extent().x0 > end for label in labels)


def test_labels_keep_off_the_steps_of_the_front() -> None:
    marks = [
        Mark(44.6, 164.4, "a"),
        Mark(94, 171.0, "a", front=True),
        Mark(45.7, 162.3, "a", label="diffusion, 2 steps"),
        Mark(67.4, 146.0, "b", front=True),
        Mark(66.8, 143.2, "b", front=True),
    ]
    (axes,) = draw(panel(*marks, higher=False)).figure.axes
    (front,) = (line for line in axes.get_lines() if line.get_label() == "front")
    steps = front.get_transform().transform(np.transpose(pts_to_prestep(*front.get_data())))
    for label in labels_in(axes):
        box = label.get_window_extent()
        for (x, y), (to_x, to_y) in itertools.pairwise(steps):
            assert (
                box.x1 < min(x, to_x)
                or box.x0 > max(x, to_x)
                or (box.y1 < min(y, to_y) or box.y0 > max(y, to_y))
            ), label.get_text()


def test_the_envelope_holds_only_what_nothing_exceeds() -> None:
    def front(scores: list[float], higher: bool, less_x: bool = False) -> list[tuple[float, float]]:
        marks = [Mark(x, y, "a") for x, y in zip((1, 2, 3, 3, 0.5), scores, strict=False)]
        return [(mark.x, mark.y) for mark in envelope(marks, higher, less_x)]

    assert front([5.0, 4.0, 3.0, 2.0, 6.0], True) == [(0.5, 6), (1, 5), (2, 4), (3, 3)]
    assert front([1.0, 1.0, 3.0, 2.0, 0.5], False) == [(0.5, 0.5), (2, 1), (3, 2)]
    assert front([1.0], True) == [(1, 1)]
    assert front([5.0, 4.0, 3.0, 7.0, 2.0], True, True) == [(3, 7), (1, 5), (0.5, 2)]
    assert front([5.0, 4.0, 6.0, 7.0, 9.0], False, True) == [(2, 4), (1, 5), (0.5, 9)]


@pytest.mark.parametrize("higher", [True, False])
def test_the_line_of_the_front_bounds_its_marks_and_no_other(higher: bool) -> None:
    sign = 1 if higher else -1
    places = ((1, 5), (2, 4), (3, 1), (1.5, 3))
    marks = [Mark(x, sign * y, "a", front=(x, y) != (1.5, 3)) for x, y in places]
    control = Mark(9, sign * 9, "b")
    (axes,) = draw(panel(*marks, control, higher=higher)).figure.axes
    (front,) = (line for line in axes.get_lines() if line.get_label() == "front")
    xs, ys = (list(np.asarray(values, float)) for values in front.get_data())
    corners = {(x, sign * y) for x, y in zip(xs, ys, strict=True)}
    assert {(1, 5), (2, 4), (3, 1)} <= corners
    assert max(xs) == 3
    assert axes.get_xlim()[1] > 9
    words = [text.get_text() for text in axes.texts]
    assert f"better {'↗' if higher else '↘'}" in words
    marked = [line for line in axes.get_lines() if line.get_marker() == "o"]
    outlines = [(line.get_markeredgecolor(), len(np.asarray(line.get_xdata()))) for line in marked]
    assert outlines == [(PAPER, 1), (PAPER, 1), (INK, 3)]  # the front is drawn above the others


@pytest.mark.medium
def test_distances_that_differ_much_are_on_a_logarithmic_scale() -> None:
    def scale(*values: float) -> str:
        marks = [Mark(1.0 + i, value, "a") for i, value in enumerate(values)]
        (axes,) = draw(panel(*marks, higher=False)).figure.axes
        return axes.get_yscale()

    assert [scale(1.0, 300.0), scale(1.0, 9.0), scale(0.0, 300.0)] == ["log", "linear", "linear"]


def test_error_bars_lie_inside_the_axes() -> None:
    mark = Mark(1, 20.0, "a", y_range=(10.0, 30.0), x_range=(0.9, 1.1))
    (axes,) = draw(panel(mark, Mark(2, 21.0, "b"))).figure.axes
    low, high = axes.get_ylim()
    assert low < 10
    assert high > 30


def test_the_error_bars_of_a_family_are_one_path_with_gaps() -> None:
    """Each bar alone, since a thousand lines take their time; the families can be hidden."""
    marks = [
        Mark(1, 20.0, "a", y_range=(10.0, 30.0), x_range=(0.9, 1.1)),
        Mark(2, 21.0, "b", y_range=(15.0, 25.0)),
        Mark(3, 22.0, "a", x_range=(2.5, 3.5)),
    ]
    (axes,) = draw(panel(*marks)).figure.axes
    lines = [np.stack(line.get_data()).T for line in axes.get_lines()]
    bars = [np.split(one, np.flatnonzero(np.isnan(one[:, 1]))) for one in lines if len(one) > 2]
    found = [[part[-2:].tolist() for part in one if len(part) > 1] for one in bars]
    assert [[[0.9, 20], [1.1, 20]], [[1, 10], [1, 30]], [[2.5, 22], [3.5, 22]]] in found
    assert [[[2, 15], [2, 25]]] in found


@pytest.mark.medium
@pytest.mark.parametrize(("count", "columns"), [(1, 1), (3, 3), (4, 2), (5, 3), (7, 3)])
def test_panels_are_of_equal_size_in_even_rows(count: int, columns: int) -> None:
    figure = draw(*[panel(Mark(1, 20.0, "a"), Mark(2, 21.0, "b"))] * count).figure
    sizes = np.array([axes.get_position().size for axes in figure.axes]) * figure.get_size_inches()
    assert np.ptp(sizes, axis=0) == pytest.approx([0, 0], abs=0.01)
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == columns
    assert figure.get_figwidth() <= 8.4


@pytest.mark.medium
def test_a_common_remark_is_written_once() -> None:
    one = panel(Mark(1, 20.0, "a"))
    assert draw(one, one).figure.get_supxlabel() == "28 images."
    assert draw(one, replace(one, conditions=("30 images",))).figure.get_supxlabel() == ""


@pytest.mark.medium
def test_what_panels_differ_in_stands_above_each_and_stays_in_its_width() -> None:
    machines = "NVIDIA A100-SXM4-80GB, 2 threads, bfloat16, compiled, batch 16", "cpu, 2 threads"
    first, second = (
        replace(panel(Mark(1, 20.0, "a"), Mark(2, 21.0, "b")), conditions=("28 images", machine))
        for machine in machines
    )
    figure = draw(first, second, second).figure
    assert figure.get_supxlabel() == "28 images."
    for axes, machine in zip(figure.axes, (machines[0], machines[1], machines[1]), strict=True):
        (text,) = (one for one in axes.texts if "threads" in one.get_text())
        assert " ".join(text.get_text().split()) == machine
        assert text.get_window_extent().x1 <= axes.get_window_extent().x1 + 1
        assert text.get_window_extent().y1 <= axes._left_title.get_window_extent().y0 + 1  # type: ignore[attr-defined]


@pytest.mark.medium
def test_a_reading_of_few_panels_names_them() -> None:
    one = replace(panel(Mark(1, 20.0, "a")), reading="Bars: quartiles.")
    other = replace(one, title="128 px", reading="Bars: seeds.")
    words = "28 images. Bars: quartiles. 128 px: Bars: seeds."
    assert draw(other, one, one).caption == words


@pytest.mark.medium
def test_numbers_of_many_resolutions_do_not_touch() -> None:
    sizes = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
    marks = [Mark(size, 20.0, "a", line="a", label="a" if size == 1024 else "") for size in sizes]
    one = replace(panel(*marks, ends=True), ticks=True, corner=False)
    for axes in draw(one, one).figure.axes:
        boxes = [text.get_window_extent() for text in axes.get_xticklabels()]
        assert len(boxes) == 5  # a doubling each
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_labels_without_a_place_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    draw(panel(*(Mark(1, 20.0, "a", label="a" * 60) for _ in range(3)), ends=True))
    assert capsys.readouterr() == ("", "")


def test_labels_of_a_crowd_are_those_of_the_front_and_of_the_best() -> None:
    marks = [Mark(1.0 + i, 20.0 + i, f"t{i}", label=f"t{i}", front=i == 0) for i in range(40)]
    kept = [mark.label for mark in thin_out(marks, True) if mark.label]
    assert kept == ["t0", *(f"t{i}" for i in range(35, 40))]
    assert thin_out(marks[:5], True) == marks[:5]
    for count, expected in ((30, range(14, 30)), (9, range(9))):
        some = [replace(mark, front=place < count) for place, mark in enumerate(marks)]
        kept = [mark.label for mark in thin_out(some, True) if mark.label]
        assert kept == [f"t{i}" for i in expected]


@pytest.mark.medium
def test_a_crowd_is_told_and_its_labels_cover_nothing() -> None:
    random = np.random.default_rng(0)
    marks = [
        Mark(float(x), float(y), "last", label=f"one of {i}", front=i < 3)
        for i, (x, y) in enumerate(10 ** (0.3 * random.standard_normal((40, 2))))
    ]
    canvas = draw(panel(*marks))
    (axes,) = canvas.figure.axes
    labels = labels_in(axes)
    assert 3 <= len(labels) <= 6
    assert_labels_are_readable(axes, labels, marks)
    assert canvas.caption.endswith("Named, where there is room: those on the front and the best.")
    assert "Named" in canvas.figure.get_supxlabel()
    assert "Named" not in draw(panel(*marks[:5])).caption


@pytest.mark.medium
def test_the_alternative_text_names_the_best_and_the_fastest() -> None:
    path = [
        Mark(1, 24.0, "d", label="d, 2 steps", line="d"),
        Mark(2, 21.0, "d", label="1 step", line="d"),
    ]
    text = draw(panel(*path, Mark(3, 20.0, "k", label="k"))).alt
    assert "best d, 2 steps, 24 at 1 images/s; fastest k, 20 at 3 images/s" in text
    assert "fastest d 1 step, 21" in draw(panel(*path)).alt


@pytest.mark.medium
def test_every_part_of_a_family_is_in_the_svg_once() -> None:
    marks = [Mark(x, 20.0 + x, "ssdd", line="s", label=f"{x}", tip=f"tip {x}") for x in (1, 2)]
    drawing = draw(panel(*marks, Mark(3, 25.0, "klvae", label="klvae", tip="other"))).finish(
        [".svg"]
    )
    assert [family for family, tip in drawing.parts.values() if tip] == ["ssdd", "ssdd", "klvae"]
    assert [family for family, _ in drawing.parts.values()].count(
        "ssdd"
    ) == 5  # line, marks, labels
    for gid in [*drawing.parts, *drawing.panels]:
        assert drawing.files[".svg"].decode().count(f'id="{gid}"') == 1, gid
    # Both marks of ssdd are one line, and each has its own place under its own id.
    two = [gid for gid, (family, tip) in drawing.parts.items() if family == "ssdd" and tip]
    places = [
        float(re.search(f'<use id="{gid}" [^>]* x="([0-9.]+)"', drawing.files[".svg"].decode())[1])
        for gid in two
    ]
    assert places == sorted(set(places))
