"""Published numbers: every committed row is valid and has its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.report.published import PublishedRow, load_published, published_table

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


RANGES = {
    "rfid": (0.1, 10),
    "psnr": (15, 40),
    "ssim": (0.3, 1),
    "lpips": (0, 0.5),
    "lpips_alex": (0, 0.5),
    "lpips_vgg": (0, 0.5),
    "isc": (100, 300),
    "fdd": (0.1, 20),
    "clip_iqa": (0, 1),
}


def test_every_committed_row_has_a_source_and_a_plausible_score() -> None:
    files = load_published(FOLDER)
    names = {"speeds", "ssdd-paper-figure", "tokenizers-imagenet256", "vitok-coco"}
    assert set(files) == names
    for content in files.values():
        assert content.title
        assert content.note
        for row in content.rows:
            for key, value in row.metrics.items():
                low, high = RANGES[key]
                assert low <= value <= high, (row.model, key)
        rows = [
            (row.model, row.latent, row.source, row.resolution, row.dataset, row.hardware)
            for row in content.rows
        ]
        assert len(set(rows)) == len(rows)


def test_rows_say_which_network_of_lpips_they_took() -> None:
    rows = load_published(FOLDER)["tokenizers-imagenet256"].rows
    for row in rows:
        if row.source.startswith("lavinal712"):
            assert "lpips_vgg" in row.metrics
        if "lpips" in row.metrics:
            assert "does not name the network of LPIPS" in row.note
    (dcae,) = (row for row in rows if row.source.startswith("efficientvit"))
    assert dcae.metrics["lpips_alex"] == 0.08


def test_rows_of_no_source_or_of_another_file_are_gone() -> None:
    files = load_published(FOLDER)
    rows = files["tokenizers-imagenet256"].rows
    assert not any(row.model == "SSDD" or "style of" in row.source for row in rows)
    (train,) = (row for row in rows if row.dataset == "ImageNet-1k train")
    assert (train.metrics["rfid"], train.n) == (1.22, None)


def test_sources_of_one_model_differ_in_their_protocol() -> None:
    """The page of ViTok-v2 and the card of SDXL print other numbers for the same set."""
    files = load_published(FOLDER)
    page = {(row.model, row.resolution): row.metrics for row in files["vitok-coco"].rows}
    (card,) = (
        row.metrics
        for row in files["tokenizers-imagenet256"].rows
        if row.model == "SDXL-VAE" and row.dataset.startswith("COCO")
    )
    assert (page["SDXL", 256]["rfid"], card["rfid"]) == (4.16, 4.42)
    assert len(page) == 13


def test_speeds_have_their_hardware_and_join_no_figure() -> None:
    rows = load_published(FOLDER)["speeds"].rows
    assert all(row.images_per_s and row.hardware != "not stated" for row in rows)
    assert not any(row.metrics for row in rows)
    speeds = {(row.model, row.resolution, row.hardware): row.images_per_s for row in rows}
    assert speeds["SD v1.5 VAE", 512, "GeForce RTX 4090"] == pytest.approx(1 / 0.031, rel=1e-3)


def test_directions_come_from_the_catalogue() -> None:
    table = published_table("t", load_published(FOLDER)["tokenizers-imagenet256"])
    lower = {column.key: column.lower_is_better for column in table.columns}
    assert lower["rFID ↓"]
    assert not lower["IS ↑"]
    assert not lower["CLIP-IQA ↑"]


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
        ({"metrics": {}}, "rows[0] has neither metrics nor images_per_s"),
        ({"hardware": "A100"}, "rows[0] names hardware without images_per_s"),
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
