from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from ssdd_bench.api import Latent, LatentSpec, Noise, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import ResolutionError
from ssdd_bench.evaluation import conformance
from ssdd_bench.evaluation.conformance import IDS, check_tokenizer, make_images
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


@pytest.mark.medium
def test_a_good_tokenizer_has_no_problems() -> None:
    assert check_tokenizer(Good()) == []
    assert check_tokenizer(Good(), resolution=32) == []
    assert check_tokenizer(Codec()) == []


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [
        (changed(latent=None), "attribute latent must be a LatentSpec, not NoneType"),
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
        (encoding(lambda latent: latent.data), "must return a Latent, not Tensor"),
        (encoding(lambda latent: replace(latent, size=(16, 16))), "size is (16, 16), the images'"),
        (with_data(lambda data: data.tolist()), "data must be a tensor, not list"),
        (with_data(lambda data: data.bfloat16()), "data is torch.bfloat16: convert it to"),
        (with_data(lambda data: data.double()), "data is torch.float64: convert it to"),
        (with_data(lambda data: data.requires_grad_()), "data carries gradients"),
        (decoding(lambda images: images[:1]), "decode returned shape (1, 3, 64, 64)"),
        (decoding(lambda images: images.half()), "of torch.float16: convert them to torch.float32"),
        (decoding(lambda images: images.bfloat16()), "decode returned images of torch.bfloat16"),
        (decoding(lambda images: images.double()), "decode returned images of torch.float64"),
        (decoding(lambda images: (255 * images).byte()), "must return a tensor of floats"),
        (decoding(lambda images: 2 * images - 1), "should be in [0, 1]"),
        (decoding(lambda images: 255 * images), "should be in [0, 1]"),
        (decoding(lambda images: images + 0.01 * torch.rand(())), "take random numbers from noise"),
        (decoding(lambda images: images - images.mean()), "alone and in a batch, by up to"),
    ],
)
def test_every_broken_promise_is_found(tokenizer: Tokenizer, message: str) -> None:
    problems = check_tokenizer(tokenizer)
    assert any(message in problem for problem in problems), problems


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("good", range(7))  # calls of decode before the evaluation
def test_a_value_that_is_not_finite_is_told_as_such(value: float, good: int) -> None:
    tokenizer = Good()
    calls = count()

    def decode(latent: Latent, noise: Noise) -> Tensor:
        images = Good.decode(tokenizer, latent, noise)
        return images if next(calls) < good else images * value

    tokenizer.decode = decode  # type: ignore[method-assign]
    (problem,) = check_tokenizer(tokenizer)
    assert "NaN or infinity" in problem
    assert "differ" not in problem


def end_the_program(*_: Any) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("tokenizer", "problems"),
    [
        (
            with_data(lambda data: data * float("inf")),
            [f"encode {how} noise: data holds NaN or infinity" for how in ("without", "with")],
        ),
        (changed(encode=darken_in_place), ["encode changed the images it was given"]),
        (
            decoding(lambda images: images.requires_grad_()),
            ["decode's images carry gradients: decode under torch.no_grad()"],
        ),
        (decoding(lambda images: images / 0), ["decode's images hold NaN or infinity"]),
        (
            changed(networks=lambda: {"decoder": 5}),
            ["networks() must map 'encoder' and 'decoder' to modules, not 'decoder' to int"],
        ),
        (changed(decode=end_the_program), ["Good called sys.exit(3): raise an error instead"]),
    ],
)
def test_problems_in_full(tokenizer: Tokenizer, problems: list[str]) -> None:
    assert check_tokenizer(tokenizer) == problems


def test_a_tokenizer_that_describes_no_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Good, "latent")
    assert check_tokenizer(Good()) == ["attribute latent must be a LatentSpec, not NoneType"]


@pytest.mark.parametrize("side", [7, 8])
def test_images_of_the_check(side: int) -> None:
    ramp, noise, halves = make_images(side)
    levels = torch.tensor([round(255 * x / (side - 1)) for x in range(side)])
    assert torch.equal(ramp, (levels / 255).expand(3, side, side))
    drawn = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    assert torch.equal(noise, (drawn * 255).round() / 255)
    white = torch.tensor([0.0] * 3 + [1.0] * 4) if side == 7 else torch.tensor([0.0, 1.0])
    assert torch.equal(halves, white.repeat_interleave(1 if side == 7 else 4).expand(3, side, side))


