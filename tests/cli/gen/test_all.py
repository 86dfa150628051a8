"""``gen all``: what is refused before anything is encoded."""

from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., tuple[int, str, str]]


@pytest.mark.medium
@pytest.mark.parametrize(
    ("wrong", "token"), [((), "batch_size is 64"), (("--recipe", "nothing"), "nothing")]
)
def test_a_training_that_cannot_be_is_refused_first(
    wrong: tuple[str, ...], token: str, program: Program, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    line = "gen all --tokenizer klvae --data sample --limit 8 --res 64 --reference sample"
    code, _, error = program(*line.split(), "--out", str(out), *wrong)
    assert code == 2
    assert token in error
    assert len(error.strip().splitlines()) == 1
    assert not (out / "latents").exists()
