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
