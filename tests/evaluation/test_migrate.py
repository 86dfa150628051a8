"""Rewriting a folder of older results: new names, the same numbers, and a run that resumes them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ssdd_bench.cli import run
from ssdd_bench.evaluation import migrate
from ssdd_bench.evaluation.migrate import migrate_folder
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.migrations import successors
from ssdd_bench.results.store import load_results

COMMAND = ["--tokenizers", "identity", "--res", "32", "--limit", "2", "--metrics", "mse", "--quiet"]


def measure(out: Path) -> Path:
    done = CliRunner().invoke(run.command, [*COMMAND, "--no-speed", "--out", str(out)])
    assert done.exit_code == 0, done.output
    (file,) = out.glob("*.json")
    return file


def make_old(file: Path, old_sha256: str) -> Path:
    """Write a result as version 3 would have, with that version's name."""
    data = json.loads(file.read_text())
    stem, environment = file.stem, data["environment"]
    execution = data.pop("execution")
    environment |= {key: execution[key] for key in ("device", "threads", "cudnn")}
    role = data["tokenizer"].pop("role")
    data["tokenizer"]["family"] = role
    data |= {"schema_version": 3, "protocol": {"id": "default-v1", "sha256": old_sha256}}
    old = file.with_name("old.json")
    data["scores"] = "scores/old.parquet"
    old.write_text(json.dumps(data))
    file.unlink()
    (file.parent / "scores" / f"{stem}.parquet").rename(file.parent / "scores" / "old.parquet")
    (file.parent / "samples" / f"{stem}.png").rename(file.parent / "samples" / "old.png")
    return old


@pytest.fixture
def old_sha256() -> str:
    return next(key for key, one in successors().items() if one["id"] == "default-v1")


def test_a_foreign_fingerprint_decides_the_new_one(tmp_path: Path, old_sha256: str) -> None:
    file = measure(tmp_path)
    before = load_results([file])[0]
    old = make_old(file, old_sha256)
    assert migrate_folder(tmp_path).keys() == {old}
    (after,) = load_results([tmp_path])
    assert after.metrics == before.metrics
    assert after.fingerprint == fingerprint([before.fingerprint, after.protocol["sha256"]])
    (new,) = tmp_path.glob("*.json")
    assert after.fingerprint[:10] in new.stem
    assert after.scores == f"scores/{new.stem}.parquet"
    assert (tmp_path / after.scores).is_file()
    assert (tmp_path / "samples" / f"{new.stem}.png").is_file()
    assert not migrate_folder(tmp_path)


def test_a_run_resumes_what_was_recomputed(tmp_path: Path, old_sha256: str) -> None:
    file = measure(tmp_path)
    old = make_old(file, old_sha256)
    data = json.loads(old.read_text())
    # The fingerprint that version 3 gave this job: today's with the old hash of the protocol.
    (result,) = load_results([old])
    images = migrate._hash_images(result.data)
    assert images is not None
    data["fingerprint"] = migrate._job_fingerprint(result, old_sha256, images)
    old.write_text(json.dumps(data))
    assert migrate_folder(tmp_path) == {old: file}
    written = file.stat().st_mtime_ns
    measure(tmp_path)
    assert file.stat().st_mtime_ns == written


def test_the_module_is_a_command(tmp_path: Path) -> None:
    measure(tmp_path)
    command = [sys.executable, "-m", "ssdd_bench.evaluation.migrate", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
