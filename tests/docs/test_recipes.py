"""docs/how-to/recipes.md: its blocks run, with small networks in place of other people's models."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ssdd_bench import evaluate
from ssdd_bench.plugins.registry import TOKENIZERS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "how-to" / "recipes.md").read_text("utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Model(nn.Module):
    """An untrained f16c32 autoencoder of images in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 32, 16, 16)
        self.decoder = nn.ConvTranspose2d(32, 3, 16, 16)
        self.encode, self.decode = self.encoder, self.decoder


class Tokens:
    """A tokenizer of grey images with 32 tokens of 12 bits."""

    def encode(self, images: Tensor) -> Tensor:
        return (avg_pool2d(images.mean(1), (64, 32)) * 4095).round().long().reshape(-1, 1, 32)

    def decode(self, codes: Tensor) -> Tensor:
        return interpolate(codes.reshape(-1, 1, 4, 8) / 4095, (256, 256)).expand(-1, 3, -1, -1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {"model": Model().eval(), "tokens": Tokens()}
    blocks = BLOCK.findall(DOCUMENT)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/how-to/recipes.md", "exec"), names)
    result, row, traced = (names[name] for name in ("result", "row", "traced"))
    assert result.latent.shape == traced.latent.shape == (32, 16, 16)
    assert (row.latent.shape, row.latent.bits_per_pixel) == ((1, 1, 32), 32 * 12 / 256**2)
    assert row.latent.tokens == 32
    assert row.metrics["psnr"].value > 8
    value = result.metrics["psnr"].value
    assert traced.metrics["psnr"].value == pytest.approx(value, abs=1e-3)
    theirs = evaluate(
        "recon:dir=crops,f=16,channels=32", data="sample", resolution=256, limit=2, metrics=["mse"]
    )
    assert theirs.metrics["mse"].value == 0  # the crops are those that are encoded


def test_no_model_with_a_name_is_listed() -> None:
    listed = re.findall(r"^\| ([^|`]+?) \| ", DOCUMENT, re.MULTILINE)[1:]
    assert "VA-VAE" in listed
    assert not set(listed) & {info.title for info in TOKENIZERS.all().values()}
