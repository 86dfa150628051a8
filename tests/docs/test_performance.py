"""The page of measured speeds: its part on GPUs is that of the committed reports."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_page_shows_the_reports_of_gpus():
    path = ROOT / "tests/benchmarks/page.py"
    spec = importlib.util.spec_from_file_location("performance_page", path)
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    section = page.gpu_section()
    assert section.startswith("## On a GPU")
    assert (ROOT / "docs/reference/performance.md").read_text().endswith(section)
