"""Ranks that torchrun or SLURM started: who they are, and what they do together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssdd_bench.errors import UserError
from ssdd_bench.launch import ranks as module
from ssdd_bench.launch.ranks import Rank, Ranks, find_rank

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "here"}  # fmt: skip
SRUN = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1",
        "SLURM_STEP_TASKS_PER_NODE": "2(x4)"}  # fmt: skip


@pytest.mark.parametrize(("environment", "starter"), [(TORCHRUN, "torchrun"), (SRUN, "srun")])
def test_a_rank_is_found_in_the_environment(
    environment: dict[str, str], starter: module.Starter
) -> None:
    found = find_rank(environment)
    assert found == Rank(3, 8, 1, 2, starter)
    assert str(found.share) == "3/8"


@pytest.mark.parametrize(
    "environment",
    [{}, {"RANK": "0"}, {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"}, {"SLURM_PROCID": "0"}],
)
def test_one_process_is_no_rank(environment: dict[str, str]) -> None:
    assert find_rank(environment) is None


@pytest.mark.parametrize(
    ("name", "value"), [("RANK", "abc"), ("RANK", "8"), ("WORLD_SIZE", ""), ("LOCAL_RANK", "-1")]
)
def test_variables_that_make_no_rank_are_named(name: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} is '?{value}'?,.* unset RANK, "):
        find_rank({**TORCHRUN, name: value})


def test_the_variables_of_the_program_that_started_ranks_are_named() -> None:
    with pytest.raises(UserError, match=r"^SLURM_PROCID is 'x',.* unset SLURM_STEP_NUM_TASKS"):
        find_rank({**SRUN, "SLURM_PROCID": "x"})


RANKS = """
import os, sys, time
from pathlib import Path
from ssdd_bench.launch.ranks import Ranks, find_rank
out, what = Path(sys.argv[1]), sys.argv[2]
own = find_rank()
if what == "apart":
    out = out / str(own.rank)
(out / "parts" / "a").mkdir(parents=True, exist_ok=True)
with Ranks(own, 5).connected() as ranks:
    ranks.meet()
    if what == "dead" and own.rank == 1:
        os._exit(3)
    (out / "parts" / "a" / f"{own.rank}.bin").write_bytes(bytes([own.rank]) * 100_000)
    (out / "parts" / "a" / "all").write_text("")
    ranks.meet()
    assert ranks.gather(own.rank) == [0, 1, 2]
    ranks.collect(out, "parts")
    ranks.meet()
    if own.rank == 0:
        found = sorted(path.name for path in (out / "parts" / "a").iterdir())
        assert found == ["0.bin", "1.bin", "2.bin", "all"], found
        assert (out / "parts" / "a" / "2.bin").read_bytes() == bytes([2]) * 100_000
        assert [path.name for path in out.iterdir() if path.name[0] == "."] == []
    elif what == "apart":
        assert not list((out / "parts" / "a").iterdir())
print("fine")
"""


FULL = """
import sys
from pathlib import Path
from ssdd_bench.errors import OutputError
from ssdd_bench.launch.ranks import Ranks, find_rank
from ssdd_bench.results import files
own = find_rank()
out = Path(sys.argv[1]) / str(own.rank)
(out / "parts").mkdir(parents=True)
if own.rank == 2:
    for name in "ab":
        (out / "parts" / name).write_text(name)
write = files.write_atomically
def full(path, *rest):
    if path.name == "b":
        raise OutputError("the disk is full")
    write(path, *rest)
files.write_atomically = full
with Ranks(own, 5).connected() as ranks:
    ranks.collect(out, "parts")
"""


def start_ranks(folder: Path, what: str, code: str = RANKS) -> list[tuple[int, str, str]]:
    """Start three ranks without torchrun, which would end all when one dies."""
    port = str(29_000 + os.getpid() % 1000)
    processes = []
    for rank in range(3):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "3"}
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", code, str(folder), what],
                env={**os.environ, **ranks, **address},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    found = [process.communicate(timeout=100) for process in processes]
    codes = [process.returncode for process in processes]
    return [(code, *texts) for code, texts in zip(codes, found, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["together", "apart"])
def test_files_come_together_at_rank_0(tmp_path: Path, what: str) -> None:
    for code, out, err in start_ranks(tmp_path, what):
        assert (code, out) == (0, "fine\n"), err


@pytest.mark.slow
def test_files_stay_until_rank_0_has_saved_them(tmp_path: Path) -> None:
    first, _, last = start_ranks(tmp_path, "", FULL)
    assert "OutputError: the disk is full" in first[2]
    assert "UserError: rank 2: " in last[2]
    assert sorted(path.name for path in (tmp_path / "2" / "parts").iterdir()) == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("starter", "variable"), [("torchrun", "WORLD_SIZE"), ("srun", "SLURM_STEP_NUM_TASKS")]
)
def test_a_rank_without_others_says_that_it_waits(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    starter: module.Starter,
    variable: str,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    monkeypatch.setattr(module, "_stores", [])
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(28_000 + os.getpid() % 1000))
    caplog.set_level("INFO", "ssdd_bench")
    ranks = Ranks(Rank(0, 2, 0, 2, starter), 2)
    with pytest.raises(UserError, match=f"rank 0 of 2.*{variable}"), ranks.connected():
        pass
    assert "waits for the others at 127.0.0.1" in caplog.text
    assert variable in caplog.text


@pytest.mark.slow
def test_a_dead_rank_is_named(tmp_path: Path) -> None:
    first, dead, other = start_ranks(tmp_path, "dead")
    assert dead[0] == 3
    assert first[0] == other[0] == 1
    assert "UserError: rank 0: rank 1 is dead or too late." in first[2]
