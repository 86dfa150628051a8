"""Rewrite folders of results in the present schema: ``python -m ssdd_bench.evaluation.migrate``.

Reading brings older files over in memory. On disk a new hash of the protocol makes a new
fingerprint, and with it new names of a result and of the files beside it. No number changes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from ssdd_bench.data.images import open_images
from ssdd_bench.errors import DataError
from ssdd_bench.evaluation.job import data_fingerprint, job_fingerprint
from ssdd_bench.results.fingerprint import fingerprint
from ssdd_bench.results.records import read_json
from ssdd_bench.results.schema import SCHEMA_VERSION, DataRecord, Result
from ssdd_bench.results.store import find_results, from_json, path_of, save_result

BESIDE: Final = ("scores/{}.parquet", "samples/{}.png")


def migrate_folder(folder: Path) -> dict[Path, Path]:
    """Rewrite every older result of a folder, and rename its scores and its picture.

    Returns:
        New files by old ones.
    """
    moved = {}
    for path in find_results([folder]):
        data = read_json(path)
        if data.get("schema_version") == SCHEMA_VERSION:
            continue
        result = from_json(data, path)
        result = replace(result, fingerprint=_new_fingerprint(result, data["protocol"]["sha256"]))
        new = path_of(result, path.parent)
        for pattern in BESIDE:
            beside = path.parent / pattern.format(path.stem)
            if beside.exists():
                beside.rename(path.parent / pattern.format(new.stem))
        if result.scores:
            result = replace(result, scores=BESIDE[0].format(new.stem))
        save_result(result, path.parent)
        if new != path:
            path.unlink()
        moved[path] = new
    return moved


def _new_fingerprint(result: Result, old_sha256: str) -> str:
    """Recompute a fingerprint with the new hash of the protocol.

    Where the images are not here, or the code that measured is another one, the old fingerprint
    cannot be recomputed either; then it decides the new one together with the protocol's hash.
    """
    new_sha256 = str(result.protocol["sha256"])
    data = None if result.generation else _hash_images(result.data)
    if data and _job_fingerprint(result, old_sha256, data) == result.fingerprint:
        return _job_fingerprint(result, new_sha256, data)
    return fingerprint([result.fingerprint, new_sha256])


def _job_fingerprint(result: Result, protocol_sha256: str, data: str) -> str:
    job = (result.tokenizer, result.resolution, protocol_sha256, result.seed)
    return job_fingerprint(*job, data, result.execution.device)


def _hash_images(record: DataRecord) -> str | None:
    """Hash the images of a result; None if they are not here."""
    try:
        images = open_images(record.name)
        if record.n < len(images):
            images = open_images(record.name, record.n)
    except DataError:
        return None
    return data_fingerprint(images)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for old, new in migrate_folder(Path(argument)).items():
            sys.stdout.write(f"{old.name} -> {new.name}\n")
