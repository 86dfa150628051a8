"""Ranks: processes that another launcher has started, such as torchrun, accelerate or srun.

Each computes a share of the work and saves it to its folder; then rank 0 merges. The folders are
one where the file system is shared; otherwise the files travel to rank 0, one at a time. Ranks talk
by gloo, on CPU memory: what they compute with is theirs alone. Imports torch when it is used.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

from ssdd_bench.errors import OutputError, UserError
from ssdd_bench.launch.shares import Share

logger = logging.getLogger(__name__)

PORTS: Final = range(20_000, 60_000)
"""Ports that steps of SLURM choose from, by the number of the job."""

PATIENCE: Final = 15.0
"""Seconds after which a rank says that it waits for others."""

Starter = Literal["torchrun", "srun"]
"""Program by whose variables ranks are known; accelerate sets those of torchrun."""
_ADVICE: Final[Mapping[Starter, str]] = {
    "torchrun": "for a run of one process, unset RANK, WORLD_SIZE and MASTER_ADDR",
    "srun": "for a run of one process, unset SLURM_STEP_NUM_TASKS, or use srun --ntasks=1",
}

_stores: Final[list[Any]] = []
_connections: Final = count()


@dataclass(frozen=True)
class Rank:
    """One of the processes of a launch.

    Attributes:
        rank: its number, from 0.
        count: number of ranks.
        local: its number among those of its machine, which is that of its GPU.
        local_count: number of ranks of its machine.
        starter: program that started the ranks.
    """

    rank: int
    count: int
    local: int
    local_count: int
    starter: Starter = "torchrun"

    @property
    def share(self) -> Share:
        """Return the share of the work."""
        return Share(self.rank, self.count)


def find_rank(environment: Mapping[str, str] | None = None) -> Rank | None:
    """Return the rank of this process; None if no other launcher started it with others.

    torchrun and accelerate set RANK and its kin. In a step of SLURM with several tasks its
    variables are translated to those, which ``torch.distributed`` reads.

    Args:
        environment: by default, that of this process.

    Raises:
        UserError: a variable is no number, or the rank is not below the number of ranks.
    """
    found = os.environ if environment is None else environment
    starter: Starter
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= found.keys():
        starter = "torchrun"
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    elif "SLURM_STEP_NUM_TASKS" in found:
        starter = "srun"
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "")
    else:
        return None
    number = partial(_number, found, advice=_ADVICE[starter])
    rank, count = map(number, names[:2])
    if rank >= count:
        raise UserError(f"{names[0]} is {rank}, and {names[1]} {count}: {_ADVICE[starter]}")
    local = number(names[2]) if names[2] in found else 0
    tasks = re.match(r"\d+", found.get("SLURM_STEP_TASKS_PER_NODE", ""))
    local_count = int(tasks[0]) if tasks else count
    if names[3] in found:
        local_count = number(names[3])
    return Rank(rank, count, local, local_count, starter) if count > 1 else None


def _number(environment: Mapping[str, str], name: str, advice: str) -> int:
    text = environment[name]
    if not re.fullmatch("[0-9]+", text):
        raise UserError(f"{name} is '{text}', expected a number: {advice}")
    return int(text)


class Ranks:
    """The connection of this rank to all others.

    Args:
        own: this rank.
        timeout: seconds to wait for others, to meet and to receive.
    """

    def __init__(self, own: Rank, timeout: float) -> None:
        self.own = own
        self._timeout = timedelta(seconds=timeout)

    @contextmanager
    def connected(self) -> Iterator[Ranks]:
        """Connect to all ranks for a ``with`` block.

        Raises:
            UserError: some rank did not come in time.
        """
        import torch.distributed as dist
        from torch._C._distributed_c10d import PrefixStore

        for name, value in _address().items():
            os.environ.setdefault(name, value)
        own, timeout = self.own, self._timeout
        waiting = threading.Timer(PATIENCE, self._say_that_it_waits)
        waiting.daemon = True
        waiting.start()
        try:
            with _signals_end_at_once():
                # The store of torchrun outlives a restart, and in it the addresses of dead ranks;
                # the second connection of a program must not find those of the first.
                attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
                store = PrefixStore(f"ssdd-bench/{attempt}/{next(_connections)}", self._store())
                dist.init_process_group(
                    "gloo", store=store, rank=own.rank, world_size=own.count, timeout=timeout
                )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"rank {own.rank} of {own.count} found no others: {_first_line(error)}; "
                f"{_ADVICE[own.starter]}"
            ) from error
        finally:
            waiting.cancel()
        try:
            yield self
        finally:
            dist.destroy_process_group()

    def _say_that_it_waits(self) -> None:
        own, place = self.own, os.environ.get("MASTER_ADDR", "")
        advice = _ADVICE[own.starter]
        logger.info(
            "rank %d of %d waits for the others at %s; %s", own.rank, own.count, place, advice
        )

    def _store(self) -> Any:
        """Return the store by which ranks find each other, the same for every connection."""
        from torch.distributed.rendezvous import rendezvous

        if not _stores:
            own = self.own
            found = next(rendezvous("env://", own.rank, own.count, timeout=self._timeout))
            _stores.append(found[0])
        return _stores[0]

    def meet(self) -> None:
        """Wait until all ranks are here.

        Raises:
            UserError: a rank is dead or late; rank 0 names it.
        """
        import torch.distributed as dist

        with self._naming_the_dead():
            dist.monitored_barrier(timeout=self._timeout, wait_all_ranks=True)

    @contextmanager
    def in_turn(self, one_by_one: bool) -> Iterator[Callable[[], None]]:
        """Let ranks of a machine do something one after another.

        Args:
            one_by_one: False has all of them do it at the same time.

        Yields:
            A function that waits until all ranks are here and it is the turn of this one. The block
            must call it once; its turn ends with the block.
        """
        turn = self.own.local if one_by_one else 0
        turns = max(self.gather(self.own.local_count if one_by_one else 1))

        def wait() -> None:
            for _ in range(turn + 1):
                self.meet()

        yield wait
        for _ in range(turns - turn):
            self.meet()

    def gather(self, value: Any) -> list[Any]:
        """Return what each rank gives, by its number; all call this.

        Raises:
            UserError: a rank is dead or late.
        """
        import torch.distributed as dist

        found: list[Any] = [None] * self.own.count
        with self._naming_the_dead():
            dist.all_gather_object(found, value)
        return found

    @contextmanager
    def _naming_the_dead(self) -> Iterator[None]:
        try:
            with _signals_end_at_once():
                yield
        except RuntimeError as error:
            reason = _missing(str(error)) or f"a rank is dead or too late: {_first_line(error)}"
            raise UserError(
                f"rank {self.own.rank}: {reason}. What is finished is on disk: "
                "run the same command to resume"
            ) from error

    def collect(self, out: Path, folder: str, pattern: str = "**/*") -> None:
        """Bring the files of all ranks together where rank 0 can read them.

        Ranks that see the folder of rank 0 have nothing to do. From others, one after another,
        files travel one at a time, and are deleted there.

        Args:
            out: folder of this rank.
            folder: below it, that files are in.
            pattern: of their paths, below that folder.
        """
        shared = self._see_folder_of_first(out)
        with self._naming_the_dead():
            for rank in (number for number, seen in enumerate(shared) if not seen):
                if self.own.rank == rank:
                    self._send(out, folder, pattern)
                elif self.own.rank == 0:
                    self._receive(out, rank)

    def _see_folder_of_first(self, out: Path) -> list[bool]:
        """Return, for each rank, True if its folder is that of rank 0."""
        token = out / f".shared-{self.gather(uuid.uuid4().hex)[0]}"
        try:
            if self.own.rank == 0:
                token.touch()
            self.meet()
            seen = self.gather(token.exists())
        except OSError as error:
            raise OutputError(f"cannot write into {out}: {error.strerror or error}") from error
        finally:
            if self.own.rank == 0:
                token.unlink(missing_ok=True)
        return seen

    def _send(self, out: Path, folder: str, pattern: str) -> None:
        import torch
        import torch.distributed as dist

        files = sorted(path for path in (out / folder).glob(pattern) if path.is_file())
        names = [(path.relative_to(out).as_posix(), path.stat().st_size) for path in files]
        dist.send_object_list([names], dst=0)
        for path, (_, size) in zip(files, names, strict=True):
            if size:
                dist.send(torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8), dst=0)
        dist.recv(torch.empty(1), src=0)  # All of them are on disk there.
        for path in files:
            path.unlink()

    def _receive(self, out: Path, rank: int) -> None:
        import torch
        import torch.distributed as dist

        from ssdd_bench.results.files import write_atomically

        found: list[Any] = [None]
        dist.recv_object_list(found, src=rank)
        for name, size in found[0]:
            data = torch.empty(size, dtype=torch.uint8)
            if size:
                dist.recv(data, src=rank)
            if not (out / name).exists():
                content = data.numpy().tobytes()
                write_atomically(out / name, partial(_write, content=content))
        dist.send(torch.ones(1), dst=rank)


@contextmanager
def _signals_end_at_once() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the process: Python's handlers wait for the end of a call of gloo.

    Nothing is lost, since no worker runs while ranks talk, and files are written atomically.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _address() -> dict[str, str]:
    """Return where the ranks of a step of SLURM meet: the first node, at a port of the job."""
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")
    if not nodes:
        return {}
    number = int(os.environ["SLURM_JOB_ID"]) * 7 + int(os.environ.get("SLURM_STEP_ID", 0))
    return {"MASTER_ADDR": _first_node(nodes), "MASTER_PORT": str(PORTS[number % len(PORTS)])}


def _first_node(nodes: str) -> str:
    """Return the first name of a list such as ``gpu[03-05,7],cpu1``."""
    command = ["scontrol", "show", "hostnames", nodes]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return re.sub(r"\[(\w+).*", r"\1", nodes.partition(",")[0])


def _missing(message: str) -> str:
    """Return the ranks that torch names in its error."""
    found = re.search(r"Rank[s]? ([\d, ]+) failed to pass", message)
    return f"rank {found[1].strip(' ,')} is dead or too late" if found else ""


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
