"""Files of a job besides its chunks, and the jobs that a merge has to find."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from job_records import BASE, RECORD

from ssdd_bench.api.formats import TORCH
from ssdd_bench.data.memory import MemoryImages
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.folder import (
    FORMAT,
    ClockRecord,
    JobFolder,
    Plan,
    PlannedImages,
    delete_merged,
    find_jobs,
    load_plans,
    missing_images,
    read_job,
    reduce_plans,
    save_plan,
)
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.schema import DataRecord

IDENTITY = RECORD.identity


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path / "parts" / "job-1", IDENTITY)


def test_a_folder_is_named_by_the_result_and_the_identity() -> None:
    plain = {
        "job": "ab", "metrics": ["psnr"], "weights": ["inception"], "intervals": True,
        "strict": False, "images": 5, "size": 2, "torch": TORCH, "format": FORMAT,
    }  # fmt: skip
    assert torch.__version__.startswith(TORCH)
    assert "+" not in TORCH
    name = IDENTITY.folder_name(Path("out/ssdd_16.json"))
    assert name == f"ssdd_16-{fingerprint(plain)[:10]}"
    assert IDENTITY.grid.sizes == (2, 2, 1)


def test_a_resumed_job_has_its_first_date_and_the_present_command(folder: JobFolder) -> None:
    assert folder.missing() == (0, 1, 2)
    assert folder.claim(RECORD) == RECORD
    assert read_job(folder.path) == RECORD
    later = replace(RECORD, created="later", pictures=True, command="another")
    resumed = replace(later, created=RECORD.created)
    assert folder.claim(later) == resumed
    assert read_job(folder.path) == resumed
    (folder.path / "job.json").write_text("{")
    assert folder.claim(later) == later
    assert read_job(folder.path) == later
    content = json.loads((folder.path / "job.json").read_text())
    content["identity"]["format"] = FORMAT + 1
    (folder.path / "job.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"identity.format' is {FORMAT + 1}, expected {FORMAT}:"):
        read_job(folder.path)


def test_speed_is_kept_with_the_identity_of_its_job(folder: JobFolder) -> None:
    assert folder.load_clock() is None
    assert BASE.speed is not None
    clock = ClockRecord(IDENTITY, BASE.speed, {"cpu": "x"}, 2.5)
    folder.save_clock(clock)
    assert folder.load_clock() == clock
    path = folder.path / "clock.json"
    assert json.loads(path.read_text()).keys() == asdict(clock).keys()
    folder.save_clock(replace(clock, identity=replace(IDENTITY, images=6)))
    with pytest.warns(RuntimeWarning, match=r"clock\.json .*its images is 6, expected 5"):
        assert folder.load_clock() is None
    path.write_text("{}")
    with pytest.warns(RuntimeWarning, match=r"clock\.json"):
        assert folder.load_clock() is None


def test_unfinished_jobs_are_listed(folder: JobFolder, tmp_path: Path) -> None:
    assert find_jobs(tmp_path) == []
    other = JobFolder(tmp_path / "parts" / "a-job", IDENTITY)
    for one in (folder, other):
        one.claim(RECORD)
    (tmp_path / "parts" / "no-job").mkdir()
    assert find_jobs(tmp_path) == [other.path, folder.path]


def test_files_of_a_result_that_an_interruption_has_left_are_deleted(tmp_path: Path) -> None:
    result, parts = tmp_path / "job.json", tmp_path / "parts"
    later = replace(RECORD, created="later")
    for name, record in (("job-1", RECORD), ("job-2", later), ("another-1", RECORD)):
        JobFolder(parts / name, IDENTITY).claim(record)
    for name in ("job-3", "job-4", "job-5"):
        (parts / name).mkdir()
    (parts / "job-3" / "clock.json").touch()  # of a share that was at work during the merge
    (parts / "job-4" / ".job.json.12.tmp").touch()  # a job that begins
    (parts / "job-5" / "job.json").write_text("{")
    delete_merged(result, RECORD.created)
    left = sorted(path.name for path in parts.iterdir())
    assert left == ["another-1", "job-2", "job-4", "job-5"]
    for name in left[1:]:
        shutil.rmtree(parts / name)
    delete_merged(tmp_path / "another.json", RECORD.created)
    assert not parts.exists()


def test_jobs_that_a_merge_has_to_find(tmp_path: Path) -> None:
    images, others = PlannedImages("x", 2, "ab"), PlannedImages("x", 2, "cd")
    parts = tmp_path / "parts"
    assert load_plans(tmp_path) == {}
    plan = Plan(images, ("a at 16 px", "é"))
    save_plan(tmp_path, plan)
    (first,) = parts.iterdir()
    assert load_plans(tmp_path) == {first: plan}
    save_plan(tmp_path, Plan(images, ("a at 16 px", "b")))
    save_plan(tmp_path, Plan(others, plan.jobs))
    save_plan(tmp_path, plan)  # another share of the first run
    assert len(load_plans(tmp_path)) == len([*parts.iterdir()]) == 3
    reduce_plans(tmp_path, lambda name, found: found == images and name != "é")
    assert load_plans(tmp_path)[first] == Plan(images, ("é",))
    assert {*load_plans(tmp_path).values()} == {Plan(images, ("é",)), Plan(others, plan.jobs)}
    (parts / "job").mkdir()
    reduce_plans(tmp_path, lambda name, found: True)
    assert [*parts.iterdir()] == [parts / "job"]
    (parts / "job").rmdir()
    for _ in range(2):
        reduce_plans(tmp_path, lambda name, found: True)
        assert not parts.exists()


def test_a_result_is_of_planned_images() -> None:
    images = PlannedImages.of(MemoryImages(dict.fromkeys(("a", "b", "c"))))
    whole = DataRecord("memory", 3, fingerprint(("a", "b", "c")), "pixels")
    assert images.match(whole)
    assert images.match(replace(whole, n=2, ids_sha256="of a and c", skipped=("b",)))
    for change in ({"name": "x"}, {"ids_sha256": "others"}, {"skipped": ("d",)}, {"n": 2}):
        assert not images.match(replace(whole, **change))


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ((0,), "2 of 5 images: chunk 0, from 'a' until 'c'"),
        ((2,), "1 of 5 images: chunk 2, from 'e' to the last"),
        ((1, 2), "3 of 5 images: chunk 1, from 'c' until 'e' and 1 further chunk"),
        ((0, 1, 2), "5 of 5 images: chunk 0, from 'a' until 'c' and 2 further chunks"),
    ],
)
def test_images_that_are_missing_are_named(chunks: tuple[int, ...], text: str) -> None:
    assert missing_images(RECORD, chunks) == text
