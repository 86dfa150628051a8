"""A result in Python: how it looks, and the files that it is saved in."""

import io
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from ssdd_bench.errors import OutputError
from ssdd_bench.evaluation import result as module
from ssdd_bench.evaluation.examples import Examples, count_kept
from ssdd_bench.evaluation.result import Evaluation, describe_origin
from ssdd_bench.results.pictures import is_lossless, read_picture
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import NUMBERS_VERSION, MetricValue, Result
from ssdd_bench.results.store import from_json, load_results

EXAMPLE = Path(__file__).parents[1] / "fixtures" / "result.json"
BASE = from_json(read_json(EXAMPLE), EXAMPLE)
ROWS = {
    "psnr": {"b": 20.0, "a\udcff": float("inf")},
    "ssim": {"a\udcff": 0.5, "b": 0.25},
}
STEM = "ssdd_64_default-v1_0123456789"


def evaluation(**more: object) -> Evaluation:
    known = {one.name: getattr(BASE, one.name) for one in fields(Result)}
    return Evaluation(**{**known, **more})


def pictures() -> Examples:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, 2, 3, 4, 6), dtype=np.uint8))
    return Examples(("a", "b"), images[0], images[1])


def test_the_record_is_what_a_file_holds() -> None:
    found = evaluation(per_image=ROWS, examples=pictures(), path=Path("x"))
    assert type(found.record) is Result
    assert found.record == BASE
    assert found == evaluation()
    assert "examples=" not in repr(found)


@pytest.mark.medium
def test_tables_have_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluation(per_image=ROWS)
    (scores,) = found.to_frame().scores
    assert {key: rows.to_dict() for key, rows in scores.items()} == {
        "psnr": {"b": 20.0, "a\ufffd": float("inf")},
        "ssim": {"a\ufffd": 0.5, "b": 0.25},
    }
    (scores,) = evaluation(per_image={"psnr": {"a": 20}}).to_frame().scores
    assert scores["psnr"].dtype == "float64"
    monkeypatch.setenv("COLUMNS", "20")  # a record is as wide everywhere
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    text = str(found)
    assert terminal.getvalue() == ""
    assert max(map(len, text.splitlines())) > 40
    assert "ssdd" in text
    assert text == text.rstrip()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= module.TEXT_WIDTH
    page = found._repr_html_()
    assert "<table" in page
    assert "ssdd" in page
    assert "<html" not in page


def test_all_files_of_a_result(tmp_path: Path) -> None:
    examples = pictures()
    path = evaluation(per_image=ROWS, examples=examples).save(tmp_path)
    assert path == tmp_path / f"{STEM}.json"
    (saved,) = load_results([path])
    assert saved == replace(BASE, scores=f"scores/{STEM}.parquet")
    table = pq.read_table(tmp_path / saved.scores)
    assert table.to_pydict() == {
        "id": ["b", "a�"],
        "psnr": [20.0, float("inf")],
        "ssim": [0.25, 0.5],
    }
    assert [str(one) for one in table.schema.types] == ["string", "double", "double"]
    for folder, images in (
        (f"reference_64_{'2' * 10}", examples.references),
        (STEM, examples.reconstructions),
    ):
        files = sorted((tmp_path / "samples" / folder).iterdir())
        assert [one.name for one in files] == ["000.webp", "001.webp"]
        for file, image in zip(files, images, strict=True):
            assert is_lossless(file)
            assert np.array_equal(read_picture(file), image.permute(1, 2, 0).numpy())


