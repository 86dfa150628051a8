"""Assignment of work, and the cost of a plugin that breaks: its own jobs and nothing else."""

import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from dummy_groups import SIZE, Run, read_log

from ssdd_bench.errors import DataError
from ssdd_bench.launch.scheduler import Shares

GROUPS: dict[str, dict[str, int | str]] = {
    "a": {"large": 13, "small": 1, "empty": 0},
    "b": {"one": 5},
    "c": {"x": 2, "y": 3},
}
RESULTS = {
    "a/large": " ".join(f"0.{chunk}" for chunk in range(13)),
    "a/small": "1.0",
    "a/empty": "",
    "b/one": "0.0 0.1 0.2 0.3 0.4",
    "c/x": "0.0 0.1",
    "c/y": "1.0 1.1 1.2",
}
METHODS = "load", "open", "work", "finish", "time"
WORK_OR_SLOW = [
    "work",
    *(pytest.param(one, marks=pytest.mark.slow) for one in METHODS if one != "work"),
]
ONE, TWO = (pytest.param(count, marks=pytest.mark.slow) for count in (1, 2))
OTHERS: dict[str, dict[str, int | str]] = {"before": {"fine": 4}, "after": {"fine": 4}}


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 7])
def test_every_chunk_is_computed_once(run_dummies: Run, tmp_path: Path, workers: int) -> None:
    seen = run_dummies(GROUPS, workers)
    assert seen.results == RESULTS
    assert not seen.failures
    assert seen.images == {name: SIZE * len(found.split()) for name, found in RESULTS.items()}
    computed = [(row[0], *row[4:]) for row in read_log(tmp_path) if row[3] == "chunk"]
    assert len(computed) == len(set(computed)) == 24


@pytest.mark.medium
def test_idle_workers_help_where_chunks_are_left(run_dummies: Run, tmp_path: Path) -> None:
    run_dummies({"a": {"large": 60}}, 3)
    log = read_log(tmp_path)
    by_process = {row[1]: [one[5] for one in log if one[1] == row[1] and one[3] == "chunk"]
                  for row in log}  # fmt: skip
    assert len(by_process) == 3
    assert min(map(len, by_process.values())) > 0
    assert all(chunks == sorted(chunks) for chunks in by_process.values())


@pytest.mark.medium
def test_a_process_serves_one_group(run_dummies: Run, tmp_path: Path) -> None:
    run_dummies(GROUPS, 1)
    assert len({row[1] for row in read_log(tmp_path)}) == len(GROUPS)
    assert os.getpid() not in {row[1] for row in read_log(tmp_path)}


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_on_disk_is_not_computed_again(
    run_dummies: Run, tmp_path: Path, workers: int
) -> None:
    run_dummies(GROUPS)
    (tmp_path / "a-large-result").unlink()
    (tmp_path / "a-large-7").unlink()
    (tmp_path / "log").unlink()
    assert run_dummies(GROUPS, workers).results == RESULTS
    assert [row[4:] for row in read_log(tmp_path) if row[3] == "chunk"] == [[0, 7]]


@pytest.mark.parametrize("workers", [0, ONE, TWO])
@pytest.mark.parametrize("method", WORK_OR_SLOW)
@pytest.mark.parametrize("fault", ["raise", "user error", "sys.exit"])
def test_what_a_plugin_raises_fails_its_jobs(
    run_dummies: Run, method: str, fault: str, workers: int
) -> None:
    broken: dict[str, int | str] = {"first": 2, "bad": f"{method} {fault}", "last": 2}
    seen = run_dummies(
        {"before": {"fine": 4}, "broken": broken, "after": {"fine": 4}}, workers, clock=True
    )
    failed = {"broken/bad"} if method != "load" else {f"broken/{job}" for job in broken}
    assert seen.failures.keys() == failed
    assert len(seen.results) == 5 - len(failed)
    (problem, *_) = seen.failures.values()
    kinds = {"raise": "Unpicklable", "user error": "UserError", "sys.exit": "SystemExit"}
    assert problem.kind == kinds[fault]
    assert bool(problem.user_error) == (fault == "user error")
    assert "dummy_groups.py" in problem.trace


