"""``gen all``: what is refused before anything is encoded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ssdd_bench.data import memory
from ssdd_bench.errors import UserError
from ssdd_bench.generation import latents

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


@pytest.mark.medium
def test_the_images_are_listed_once(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(plan: latents.LatentsPlan, *_: Any, **__: Any) -> None:
        assert len(plan.open()) == 8
        raise UserError("nothing is encoded here")

    def check(*_: Any) -> tuple[str, list[str]]:
        return "ab" * 32, ["klvae"]

    opened = []
    monkeypatch.setattr(latents, "encode_latents", encode)
    monkeypatch.setattr("ssdd_bench.generation.identity.check_shared_encoder", check)
    monkeypatch.setattr("ssdd_bench.train.stages.dit.check_enough_images", lambda *_: None)
    known = memory.open_images
    monkeypatch.setattr(
        memory, "open_images", lambda *given, **more: opened.append(given) or known(*given, **more)
    )
    line = "gen all --tokenizer klvae --data sample --limit 8 --res 64 --reference sample"
    _, _, error = program(*line.split(), "--out", str(tmp_path / "out"))
    assert "nothing is encoded here" in error
    assert opened == [("sample",)]
