"""Figures: readable labels, the right points on the right axes, equal bytes for equal input."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from PIL import Image

from ssdd_bench.errors import OutputError, UnknownNameError, UserError
from ssdd_bench.report import canvas
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.labels import Point, place_labels
from ssdd_bench.report.plots import pareto_front, published_plot, quality_speed_plot
from ssdd_bench.report.published import load_published
from ssdd_bench.results.schema import Result

Make = Callable[..., Result]
FOLDER = Path(__file__).parents[2] / "results" / "published"
TWELVE = [
    ("ssdd", 24.1, 12.3, 180.0),
    ("ssdd:steps=2", 24.2, 11.1, 97.0),
    ("ssdd:steps=4", 24.2, 10.9, 50.0),
    ("ssdd:steps=16", 24.1, 10.8, 13.0),
    ("klvae", 22.6, 19.8, 95.0),
    ("tiny-autoencoder", 22.7, 19.9, 96.0),
    ("jpeg:quality=10", 21.0, 60.3, 3400.0),
    ("jpeg:quality=50", 27.0, 18.2, 3100.0),
    ("jpeg:quality=90", 33.1, 4.1, 2900.0),
    ("downsample:f=8", 19.3, 141.0, 5200.0),
    ("patch-pca:channels=4", 20.1, 120.4, 4800.0),
    ("identity", None, 0.0, 9100.0),
]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Axes, list[Annotation]]]:
    """Axes and labels of every figure drawn from here on."""
    kept: list[tuple[Axes, list[Annotation]]] = []

    def keep(axes: Axes, points: Sequence[Point]) -> list[Annotation]:
        labels = place_labels(axes, points)
        kept.append((axes, labels))
        return labels

    monkeypatch.setattr(canvas, "place_labels", keep)
    return kept


def twelve(make: Make, *resolutions: int) -> list[Result]:
    return [
        make(
            label,
            size,
            ips,
            {"psnr": psnr, "fd_effnet": distance},
            family="control" if label == "identity" else "codec",
        )
        for size in resolutions
        for label, psnr, distance, ips in TWELVE
    ]


def test_codecs_and_controls_do_not_crowd_out_tokenizers(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    yardsticks = [
        make_result("jpeg:quality=90", decode_ips=2900.0, family="codec"),
        make_result("downsample", decode_ips=5200.0, family="control"),
    ]
    ours = [make_result("ssdd"), make_result("klvae", family="kl-vae")]
    for results in (yardsticks + ours, yardsticks):
        quality_speed_plot(to_frame(results), "psnr", tmp_path / "figure.png")
    shown = [sorted(label.get_text() for label in labels) for _, labels in drawn]
    assert shown == [["klvae", "ssdd"], ["downsample", "jpeg:quality=90"]]


def assert_labels_are_readable(axes: Axes, labels: Sequence[Annotation]) -> None:
    frame = axes.get_window_extent()
    boxes = [label.get_window_extent() for label in labels]
    for label, box in zip(labels, boxes, strict=True):
        assert frame.x0 <= box.x0, label.get_text()
        assert box.x1 <= frame.x1, label.get_text()
        assert frame.y0 <= box.y0, label.get_text()
        assert box.y1 <= frame.y1, label.get_text()
    for (first, one), (second, other) in itertools.combinations(zip(labels, boxes, strict=True), 2):
        assert not one.overlaps(other), (first.get_text(), second.get_text())
    legend = axes.get_legend()
    for label, box in zip(labels, boxes, strict=True):
        assert legend is None or not box.overlaps(legend.get_window_extent()), label.get_text()
        for other in labels:
            marker = axes.transData.transform(other.xy)
            assert not box.contains(*marker), (label.get_text(), other.get_text())


@pytest.mark.parametrize("metric", ["fd_effnet", "psnr"])
def test_twelve_labels_overlap_nothing(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path, metric: str
) -> None:
    quality_speed_plot(to_frame(twelve(make_result, 64, 128)), metric, tmp_path / "a.png")
    assert len(drawn) == 2
    for axes, labels in drawn:
        names = {label.get_text().split(" (")[0] for label in labels}
        assert names == {name for name, *_ in TWELVE}
        assert_labels_are_readable(axes, labels)


def test_crowded_markers_get_separate_labels() -> None:
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = np.random.default_rng(0)
    points = [
        Point(x, y, f"tokenizer-{index}")
        for index, (x, y) in enumerate(0.5 + 0.06 * numbers.standard_normal((12, 2)))
    ]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert_labels_are_readable(axes, place_labels(axes, points))


def test_the_check_itself_notices_overlaps() -> None:
    figure = Figure(figsize=(5, 4))
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    labels = [axes.annotate("naive label", (0.5 + shift, 0.5)) for shift in (0, 0.01)]
    with pytest.raises(AssertionError):
        assert_labels_are_readable(axes, labels)


def test_published_labels_overlap_nothing(
    drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    rows = [row for file in load_published(FOLDER).values() for row in file.rows]
    published_plot(rows, tmp_path / "a.png")
    ((axes, labels),) = drawn
    assert len(labels) == 16
    assert_labels_are_readable(axes, labels)
    figure = axes.get_figure(root=True)
    assert figure is not None
    title = figure.get_suptitle()
    assert "digitised" in title
    assert "hardware not stated" in title
    for line in axes.get_lines():
        red, green, blue = mpl.colors.to_rgb(line.get_color())
        assert red == green == blue


def test_published_and_measured_never_share_axes(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    quality_speed_plot(to_frame(twelve(make_result, 64)), "fd_effnet", tmp_path / "a.png")
    published_plot(load_published(FOLDER)["ssdd-paper-figure"].rows, tmp_path / "b.png")
    (measured, own), (published, _) = drawn
    assert measured.get_figure() is not published.get_figure()
    assert not any(label.get_text().startswith("SSDD-") for label in own)


@pytest.mark.parametrize("zero", [0.0, 5.7e-14])  # exact, or what rounding leaves
def test_lossless_values_are_pinned_and_named(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path, zero: float
) -> None:
    frame = to_frame(twelve(make_result, 64))
    frame["fd_effnet"] = frame["fd_effnet"].replace(0.0, zero)
    quality_speed_plot(frame, "psnr", tmp_path / "a.png")
    quality_speed_plot(frame, "fd_effnet", tmp_path / "b.png")
    for (axes, labels), value in zip(drawn, ("∞", "0"), strict=True):
        (label,) = (one for one in labels if one.get_text().startswith("identity"))
        assert label.get_text() == f"identity ({value})"
        low, high = axes.get_ylim()
        assert low < label.xy[1] < high
    assert drawn[0][0].get_yscale() == "linear"
    assert drawn[1][0].get_yscale() == "log"


def test_zero_distance_on_a_linear_axis_is_zero(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    results = [make_result(name, metrics={"fd_effnet": v}) for name, v in (("a", 0.0), ("b", 9.0))]
    quality_speed_plot(to_frame(results), "fd_effnet", tmp_path / "a.png")
    ((axes, labels),) = drawn
    assert axes.get_yscale() == "linear"
    assert {label.get_text(): label.xy[1] for label in labels} == {"a": 0.0, "b": 9.0}


def test_subtitle_states_n_protocol_and_hardware(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    quality_speed_plot(to_frame([make_result()]), "fd_effnet", tmp_path / "a.png")
    axes = drawn[0][0]
    texts = " ".join(text.get_text() for text in axes.texts)
    for piece in ("n = 28", "sample", "default-v1", "cpu: example processor", "2 threads"):
        assert piece in texts
    assert axes.get_ylabel() == "fd_effnet@28 ↓"
    assert axes.get_xscale() == "log"


def test_two_machines_get_two_panels(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    results = [make_result("a"), make_result("a", device="cuda"), make_result("b")]
    quality_speed_plot(to_frame(results), "psnr", tmp_path / "a.png")
    assert sorted(len(labels) for _, labels in drawn) == [1, 2]


def test_front_holds_only_what_nothing_beats() -> None:
    speeds = [1.0, 2.0, 3.0, 3.0, 0.5]
    assert pareto_front(speeds, [5.0, 4.0, 3.0, 2.0, 6.0], True) == [4, 0, 1, 2]
    assert pareto_front(speeds, [1.0, 1.0, 3.0, 2.0, 0.5], False) == [4, 1, 3]
    assert pareto_front([1.0], [1.0], True) == [0]


def test_controls_stay_off_the_front(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    quality_speed_plot(to_frame(twelve(make_result, 64)), "fd_effnet", tmp_path / "a.png")
    axes = drawn[0][0]
    (front,) = (line for line in axes.get_lines() if line.get_label() == "Pareto front")
    assert 9100.0 not in list(front.get_xdata())
    assert 5200.0 in list(front.get_xdata())


def test_tokenizers_differ_in_marker_and_variants_do_not(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    quality_speed_plot(to_frame(twelve(make_result, 64)), "fd_effnet", tmp_path / "a.png")
    lines = [line for line in drawn[0][0].get_lines() if line.get_label() != "Pareto front"]
    assert len({line.get_marker() for line in lines}) == len(lines) == 7
    assert sorted(len(list(line.get_xdata())) for line in lines) == [1, 1, 1, 1, 1, 3, 4]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_equal_input_gives_equal_bytes_and_leaves_no_trace(
    make_result: Make, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = to_frame(twelve(make_result, 64))
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    quality_speed_plot(frame, "fd_effnet", paths[0])
    before = dict(mpl.rcParams)
    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)  # as a user's matplotlibrc may
    quality_speed_plot(frame, "fd_effnet", paths[1])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    monkeypatch.undo()
    assert dict(mpl.rcParams) == before


def test_png_has_150_dots_per_inch(make_result: Make, tmp_path: Path) -> None:
    quality_speed_plot(to_frame([make_result()]), "psnr", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["dpi"][0] == pytest.approx(150, abs=0.1)
        assert np.asarray(image.convert("L")).std() > 5


def test_what_cannot_be_drawn_is_one_line(make_result: Make, tmp_path: Path) -> None:
    frame = to_frame([make_result()])
    with pytest.raises(UnknownNameError, match="unknown metric 'rfid'"):
        quality_speed_plot(frame, "rfid", tmp_path / "a.png")
    with pytest.raises(UserError, match="timing"):
        quality_speed_plot(to_frame([make_result(decode_ips=None)]), "psnr", tmp_path / "a.png")
    with pytest.raises(UserError, match=r"a\.gif: figures are written as"):
        quality_speed_plot(frame, "psnr", tmp_path / "a.gif")
    with pytest.raises(OutputError, match="cannot write"):
        quality_speed_plot(frame, "psnr", tmp_path / "absent" / "a.png")
    with pytest.raises(UserError, match="nothing to draw"):
        published_plot([], tmp_path / "a.png")


def test_rows_without_the_metric_are_left_out(
    make_result: Make, drawn: list[tuple[Axes, list[Annotation]]], tmp_path: Path
) -> None:
    results = [make_result("a", metrics={"lpips_alex": 0.1}), make_result("b")]
    frame = to_frame(results)
    assert math.isnan(frame.set_index("label").loc["b", "lpips_alex"])
    quality_speed_plot(frame, "lpips_alex", tmp_path / "a.png")
    assert [label.get_text() for _, labels in drawn for label in labels] == ["a"]


def test_reports_import_neither_torch_nor_pyplot() -> None:
    modules = ("frame", "tables.build", "tables.terminal", "labels", "plots", "published")
    imports = ", ".join(f"ssdd_bench.report.{name}" for name in modules)
    code = (
        f"import sys, {imports}\n"
        "sys.exit(','.join({'torch', 'matplotlib.pyplot'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