@pytest.mark.medium
@pytest.mark.parametrize("workers", [1, TWO])
@pytest.mark.parametrize("method", WORK_OR_SLOW)
@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ("os._exit", "code 0"),
        pytest.param("segfault", "SIGSEGV", marks=pytest.mark.slow),
        pytest.param("kill", "SIGKILL", marks=pytest.mark.slow),
    ],
)
def test_a_worker_that_dies_is_tried_once_more(
    run_dummies: Run, tmp_path: Path, method: str, fault: str, word: str, workers: int
) -> None:
    groups = {**OTHERS, "broken": {"first": 2, "bad": f"{method} {fault}", "last": 2}}
    seen = run_dummies(groups, workers, clock=True)
    lost = ["bad"] if method != "load" else ["first", "bad", "last"]
    assert seen.failures.keys() == {f"broken/{job}" for job in lost}
    assert {problem.kind for problem in seen.failures.values()} == {"WorkerDied"}
    assert word in seen.failures["broken/bad"].text
    assert len(seen.results) == 5 - len(lost)
    assert {found.split()[-1] for found in seen.results.values()} == {"timed"}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, TWO])
@pytest.mark.parametrize("method", ["work", "finish", "time"])
def test_what_a_worker_saved_counts_though_it_could_not_tell(
    run_dummies: Run, tmp_path: Path, method: str, workers: int
) -> None:
    seen = run_dummies({"a": {"job": f"{method} close files"}, **OTHERS}, workers, clock=True)
    assert seen.results["a/job"] == "0.0 0.1 0.2 timed"
    assert seen.images["a/job"] == 3 * SIZE
    chunks = [row[5] for row in read_log(tmp_path) if row[0] == "a" and row[3] == "chunk"]
    assert sorted(chunks) == [0, 1, 2], "none is computed again"


@pytest.mark.medium
def test_an_interrupt_that_a_plugin_raises_is_its_failure(run_dummies: Run) -> None:
    seen = run_dummies({"broken": {"bad": "work interrupt"}, **OTHERS}, 1)
    assert seen.failures["broken/bad"].kind == "KeyboardInterrupt"
    assert len(seen.results) == 2


@pytest.mark.medium
@pytest.mark.parametrize("method", ["load", "open", "work", "finish"])
def test_a_worker_that_died_once_costs_nothing(
    run_dummies: Run, tmp_path: Path, method: str
) -> None:
    seen = run_dummies({"a": {"job": f"{method} segfault once"}, **OTHERS}, 2)
    assert seen.results["a/job"] == "0.0 0.1 0.2"
    assert not seen.failures
    computed = [row[5] for row in read_log(tmp_path) if row[0] == "a" and row[3] == "chunk"]
    assert sorted(computed) == [0, 1, 2]


@pytest.mark.medium
def test_images_of_a_chunk_that_was_lost_are_counted_once(run_dummies: Run) -> None:
    """The worker counts them, and dies before they are saved."""
    seen = run_dummies({"a": {"job": "save kill once"}}, 1)
    assert seen.results["a/job"] == "0.0 0.1 0.2"
    assert seen.images["a/job"] == 3 * SIZE


@pytest.mark.slow
@pytest.mark.parametrize("method", ["load", "work"])
def test_a_hang_ends_at_the_timeout(run_dummies: Run, method: str) -> None:
    started = time.monotonic()
    seen = run_dummies({"a": {"job": f"{method} hang"}, **OTHERS}, 2, timeout=1.5)
    assert time.monotonic() - started < 8
    assert seen.failures["a/job"].kind == "Timeout"
    assert "1.5" in seen.failures["a/job"].text
    assert len(seen.results) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_end_the_run(run_dummies: Run, workers: int) -> None:
    with pytest.raises(DataError, match="bad images"):
        run_dummies({"a": {"job": "work bad images"}, **OTHERS}, workers)


