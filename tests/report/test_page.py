"""The page: whole in itself, equal bytes, true to the results and to the saved images."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.report.build import draw_figures
from ssdd_bench.report.loading import load_source
from ssdd_bench.report.page import build_page
from ssdd_bench.report.published import load_published
from ssdd_bench.results.schema import MetricValue, Result
from ssdd_bench.results.store import load_results, save_result

Make = Callable[..., Result]
Write = Callable[..., Path]
PUBLISHED = load_published(Path(__file__).parents[2] / "results" / "published")
SCORES = {"ssdd": [30.0, 22.0, 21.0, 20.0], "klvae": [31.0, 21.0, 20.5, 10.0]}


def data_of(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


@pytest.mark.slow
def test_the_page_asks_for_nothing(write_run: Write) -> None:
    source = load_source([write_run(SCORES)])
    page = build_page(source, PUBLISHED, "psnr", draw_figures(source.frame, PUBLISHED, "psnr"))
    assert page.count("<svg ") > 3
    assert "default-src 'none'" in page
    without_data = re.sub(r"data:[^\"']*", "", page)
    for pattern in (
        r"(src|href)=\"(?!#|\")",
        r"url\((?!#)",
        r"@import",
        r"fetch\(",
        r"XMLHttpRequest",
    ):
        assert not re.search(pattern, without_data), pattern


@pytest.mark.slow
def test_equal_input_gives_an_equal_page_and_another_input_another_digest(
    write_run: Write,
) -> None:
    folder = write_run(SCORES)
    sources = [load_source([folder]) for _ in range(2)]
    one, two = (
        build_page(source, PUBLISHED, "psnr", draw_figures(source.frame, PUBLISHED, "psnr"))
        for source in sources
    )
    assert one == two
    before = load_source([folder]).digest
    path = next(folder.glob("*.json"))
    path.write_text(path.read_text().replace("2025-01-01", "2025-01-02"))
    assert load_source([folder]).digest != before


@pytest.mark.medium
def test_a_name_from_outside_is_text_and_never_markup(make_result: Make, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    save_result(make_result(evil, note="<b>bold</b>"), tmp_path)
    source = load_source([tmp_path])
    page = build_page(source, {}, "psnr", draw_figures(source.frame, {}, "psnr"))
    assert "<img src=x" not in page
    assert "<b>bold" not in page
    tips = [tip for _, tip in data_of(page)["parts"].values()]  # type: ignore[attr-defined]
    assert any(tip.startswith(evil) for tip in tips)


@pytest.mark.slow
def test_the_page_shows_the_figures_of_the_files(write_run: Write) -> None:
    source = load_source([write_run(SCORES, (32, 64))])
    drawings = list(draw_figures(source.frame, PUBLISHED, "psnr"))
    page = build_page(source, PUBLISHED, "psnr", drawings)
    assert "f8c4: 4 channels at 1/8 of the width and height" in page  # the headline's rate
    assert len({one.key for one in drawings}) == len(drawings) > 4
    for one in drawings:
        assert one.inline in page
        assert all(f'id="{gid}"' in page for gid in (*one.parts, *one.panels))
    ids = re.findall(r' id="([^"]+)"', re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert len(ids) == len(set(ids))
    first = page.index('data-metric="fd_effnet"')
    assert page[first:].startswith('data-metric="fd_effnet" hidden')
    assert 'data-metric="psnr" hidden' not in page


def test_a_page_of_results_alone_has_no_gallery(make_result: Make, tmp_path: Path) -> None:
    save_result(make_result(), tmp_path)
    page = build_page(load_source([tmp_path]), {}, "psnr")
    assert 'id="gallery"' not in page
    assert 'id="published"' not in page
    (result,) = load_results([tmp_path])
    assert result.command in page
    assert "note   = {version unknown}" in page


@pytest.mark.medium
def test_generated_images_are_told_apart(make_result: Make, tmp_path: Path) -> None:
    one = make_result("ssdd + DiT")
    protocol = {**one.protocol, "id": "gfid-v1", "kind": "generation", "labels": "uniform"}
    metrics = {"gfid": MetricValue(31.0, 28, False, "test")}
    save_result(replace(one, protocol=protocol, metrics=metrics), tmp_path)
    save_result(make_result("klvae"), tmp_path)
    source = load_source([tmp_path])
    page = build_page(source, {}, "psnr")
    assert "n = 28 generated images against sample" in page
    assert "Generation: 28 generated images against sample" in page
    assert '<td class="text">uniform</td>' in page
