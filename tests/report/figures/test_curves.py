"""Figures over rate, steps and resolution: drawn from two points on, joined where it means much."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.axes import Axes

from ssdd_bench.report.figures import curves
from ssdd_bench.report.figures.distribution import draw_distributions
from ssdd_bench.report.figures.style import Drawing, Palette
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.loading import load_source
from ssdd_bench.results.schema import LatentRecord, Result

Make = Callable[..., Result]
PALETTE = Palette(("a", "b"))
SMALL = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)


def stream(rate: float) -> LatentRecord:
    return LatentRecord("bytes", 1, 0, None, None, None, rate)


def axes_of(drawing: Drawing | None) -> list[Axes]:
    assert drawing is not None
    return drawing.figure.axes


def labels_of(axes: Axes) -> list[str]:
    return sorted(text.get_text() for text in axes.texts if text.get_gid())


def lines_of(axes: Axes) -> list[list[float]]:
    """Heights of the joined marks, line by line."""
    found = [list(map(float, line.get_ydata())) for line in axes.get_lines()]  # type: ignore[arg-type]
    return sorted(line for line in found if len(line) > 1)


def steps_of(make: Make, label: str, steps: int, psnr: float) -> Result:
    one = make(label, metrics={"psnr": psnr}, steps=steps)
    return replace(one, tokenizer=replace(one.tokenizer, options={"steps": steps}))


def test_one_point_is_no_figure(make_result: Make) -> None:
    frame = to_frame([make_result("a"), make_result("b")])  # one rate, one size, one step
    assert curves.draw_rates(frame, ["psnr"], PALETTE) is None
    assert curves.draw_steps(frame, ["psnr"], PALETTE) is None
    assert curves.draw_resolutions(frame, ["psnr"], PALETTE) is None
    assert curves.draw_speeds(frame, PALETTE) is None
    assert draw_distributions(frame, ["psnr"], PALETTE) is None


def test_floats_and_bits_never_share_an_axis(make_result: Make) -> None:
    frame = to_frame(
        [
            make_result("klvae", metrics={"psnr": 25.0}),
            make_result("klvae:f=16", metrics={"psnr": 20.0}, latent=SMALL),
            make_result("dcae", metrics={"psnr": 21.0}, latent=SMALL),
            make_result("jpeg:quality=10", metrics={"psnr": 24.0}, latent=stream(0.4)),
            make_result("jpeg:quality=90", metrics={"psnr": 33.0}, latent=stream(2.0)),
        ]
    )
    floats, bits = axes_of(curves.draw_rates(frame, ["psnr"], PALETTE))
    assert (floats.get_xlabel(), bits.get_xlabel()) == (
        *("floats per pixel (log)", "bits per pixel (log)"),
    )
    assert labels_of(floats) == ["dcae", "klvae"]
    assert lines_of(floats) == [[20.0, 25.0]]
    assert labels_of(bits) == ["jpeg"]
    assert lines_of(bits) == [[24.0, 33.0]]


def test_rates_join_equal_steps_alone(make_result: Make) -> None:
    frame = to_frame(
        [
            steps_of(make_result, "d:steps=1", 1, 24.0),
            steps_of(make_result, "d:steps=8", 8, 25.0),
            replace(steps_of(make_result, "d:f=16,steps=1", 1, 20.0), latent=SMALL),
        ]
    )
    (axes,) = axes_of(curves.draw_rates(frame, ["psnr"], PALETTE))
    assert lines_of(axes) == [[20.0, 24.0]]
    assert labels_of(axes) == ["d"]


def test_steps_are_an_axis_only_where_one_network_has_several(make_result: Make) -> None:
    def draw(*runs: Result) -> Drawing | None:
        return curves.draw_steps(to_frame(list(runs)), ["psnr"], PALETTE)

    one, eight = (steps_of(make_result, f"d:steps={n}", n, 20.0 + n) for n in (1, 8))
    other = steps_of(make_result, "other", 4, 19.0)
    larger = replace(steps_of(make_result, "d:f=16,steps=8", 8, 18.0), latent=SMALL)
    assert draw(one, other) is None
    assert draw(one, larger) is None
    (axes,) = axes_of(draw(one, eight, other, larger))
    assert list(axes.get_xticks()) == [1, 4, 8]
    assert lines_of(axes) == [[21.0, 28.0]]
    assert labels_of(axes) == ["d", "other"]
    assert axes.get_title("left") == "64 px, f8"


def test_resolutions_join_a_label_measured_at_several(make_result: Make) -> None:
    frame = to_frame(
        [
            make_result("a", 64, 40.0, {"psnr": 20.0}),
            make_result("a", 128, 10.0, {"psnr": 22.0}),
            make_result("b", 64, 30.0, {"psnr": 21.0}),
        ]
    )
    (axes,) = axes_of(curves.draw_resolutions(frame, ["psnr"], PALETTE))
    assert lines_of(axes) == [[20.0, 22.0]]
    assert labels_of(axes) == ["a"]
    decode, _ = axes_of(curves.draw_speeds(frame, PALETTE))
    assert lines_of(decode) == [[40.0, 10.0]]
    assert decode.get_yscale() == "log"


def test_distributions_need_scores_of_single_images(write_run: Callable[..., Path]) -> None:
    source = load_source([write_run({"a": [20.0, 24.0, 22.0], "b": [19.0, 25.0, 20.0]})])
    drawing = draw_distributions(source.frame, ["psnr"], PALETTE)
    assert drawing is not None
    (axes,) = axes_of(drawing)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert draw_distributions(source.frame, ["fd_effnet"], PALETTE) is None
    tips = [tip for _, tip in drawing.parts.values() if tip]
    assert ["21.00, 22.00, 23.00" in tip for tip in tips] == [False, True]  # quartiles of a
    for gid in drawing.parts:
        assert f'id="{gid}"' in drawing.svg


@pytest.mark.parametrize("count", [3, 300])
def test_many_images_are_a_box_alone(write_run: Callable[..., Path], count: int) -> None:
    scores = {name: [20.0 + i % 7 for i in range(count)] for name in ("a", "b")}
    (axes,) = axes_of(draw_distributions(load_source([write_run(scores)]).frame, ["psnr"], PALETTE))
    images = [line for line in axes.get_lines() if str(line.get_gid()).endswith("-images")]
    assert [len(line.get_xdata()) // 3 for line in images] == [3 if count == 3 else 0] * 2  # type: ignore[arg-type]
