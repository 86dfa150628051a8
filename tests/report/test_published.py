"""Published numbers: every committed row is valid and has its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.report.published import PublishedRow, load_published

FOLDER = Path(__file__).parents[2] / "results" / "published"


@pytest.fixture(scope="module")
def figure() -> tuple[PublishedRow, ...]:
    return load_published(FOLDER)["ssdd-paper-figure"].rows


def test_the_paper_figure_is_complete_and_marked(figure: tuple[PublishedRow, ...]) -> None:
    assert len(figure) == 16
    assert all(row.digitised and row.hardware == "not stated" for row in figure)
    points = {row.model: (row.metrics["rfid"], row.images_per_s) for row in figure}
    assert points["SSDD-S"] == (0.50, 1027)
    assert points["SSDD-H"] == (0.38, 102)
    assert points["DiTo-XL-LPIPS"] == (0.79, 5)


def test_its_speeds_agree_with_the_abstract(figure: tuple[PublishedRow, ...]) -> None:
    speeds = {row.model: row.images_per_s or 0.0 for row in figure}
    assert speeds["SSDD-S"] / speeds["KL-VAE"] == pytest.approx(1.4, abs=0.06)


def test_every_committed_row_has_a_source_and_a_plausible_score() -> None:
    ranges = {"rfid": (0.1, 10), "psnr": (15, 40), "ssim": (0.3, 1), "lpips": (0, 0.5)}
    files = load_published(FOLDER)
    assert set(files) == {"ssdd-paper-figure", "tokenizers-imagenet256"}
    for content in files.values():
        assert content.title
        assert content.note
        for row in content.rows:
            assert row.source
            for key, value in row.metrics.items():
                low, high = ranges[key]
                assert low <= value <= high, (row.model, key)
        rows = [
            (row.model, row.latent, row.source, row.resolution, row.dataset) for row in content.rows
        ]
        assert len(set(rows)) == len(rows)


def test_second_hand_rows_are_marked() -> None:
    rows = load_published(FOLDER)["tokenizers-imagenet256"].rows
    assert all(row.second_hand for row in rows if row.source.startswith("FlowMo"))
    assert not any(row.second_hand for row in rows if row.source.startswith("ε-VAE"))


def write(folder: Path, **changes: Any) -> None:
    row = {
        "model": "m",
        "latent": "f8c4",
        "resolution": 256,
        "dataset": "d",
        "n": 1,
        "metrics": {"rfid": 1.0},
        "images_per_s": None,
        "steps": None,
        "source": "s",
        "protocol": "published",
        "hardware": "not stated",
        "digitised": False,
        "second_hand": False,
        "note": "",
    }
    version = changes.pop("schema_version", 1)
    content = {"schema_version": version, "title": "t", "note": "", "rows": [row | changes]}
    (folder / "some.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "unknown key 'rows[0].surprise'"),
        ({"protocol": "default-v1"}, "key 'rows[0].protocol' must be"),
        ({"metrics": {"rfid": "0.5"}}, "key 'rows[0].metrics.rfid' must be "),
        ({"metrics": {}}, "key 'rows[0].metrics' must be"),
        ({"metrics": {"fidd": 1.0}}, "fidd"),
        ({"source": ""}, "key 'rows[0].source' must be"),
        ({"schema_version": 2}, "key 'schema_version' must be"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, changes: Any, message: str) -> None:
    write(tmp_path)
    assert load_published(tmp_path)["some"].rows[0].metrics == {"rfid": 1.0}
    write(tmp_path, **changes)
    with pytest.raises(UserError) as caught:
        load_published(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'some.json'}: ")
    assert message in str(caught.value)


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no files of published numbers"):
        load_published(tmp_path / "absent")
