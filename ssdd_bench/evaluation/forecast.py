"""Forecast of a run: jobs that have results, expected times, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import eq
from pathlib import Path

from ssdd_bench.data.named import require_named
from ssdd_bench.errors import DataError, counted
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.job import Job
from ssdd_bench.metrics.catalog import find_metrics
from ssdd_bench.plugins.manifest import TokenizerInfo
from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.results.places import results_in
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import load_results
from ssdd_bench.weights.assets import cached_path, how_to_get
from ssdd_bench.weights.hub import is_cached
from ssdd_bench.weights.layout import WEIGHTS


@dataclass(frozen=True)
class JobForecast:
    """Forecast of a job.

    Attributes:
        job: the job.
        has_result: a result of it is in the folder; it is kept if its weights and images are the
            same.
        expected_s: seconds that an earlier result suggests; None if there is none like it.
    """

    job: Job
    has_result: bool
    expected_s: float | None


@dataclass(frozen=True)
class Forecast:
    """Forecast of a run, before it starts.

    Attributes:
        jobs: in the order of evaluation.
        missing: a line for each thing that is not on this machine, with what to do.
    """

    jobs: tuple[JobForecast, ...]
    missing: tuple[str, ...]

    def lines(self, folder: Path) -> Iterator[str]:
        """Describe results, expected time and what is missing, for people."""
        kept = sum(one.has_result for one in self.jobs)
        if kept:
            count = counted(len(self.jobs), "job")
            same = "kept if images, weights and settings are the same"
            yield f"{folder} has results of {kept} of {count}, {same}"
        left = [one.expected_s for one in self.jobs if not one.has_result]
        known = [seconds for seconds in left if seconds is not None]
        if known:
            count = counted(len(known), "job")
            yield f"expected: {sum(known):.0f} s for {count}, by earlier results"
        if len(known) < len(left):
            count = counted(len(left) - len(known), "job")
            yield f"expected time of {count}: no earlier result in {folder}"
        yield from (f"missing: {line}" for line in self.missing)


def forecast(config: RunConfig) -> Forecast:
    """Look for results in the run's folder, a named data set and weights; nothing is fetched.

    The time of a job is that of the result with the same tokenizer, resolution and protocol, or
    else of the same tokenizer with other options or at another resolution, by pixels; it is scaled
    by the number of images where a limit or a sample states one.
    """
    earlier = load_results(files) if (files := results_in(config.out)) else []
    return Forecast(
        tuple(_forecast_job(job, config, earlier) for job in config.jobs()),
        tuple(dict.fromkeys(_missing(config))),
    )


def _forecast_job(job: Job, config: RunConfig, earlier: Sequence[Result]) -> JobForecast:
    exact = (job.request.label, job.resolution, job.protocol.id, job.seed)
    has_result = not config.force and any(exact == _key(one) for one in earlier)
    alike = [one for one in earlier if one.tokenizer.id == job.request.id and one.data.n]
    if not alike:
        return JobForecast(job, has_result, None)
    # The most alike: equal label, protocol and resolution; the latest of them.
    best = max(alike, key=lambda one: (*map(eq, exact, _key(one)), one.created))
    images = min(filter(None, (config.limit, config.sample, best.data.n)))
    pixels = (job.resolution / best.resolution) ** 2
    return JobForecast(job, has_result, best.seconds * pixels * images / best.data.n)


def _key(result: Result) -> tuple[str, int, str, int]:
    return result.tokenizer.label, result.resolution, str(result.protocol["id"]), result.seed


def _missing(config: RunConfig) -> Iterator[str]:
    if isinstance(config.data, str | Path):
        try:
            require_named(config.data)
        except DataError as error:
            yield str(error)
    for request in config.requests:
        info = TOKENIZERS.get(request.id)
        if missing := info.missing():
            yield f"{info.id} {missing}"
        yield from _missing_weights(info, dict(request.options))
    known = find_metrics("pairs")
    keys = dict.fromkeys(chain.from_iterable(config.metric_keys(j.protocol) for j in config.jobs()))
    for key in keys:
        for name in known[key].assets if key in known else ():
            if cached_path(name) is None:
                yield f"{key} needs {name}. {how_to_get(name)}"


def _missing_weights(info: TokenizerInfo, options: dict[str, object]) -> Iterator[str]:
    paths = {name: str(options[name]) for name in options if info.options[name].type == "path"}
    for name, path in paths.items():
        if path.startswith((".", "/")) and not Path(path).exists():
            yield f"{info.id}:{name}={path}: no such file or folder. Correct the path"
    published = info.published
    if paths or "repo" in options or published is None or not published.hub:
        return
    prefix = f"{published.folder}/" if published.folder else ""
    files = published.files or (prefix + WEIGHTS,)
    if not any(is_cached(published.hub, file, published.revision) for file in files):
        yield (
            f"{info.id}: its weights are fetched from {published.hub} on the Hugging Face Hub when "
            "the run starts. Without a network, pass their path as an option"
        )
