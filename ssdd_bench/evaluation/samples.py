"""Evaluate generated images against a reference set: gFID and the metrics beside it.

Samples have no counterparts among the references: the two sets may differ in number, and the
reference may be moments of a training set, as ADM's npz files hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from ssdd_bench.data.decode import MAX_IMAGE_MB
from ssdd_bench.data.memory import Images
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation.chunks import Grid
from ssdd_bench.evaluation.environment import choose_device
from ssdd_bench.evaluation.folder import PARTS
from ssdd_bench.evaluation.launch_groups import IN_PROCESS, Files, launch_groups
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.result import Evaluation
from ssdd_bench.evaluation.sample_worker import ScoringGroup, ScoringPlan, job_name, open_samples
from ssdd_bench.launch.scheduler import Task
from ssdd_bench.metrics.catalog import metric_keys
from ssdd_bench.protocols.registry import find_protocol
from ssdd_bench.protocols.schema import GenerationProtocol
from ssdd_bench.results.fingerprint import fingerprint


def evaluate_samples(
    samples: Images,
    reference: Images,
    *,
    protocol: str | Path | GenerationProtocol = "gfid-v1",
    metrics: str | Sequence[str] | None = None,
    limit: int | None = None,
    label: str = "",
    device: str | torch.device = "auto",
    strict: bool = False,
    load_threads: int | None = None,
    max_image_mb: int = MAX_IMAGE_MB,
    progress: bool = True,
    out: Path | str | None = None,
    force: bool = False,
    command: str = "",
) -> Evaluation:
    """Score generated images against a reference set; the two are not paired.

    Args:
        samples: see :func:`ssdd_bench.data.memory.as_source`; or a folder that ``ssdd-bench gen
            sample`` has filled, whose record then says how the samples were made. Square, of one
            size.
        reference: images, likewise, or an npz with moments.
        protocol: id of a protocol of generation, path of a protocol file, or an object.
        metrics: keys of metrics of samples; by default those of the protocol and the other
            default ones.
        limit: number of reference images to use; None for all.
        label: name in tables; by default from how the samples were made, or their name.
        device: of the metrics' networks: ``auto``, or as torch names it.
        strict: an unavailable metric is an error.
        load_threads: threads that read images, see :func:`ssdd_bench.evaluate`.
        max_image_mb: largest image file that is decoded, in MB as 8-bit RGB.
        progress: True shows a bar on standard error.
        out: save the result into this folder, unless a complete one is there.
        force: True evaluates again what is in ``out``.
        command: that the user typed, for the record.

    Raises:
        UserError: a name is unknown, an image cannot be read, or a metric is unavailable with
            ``strict``; nothing is written then.

    Examples:
        >>> images = torch.rand(4, 3, 32, 32)
        >>> evaluate_samples(images, images, metrics=["fd_effnet"]).metrics["fd_effnet"].value
        0.0
    """
    plan = ScoringPlan(
        samples=(samples,),
        reference=reference,
        protocol=find_generation_protocol(protocol),
        out=None if out is None else Path(out),
        metrics=metric_keys(metrics),
        limit=limit,
        label=label,
        strict=strict,
        load_threads=load_threads,
        max_image_mb=max_image_mb,
        force=force,
        command=command,
    )
    return score_samples(plan, choose_device(device), progress=progress)[0]


def score_samples(
    plan: ScoringPlan,
    device: torch.device,
    launch: Launch = IN_PROCESS,
    progress: bool = False,
) -> tuple[Evaluation, ...]:
    """Score sets of generated images against one reference set, each as a result of its own.

    Args:
        plan: what to score; without ``out``, in this process alone.
        device: of the metrics' networks.
        launch: where to compute.
        progress: True shows a bar on standard error.

    Returns:
        The results in the order of the samples; of a share those that were there, and none at ranks
        but the first.

    Raises:
        UserError: see :func:`evaluate_samples`.
    """
    against = plan.open_reference()
    sizes = [len(open_samples(one, plan.max_image_mb)[1]) for one in plan.samples]
    total = sum(sizes) + len(sizes) * against.count
    # Scores of other sets may go to the same folder meanwhile.
    names = [job_name(one) for one in plan.samples]
    name = fingerprint([names, against.name, plan.protocol.id])[:10]
    with nullcontext(plan.out / PARTS) if plan.out else TemporaryDirectory() as parts:
        group = ScoringGroup(plan, Path(parts), against)
        files = [Files(plan.out, f"{PARTS}/**/*", f"score-{name}")] if plan.out else []

        def costs() -> dict[Task, list[float]]:
            references = _costs(against.count)
            return {(0, job): _costs(size) + references for job, size in enumerate(sizes)}

        found = launch_groups(
            [group],
            files,
            costs,
            device,
            launch,
            plan.label or "scores",
            total,
            quiet=not progress,
        )
    return tuple(found[task] for task in sorted(found))


def _costs(images: int) -> list[float]:
    return [float(count) for count in Grid.of(images).sizes] if images else []


def find_generation_protocol(protocol: str | Path | GenerationProtocol) -> GenerationProtocol:
    """Return a protocol of generation by its id, or as it is.

    Raises:
        UserError: there is none, or it is one of reconstructions.
    """
    found = find_protocol(protocol)
    if not isinstance(found, GenerationProtocol):
        raise UserError(f"protocol '{found.id}' is for reconstructions: choose gfid-v1 or adm-v1")
    return found
