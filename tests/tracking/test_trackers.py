"""Trackers, offline: the numbers arrive, and a tracker that cannot start is one line."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssdd_bench.errors import PluginError
from ssdd_bench.tracking import trackers as module
from ssdd_bench.tracking.trackers import (
    TRACKERS,
    Trackers,
    check_trackers,
    flatten,
    start_trackers,
)

ROOT = Path(__file__).parents[2]
CONFIG = {"stage": "klvae", "optimiser": {"lr": 0.1}, "sizes": [1, 2]}
LOG = """
import sys
from pathlib import Path
from ssdd_bench.tracking.trackers import start_trackers
with start_trackers([sys.argv[1]], Path(sys.argv[2]), "mine", {"a": {"b": 1}}) as trackers:
    trackers.log({"train/l1": 0.5}, 1)
    trackers.log({"train/l1": 0.25}, 2)
"""


def needs(name: str) -> pytest.MarkDecorator:
    absent = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed")


def log_in_a_program(name: str, folder: Path, **environment: str) -> None:
    """Log two numbers in a process of its own, since some trackers leave processes behind."""
    done = subprocess.run(
        [sys.executable, "-c", LOG, name, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@needs("tensorboard")
def test_tensorboard_holds_the_numbers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with start_trackers(["tensorboard", "tensorboard"], tmp_path, "mine", CONFIG) as trackers:
        for step in (1, 2, 3):
            trackers.log({"train/l1": 1 / step}, step)
    files = list((tmp_path / "tensorboard").glob("events*"))
    assert len(files) == 1  # named twice, started once
    read = EventAccumulator(str(files[0]))
    read.Reload()
    found = [(one.step, one.value) for one in read.Scalars("train/l1")]
    assert found == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert "klvae" in next((tmp_path / "tensorboard").rglob("hparams.yml")).read_text()


@pytest.mark.slow
@needs("wandb")
def test_wandb_offline(tmp_path: Path) -> None:
    log_in_a_program("wandb", tmp_path, WANDB_MODE="offline", WANDB_SILENT="true")
    (file,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert b"train/l1" in file.read_bytes()


@pytest.mark.slow
@needs("trackio")
def test_trackio_local(tmp_path: Path) -> None:
    import sqlite3

    log_in_a_program("trackio", tmp_path, TRACKIO_DIR=str(tmp_path))
    with sqlite3.connect(tmp_path / f"{module.PROJECT}.db") as database:
        rows = database.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    assert [step for step, _ in rows] == [1, 2]
    assert "train/l1" in str(rows[0][1])


@pytest.mark.slow
@needs("mlflow")
def test_mlflow_in_files(tmp_path: Path) -> None:
    uri = (tmp_path / "mlruns").as_uri()
    log_in_a_program("mlflow", tmp_path, MLFLOW_TRACKING_URI=uri, MLFLOW_ALLOW_FILE_STORE="true")
    (file,) = tmp_path.glob("mlruns/*/*/metrics/train/l1")
    assert [line.split()[1:] for line in file.read_text().splitlines()] == [
        ["0.5", "1"],
        ["0.25", "2"],
    ]
    assert next(tmp_path.glob("mlruns/*/*/params/a.b")).read_text() == "1"


def test_no_tracker_needs_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with start_trackers([], tmp_path / "out", "mine", CONFIG) as trackers:
        trackers.log({"a": 1.0}, 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda package: None)
    with pytest.raises(PluginError, match=rf"{name} is not installed here: pip install .*{name}"):
        check_trackers([name])


class Failing:
    """A tracker that starts, and one that does not."""

    finished = 0

    def __init__(self, project: str, **options: object) -> None:
        self.options = options

    def start(self) -> None:
        if "name" in self.options:
            raise RuntimeError("no key\ngo to the site")

    def store_init_configuration(self, config: object) -> None:
        pass

    def finish(self) -> None:
        Failing.finished += 1


def test_a_tracker_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch) -> None:
    from accelerate import tracking

    monkeypatch.setattr(module, "find_spec", lambda name: object())
    for name in ("tensorboard", "wandb"):
        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Failing)
    started = start_trackers(["tensorboard", "wandb"], tmp_path, "mine", {})
    with pytest.raises(PluginError, match=r"^wandb does not start: no key$"), started:
        pass
    assert Failing.finished == 1  # the one that had started


def test_a_tracker_that_does_not_finish_is_named(tmp_path: Path, monkeypatch, caplog) -> None:
    from accelerate import tracking

    class Full(Failing):
        name = "full"

        def finish(self) -> None:
            super().finish()
            raise OSError(28, "no space")

    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(Full, "start", lambda self: None)
    monkeypatch.setattr(Failing, "finished", 0)
    for name in ("tensorboard", "wandb"):
        monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Full)
    with start_trackers(["tensorboard", "wandb"], tmp_path, "mine", {}):
        pass
    assert Failing.finished == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert all("full" in text and "no space" in text for text in caplog.messages)


@pytest.mark.slow
@needs("tensorboard")
def test_other_processes_are_not_waited_for(tmp_path: Path) -> None:
    """A rank of torchrun starts trackers for itself; its variables stay."""
    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
    log_in_a_program("tensorboard", tmp_path, **variables)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_nested_settings_become_flat() -> None:
    assert flatten(CONFIG) == {"stage": "klvae", "optimiser.lr": 0.1, "sizes": "[1, 2]"}
    assert len(str(flatten({"a": "x" * 999})["a"])) == module.MAX_TEXT
    assert flatten({"a": None, "b": {"c": True}}) == {"a": "None", "b.c": True}


@pytest.mark.medium
def test_a_tracker_that_fails_later_does_not_end_the_work(caplog) -> None:
    class Broken:
        name = "broken"

        def log(self, values: dict, step: int) -> None:
            raise ConnectionError("gone\nfor good")

    class Sound:
        steps: list[int] = []  # noqa: RUF012

        def log(self, values: dict, step: int) -> None:
            self.steps.append(step)

    trackers = Trackers([Broken(), Sound()])
    with caplog.at_level("WARNING"):
        for step in (1, 2):
            trackers.log({"a": 1.0}, step)
    assert Sound.steps == [1, 2]
    assert [one.getMessage() for one in caplog.records] == ["broken is not followed any more: gone"]


def test_trackers_take_a_copy() -> None:
    class Greedy:
        def log(self, values: dict, step: int) -> None:
            assert step == 3
            values.clear()

    values = {"a": 1.0}
    Trackers([Greedy()]).log(values, 3)
    assert values == {"a": 1.0}
