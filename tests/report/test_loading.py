"""Notes on weights: by the checksums of those that ran, whatever the result's file says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ssdd_bench.plugins.registry import TOKENIZERS
from ssdd_bench.report.loading import load_source
from ssdd_bench.results.schema import Result
from ssdd_bench.results.store import save_result

SHIPPED = TOKENIZERS.get("diffusion").shipped
assert SHIPPED is not None
NAME, NOW = next(iter(SHIPPED.sha256.items()))


@pytest.mark.parametrize(
    ("sha256", "note"),
    [
        (NOW, SHIPPED.note),
        (SHIPPED.former[0], SHIPPED.note),  # as it was stored before
        ("0" * 64, "a former note"),
    ],
)
def test_shipped_weights_have_the_note_of_the_manifest(
    make_result: Callable[..., Result], tmp_path: Path, sha256: str, note: str
) -> None:
    result = make_result("diffusion", note="a former note")
    tokenizer = replace(result.tokenizer, weights={NAME: sha256})
    save_result(replace(result, tokenizer=tokenizer), tmp_path)
    source = load_source([tmp_path])
    assert [one.tokenizer.note for one in source.results] == [note]
    assert list(source.frame["note"]) == [note]
