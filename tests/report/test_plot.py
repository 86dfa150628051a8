"""Functions for notebooks: a tidy frame, and a figure on axes, both imported on demand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

import ssdd_bench
from ssdd_bench.errors import UserError

ROOT = Path(__file__).parents[2]


def test_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, ssdd_bench\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "assert callable(ssdd_bench.load_results)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'plots'"):
        _ = ssdd_bench.plots


@pytest.mark.medium
def test_the_folder_of_results_is_one_frame() -> None:
    frame = ssdd_bench.load_results(ROOT / "results")
    folders = [ROOT / "results" / name for name in ("mini", "generation")]
    assert len(frame) == sum(len(list(folder.glob("*.json"))) for folder in folders)
    assert {"label", "resolution", "psnr", "decode_ips"} <= set(frame.columns)


@pytest.mark.medium
def test_pareto_draws_on_the_axes_given() -> None:
    frame = ssdd_bench.load_results(ROOT / "results")
    ax = Figure().subplots()
    size = int(frame["resolution"].max())
    assert ssdd_bench.plot.pareto(frame, "psnr", size, ax) is ax
    assert ax.get_ylabel().startswith("PSNR")
    assert str(size) in ax.get_title("left")


@pytest.mark.medium
def test_pareto_makes_axes_of_its_own() -> None:
    import matplotlib.pyplot as plt

    with mpl.rc_context({"backend": "agg"}):
        ax = ssdd_bench.plot.pareto(ssdd_bench.load_results(ROOT / "results"))
        assert ax.get_xlabel().startswith("decode images/s")
        plt.close(ax.figure)


@pytest.mark.medium
def test_rows_that_do_not_compare_are_refused() -> None:
    frame = ssdd_bench.load_results(ROOT / "results")
    frame.loc[frame.index[0], "device"] = "another machine"
    with pytest.raises(UserError, match="do not compare"):
        ssdd_bench.plot.pareto(frame, "psnr")
    with pytest.raises(UserError, match="no row has both"):
        ssdd_bench.plot.pareto(frame, "psnr", resolution=7)


@pytest.mark.medium
def test_pareto_shows_one_compression_rate_of_reconstructions() -> None:
    frame = ssdd_bench.load_results(ROOT / "results")
    ax = ssdd_bench.plot.pareto(frame, ax=Figure().subplots())
    assert ax.get_title("left") == "256 px, f8"
    ax = ssdd_bench.plot.pareto(frame, f=16, ax=Figure().subplots())
    assert ax.get_title("left") == "256 px, f16"