def test_metrics_that_an_earlier_result_has_are_kept(tmp_path: Path) -> None:
    psnr, ssim = (replace(BASE.metrics["psnr"], value=value) for value in (20.0, 0.5))
    gone = replace(psnr, value=None, unavailable="no weights")

    def save(command: str, per_image: Mapping[str, object], **metrics: MetricValue) -> Result:
        (saved,) = load_results(
            [evaluation(command=command, per_image=per_image, metrics=metrics).save(tmp_path)]
        )
        return saved

    save("first", ROWS, psnr=psnr, ssim=ssim)
    kept = replace(ssim, command="first", warning="measured by an earlier run: first")
    saved = save("second", {"psnr": {"a\udcff": 1.0, "b": 2.0}}, psnr=psnr, rfid=gone)
    assert saved.metrics == {"psnr": psnr, "rfid": gone, "ssim": kept}
    table = pq.read_table(tmp_path / saved.scores).to_pydict()
    assert table == {"id": ["a\ufffd", "b"], "psnr": [1.0, 2.0], "ssim": [0.5, 0.25]}
    saved = save("third", {}, rfid=psnr, ssim=gone)  # nothing replaces a value but a value
    again = replace(psnr, command="second", warning="measured by an earlier run: second")
    assert saved.metrics == {"rfid": psnr, "ssim": kept, "psnr": again}
    assert pq.read_table(tmp_path / saved.scores).column_names == ["id", "psnr", "ssim"]
    (tmp_path / saved.scores).write_bytes(b"damaged")
    assert save("fourth", {}, rfid=psnr).scores == ""


@pytest.mark.parametrize(
    "change", [{"numbers_version": -1}, {"data": replace(BASE.data, pixels_sha256="x")}]
)
def test_metrics_of_other_numbers_or_pixels_are_not_kept(tmp_path: Path, change) -> None:
    evaluation(**change).save(tmp_path)
    (saved,) = load_results([evaluation(metrics={}).save(tmp_path)])
    assert saved.metrics == {}


def test_whole_scores_are_saved_as_floats(tmp_path: Path) -> None:
    evaluation(per_image={"psnr": {"a": 20}}).save(tmp_path)
    table = pq.read_table(tmp_path / "scores" / f"{STEM}.parquet")
    assert [str(one) for one in table.schema.types] == ["string", "double"]


def test_a_file_of_another_job_is_kept(tmp_path: Path) -> None:
    """Saving fails, and writes nothing beside it."""
    path = evaluation().save(tmp_path)
    assert evaluation().save(tmp_path) == path  # the same job again
    other = "9" * len(BASE.fingerprint)
    path.write_text(path.read_text().replace(BASE.fingerprint, other))
    before = path.read_bytes()
    with pytest.raises(OutputError, match=path.name):
        evaluation(per_image=ROWS, examples=pictures()).save(tmp_path)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


def test_files_that_are_left_out(tmp_path: Path) -> None:
    path = evaluation(examples=pictures()).save(str(tmp_path / "a"), pictures=False)
    assert [*(tmp_path / "a").iterdir()] == [path]
    assert load_results([path]) == [BASE]
    path = evaluation().save(tmp_path / "b")
    assert [*(tmp_path / "b").iterdir()] == [path]
    evaluation(examples=pictures()).save(tmp_path / "c", picture_quality=50)
    files = [*(tmp_path / "c" / "samples").rglob("*.webp")]
    assert len(files) == 4
    assert not any(map(is_lossless, files))


def test_when_and_where_a_record_was_made() -> None:
    home = str(Path.home())
    made = describe_origin(torch.device("cpu"), f"run --out {home}/x", {"cpu": "x"})
    assert made.keys() == {"environment", "command", "created", "numbers_version"}
    assert made["environment"] == {"cpu": "x"}
    assert made["command"] == "run --out ~/x"
    assert made["numbers_version"] == NUMBERS_VERSION
    created = datetime.fromisoformat(made["created"])
    assert created.tzinfo == UTC
    assert abs((datetime.now(UTC) - created).total_seconds()) < 100
    assert len(made["created"]) == len("2025-01-01T00:00:00+00:00")
    assert describe_origin(torch.device("cpu"), environment={"cpu": "x"})["command"] == ""


def test_the_machine_is_described_where_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "describe_environment", lambda device: {"device": device.type})
    made = describe_origin(torch.device("meta"))
    assert made["environment"] == {"device": "meta"}


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [(16, 16, 64), (362, 362, 64), (363, 363, 63), (256, 1024, 32), (1024, 1024, 8), (9999, 1, 64)],
)
def test_pictures_that_are_kept(height: int, width: int, count: int) -> None:
    assert count_kept(height, width) == count
    assert count_kept(4096, 4096) == 8


def test_the_first_pictures() -> None:
    found = pictures().first(1)
    assert found.ids == ("a",)
    assert torch.equal(found.references, pictures().references[:1])
    assert torch.equal(found.reconstructions, pictures().reconstructions[:1])