@pytest.mark.medium
def test_the_clock_is_read_while_all_others_are_idle(run_dummies: Run, tmp_path: Path) -> None:
    seen = run_dummies(GROUPS, 3, clock=True)
    assert {found.split()[-1] for found in seen.results.values()} == {"timed"}
    log = read_log(tmp_path)
    spans = sorted((row[5], row[2]) for row in log if row[3] == "clock")
    assert len(spans) == len(RESULTS)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    last = max(row[2] for row in log if row[3] == "chunk")
    assert spans[0][0] > last
    assert seen.stages == ["speed"] * len(RESULTS)


def test_one_worker_reads_the_clock_after_each_job(run_dummies: Run, tmp_path: Path) -> None:
    run_dummies({"a": {"x": 1, "y": 1}}, 1, clock=True)
    log = [row[3:5] for row in read_log(tmp_path) if row[3] in ("chunk", "clock")]
    assert log == [["chunk", 0], ["clock", 0], ["chunk", 1], ["clock", 1]]


@pytest.mark.medium
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_clocks_wait_until_all_is_quiet(run_dummies: Run, tmp_path: Path, workers: int) -> None:
    quiet: list[float] = []
    shares: Shares = {(0, 0): range(2), (0, 1): range(1, 2)}
    groups: dict[str, dict[str, int | str]] = {"a": {"x": 3, "y": 3}, "b": {"z": 1}}
    run_dummies(
        groups, workers, clock=True, shares=shares, quiet=lambda: quiet.append(time.monotonic())
    )
    log = read_log(tmp_path)
    (clock,) = (row for row in log if row[3] == "clock")
    assert clock[:1] + clock[4:5] == ["a", 0]
    assert max(row[2] for row in log if row[3] == "chunk") < quiet[0] < clock[5]
    run_dummies(groups, workers, shares={}, quiet=lambda: quiet.append(0))
    assert len(quiet) == 2


def test_shares_compute_their_chunks_and_finish_nothing(run_dummies: Run, tmp_path: Path) -> None:
    shares: list[Shares] = [
        {(0, 0): range(9)},
        {(0, 0): range(9, 13), (0, 1): range(1), (1, 0): range(2)},
        {(1, 0): range(2, 5), (2, 0): range(2), (2, 1): range(3)},
    ]
    for share in shares[::-1]:
        assert not run_dummies(GROUPS, 0, clock=True, shares=share).results
    log = read_log(tmp_path)
    assert len([row for row in log if row[3] == "chunk"]) == 24
    clocks = sorted((row[0], row[4]) for row in log if row[3] == "clock")
    assert clocks == [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1)]
    seen = run_dummies(GROUPS, 0)
    assert seen.results == RESULTS
    assert len([row for row in read_log(tmp_path) if row[3] == "chunk"]) == 24


@pytest.mark.medium
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_workers_change_no_result(run_dummies: Run, tmp_path: Path, seed: int) -> None:
    """Each is killed at most once over a chunk, since the killer takes the process of each once."""
    stop, killed = threading.Event(), set()

    def killer() -> None:
        while not stop.wait(0.15):
            for row in read_log(tmp_path) if (tmp_path / "log").exists() else []:
                if row[3] == "chunk" and row[5] == 3 and row[1] not in killed and len(killed) < 4:
                    killed.add(row[1])
                    try:
                        os.kill(row[1], signal.SIGKILL)
                    except ProcessLookupError:
                        continue

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        seen = run_dummies({name: {"job": 30} for name in "ab"}, 2)
    finally:
        stop.set()
        thread.join()
    assert seen.results == {f"{name}/job": " ".join(f"0.{i}" for i in range(30)) for name in "ab"}
    assert seen.images == {"a/job": 30 * SIZE, "b/job": 30 * SIZE}
    assert killed
