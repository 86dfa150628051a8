"""Everything that a run depends on: the grid of its jobs and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images, as_source
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import UnknownNameError, UserError
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, ExecutionSettings
from ssdd_bench.evaluation.job import Job
from ssdd_bench.evaluation.settings import BatchSize, Settings
from ssdd_bench.plugins.registry import TOKENIZERS, parse_requests
from ssdd_bench.plugins.spec import TokenizerRequest
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.protocols.schema import Protocol
from ssdd_bench.results.pictures import LOSSLESS


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on.

    See :func:`ssdd_bench.evaluation.run.run` for the meaning of each; ``command`` is what the user
    typed, for the record.
    """

    requests: tuple[TokenizerRequest, ...]
    resolutions: tuple[int, ...]
    out: Path
    metrics: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ("default-v1",)
    data: Images | None = None
    limit: int | None = None
    sample: int | None = None
    sample_seed: int = 0
    max_image_mb: int = MAX_IMAGE_MB
    seeds: tuple[int, ...] = (0,)
    batch_size: BatchSize = None
    device: str = "auto"
    execution: ExecutionSettings = DEFAULT_EXECUTION
    speed: bool = True
    pictures: bool = True
    picture_quality: int = LOSSLESS
    strict: bool = False
    load_threads: int | None = None
    intervals: bool = False
    force: bool = False
    interleave: bool = False
    baseline: str = ""
    command: str = ""

    def source(self) -> ImageSource:
        """Open the images.

        Raises:
            DataError: see :func:`ssdd_bench.data.memory.as_source`.
        """
        return as_source(
            self.data,
            self.limit,
            sample=self.sample,
            sample_seed=self.sample_seed,
            max_image_mb=self.max_image_mb,
        )

    def jobs(self) -> tuple[Job, ...]:
        """Return the grid in the order of evaluation, repeated jobs once.

        Raises:
            UnknownNameError: no such protocol.
            UserError: a protocol is not about reconstructions.
        """
        protocols = [get_protocol(protocol_id) for protocol_id in self.protocols]
        jobs = {
            (request.label, resolution, protocol.id, seed): Job(request, resolution, protocol, seed)
            for request in self.requests
            for resolution in self.resolutions
            for protocol in protocols
            for seed in (self.seeds if _is_random(request, protocol) else self.seeds[:1])
        }
        return tuple(jobs.values())

    def baseline_label(self) -> str:
        """Return the label of the tokenizer that others are timed against; "" for none.

        Raises:
            UserError: it is not among the tokenizers, there is no other, or nothing is timed.
        """
        labels = list(dict.fromkeys(request.label for request in self.requests))
        if not self.interleave:
            if self.baseline:
                raise UserError("a baseline is for timing by turns: add interleave")
            return ""
        if not self.speed or len(labels) < 2:
            raise UserError("timing by turns needs speed and two or more tokenizers")
        wanted = parse_requests(self.baseline)[0].label if self.baseline else labels[0]
        if wanted not in labels:
            raise UnknownNameError("baseline", wanted, labels)
        return wanted

    def metric_keys(self, protocol: Protocol) -> tuple[str, ...]:
        """Return the metrics that are evaluated under a protocol."""
        return self.metrics or protocol.metric_keys

    def settings(self, job: Job, device: torch.device) -> Settings:
        """Return the settings of the evaluation of a job."""
        return Settings(
            resolution=job.resolution,
            protocol=job.protocol,
            metrics=self.metric_keys(job.protocol),
            device=device,
            seed=job.seed,
            batch_size=self.batch_size,
            speed=self.speed,
            intervals=self.intervals,
            strict=self.strict,
            execution=self.execution,
            load_threads=self.load_threads,
        )


def _is_random(request: TokenizerRequest, protocol: Protocol) -> bool:
    return TOKENIZERS.get(request.id).stochastic or protocol.posterior == "sample"
