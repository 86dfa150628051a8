"""Reconstructions by a tokenizer: what is refused before a network sees it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import DataError, ResolutionError

LEVELS = torch.arange(2 * 3 * 4 * 6, dtype=torch.uint8).view(2, 3, 4, 6)


class Keeps(Tokenizer):
    """A tokenizer that keeps every pixel."""

    latent = LatentSpec("continuous", 2, 12)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        return Latent(images, (images.shape[2], images.shape[3]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        assert isinstance(latent.data, Tensor)
        return latent.data


@pytest.mark.parametrize("images", [LEVELS, LEVELS / 255, LEVELS.double() / 255])
def test_reconstructions_are_like_the_images(images: Tensor) -> None:
    found = Keeps().reconstruct(images, ids=["a", "b"])
    assert found.dtype == images.dtype
    torch.testing.assert_close(found, images)


@pytest.mark.parametrize(
    ("images", "ids", "token"),
    [
        (LEVELS.long(), None, "int64"),
        (LEVELS > 7, None, "bool"),
        (LEVELS.float(), None, "143"),
        (LEVELS / 143 * 2 - 1, None, "-1"),
        (LEVELS / torch.nan, None, "nan"),
        (LEVELS[0], None, "(3, 4, 6)"),
        (LEVELS.permute(0, 2, 3, 1), None, "(2, 4, 6, 3)"),
        (LEVELS[:0], None, "(0, 3, 4, 6)"),
        (np.asarray(LEVELS), None, "ndarray"),
        (LEVELS, ["a"], "1 id "),
        (LEVELS, ["a", "b", "c"], "3 ids"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(
    images: Tensor, ids: list[str] | None, token: str
) -> None:
    with pytest.raises(DataError) as caught:
        Keeps().reconstruct(images, ids=ids)
    assert token in str(caught.value)


@pytest.mark.parametrize("images", [LEVELS[:, :, 1:], LEVELS[..., 1:]])
def test_sides_are_multiples_of_f(images: Tensor) -> None:
    with pytest.raises(ResolutionError, match="f = 2"):
        Keeps().reconstruct(images)


def test_tokens_in_a_row() -> None:
    """Their number is that of no image's sides."""
    spec = LatentSpec("continuous", 0, 16, tokens=32)
    assert spec.problem() == ""
    assert spec.shape(256, 256) == spec.shape(250, 512) == (16, 1, 32)
    assert (spec.multiple, spec.name) == (1, "32 tokens, c16")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (LatentSpec("continuous", 8, 4), "f8c4"),
        (LatentSpec("discrete", 16, 1, 10), "f16c1"),
        (LatentSpec("bytes", 1, 0), "bytes"),
    ],
)
def test_names_of_sizes(spec: LatentSpec, name: str) -> None:
    assert (spec.problem(), spec.name) == ("", name)


@pytest.mark.parametrize(
    ("spec", "token"),
    [
        (LatentSpec("continuous", 0, 4), "f is 0"),
        (LatentSpec("continuous", 8, 4, tokens=32), "tokens is 32 with f 8"),
        (LatentSpec("continuous", 0, 4, tokens=0), "tokens is 0"),
        (LatentSpec("bytes", 0, 0, tokens=32), "tokens is 32"),
        (LatentSpec("continuous", 0, -1, tokens=32), "channels -1"),
    ],
)
def test_what_describes_no_latent(spec: LatentSpec, token: str) -> None:
    assert token in spec.problem()
