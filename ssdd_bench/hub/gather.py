"""One JSON document of all results of a repository, which a leaderboard reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from ssdd_bench.hub.layout import RESULTS, revision_of
from ssdd_bench.hub.validate import Checked, check_repository
from ssdd_bench.protocols.registry import PROTOCOLS
from ssdd_bench.protocols.standing import standing_of
from ssdd_bench.results.schema import NUMBERS_VERSION, MetricValue, Result, Timing

LEADERBOARD_VERSION: Final = 1


def gather(folder: Path) -> dict[str, Any]:
    """Gather a repository of results into one document.

    Args:
        folder: root of the repository, or a folder without results yet.

    Returns:
        ``version``, ``numbers_version`` and ``protocols`` (sha256 by id) of this installation;
        ``rows``, see :func:`to_row`, in the order of their files, those of other protocols
        among them; and ``left_out``, the problems of files that are no row.
    """
    return gather_checked(check_repository(folder) if (folder / RESULTS).is_dir() else [])


def gather_checked(checked: Iterable[Checked]) -> dict[str, Any]:
    """Gather files that are checked already; see :func:`gather`."""
    checked = list(checked)
    return {
        "version": LEADERBOARD_VERSION,
        "numbers_version": NUMBERS_VERSION,
        "protocols": {one.id: one.sha256 for one in PROTOCOLS.all().values()},
        "rows": [
            to_row(one.result, one.name)
            for one in checked
            if one.result is not None and not one.faults
        ],
        "left_out": [
            {"file": found.file, "problem": found.problem.value, "text": found.text}
            for one in checked
            for found in one.faults
        ],
    }


def to_row(result: Result, file: str) -> dict[str, Any]:
    """Return a flat row of one result.

    Args:
        result: the result.
        file: its path in the repository.

    Returns:
        Identity (``tokenizer``, ``id``, ``revision``, ``weights``), compression (``f``,
        ``channels``, ``floats_per_pixel``, ``bits_per_pixel``), job (``resolution``, ``data``,
        ``n``, ``protocol``, ``seed``, ``steps``), ``metrics`` by key, speed in images/s, and
        ``standing``: a value of :class:`ssdd_bench.protocols.standing.Standing`.
    """
    tokenizer, latent, made = result.tokenizer, result.latent, result.generation
    decode = result.speed.decode if result.speed else made.decoder_time if made else None
    return {
        "file": file,
        "standing": standing_of(result).value,
        "kind": "generation" if made else "reconstruction",
        "tokenizer": tokenizer.label,
        "id": tokenizer.id,
        "title": tokenizer.title,
        "family": tokenizer.family,
        "role": tokenizer.role,
        "licence": tokenizer.licence,
        "note": tokenizer.note,
        "revision": revision_of(result),
        "weights": {**tokenizer.weights, **(made.weights if made else {})},
        "params_encoder": tokenizer.params_encoder,
        "params_decoder": tokenizer.params_decoder,
        "model": made.model if made else None,
        "latent": latent.kind,
        "f": latent.f,
        "channels": latent.channels,
        "tokens": latent.tokens,
        "floats_per_pixel": latent.floats_per_pixel,
        "bits_per_pixel": latent.bits_per_pixel,
        "resolution": result.resolution,
        "data": result.data.name,
        "pixels_sha256": result.data.pixels_sha256,
        "n": result.data.n,
        "protocol": str(result.protocol.get("id")),
        "protocol_sha256": str(result.protocol.get("sha256")),
        "numbers_version": result.numbers_version,
        "seed": result.seed,
        "steps": result.steps,
        "metrics": {key: _metric(value) for key, value in sorted(result.metrics.items())},
        "encode_ips": _speed(result.speed.encode if result.speed else None),
        "decode_ips": _speed(decode),
        "device": result.execution.device,
        "dtype": result.execution.dtype,
        "command": result.command,
        "created": result.created,
        "fingerprint": result.fingerprint,
    }


def _metric(metric: MetricValue) -> dict[str, Any]:
    return {
        "value": metric.value,
        "n": metric.n,
        "infinite": metric.infinite,
        "higher_is_better": metric.higher_is_better,
        "interval": metric.interval and list(metric.interval),
        "unavailable": metric.unavailable,
    }


def _speed(timing: Timing | None) -> float | None:
    return timing.images_per_s if timing else None
