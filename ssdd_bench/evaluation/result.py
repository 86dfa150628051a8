"""An evaluation's result in Python: the record, the scores of single images, and how it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.environment import describe_environment, hide_home
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.results.files import write_atomically
from ssdd_bench.results.pictures import LOSSLESS, save_pictures
from ssdd_bench.results.places import path_of, scores_place
from ssdd_bench.results.schema import NUMBERS_VERSION, MetricValue, Result
from ssdd_bench.results.store import load_saved, save_result

if TYPE_CHECKING:
    import pandas as pd

TEXT_WIDTH = 120
"""Characters in a line of a printed table."""


@dataclass(frozen=True)
class Evaluation(Result):
    """A complete result, with what a result file does not hold.

    ``print`` shows it as a table, a notebook as an HTML one.

    Attributes:
        per_image: score by metric key, then by image id; empty for metrics of distributions.
        examples: the first images and their reconstructions; None where there were no pairs.
        path: result file, where it was saved by the function that returned this object.
    """

    per_image: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict, repr=False, compare=False
    )
    examples: Examples | None = field(default=None, repr=False, compare=False)
    path: Path | None = field(default=None, repr=False, compare=False)

    @property
    def record(self) -> Result:
        """Content of the result file."""
        return Result(**{one.name: getattr(self, one.name) for one in fields(Result)})

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame of one row; see :func:`ssdd_bench.report.frame.to_frame`."""
        import pandas as pd

        from ssdd_bench.report.frame import to_frame

        scores = {
            key: pd.Series([*values.values()], [*map(_to_unicode, values)], dtype="float64")
            for key, values in self.per_image.items()
        }
        return to_frame([self.record], [scores])

    def __str__(self) -> str:
        return show_text(self.to_frame())

    def _repr_html_(self) -> str:
        return show_html(self.to_frame())

    def save(
        self, folder: Path | str, pictures: bool = True, picture_quality: int = LOSSLESS
    ) -> Path:
        """Write the result file, the scores of single images and sample pictures.

        Metrics that only an earlier result of this job has are kept, with the command they are of.

        Args:
            folder: of the results; ``scores/`` and ``samples/`` are made in it.
            pictures: False leaves the sample pictures out.
            picture_quality: of these, see :func:`ssdd_bench.results.pictures.save_pictures`.

        Returns:
            The result file.

        Raises:
            OutputError: the folder cannot be written, or the file holds another job.
        """
        folder = Path(folder)
        file = path_of(self, folder)
        old = load_saved(file, self.fingerprint)  # raises where the file holds another job
        kept = {} if old is None else _only_in(old, self)
        record = replace(self.record, metrics={**self.metrics, **kept})
        columns: dict[str, Mapping[str, float]] = {
            key: dict(zip(map(_to_unicode, scores), scores.values(), strict=True))
            for key, scores in self.per_image.items()
        }
        if old is not None and kept:
            from ssdd_bench.report.loading import read_scores

            with suppress(UserError):  # A damaged file costs its columns.
                (known,) = read_scores([file], [old])
                for key in filter(known.__contains__, kept):  # in the order of the result
                    columns[key] = {str(name): score for name, score in known[key].items()}
        if columns:
            scores = scores_place(PurePosixPath(file.name))
            _save_scores(columns, folder / scores)
            record = replace(record, scores=scores.as_posix())
        if pictures and self.examples is not None:
            references, reconstructions = (
                one.permute(0, 2, 3, 1).numpy()
                for one in (self.examples.references, self.examples.reconstructions)
            )
            save_pictures(file, record, references, reconstructions, picture_quality)
        return save_result(record, folder)


def show_text(frame: pd.DataFrame) -> str:
    """Return the tables of a frame of results as they are printed."""
    import io

    from rich.console import Console

    from ssdd_bench.report.tables.build import build_tables
    from ssdd_bench.report.tables.terminal import print_tables

    console = Console(file=io.StringIO(), width=TEXT_WIDTH)
    with console.capture() as captured:
        print_tables(build_tables(frame), console)
    return captured.get().rstrip()


def show_html(frame: pd.DataFrame) -> str:
    """Return the tables of a frame of results as HTML, for notebooks."""
    from ssdd_bench.report.html import render
    from ssdd_bench.report.tables.build import build_tables

    return render("fragment.html.j2", tables=build_tables(frame))


def describe_origin(
    device: torch.device, command: str = "", environment: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the fields of :class:`Result` that say when, where and by which command it was made.

    Args:
        device: of the networks.
        command: that the user typed; empty for calls from Python.
        environment: from :func:`describe_environment`, where it is known already.
    """
    return {
        "environment": environment or describe_environment(device),
        "command": hide_home(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "numbers_version": NUMBERS_VERSION,
    }


def _only_in(old: Result, new: Result) -> dict[str, MetricValue]:
    """Return the metrics of an earlier result of the same images that the new one lacks."""
    if (old.data, old.numbers_version) != (new.data, new.numbers_version):
        return {}
    found = {}
    for key, value in old.metrics.items():
        if value.unavailable or (key in new.metrics and not new.metrics[key].unavailable):
            continue
        if not value.command:
            command = old.command or "a call from Python"
            note = f"measured by an earlier run: {command}"
            warning = "; ".join(filter(None, (value.warning, note)))
            value = replace(value, command=command, warning=warning)
        found[key] = value
    return found


def _save_scores(columns: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Write a Parquet file with a row per image: its id, and a column per metric, float64."""
    ids: Sequence[str] = list(next(iter(columns.values())))
    values = {
        key: pa.array([scores[name] for name in ids], pa.float64())
        for key, scores in columns.items()
    }
    table = pa.table({"id": pa.array(ids, pa.string()), **values})
    write_atomically(path, lambda target: pq.write_table(table, target))


def _to_unicode(image_id: str) -> str:
    """Replace the surrogate escapes of a file name that is not valid UTF-8."""
    return image_id.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
