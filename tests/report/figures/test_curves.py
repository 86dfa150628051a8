"""Figures of speed, rate, steps and resolution: the right rows in the right panels and lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.axes import Axes

from ssdd_bench.report.figures.chart import Chart, Distributions, Panel
from ssdd_bench.report.figures.curves import (
    curve_charts,
    published_chart,
    speed_chart,
    speed_panels,
)
from ssdd_bench.report.figures.distribution import distribution_chart
from ssdd_bench.report.figures.draw_boxes import draw_boxes
from ssdd_bench.report.figures.draw_panels import draw_panels
from ssdd_bench.report.figures.palette import GREY, Palette
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.published import load_published
from ssdd_bench.results.schema import LatentRecord, MetricValue, Result

Make = Callable[..., Result]
ROOT = Path(__file__).parents[3]
PALETTE = Palette({"a": "x", "b": "y"})
SMALL = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)


def stream(rate: float) -> LatentRecord:
    return LatentRecord("bytes", 1, 0, None, None, None, rate)


def curves(frame: pd.DataFrame) -> dict[str, Chart]:
    return {one.name: one for one in curve_charts(frame, ["psnr"])}


def axes_of(chart: Chart | Distributions | None) -> list[Axes]:
    assert chart is not None
    draws = draw_boxes if isinstance(chart, Distributions) else draw_panels
    return draws(chart, PALETTE).figure.axes  # type: ignore[operator]


def labels_of(axes: Axes) -> list[str]:
    return sorted(text.get_text() for text in axes.texts if text.get_gid())


def lines_of(axes: Axes) -> list[list[float]]:
    """Heights of the joined marks, line by line."""
    lines = [line for line in axes.get_lines() if line.get_label() != "front"]
    joined = [line for line in lines if line.get_linestyle() != "None"]
    return sorted(list(map(float, line.get_ydata())) for line in joined)  # type: ignore[arg-type]


def steps_of(make: Make, label: str, steps: int, psnr: float) -> Result:
    one = make(label, metrics={"psnr": psnr}, steps=steps)
    return replace(one, tokenizer=replace(one.tokenizer, options={"steps": steps}))


def test_one_point_is_no_figure(make_result: Make) -> None:
    frame = to_frame([make_result("a"), make_result("b")])  # one rate, one size, one step
    assert curves(frame) == {}
    assert distribution_chart(frame, ["psnr"]) is None


@pytest.mark.medium
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
    floats, bits = axes_of(curves(frame)["quality-vs-rate"])
    assert (floats.get_xlabel(), bits.get_xlabel()) == (
        *("floats per pixel (log)", "bits per pixel (log)"),
    )
    assert labels_of(floats) == ["dcae", "klvae"]
    assert lines_of(floats) == [[20.0, 25.0]]
    assert labels_of(bits) == ["jpeg"]
    assert lines_of(bits) == [[24.0, 33.0]]


@pytest.mark.medium
def test_rates_join_equal_steps_alone(make_result: Make) -> None:
    frame = to_frame(
        [
            steps_of(make_result, "d:steps=1", 1, 24.0),
            steps_of(make_result, "d:steps=8", 8, 25.0),
            replace(steps_of(make_result, "d:f=16,steps=1", 1, 20.0), latent=SMALL),
        ]
    )
    (axes,) = axes_of(curves(frame)["quality-vs-rate"])
    assert lines_of(axes) == [[20.0, 24.0]]
    assert labels_of(axes) == ["d"]
    (front,) = (line for line in axes.get_lines() if line.get_label() == "front")
    places = set(zip(*map(list, front.get_data()), strict=True))
    assert {(1 / 64, 20.0), (frame["floats_per_pixel"].max(), 25.0)} < places
    assert "better ↖" in [text.get_text() for text in axes.texts]


@pytest.mark.medium
def test_steps_are_an_axis_only_where_one_network_has_several(make_result: Make) -> None:
    def chart(*runs: Result) -> Chart | None:
        return curves(to_frame(list(runs))).get("quality-vs-steps")

    one, eight = (steps_of(make_result, f"d:steps={n}", n, 20.0 + n) for n in (1, 8))
    other = steps_of(make_result, "other", 4, 19.0)
    larger = replace(steps_of(make_result, "d:f=16,steps=8", 8, 18.0), latent=SMALL)
    assert chart(one, other) is None
    assert chart(one, larger) is None
    (axes,) = axes_of(chart(one, eight, other, larger))
    assert list(axes.get_xticks()) == [1, 4, 8]
    assert lines_of(axes) == [[21.0, 28.0]]
    assert labels_of(axes) == ["d", "other"]
    assert axes.get_title("left") == "64 px, f8"


@pytest.mark.medium
def test_resolutions_join_a_label_measured_at_several(make_result: Make) -> None:
    frame = to_frame(
        [
            make_result("a", 64, 40.0, {"psnr": 20.0}),
            make_result("a", 128, 10.0, {"psnr": 22.0}),
            make_result("b", 64, 30.0, {"psnr": 21.0}),
        ]
    )
    (axes,) = axes_of(curves(frame)["quality-vs-resolution"])
    assert lines_of(axes) == [[20.0, 22.0]]
    assert labels_of(axes) == ["a"]
    decode, _ = axes_of(curves(frame)["speed-scaling"])
    assert lines_of(decode) == [[40.0, 10.0]]
    assert decode.get_yscale() == "log"


@pytest.mark.medium
def test_distributions_need_scores_of_single_images(write_run: Callable[..., Path]) -> None:
    source = load_source([write_run({"a": [20.0, 24.0, 22.0], "b": [19.0, 25.0, 20.0]})])
    chart = distribution_chart(source.frame, ["psnr"])
    assert chart is not None
    (axes,) = axes_of(chart)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]
    assert distribution_chart(source.frame, ["fd_effnet"]) is None
    drawing = draw_boxes(chart, PALETTE).finish([".svg"])
    tips = [tip for _, tip in drawing.parts.values() if tip]
    assert ["21.00, 22.00, 23.00" in tip for tip in tips] == [False, True]  # quartiles of a
    for gid in drawing.parts:
        assert f'id="{gid}"' in drawing.files[".svg"].decode()


@pytest.mark.medium
@pytest.mark.parametrize("count", [3, 300])
def test_many_images_are_a_box_alone(write_run: Callable[..., Path], count: int) -> None:
    scores = {name: [20.0 + i % 7 for i in range(count)] for name in ("a", "b")}
    (axes,) = axes_of(distribution_chart(load_source([write_run(scores)]).frame, ["psnr"]))
    images = [line for line in axes.get_lines() if str(line.get_gid()).endswith("-images")]
    assert [len(line.get_xdata()) // 3 for line in images] == [3 if count == 3 else 0] * 2  # type: ignore[arg-type]


def panels_of(results: list[Result], metric: str = "psnr") -> list[Panel]:
    return list(speed_panels(to_frame(results), metric))


def marked(panel: Panel) -> list[str]:
    return sorted(mark.label for mark in panel.marks)


@pytest.mark.medium
def test_codecs_and_controls_do_not_crowd_out_tokenizers(make_result: Make) -> None:
    baselines = [
        make_result("jpeg:quality=90", decode_ips=2900.0, role="codec"),
        make_result("downsample", decode_ips=5200.0, role="control"),
    ]
    ours = [make_result("ssdd"), make_result("klvae", family="kl-vae")]
    (both,) = panels_of(baselines + ours)
    (alone,) = panels_of(baselines)
    assert marked(both) == ["klvae", "ssdd"]
    assert marked(alone) == ["downsample", "jpeg:quality=90"]


@pytest.mark.medium
def test_rates_and_machines_get_panels_of_their_own(make_result: Make) -> None:
    results = [
        make_result("ssdd"),
        make_result("ssdd:f=16", latent=SMALL),
        make_result("klvae:f=16,ema=yes", latent=SMALL),
        make_result("ssdd", device="cuda", fingerprint="1" * 64),
    ]
    first, second, third = panels_of(results)
    assert [panel.title for panel in (first, second, third)] == [
        *("64 px, f8", "64 px, f8", "64 px, f16"),
    ]
    assert marked(third) == ["klvae:ema=yes", "ssdd"]
    assert first.conditions != second.conditions
    assert {mark.marker for mark in first.marks} != {mark.marker for mark in third.marks}
    for devices in (("cpu", "cuda"), ("cuda", "cpu")):
        pair = [make_result(name, device=on) for name, on in zip("ab", devices, strict=True)]
        assert ["cuda" in " ".join(panel.conditions) for panel in panels_of(pair)] == [False, True]


def test_a_long_name_loses_its_middle_in_figures(make_result: Make) -> None:
    label = "my-tokenizer:checkpoint=/data/experiments/checkpoints/step-250000.safetensors"
    (panel,) = panels_of([make_result(label)])
    (mark,) = panel.marks
    assert label in mark.tip
    assert len(mark.label) == 30
    assert mark.label.startswith("my-tokenizer:")
    assert mark.label.endswith(".safetensors")


def test_steps_are_a_path_of_one_network(make_result: Make) -> None:
    results = []
    for label, steps, latent in (
        ("d:steps=1", 1, None),
        ("d:steps=4", 4, None),
        ("d:steps=1,ema=yes", 1, None),
        ("d:f=16,steps=1", 1, SMALL),
    ):
        one = make_result(label, decode_ips=20 / steps, steps=steps)
        one = replace(one, tokenizer=replace(one.tokenizer, options={"steps": steps}))
        results.append(replace(one, latent=latent) if latent else one)
    eight, sixteen = panels_of(results)
    assert marked(eight) == ["1 step", "d, 4 steps", "d:ema=yes"]
    assert len({mark.line for mark in eight.marks}) == 2
    assert marked(sixteen) == ["d"]


@pytest.mark.medium
def test_guided_and_unguided_samples_share_no_panel() -> None:
    frame = load_source([ROOT / "results" / "generation"]).frame
    panels = list(speed_panels(frame, "fd_effnet"))
    assert [panel.title for panel in panels] == [
        *("64 px, f8, unguided", "64 px, f8, cfg 1.5"),
        *("64 px, f16, unguided", "64 px, f16, cfg 1.5"),
    ]
    for panel in panels:
        assert {"cfg" in mark.tip for mark in panel.marks} == {"cfg" in panel.title}
        assert not any("cfg" in mark.label or "DiT" in mark.label for mark in panel.marks)


def test_seeds_are_one_mark(make_result: Make) -> None:
    results = [
        make_result("a", metrics={"psnr": 20.0 + seed}, seed=seed, fingerprint=f"{seed:064x}")
        for seed in (0, 1, 2)
    ]
    (panel,) = panels_of(results)
    assert [mark.y for mark in panel.marks] == [21.0]


def test_marks_tell_scores_speeds_and_intervals(make_result: Make) -> None:
    one = make_result("a")
    value = replace(one.metrics["psnr"], value=24.0, interval=(23.5, 24.5))
    (panel,) = panels_of([replace(one, metrics={"psnr": value})])
    (mark,) = panel.marks
    assert mark.y_range == (23.5, 24.5)
    assert mark.x_range is not None
    assert mark.x_range[0] < mark.x == 20.0 < mark.x_range[1]
    for piece in ("a, 64 px", "PSNR 24", "23.5", "20 images/s"):
        assert piece in mark.tip
    for piece in ("28 images", "sample", "default-v1", "cpu: example processor", "2 threads"):
        assert piece in "; ".join(panel.conditions)
    assert panel.y_label == "PSNR (dB) ↑"


@pytest.mark.medium
def test_rows_without_the_metric_or_a_timing_are_left_out(make_result: Make) -> None:
    lpips = {"lpips_alex": MetricValue(0.1, 28, False, "test")}
    one = make_result("a")
    with_lpips = replace(one, metrics=one.metrics | lpips)
    (panel,) = panels_of([with_lpips, make_result("b")], "lpips_alex")
    assert marked(panel) == ["a"]
    (panel,) = panels_of([one, make_result("lossless", metrics={"psnr": None})])
    assert marked(panel) == ["a"]
    frame = to_frame([make_result(decode_ips=None)])
    assert speed_chart(frame, "psnr") is None


@pytest.mark.medium
def test_published_marks_are_grey_and_belong_to_no_family() -> None:
    files = load_published(ROOT / "results" / "published")
    chart = published_chart([row for file in files.values() for row in file.rows])
    assert chart is not None
    drawing = draw_panels(chart, PALETTE)
    assert {family for family, _ in drawing.parts.values()} == {""}
    (axes,) = drawing.figure.axes
    assert {str(line.get_color()) for line in axes.get_lines()} <= {GREY, "0.6"}
    words = axes.get_title("left") + " ".join(text.get_text() for text in drawing.figure.texts)
    words += drawing.figure.get_supxlabel()
    for piece in ("not measured here", "Digitised", "hardware not stated"):
        assert piece in words
    assert published_chart([]) is None
