"""An image of each job is decoded twice: other bits are said, and no number depends on it."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.data.memory import as_source
from ssdd_bench.errors import PluginError
from ssdd_bench.evaluation import repeat as module
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.loading import load
from ssdd_bench.plugins.outputs import EXACT_TOLERANCE, REDUCED_TOLERANCE
from ssdd_bench.protocols.registry import get_protocol

PROTOCOLS = ["default-v1", "ldm-v1", "ssdd-paper-v1"]  # with noise of all kinds


class Copy(Tokenizer):
    """Adds the noise it is given in two calls, and does something else besides."""

    latent = LatentSpec("continuous", 1, 3)

    def __init__(self, act=lambda images: images):
        self.act = act
        self.ids = []

    def encode(self, images, noise=None):
        data = images if noise is None else images + 0.1 * noise.normal(images.shape[1:])
        return Latent(data, (images.shape[-2], images.shape[-1]))

    def decode(self, latent, noise):
        self.ids += noise.ids
        image = latent.data + 0.1 * noise.normal(latent.data.shape[1:])
        return self.act(image + 0.1 * noise.normal(latent.data.shape[1:]))


def add_own_noise(images):
    return images + 0.01 * torch.randn(images.shape)


def run(tokenizer, protocol="default-v1", **more):
    return evaluate(
        tokenizer, data="sample", limit=3, resolution=32, protocol=protocol, metrics=("mse",),
        device="cpu", progress=False, **more,
    )  # fmt: skip


def said(found):
    return [text for text in found.warnings if "two results" in text]


@pytest.mark.medium
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tokenizer_that_keeps_to_the_noise(protocol):
    tokenizer = Copy()
    found = run(tokenizer, protocol)
    assert not said(found)
    ids = list(dict.fromkeys(tokenizer.ids))
    assert len(ids) == 3
    assert sorted(tokenizer.ids) == sorted([ids[0], *ids])  # the first one twice, once a job


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_tokenizer_with_noise_of_its_own_is_named_in_the_row(protocol):
    (warning,) = said(run(Copy(add_own_noise), protocol))
    assert "0.0" in warning


@pytest.mark.medium
def test_the_repetition_takes_no_random_numbers_from_the_images_that_follow():
    torch.manual_seed(0)
    found = run(Copy(add_own_noise)).per_image["mse"]
    torch.manual_seed(0)
    (clean,) = (one.per_image["mse"] for one in [without_repetition()])
    assert dict(found) == dict(clean)


def without_repetition():
    from ssdd_bench.evaluation import reconstruct

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconstruct, "repeat_first_image", lambda *args, **known: "")
        return run(Copy(add_own_noise))


def test_images_changed_in_place_are_not_those_of_the_repetition():
    class Darkens(Copy):
        def encode(self, images, noise=None):
            return super().encode(images.mul_(0.5), noise)

    assert not said(run(Darkens()))


def test_a_failure_of_the_second_call_is_the_plugins():
    calls = []

    def second_is_wrong(images):
        calls.append(1)
        return images[..., 1:] if len(calls) == 2 else images

    with pytest.raises(PluginError, match="shape"):
        run(Copy(second_is_wrong))


@pytest.mark.parametrize(
    ("alone", "dtype", "difference", "passes"),
    [
        (True, "float32", 1e-7, False),
        (False, "float32", EXACT_TOLERANCE / 2, True),
        (False, "float32", EXACT_TOLERANCE * 2, False),
        (False, "bfloat16", EXACT_TOLERANCE * 2, True),
        (False, "bfloat16", REDUCED_TOLERANCE * 2, False),
    ],
)
def test_only_other_kernels_may_differ(alone, dtype, difference, passes):
    from ssdd_bench.evaluation.repeat import repeat_first_image
    from ssdd_bench.plugins.guard import Guard

    reference = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    decoded = torch.full((1, 3, 8, 8), 0.0)
    plain = Copy(lambda images: torch.full_like(images, difference))
    protocol = replace(get_protocol("default-v1"), dtype=dtype)
    found = repeat_first_image(
        plain, Guard("copy"), protocol, 0, ["a"], reference, decoded, alone=alone
    )
    assert (found == "") == passes


@pytest.mark.parametrize(
    ("device", "tf32", "alone", "tolerance"),
    [
        ("cpu", False, True, 0),
        ("cpu", True, False, EXACT_TOLERANCE),
        ("cuda", False, True, EXACT_TOLERANCE),
        ("cuda", False, False, EXACT_TOLERANCE),
        ("cuda", True, True, REDUCED_TOLERANCE),
    ],
)
def test_the_tolerance_of_a_device(monkeypatch, device, tf32, alone, tolerance):
    """The state of the device's random numbers is kept too."""
    kept, calls = [], []

    @contextmanager
    def fork_rng(devices):
        kept.append(devices)
        yield

    def round_trip(*args):
        calls.append(args)
        return None, decoded + difference

    monkeypatch.setattr(torch.random, "fork_rng", fork_rng)
    monkeypatch.setattr(module, "round_trip", round_trip)
    protocol = replace(get_protocol("default-v1"), tf32=tf32)
    reference = SimpleNamespace(device=torch.device(device))
    decoded = torch.zeros(1, 3, 2, 2)
    for difference in (tolerance / 2, tolerance + 1e-5):
        found = module.repeat_first_image(
            None, None, protocol, 0, ["a"], reference, decoded, alone=alone
        )
        assert (found == "") == (difference <= tolerance)
    assert kept == [[torch.device("cuda")] if device == "cuda" else []] * 2
    assert [call[3] for call in calls] == [reference] * 2


@pytest.mark.medium
def test_range_is_in_the_row_with_the_largest_value():
    def shout(images):
        return images.clamp(0, 1) * 0 + torch.tensor([-1.5, 0.5, 4.25])[:, None, None]

    assert not [
        text for text in run(Copy(lambda x: x.clamp(-0.5, 1.5))).warnings if "range" in text
    ]
    (warning,) = (text for text in run(Copy(shout)).warnings if "range" in text)
    assert "-1.50" in warning
    assert "4.25" in warning


@pytest.mark.slow
def test_shipped_tokenizers_have_nothing_to_say():
    source = as_source("sample", 2)
    for name in ("klvae", "ssdd", "jpeg"):
        found = evaluate(
            load(name, torch.device("cpu")).tokenizer, data=source, resolution=64,
            metrics=("mse",), device="cpu", progress=False,
        )  # fmt: skip
        assert not said(found)
        assert not [text for text in found.warnings if "range" in text]
