import io
from itertools import pairwise

import pytest
import torch
from PIL import Image, features
from torch import Tensor

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.adapters.pillow import from_pillow, to_pillow
from ssdd_bench.plugins.registry import load_tokenizer


def photograph() -> Tensor:
    """A smooth colour picture of 48 x 64 pixels with an edge, (1, 3, 48, 64) in [0, 1]."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 64), indexing="ij")
    picture = torch.stack([x, y, (x + y).mul(6).sin() / 2 + 0.5])
    picture[:, 20:30, 10:40] = torch.tensor([0.9, 0.1, 0.2]).view(3, 1, 1)
    return (picture[None] * 255).round() / 255


def round_trip(spec: str) -> tuple[int, float]:
    """Bytes and mean squared error of one picture."""
    tokenizer = load_tokenizer(spec)
    latent = tokenizer.encode(photograph())
    assert latent.size == (48, 64)
    decoded = tokenizer.decode(latent, KeyedNoise(0, ["a"], "decode"))
    (data,) = latent.data
    return len(data), (decoded - photograph()).square().mean().item()


@pytest.mark.parametrize("options", ["", ":quality=1", ":quality=100", ":subsampling=4:4:4"])
def test_contract(options: str) -> None:
    assert check_tokenizer(f"jpeg{options}") == []


def test_latent_is_the_file_that_pillow_writes() -> None:
    (data,) = load_tokenizer("jpeg:quality=30").encode(photograph()).data
    assert isinstance(data, bytes)
    (picture,) = to_pillow((photograph() * 255).round().to(torch.uint8))
    expected = io.BytesIO()
    picture.save(expected, "JPEG", quality=30, subsampling="4:2:0")
    assert data == expected.getvalue()
    assert Image.open(io.BytesIO(data)).format == "JPEG"


def test_quality_buys_fidelity_with_bytes() -> None:
    points = [round_trip(f"jpeg:quality={quality}") for quality in (5, 25, 75, 95)]
    for (small, worse), (large, better) in pairwise(points):
        assert small < large
        assert better < worse


def test_full_colour_resolution_costs_bytes_and_loses_less() -> None:
    half, full = round_trip("jpeg"), round_trip("jpeg:subsampling=4:4:4")
    assert half[0] < full[0]
    assert full[1] < half[1]


def test_result_records_the_library() -> None:
    assert load_tokenizer("jpeg").info()["libjpeg_turbo"] == features.version("libjpeg_turbo")


def test_a_pillow_without_the_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: name != "jpg")
    with pytest.raises(PluginError, match="Pillow was built without jpg, which JPEG needs"):
        load_tokenizer("jpeg")


def test_pillow_and_back_keeps_pixels_and_order() -> None:
    levels = torch.randint(256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0))
    pictures = to_pillow(levels.byte())
    assert pictures[1].size == (7, 5)
    assert pictures[1].getpixel((6, 0)) == tuple(levels[1, :, 0, 6].tolist())
    assert torch.equal(from_pillow(pictures), levels.byte())
