"""Two functions as a tokenizer: what they are called with, and the mistakes that are caught."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from ssdd_bench.api import LatentSpec, Noise, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import OptionError, PluginError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.adapters.functions import FunctionTokenizer, from_functions

MEANS = LatentSpec("continuous", f=8, channels=3)
LEVELS = LatentSpec("discrete", f=1, channels=3, bits_per_value=8)
FILES = LatentSpec("bytes", f=1, channels=0)
IMAGES = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def encode(images: Tensor) -> Tensor:
    return avg_pool2d(images, 8)


def decode(latents: Tensor) -> Tensor:
    return interpolate(latents, scale_factor=8)


def decode_levels(levels: Tensor) -> Tensor:
    return levels.float() / 255


def noise() -> Noise:
    return KeyedNoise(0, "ab", "decode")


def round_trip(tokenizer: Tokenizer) -> Tensor:
    return tokenizer.decode(tokenizer.encode(IMAGES), noise())


def test_continuous() -> None:
    tokenizer = from_functions(encode, decode, MEANS)
    assert check_tokenizer(tokenizer) == []
    assert torch.equal(round_trip(tokenizer), decode(encode(IMAGES)))
    assert (tokenizer.latent, tokenizer.steps, tokenizer.weights) == (MEANS, None, ())


def test_discrete() -> None:
    tokenizer = from_functions(lambda x: (255 * x).round().long(), decode_levels, LEVELS)
    assert check_tokenizer(tokenizer) == []


@pytest.mark.medium
def test_bytes() -> None:
    def write(images: Tensor) -> list[bytes]:
        return [bytes((255 * one).round().byte().flatten().tolist()) for one in images]

    def read(files: list[bytes]) -> Tensor:
        side = round((len(files[0]) / 3) ** 0.5)
        return torch.tensor([list(one) for one in files]).view(-1, 3, side, side).float() / 255

    assert check_tokenizer(from_functions(write, read, FILES)) == []


def test_a_stochastic_decoder_gets_noise_that_depends_on_the_image() -> None:
    def sample(latents: Tensor, noise: Noise) -> Tensor:
        images = decode(latents)
        return images + 0.01 * noise.normal(images.shape[1:])

    tokenizer = from_functions(encode, sample, MEANS, steps=4, stochastic=True)
    assert check_tokenizer(tokenizer) == []
    expected = decode(encode(IMAGES)) + 0.01 * noise().normal(IMAGES.shape[1:])
    assert torch.equal(round_trip(tokenizer), expected)
    assert tokenizer.steps == 4


def test_networks_move_count_and_leave_training_mode() -> None:
    network = nn.Conv2d(3, 3, 8, stride=8).train()
    network.weight.data *= 0.1
    tokenizer = from_functions(network, decode, MEANS, networks={"encoder": network})
    assert tokenizer.networks() == {"encoder": network}
    assert check_tokenizer(tokenizer) == []  # neither training mode nor gradients
    assert tokenizer.to("cpu", torch.float64) is tokenizer
    assert network.weight.dtype == torch.float64
    assert tokenizer.encode(IMAGES).data.dtype == torch.float64  # of images in float32


def test_half_precision_becomes_float32() -> None:
    tokenizer = from_functions(lambda x: encode(x).half(), lambda z: decode(z).half(), MEANS)
    assert tokenizer.encode(IMAGES).data.dtype == torch.float32
    assert round_trip(tokenizer).dtype == torch.float32


def test_a_derived_class_is_checked_when_it_is_whole() -> None:
    class Derived(FunctionTokenizer):
        def __init__(self, name: str) -> None:
            super().__init__(encode, decode, MEANS)
            self.name = name

        def info(self) -> dict[str, Any]:
            return {"name": self.name}

    assert check_tokenizer(Derived("a")) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encode": None}, "encode is NoneType"),
        ({"decode": IMAGES}, "decode is Tensor"),
        ({"latent": IMAGES}, r"LatentSpec, not Tensor\."),
        ({"latent": LatentSpec("continuous", 0, 3)}, "latent.f is 0"),
        ({"steps": 0}, "steps"),
        ({"networks": {"unet": nn.Identity()}}, "'unet' to Identity"),
        ({"networks": {"encoder": encode}}, "'encoder' to function"),
        ({"weights": [Path("absent.bin")]}, "absent.bin"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"encode": encode, "decode": decode, "latent": MEANS}
    with pytest.raises((OptionError, PluginError), match=message):
        from_functions(**{**arguments, **change})


@pytest.mark.parametrize(
    ("function", "latent", "message"),
    [
        (lambda x: x.numpy(), MEANS, "ndarray"),
        (lambda x: x, MEANS, r"shape \(2, 3, 16, 24\), latent describes \(2, 3, 2, 3\)"),
        (lambda x: encode(x).long(), MEANS, "dtype torch.int64"),
        (lambda x: None, FILES, "list of bytes"),
        (lambda x: [b"a"], FILES, "1 byte stream for 2 images"),
    ],
)
def test_wrong_encoders(function: Any, latent: LatentSpec, message: str) -> None:
    with pytest.raises(PluginError, match=message) as caught:
        from_functions(function, decode, latent).encode(IMAGES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: decode(z).numpy(), "ndarray"),
        (lambda z: z, r"shape \(2, 3, 2, 3\), expected \(2, 3, 16, 24\)"),
    ],
)
def test_wrong_decoders(function: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        round_trip(from_functions(encode, function, MEANS))
