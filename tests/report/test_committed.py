"""The committed reports are those that the committed results give: `make reports` rebuilds them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import pytest

from ssdd_bench.data.sample import SAMPLE_DIR
from ssdd_bench.errors import UserError
from ssdd_bench.report.build import FIGURES, SUFFIXES, build_report, draw_figures
from ssdd_bench.report.figures.svg import inline_svg
from ssdd_bench.report.frame import default_metric
from ssdd_bench.report.insert import END, START, insert_into
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.published import load_published
from ssdd_bench.report.tags import TAGS_FILE, read_tags

ROOT = Path(__file__).parents[2]
FIGURE = (ROOT / "reports" / "quality-vs-speed.svg").read_text("utf-8")
SAME_MATPLOTLIB = f"Matplotlib v{matplotlib.__version__}," in FIGURE
OTHER_MATPLOTLIB = pytest.mark.skipif(not SAME_MATPLOTLIB, reason="drawn by another matplotlib")
RESULTS = [ROOT / "results" / "mini", ROOT / "results" / "generation"]


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = load_source(RESULTS)
    metric = default_metric(source.frame)
    assert metric is not None
    tags = {"sample": read_tags(SAMPLE_DIR / TAGS_FILE)}
    published = load_published(ROOT / "results" / "published")
    out = tmp_path_factory.mktemp("reports")
    drawings = draw_figures(source.pooled, published, metric)
    build_report(source, published, metric, drawings, out, tags, samples="link")
    return out


def without_foreign_bytes(text: str) -> str:
    """Leave out what other versions of matplotlib and of the packer of pictures write otherwise."""
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]+", "", text)
    text = re.sub(r'"(\.\./)+[^"]*?results/', '"results/', text)  # links from another folder
    if SAME_MATPLOTLIB:
        return text
    return re.sub(r'<svg\b.*?</svg>|"parts":.*?"sets":', "", text, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("table.md", "table.csv", "table.tex", "table.html", "index.html", "report.json"),
        *("by-tag.md", "by-tag.csv"),
        *(pytest.param(f"{name}.svg", marks=OTHER_MATPLOTLIB) for name in FIGURES),
    ],
)
def test_committed_texts_are_not_stale(rebuilt: Path, name: str) -> None:
    committed = (ROOT / "reports" / name).read_text("utf-8")
    text = (rebuilt / name).read_text("utf-8")
    assert without_foreign_bytes(committed) == without_foreign_bytes(text), "make reports"


@pytest.mark.medium
def test_the_table_of_the_readme_is_not_stale(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(page, "utf-8")
    insert_into(copy, load_source(RESULTS).frame)
    assert copy.read_text("utf-8") == page, "make reports"


@pytest.mark.medium
def test_inserting_again_changes_nothing_and_touches_nothing_else(tmp_path: Path) -> None:
    frame = load_source(RESULTS).frame
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\n{START}\nold | 1.0\n{END}\nAfter.\n", "utf-8")
    once = insert_into(page, frame).read_text("utf-8")
    assert once.startswith(f"# Mine\n\n{START}\n\n| tokenizer | px |")
    assert once.endswith(f"|\n\n{END}\nAfter.\n")
    assert "old" not in once
    assert insert_into(page, frame).read_text("utf-8") == once


@pytest.mark.medium
@pytest.mark.parametrize("page", ["", START, END + START, f"{START}{END}{START}{END}"])
def test_a_page_without_its_two_comments_stays_as_it_is(tmp_path: Path, page: str) -> None:
    path = tmp_path / "x.md"
    path.write_text(page, "utf-8")
    with pytest.raises(UserError, match=r"x\.md needs two lines"):
        insert_into(path, load_source(RESULTS).frame)
    assert path.read_text("utf-8") == page


def test_page_and_pictures_are_small_and_every_link_leads_to_one() -> None:
    page = ROOT / "reports" / "index.html"
    crops = sorted((ROOT / "results" / "mini" / "samples").glob("*/*.webp"))
    assert page.stat().st_size + sum(path.stat().st_size for path in crops) < 4_000_000
    data = re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert data is not None
    links = [
        one["base"] + end
        for one in json.loads(data[1])["sets"]
        for photo in one["photos"]
        for end in (photo["reference"], *photo["reconstructions"])
        if end is not None
    ]
    assert {(page.parent / link).resolve() for link in links} == {*crops}


def test_every_figure_comes_in_three_formats_and_the_page_shows_it() -> None:
    files = {path.name for path in (ROOT / "reports").iterdir()}
    figures = {f"{name}{suffix}" for name in FIGURES for suffix in SUFFIXES}
    assert {name for name in files if name.endswith(SUFFIXES)} == figures
    page = (ROOT / "reports" / "index.html").read_text("utf-8")
    for name in FIGURES:
        assert inline_svg((ROOT / "reports" / f"{name}.svg").read_text("utf-8")) in page, name
