"""Findings about files of a repository of results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ssdd_bench.errors import one_line, printable

LONGEST: Final = 300
"""Characters of a finding's text."""


class Problem(StrEnum):
    """Kinds of problems that a result file or a repository can have."""

    NO_FILE = "no-file"
    UNREADABLE = "unreadable"
    SCHEMA = "schema"
    STRAY = "stray"
    PLACE = "place"
    DUPLICATE = "duplicate"
    PROTOCOL_UNKNOWN = "protocol-unknown"
    PROTOCOL_HASH = "protocol-hash"
    PROTOCOL_SUPERSEDED = "protocol-superseded"
    PROTOCOL_ALTERED = "protocol-altered"
    FINGERPRINT = "fingerprint"
    CHECKSUM = "checksum"
    VALUE = "value"


FIXES: Final = {
    Problem.NO_FILE: "Give the path of a result file; a link needs a copy of its file in its place",
    Problem.UNREADABLE: "Delete the file and measure again",
    Problem.SCHEMA: "Measure again with this version of ssdd-bench, or move what is no result",
    Problem.STRAY: "Remove it: only result files and their scores belong here",
    Problem.PLACE: "Move it there, or let ssdd-bench publish place it",
    Problem.DUPLICATE: "Keep one of the two",
    Problem.PROTOCOL_UNKNOWN: "Measure with a protocol of ssdd-bench list protocols",
    Problem.PROTOCOL_HASH: "Measure again, or give the protocol a name of its own",
    Problem.PROTOCOL_SUPERSEDED: "Kept, and not ranked with results of the present version",
    Problem.PROTOCOL_ALTERED: "Restore the file as the run wrote it",
    Problem.FINGERPRINT: "Restore the file as the run wrote it",
    Problem.CHECKSUM: "Measure with weights whose sha256 the plugin records",
    Problem.VALUE: "Restore the file as the run wrote it, or measure again",
}

NOTES: Final = frozenset({Problem.PROTOCOL_SUPERSEDED})
"""Findings that refuse no file."""
INCOMPARABLE: Final = NOTES | {Problem.PROTOCOL_UNKNOWN, Problem.PROTOCOL_HASH}
"""Findings about a sound file that does not compare with results of this installation."""


@dataclass(frozen=True)
class Finding:
    """One problem of one file.

    Attributes:
        file: path, as it was given or in the repository.
        problem: kind.
        text: what is wrong, with the value; becomes one short line.
    """

    file: str
    problem: Problem
    text: str

    def __post_init__(self) -> None:
        text = " ".join(self.text.split())
        short = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        object.__setattr__(self, "text", printable(short))

    @property
    def is_note(self) -> bool:
        """True if nothing is wrong with the file."""
        return self.problem in NOTES

    @property
    def fix(self) -> str:
        """Advice, in one sentence."""
        return FIXES[self.problem]

    def __str__(self) -> str:
        file = one_line(self.file)
        return f"{file}: {self.text} [{self.problem}]. {self.fix}."
