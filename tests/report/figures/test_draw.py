"""Files of a chart, drawn in this process or in another."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssdd_bench.errors import OutputError
from ssdd_bench.report.figures.chart import Boxes, Chart, Distributions, Mark, Panel, Spread
from ssdd_bench.report.figures.draw import draw
from ssdd_bench.report.figures.drawing import SUFFIXES
from ssdd_bench.report.figures.palette import Palette

PALETTE = Palette({"a": "x", "b": "y"})
PANEL = Panel((Mark(1, 20.0, "a"), Mark(9, 22.0, "b")), "64 px", "28 images", "x", "y", True)
CHART = Chart("figure", "A figure", (PANEL,), "psnr")


@pytest.mark.medium
def test_every_kind_of_chart_becomes_the_files_of_its_name(tmp_path: Path) -> None:
    rows = tuple(
        Spread(name, name, np.array([1.0, 2, 3]), (1.1, 1.5, 2.0, 2.5, 2.9), f"tip of {name}")
        for name in "ab"
    )
    boxes = Distributions("spread", "Scores", (Boxes("64 px", "PSNR", rows),), "28 images", "alt")
    for chart, key in ((CHART, "figure-psnr"), (boxes, "spread")):
        drawing = draw(chart, PALETTE)
        assert (drawing.name, drawing.key, drawing.title) == (chart.name, key, chart.title)
        paths = [drawing.save(tmp_path / f"{key}{suffix}") for suffix in SUFFIXES]
        starts = [path.read_bytes()[:4] for path in paths]
        assert starts == [b"\x89PNG", b"<?xm", b"%PDF"]
        assert paths[1].read_text(encoding="utf-8") == drawing.files[".svg"].decode()
        for gid in [*drawing.parts, *drawing.panels]:
            assert f'id="{gid}"' in drawing.files[".svg"].decode()


@pytest.mark.medium
def test_another_process_draws_the_same() -> None:
    code = (
        "import pickle, sys\n"
        "from ssdd_bench.report.figures.draw import draw\n"
        "drawing = draw(*pickle.load(sys.stdin.buffer))\n"
        "sys.stdout.buffer.write(pickle.dumps(drawing))"
    )
    sent = pickle.dumps((CHART, PALETTE))
    done = subprocess.run([sys.executable, "-c", code], input=sent, stdout=-1, check=True)
    assert pickle.loads(done.stdout) == draw(CHART, PALETTE)


@pytest.mark.medium
def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    drawing = draw(CHART, PALETTE)
    for suffix in SUFFIXES:
        with pytest.raises(OutputError, match=f"a.{suffix[1:]}"):
            drawing.save(tmp_path / "file" / f"a{suffix}")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("module", "without"),
    [
        ("build", {"torch", "matplotlib"}),  # who has the figures drawn elsewhere
        ("figures.draw_boxes", {"torch", "matplotlib.pyplot", "pandas"}),  # who draws them
        ("figures.draw_panels", {"torch", "matplotlib.pyplot", "pandas"}),
    ],
)
def test_charts_go_without_matplotlib_and_drawing_without_pandas(
    module: str, without: set[str]
) -> None:
    code = (
        f"import sys, ssdd_bench.report.{module}\n"
        f"sys.exit(','.join({without!r} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
