from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.errors import ResolutionError
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.plugins.discovery import VARIABLE
from ssdd_bench.plugins.registry import TOKENIZERS


class Good(Tokenizer):
    """Mean of 4 x 4 pixels; a little noise in both directions."""

    latent = LatentSpec("continuous", f=4, channels=3)
    steps = 2

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        data = nn.functional.avg_pool2d(images, 4)
        if noise is not None:
            data = data + 0.1 * noise.normal(data.shape[1:])
        return Latent(data, (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        assert isinstance(latent.data, Tensor)
        data = latent.data + 0.01 * noise.normal(latent.data.shape[1:])
        return nn.functional.interpolate(data, latent.size)


class Coded(Good):
    """The levels of a tokenizer, nine of them."""

    latent = LatentSpec("discrete", f=4, channels=3, bits_per_value=3.0)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        data = (8 * nn.functional.avg_pool2d(images, 4)).round().long()
        return Latent(data, (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        assert isinstance(latent.data, Tensor)
        return nn.functional.interpolate(latent.data / 8, latent.size)


class Codec(Good):
    latent = LatentSpec("bytes", f=1, channels=0)

    def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
        return Latent([b"x" for _ in images], (images.shape[-2], images.shape[-1]))

    def decode(self, latent: Latent, noise: Noise) -> Tensor:
        return torch.full((len(latent), 3, *latent.size), 0.5)


def changed(**attributes: Any) -> Tokenizer:
    tokenizer = Good()
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def encoding(change: Callable[[Latent], Any]) -> Tokenizer:
    """A tokenizer whose latents are changed after encoding."""
    tokenizer = Good()
    encode = tokenizer.encode
    return changed(encode=lambda images, noise=None: change(encode(images, noise)))


def decoding(change: Callable[[Tensor], Any]) -> Tokenizer:
    """A tokenizer whose images are changed after decoding."""
    tokenizer = Good()
    decode = tokenizer.decode
    return changed(decode=lambda latent, noise: change(decode(latent, noise)))


def with_data(change: Callable[[Tensor], Any]) -> Tokenizer:
    return encoding(lambda latent: replace(latent, data=change(cast(Tensor, latent.data))))


def darken_in_place(images: Tensor, noise: Noise | None = None) -> Latent:
    return Good().encode(images.mul_(0.5), noise)


def fail(*_: Any) -> Any:
    raise ResolutionError("only 256 px: take --res 256")


def crash(*_: Any) -> Any:
    raise IndexError("list index out of range")


def test_a_good_tokenizer_has_no_problems() -> None:
    assert check_tokenizer(Good()) == []
    assert check_tokenizer(Good(), resolution=32) == []
    assert check_tokenizer(Codec()) == []


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (changed(latent=None), "attribute latent must be a LatentSpec, not None"),
        (changed(latent=LatentSpec("continuous", 5, 3)), "64 is not a multiple of f = 5"),
        (changed(latent=LatentSpec("continuous", 4, 3, 8)), "latent.bits_per_value is 8 for kind"),
        (changed(latent=LatentSpec("continuous", 4, 4)), "latent describes (3, 4, 16, 16)"),
        (changed(latent=LatentSpec("discrete", 4, 3, 8)), "data of kind 'discrete' has dtype"),
        (changed(latent=LatentSpec("bytes", 4, 0)), "must be a list of bytes"),
        (Coded(), "encode returned code 8, its LatentSpec allows 8 codes"),
        (changed(steps=0), "attribute steps must be None or an integer of at least 1, not 0"),
        (changed(weights=(Path("/gone"),)), "attribute weights names /gone, which is no file"),
        (changed(networks=lambda: {"vae": nn.Identity().eval()}), "must map 'encoder' and"),
        (changed(networks=lambda: {"decoder": nn.Dropout()}), "decoder is in training mode"),
        (changed(info=lambda: {"path": Path("x")}), "info() does not fit into JSON"),
        (changed(info=lambda: {"x": float("nan")}), "info() does not fit into JSON"),
        (changed(encode=fail), "only 256 px"),
        (changed(decode=crash), "raised IndexError: list index out of range"),
        (changed(encode=darken_in_place), "encode changed the images it was given"),
        (encoding(lambda latent: latent.data), "must return a Latent, not Tensor"),
        (encoding(lambda latent: replace(latent, size=(16, 16))), "size is (16, 16), the images'"),
        (with_data(lambda data: data.tolist()), "data must be a tensor, not list"),
        (with_data(lambda data: data * float("inf")), "data holds NaN or infinity"),
        (with_data(lambda data: data.requires_grad_()), "data carries gradients"),
        (decoding(lambda images: images[:1]), "decode returned shape (1, 3, 64, 64)"),
        (decoding(lambda images: (255 * images).byte()), "must return a tensor of floats"),
        (decoding(lambda images: 2 * images - 1), "should be in [0, 1]"),
        (decoding(lambda images: 255 * images), "should be in [0, 1]"),
        (decoding(lambda images: images / 0), "hold NaN or infinity"),
        (decoding(lambda images: images.requires_grad_()), "carry gradients"),
        (decoding(lambda images: images + 0.01 * torch.rand(())), "take random numbers from noise"),
        (decoding(lambda images: images - images.mean()), "alone and in a batch, by up to"),
    ],
)
def test_every_broken_promise_is_found(tokenizer: Tokenizer, message: str) -> None:
    problems = check_tokenizer(tokenizer)
    assert any(message in problem for problem in problems), problems


def test_an_id_is_checked_against_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "wrong_manifest"
    folder.mkdir()
    (folder / "plugin.py").write_text(
        "from ssdd_bench.plugins.registry import load_tokenizer\n"
        "def load(): return load_tokenizer('downsample')\n"
    )
    head = (
        'id = "wrong-manifest"\ntitle = "T"\nfamily = "test"\ndescription = "D"\nlicence = "MIT"\n'
        'version = "1"\n'
    )
    latent = '[latent]\nkind = "continuous"\nf = 4\nchannels = 3\n'
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for text, message in (
        (head, None),
        (head + "stochastic = true", "manifest says stochastic = true, but decoding does not dep"),
        (head + latent, "manifest says LatentSpec(kind='continuous', f=4, "),
    ):
        (folder / "tokenizer.toml").write_text(text)
        TOKENIZERS.clear()
        problems = check_tokenizer("wrong-manifest")
        assert len(problems) == (message is not None)
        assert all(message is not None and message in problem for problem in problems)


def test_an_unknown_id_is_a_problem_not_a_crash() -> None:
    assert check_tokenizer("jpge") == ["unknown tokenizer 'jpge': did you mean jpeg?"]
