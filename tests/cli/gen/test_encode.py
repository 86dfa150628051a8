"""``gen encode`` as a user calls it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssdd_bench.data.latents import LatentSet
from ssdd_bench.data.npz import write_npz

Program = Callable[..., tuple[int, str, str]]


@pytest.mark.slow
def test_latents_of_another_file_of_that_name_are_refused(program: Program, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shape = (4, 16, 16, 3)
    for name in "xy":
        (tmp_path / name).mkdir()
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        write_npz(tmp_path / name / "train.npz", [images], shape, np.zeros(4, np.int64))
    out = tmp_path / "out"

    def encode(name: str) -> tuple[int, str, str]:
        line = "gen encode --tokenizer klvae --res 16 --device cpu --in-process"
        return program(*line.split(), "--data", tmp_path / name / "train.npz", "--out", out)

    code, _, error = encode("x")
    assert code == 0, error
    assert "4 images of 1 class, latents 4 x 2 x 2" in error
    code, told, error = encode("y")
    assert (code, told) == (2, "")
    (line,) = error.splitlines()  # and no bar
    assert str(out) in line
    assert "--out" in line
    assert encode("x")[0] == 0
    assert len(LatentSet(out)) == 4
