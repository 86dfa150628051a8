import pytest
import torch

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.evaluation.conformance import check_tokenizer, make_images
from ssdd_bench.plugins.registry import load_tokenizer

IDS = ("a", "b", "c")


def round_trip(spec: str) -> tuple[int, torch.Tensor]:
    """Bytes and images of three test images."""
    tokenizer = load_tokenizer(spec)
    latent = tokenizer.encode(make_images(32))
    return sum(map(len, latent.data)), tokenizer.decode(latent, KeyedNoise(0, IDS, "decode"))


@pytest.mark.medium
@pytest.mark.parametrize("options", ["", ":lossless=true", ":quality=0,method=0", ":method=6"])
def test_contract(options: str) -> None:
    assert check_tokenizer(f"webp{options}") == []


def test_lossless_loses_nothing() -> None:
    assert torch.equal(round_trip("webp:lossless=true")[1], make_images(32))
    assert not torch.equal(round_trip("webp:quality=100")[1], make_images(32))


def test_quality_costs_bytes() -> None:
    sizes = [round_trip(f"webp:quality={quality}")[0] for quality in (0, 50, 100)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_method_reaches_the_encoder() -> None:
    assert round_trip("webp:method=0")[0] != round_trip("webp:method=6")[0]


def test_files_are_webp() -> None:
    (data, *_) = load_tokenizer("webp").encode(make_images(32)).data
    assert isinstance(data, bytes)
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