def test_an_image_alone_may_differ_by_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(latent: Latent, noise: Noise) -> Tensor:
        return torch.full((len(latent), 3, *latent.size), 0.5 if len(latent) == 1 else 0.75)

    assert check_tokenizer(changed(decode=decode)) == [
        "an image decodes differently alone and in a batch, by up to 0.25"
    ]
    monkeypatch.setattr(conformance, "EXACT_TOLERANCE", 0.25)
    assert check_tokenizer(changed(decode=decode)) == []


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Check a plugin, given its id, its code and what its manifest says besides.

    Each code has an id of its own, since Python imports a module once.
    """
    monkeypatch.setenv(VARIABLE, str(tmp_path))

    def check(name: str, code: str, facts: str = "") -> list[str]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "plugin.py").write_text(code)
        (folder / "tokenizer.toml").write_text(
            f'id = "{name}"\ntitle = "T"\nfamily = "test"\ndescription = "D"\n'
            f'licence = "MIT"\nversion = "1"\n{facts}'
        )
        TOKENIZERS.clear()
        return check_tokenizer(name)

    return check


DOWNSAMPLE = """
from ssdd_bench.plugins.registry import load_tokenizer
def load(): return load_tokenizer('downsample')
"""
NOISY = """
from ssdd_bench.api import Latent, LatentSpec, Tokenizer
class Noisy(Tokenizer):
    latent = LatentSpec("continuous", 1, 3)
    def encode(self, images, noise=None):
        return Latent(images, tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        return latent.data + 0.01 * noise.normal((3, *latent.size))
def load():
    return Noisy()
"""


@pytest.mark.medium
def test_an_id_is_checked_against_its_manifest(plugin: Callable[..., list[str]]) -> None:
    assert plugin("downsampled", DOWNSAMPLE) == []
    assert plugin("downsampled", DOWNSAMPLE, "stochastic = true") == [
        "manifest says stochastic = true, but decoding does not depend on its noise"
    ]
    (line,) = plugin(
        "downsampled", DOWNSAMPLE, '[latent]\nkind = "continuous"\nf = 4\nchannels = 3\n'
    )
    assert line.startswith("manifest says LatentSpec(kind='continuous', f=4, ")


@pytest.mark.medium
def test_noise_is_checked_against_the_manifest(plugin: Callable[..., list[str]]) -> None:
    assert plugin("noisy", NOISY, "stochastic = true") == []
    says_no = ["manifest says stochastic = false, but decoding depends on its noise"]
    assert plugin("noisy", NOISY, "stochastic = false") == says_no
    # What the tokenizer says of itself goes before.
    assert (
        plugin("candid", NOISY.replace("    def enc", "    stochastic = True\n    def enc")) == []
    )


def test_noise_is_not_blamed_for_a_value_that_is_not_finite(
    plugin: Callable[..., list[str]],
) -> None:
    late = "calls.append(0) or (0.0 if len(calls) < 9 else float('inf'))"
    code = "calls = []" + NOISY.replace("0.01", f"({late})")
    assert plugin("unsound", code, "stochastic = false") == ["decode's images hold NaN or infinity"]


def test_a_plugin_that_ends_the_program_is_named_by_its_id(
    plugin: Callable[..., list[str]],
) -> None:
    assert plugin("ending", NOISY.replace("return latent.data", "raise SystemExit(3) #")) == [
        "ending called sys.exit(3): raise an error instead"
    ]


def test_every_call_of_a_check(
    plugin: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise has a seed and a stream of its own; the last step is an evaluation."""
    calls: list[tuple[str, int, tuple[str, ...], str]] = []

    class Watched(KeyedNoise):
        def __init__(self, seed: int, ids: tuple[str, ...], stream: str) -> None:
            super().__init__(seed, ids, stream)
            self.facts = seed, ids, stream

    class Watching(Good):
        stochastic = True

        def encode(self, images: Tensor, noise: Noise | None = None) -> Latent:
            if noise is not None:
                assert isinstance(noise, Watched)
                calls.append(("encode", *noise.facts))
            return super().encode(images, noise)

        def decode(self, latent: Latent, noise: Noise) -> Tensor:
            assert isinstance(noise, Watched)
            calls.append(("decode", *noise.facts))
            return super().decode(latent, noise)

    evaluations: list[tuple[object, list[tuple[str, Tensor]], dict[str, object]]] = []

    def stop(tokenizer: object, *, data: Any, **known: object) -> None:
        evaluations.append((tokenizer, list(data), known))

    tokenizer = Watching()
    tokenizer.changed = ()
    monkeypatch.setattr(conformance, "KeyedNoise", Watched)
    monkeypatch.setattr(conformance, "evaluate", stop)
    monkeypatch.setattr(conformance, "load_tokenizer", lambda request: tokenizer)
    assert plugin("noisy", NOISY) == []
    whole = ("decode", 0, IDS, "decode")
    assert calls == [
        ("encode", 0, IDS, "encode"),
        *[whole] * 4,  # its values, twice the same, and the batch that images alone are like
        *(("decode", 0, (name,), "decode") for name in IDS),
        whole,
        ("decode", 1, IDS, "decode"),
    ]
    ((given, data, known),) = evaluations
    assert given is tokenizer
    assert [name for name, _ in data] == list(IDS)
    pixels = torch.stack([image for _, image in data])
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, (make_images(64) * 255).round().byte())
    assert known == {
        **{"resolution": 64, "metrics": ("mae",), "device": "cpu"},
        **{"strict": True, "progress": False},
    }


def test_an_unknown_id_is_a_problem_not_a_crash() -> None:
    assert check_tokenizer("jpge") == ["unknown tokenizer 'jpge': did you mean jpeg?"]
