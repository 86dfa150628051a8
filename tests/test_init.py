"""The package's public names, and what importing them costs."""

import subprocess
import sys
import time

import pytest

import ssdd_bench

IMPORT = """
import sys, time
start = time.perf_counter()
import ssdd_bench
print(time.perf_counter() - start, *sorted({"torch", "numpy", "pandas"} & sys.modules.keys()))
"""
LIST = "from ssdd_bench.cli.list import command; command(['tokenizers'])"


def test_every_public_name_is_there() -> None:
    assert sorted(ssdd_bench.__all__) == ssdd_bench.__all__
    assert {*ssdd_bench.__all__, "__version__"} == set(dir(ssdd_bench))
    for name in ssdd_bench.__all__:
        assert getattr(ssdd_bench, name).__doc__, name


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="evaluat3"):
        _ = ssdd_bench.evaluat3


def timed_import() -> tuple[float, list[str]]:
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, *heavy = done.stdout.split()
    return float(seconds), heavy


def test_importing_the_package_imports_no_heavy_library() -> None:
    assert timed_import()[1] == []


@pytest.mark.timing
def test_importing_the_package_takes_no_time() -> None:
    assert min(timed_import()[0] for _ in range(5)) < 0.15


@pytest.mark.timing
def test_listing_tokenizers_is_quick() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", LIST], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.5
