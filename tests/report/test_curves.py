"""Figures over rate, steps and resolution: drawn from two points on, readable, equal bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from ssdd_bench.report import canvas, curves
from ssdd_bench.report.canvas import canvas as sheet
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.labels import Point, stack_labels
from ssdd_bench.report.loading import load_source
from ssdd_bench.results.schema import LatentRecord, Result

Make = Callable[..., Result]


def stream(rate: float) -> LatentRecord:
    return LatentRecord("bytes", 1, 0, None, None, None, rate)


def test_one_point_is_no_figure(make_result: Make, tmp_path: Path) -> None:
    frame = to_frame([make_result("a"), make_result("b")])  # one rate, one size, one step
    path = tmp_path / "figure.png"
    assert not curves.rate_plot(frame, ["psnr"], path)
    assert not curves.steps_plot(frame, ["psnr"], path)
    assert not curves.resolution_plot(frame, ["psnr"], path)
    assert not curves.speed_scaling_plot(frame, path)
    assert not curves.distribution_plot(frame, ["psnr"], path)
    assert not path.exists()


@pytest.fixture
def axes_drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Axes, list[Annotation]]]:
    kept: list[tuple[Axes, list[Annotation]]] = []
    for name in ("place_labels", "stack_labels"):
        place = getattr(canvas, name)

        def keep(axes: Axes, points: list[Point], place: Callable[..., object] = place) -> None:
            kept.append((axes, place(axes, points)))  # type: ignore[arg-type]

        monkeypatch.setattr(canvas, name, keep)
    return kept


def test_floats_and_bits_never_share_an_axis(
    make_result: Make, tmp_path: Path, axes_drawn: list[tuple[Axes, list[Annotation]]]
) -> None:
    small = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)
    frame = to_frame(
        [
            make_result("klvae"),
            make_result("dcae", latent=small),
            make_result("jpeg:quality=10", latent=stream(0.4)),
            make_result("jpeg:quality=90", latent=stream(2.0)),
        ]
    )
    assert curves.rate_plot(frame, ["psnr"], tmp_path / "rate.svg")
    labels = {axes.get_xlabel(): {one.get_text() for one in texts} for axes, texts in axes_drawn}
    assert labels == {
        "floats per pixel (log)": {"klvae", "dcae"},
        "bits per pixel (log)": {"jpeg"},
    }


def test_steps_are_an_axis_only_where_one_tokenizer_has_several(
    make_result: Make, tmp_path: Path, axes_drawn: list[tuple[Axes, list[Annotation]]]
) -> None:
    frame = to_frame([make_result("ssdd", steps=1), make_result("other", steps=4)])
    assert not curves.steps_plot(frame, ["psnr"], tmp_path / "steps.svg")
    frame = to_frame([make_result("d:steps=1", steps=1), make_result("d:steps=8", steps=8)])
    assert curves.steps_plot(frame, ["psnr"], tmp_path / "steps.svg")
    frame = to_frame([make_result("d:f=8", steps=1), make_result("d:f=16,steps=8", steps=8)])
    assert not curves.steps_plot(frame, ["psnr"], tmp_path / "steps.svg")
    ((axes, _),) = axes_drawn
    assert list(axes.get_xticks()) == [1, 8]


def test_names_of_twelve_close_lines_are_apart_and_in_order(
    make_result: Make, tmp_path: Path, axes_drawn: list[tuple[Axes, list[Annotation]]]
) -> None:
    results = [
        make_result(f"tokenizer:number={i}", size, 20 + i, {"psnr": 20 + 0.01 * i})
        for i in range(12)
        for size in (64, 128)
    ]
    assert curves.resolution_plot(to_frame(results), ["psnr"], tmp_path / "resolution.png")
    ((axes, labels),) = axes_drawn
    boxes = [label.get_window_extent() for label in labels]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    assert all(box.x1 <= axes.get_window_extent().x1 + 1 for box in boxes)
    heights = {int(label.get_text().split("=")[1]): label.xyann[1] for label in labels}
    ends = {n: axes.transData.transform((128, 20 + 0.01 * n))[1] for n in heights}
    order = [n for n, _ in sorted(ends.items(), key=lambda item: item[1])]
    places = [ends[n] / axes.get_figure().dpi * 72 + heights[n] for n in order]  # type: ignore[union-attr]
    assert places == sorted(places)


def test_the_check_itself_notices_overlaps() -> None:
    with sheet(1) as (_, (axes,)):
        axes.set(xlim=(0, 4), ylim=(0, 1))
        points = [Point(1, 0.5, "one"), Point(1, 0.5, "two")]
        naive = [axes.annotate(p.text, (p.x, p.y)) for p in points]
        assert naive[0].get_window_extent().overlaps(naive[1].get_window_extent())
        first, second = stack_labels(axes, points)
        assert not first.get_window_extent().overlaps(second.get_window_extent())


def test_distributions_need_scores_of_single_images(
    write_run: Callable[..., Path], tmp_path: Path
) -> None:
    source = load_source([write_run({"a": [20.0, 24.0, 22.0], "b": [19.0, 25.0, 21.0]})])
    assert curves.distribution_plot(source.frame, ["psnr"], tmp_path / "spread.png")
    assert not curves.distribution_plot(source.frame, ["fd_effnet"], tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_input_gives_equal_bytes(make_result: Make, tmp_path: Path, suffix: str) -> None:
    frame = to_frame([make_result("a", 64), make_result("a", 128)])
    paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for path in paths:
        assert curves.speed_scaling_plot(frame, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
