"""Quality against speed: the right rows in the right panels, joined and named as networks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.errors import UnknownNameError
from ssdd_bench.report.figures.panel import Panel
from ssdd_bench.report.figures.published import draw_published
from ssdd_bench.report.figures.speed import draw_speed, speed_panels
from ssdd_bench.report.figures.style import GREY, Palette
from ssdd_bench.report.frame import to_frame
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.published import load_published
from ssdd_bench.results.schema import LatentRecord, MetricValue, Result

Make = Callable[..., Result]
ROOT = Path(__file__).parents[3]
SIXTEEN = LatentRecord("continuous", 16, 4, (4, 4, 4), 16, 1 / 64, None)


def panels_of(results: list[Result], metric: str = "psnr") -> list[Panel]:
    return list(speed_panels(to_frame(results), metric))


def labels_of(panel: Panel) -> list[str]:
    return sorted(mark.label for mark in panel.marks)


def test_codecs_and_controls_do_not_crowd_out_tokenizers(make_result: Make) -> None:
    baselines = [
        make_result("jpeg:quality=90", decode_ips=2900.0, role="codec"),
        make_result("downsample", decode_ips=5200.0, role="control"),
    ]
    ours = [make_result("ssdd"), make_result("klvae", family="kl-vae")]
    (both,) = panels_of(baselines + ours)
    (alone,) = panels_of(baselines)
    assert labels_of(both) == ["klvae", "ssdd"]
    assert labels_of(alone) == ["downsample", "jpeg:quality=90"]


def test_rates_and_machines_get_panels_of_their_own(make_result: Make) -> None:
    results = [
        make_result("ssdd"),
        make_result("ssdd:f=16", latent=SIXTEEN),
        make_result("klvae:f=16,ema=yes", latent=SIXTEEN),
        make_result("ssdd", device="cuda", fingerprint="1" * 64),
    ]
    first, second, third = panels_of(results)
    assert [panel.title for panel in (first, second, third)] == [
        *("64 px, f8", "64 px, f8", "64 px, f16"),
    ]
    assert labels_of(third) == ["klvae:ema=yes", "ssdd"]
    assert first.remark != second.remark
    assert {mark.marker for mark in first.marks} != {mark.marker for mark in third.marks}


def test_steps_are_a_path_of_one_network(make_result: Make) -> None:
    results = []
    for label, steps, latent in (
        ("d:steps=1", 1, None),
        ("d:steps=4", 4, None),
        ("d:steps=1,ema=yes", 1, None),
        ("d:f=16,steps=1", 1, SIXTEEN),
    ):
        one = make_result(label, decode_ips=20 / steps, steps=steps)
        one = replace(one, tokenizer=replace(one.tokenizer, options={"steps": steps}))
        results.append(replace(one, latent=latent) if latent else one)
    eight, sixteen = panels_of(results)
    assert labels_of(eight) == ["1", "d, 4 steps", "d:ema=yes"]
    assert len({mark.line for mark in eight.marks}) == 2
    assert labels_of(sixteen) == ["d"]


def test_guided_and_unguided_samples_are_not_joined() -> None:
    frame = load_source([ROOT / "results" / "generation"]).frame
    for panel in speed_panels(frame, "fd_effnet"):
        by_line: dict[str, set[bool]] = {}
        for mark in panel.marks:
            by_line.setdefault(mark.line, set()).add("cfg" in mark.tip)
        assert {True} in by_line.values()
        assert {False} in by_line.values()
        assert {True, False} not in by_line.values()


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
        assert piece in panel.remark
    assert panel.y_label == "PSNR ↑"


def test_rows_without_the_metric_or_a_timing_are_left_out(make_result: Make) -> None:
    lpips = {"lpips_alex": MetricValue(0.1, 28, False, "test")}
    one = make_result("a")
    with_lpips = replace(one, metrics=one.metrics | lpips)
    (panel,) = panels_of([with_lpips, make_result("b")], "lpips_alex")
    assert labels_of(panel) == ["a"]
    frame = to_frame([make_result(decode_ips=None)])
    assert draw_speed(frame, "psnr", Palette.of(frame)) is None
    with pytest.raises(UnknownNameError, match="rfid"):
        draw_speed(frame, "rfid", Palette.of(frame))


def test_published_marks_are_grey_and_belong_to_no_family() -> None:
    files = load_published(ROOT / "results" / "published")
    drawing = draw_published([row for file in files.values() for row in file.rows])
    assert drawing is not None
    assert {family for family, _ in drawing.parts.values()} == {""}
    (axes,) = drawing.figure.axes
    assert {str(line.get_color()) for line in axes.get_lines()} <= {GREY, "0.6"}
    words = axes.get_title("left") + " ".join(text.get_text() for text in drawing.figure.texts)
    words += drawing.figure.get_supxlabel()
    for piece in ("not measured here", "digitised", "hardware not stated"):
        assert piece in words
    assert draw_published([]) is None


def test_figures_import_neither_torch_nor_pyplot() -> None:
    modules = ("speed", "curves", "distribution", "published", "labels")
    imports = ", ".join(f"ssdd_bench.report.figures.{name}" for name in modules)
    code = (
        f"import sys, textalloc, {imports}\n"
        "sys.exit(','.join({'torch', 'matplotlib.pyplot'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
