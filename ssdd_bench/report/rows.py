"""One JSON document of all rows: what the page shows, and the leaderboard of a repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ssdd_bench.protocols.standing import standing_of, superseded_version
from ssdd_bench.report.frame import metric_directions, to_records
from ssdd_bench.report.loading import Source
from ssdd_bench.results.places import place_of, revision_of
from ssdd_bench.results.schema import Result

VERSION: Final = 1


def to_json(source: Source) -> str:
    """Write the rows of results, the same for the same results wherever they lie.

    Returns:
        ``version``; ``protocols`` by the name that rows have, each with ``id``, ``sha256``,
        ``standing`` (a value of :class:`ssdd_bench.protocols.standing.Standing`) and ``former``
        (what a former version did otherwise, or null); ``higher_is_better`` by metric; and
        ``rows``: the known columns of :func:`ssdd_bench.report.frame.to_frame` with seeds pooled,
        and ``revision``, ``licence``, ``weights`` (sha256 by file) and ``results``, see
        :func:`describe_results`.
    """
    known = {one.fingerprint: one for one in source.results}
    members = source.pooled["fingerprints"]
    rows = [
        {**record, **describe_results([known[one] for one in own])}
        for record, own in zip(to_records(source.pooled).values(), members, strict=True)
    ]
    names = zip(source.frame["protocol"], source.frame["fingerprint"], strict=True)
    whole = {
        "version": VERSION,
        "protocols": {name: _protocol(known[fingerprint]) for name, fingerprint in names},
        "higher_is_better": metric_directions(source.pooled),
        "rows": rows,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def describe_results(results: Sequence[Result]) -> dict[str, Any]:
    """Describe the results behind one row.

    Args:
        results: of one tokenizer, with one or several seeds.

    Returns:
        What they share, and ``results``: for each its place in a repository of results, and
        fingerprint, seed, command, time and version of the numbers.
    """
    first = results[0]
    made = first.generation
    return {
        "revision": revision_of(first),
        "licence": first.tokenizer.licence,
        "weights": {**first.tokenizer.weights, **(made.weights if made else {})},
        "results": [
            {
                "file": place_of(one).as_posix(),
                "fingerprint": one.fingerprint,
                "seed": one.seed,
                "command": one.command,
                "created": one.created,
                "numbers_version": one.numbers_version,
            }
            for one in results
        ],
    }


def _protocol(result: Result) -> dict[str, Any]:
    former = superseded_version(result)
    return {
        "id": str(result.protocol["id"]),
        "sha256": str(result.protocol.get("sha256")),
        "standing": standing_of(result).value,
        "former": former.change if former else None,
    }
