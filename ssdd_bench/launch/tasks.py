"""Groups of jobs, which launchers run: they share what is loaded once, and are cut into chunks.

A job is one row. Its images are cut into chunks, a function of their number alone; any worker may
take any chunk, saves what it found of it to disk, and whoever comes last merges the chunks in the
order of their numbers. So neither the number of workers, nor who took which chunk, nor an
interruption changes a result. Imports no torch.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ssdd_bench import errors
from ssdd_bench.errors import printable

R = TypeVar("R")


@dataclass(frozen=True)
class Problem:
    """An error as text, which any process can read; plugins raise what nobody else can unpickle.

    Attributes:
        kind: name of its type.
        text: its message.
        trace: its traceback.
    """

    kind: str
    text: str
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Problem:
        """Describe an error that is being handled."""
        trace = "".join(traceback.format_exception(error))
        return cls(type(error).__name__, printable(str(error)), printable(trace))

    @property
    def user_error(self) -> errors.UserError | None:
        """Return the error if its message is enough, see :class:`ssdd_bench.errors.UserError`."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, errors.UserError)):
            return None
        error = kind.__new__(kind, self.text)  # whatever arguments it was made of
        error.args = (self.text,)
        return error

    def describe(self, where: str) -> str:
        """Return its first line, and ``where`` its traceback is unless the message is enough."""
        if self.user_error:
            return next(iter(self.text.splitlines()), "")
        return f"{errors.describe_kind(self.kind, self.text)} ({where})"

    def __str__(self) -> str:
        return self.describe("--debug shows where")


@dataclass(frozen=True)
class Opened(Generic[R]):
    """A job as its worker finds it on disk.

    Attributes:
        images: number in each chunk.
        missing: numbers of the chunks that are not on disk, ascending.
        untimed: True if the clock is asked for and has not been read yet.
        result: of an earlier run, if it is complete; there is nothing to do then.
        folder: name of the folder that a merge makes the result of, "" if there is none.
    """

    images: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    untimed: bool = False
    result: R | None = None
    folder: str = ""

    @property
    def done(self) -> int:
        """Number of images in the chunks that are on disk."""
        return sum(self.images) - sum(self.images[chunk] for chunk in self.missing)


class Progress:
    """Receives the progress of a worker; does nothing by itself."""

    def images_done(self, count: int) -> None:
        """Take in that ``count`` more images are done."""

    def chunk_done(self, chunk: int) -> None:
        """Take in that a chunk is on disk."""

    def stage(self, name: str) -> None:
        """Take in the name of what follows the images: ``scores``, ``speed``."""


class Worker(ABC, Generic[R]):
    """Does the jobs of one group in one process; made by :meth:`Group.load`.

    What any method raises is the failure of that job, except ``DataError`` and ``OutputError``,
    which concern every job and end the run; see :class:`Problem`.
    """

    @abstractmethod
    def open(self, job: int) -> Opened[R]:
        """Look up what is left to do of a job, by its number in :attr:`Group.jobs`."""

    @abstractmethod
    def work(self, job: int, chunks: Sequence[int], progress: Progress) -> None:
        """Compute some chunks of an open job, in this order, and save each as soon as it is done.

        Images of consecutive chunks are loaded ahead, so many chunks in one call cost less.
        """

    def time(self, job: int, progress: Progress) -> None:
        """Read the clock for an open job that is untimed and save it; nothing else runs then."""

    @abstractmethod
    def finish(self, job: int, progress: Progress) -> R:
        """Merge all chunks of a job and save its result.

        Raises:
            UserError: a chunk is missing; names the images.
        """

    def close(self) -> None:
        """Free what was loaded; no method is called afterwards."""


class Group(ABC, Generic[R]):
    """Jobs that share what is loaded once, such as a tokenizer; goes to other processes by pickle.

    Attributes:
        name: for messages.
        jobs: name of each.
    """

    name: str
    jobs: tuple[str, ...]

    @abstractmethod
    def load(self, device: str) -> Worker[R]:
        """Load what the jobs need onto a device, as torch names it."""
