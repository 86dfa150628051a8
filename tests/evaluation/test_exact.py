"""Scores belong to images: no batch size, order or memory limit may change them."""

import hashlib

import pytest
import torch

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import iterate_batches
from ssdd_bench.errors import PluginError, UserError
from ssdd_bench.evaluation.reconstruct import Examples, reconstruct
from ssdd_bench.evaluation.timing import TimingSettings, measure_speed, time_calls
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.registry import get_protocol

CPU = torch.device("cpu")
PROTOCOL = get_protocol("default-v1")


class Noisy(Tokenizer):
    """Halves the image, then adds noise to it: stochastic, and exact per image."""

    latent = LatentSpec("continuous", 2, 3)

    def __init__(self):
        self.batches = []

    def encode(self, images, noise=None):
        data = images[..., ::2, ::2]
        return Latent(data, (images.shape[-2], images.shape[-1]))

    def decode(self, latent, noise):
        self.batches.append(len(latent))
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * noise.normal((3, *latent.size))


class NoisePerBatch(Noisy):
    """The known mistake: noise by position in the batch."""

    def decode(self, latent, noise):
        generator = torch.Generator().manual_seed(0)
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * torch.randn(image.shape, generator=generator)


@pytest.fixture(scope="module")
def photos(make_photos):
    return open_images(make_photos(7, (40, 40)))


def scores(tokenizer, photos, batch=3, seed=0):
    loader = iterate_batches(photos, 32, PROTOCOL.crop, batch)
    with MetricSuite(["psnr", "psnr_pooled", "ssim"], CPU) as suite:
        seen = reconstruct(tokenizer, loader, suite, PROTOCOL, seed, CPU)
        return suite.compute().values, seen


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batch_size_changes_no_bit(photos, batch):
    expected, first = scores(Noisy(), photos)
    got, second = scores(Noisy(), photos, batch)
    assert got == expected
    assert first.pixels_sha256 == second.pixels_sha256
    assert torch.equal(first.examples.reconstructions, second.examples.reconstructions)


def test_noise_per_batch_is_caught(photos):
    assert scores(NoisePerBatch(), photos, 1)[0] != scores(NoisePerBatch(), photos, 3)[0]


def test_seed_changes_the_score(photos):
    assert scores(Noisy(), photos, seed=0)[0] != scores(Noisy(), photos, seed=1)[0]


def test_noise_of_an_image_needs_no_other_image():
    together = KeyedNoise(0, ["a", "b", "c"], "decode").normal((2, 3))
    alone = KeyedNoise(0, ["c"], "decode").normal((2, 3))
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(together[0], together[1])
    other_stream = KeyedNoise(0, ["c"], "encode").normal((2, 3))
    assert not torch.equal(other_stream, alone)


def test_noise_is_standard_normal_and_goes_on():
    noise = KeyedNoise(3, [str(n) for n in range(64)], "decode")
    first, second = noise.normal((64, 64)), noise.normal((64, 64))
    assert first.mean().item() == pytest.approx(0, abs=0.01)
    assert first.std().item() == pytest.approx(1, abs=0.01)
    assert torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1].abs() < 0.01


def test_out_of_memory_halves_the_batch_and_changes_no_score(photos):
    expected, _ = scores(Noisy(), photos)

    class Small(Noisy):
        def decode(self, latent, noise):
            if len(latent) > 2:
                raise torch.OutOfMemoryError("no memory left")
            return super().decode(latent, noise)

    tokenizer = Small()
    got, seen = scores(tokenizer, photos, batch=7)
    assert got == expected
    assert max(tokenizer.batches) <= 2
    assert "out of memory with 7 images" in seen.warnings[0]


def test_out_of_memory_with_one_image(photos):
    class None_(Noisy):
        def decode(self, latent, noise):
            raise torch.OutOfMemoryError("no memory left")

    with pytest.raises(UserError, match="one image at a time"):
        scores(None_(), photos)


def test_nan_names_the_image(photos):
    class Broken(Noisy):
        def decode(self, latent, noise):
            out = super().decode(latent, noise)
            out[1, 0, 0, 0] = float("nan")
            return out

    with pytest.raises(PluginError, match=r"NaN or infinite pixels for 1\.png"):
        scores(Broken(), photos)


def test_wrong_shape_is_the_plugins_fault(photos):
    class Wrong(Noisy):
        def decode(self, latent, noise):
            return super().decode(latent, noise)[..., 1:]

    with pytest.raises(PluginError, match="shape"):
        scores(Wrong(), photos)


def test_every_level_survives_the_round_trip_through_minus_one_to_one():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    there = levels.float() / 127.5 - 1
    assert torch.equal(to_uint8((there + 1) / 2, ["x"]), levels)
    truncated = ((there + 1) / 2 * 255).to(torch.uint8)
    assert (truncated != levels).sum() > 30  # the known mistake


def test_clamped_before_rounding():
    out = to_uint8(torch.tensor([[[[-0.2, 1.3, 0.5]]]]), ["x"])
    assert out.flatten().tolist() == [0, 255, 128]


def test_pixel_hash_is_that_of_the_crops(photos):
    _, seen = scores(Noisy(), photos)
    crops = [b.images.numpy().tobytes() for b in iterate_batches(photos, 32, PROTOCOL.crop, 1)]
    assert seen.pixels_sha256 == hashlib.sha256(b"".join(crops)).hexdigest()


def test_clock_leaves_warm_up_and_preparation_out():
    slept = []

    def call():
        import time

        slept.append(1)
        time.sleep(0.2 if len(slept) == 1 else 0.01)

    settings = TimingSettings(seconds=0.05, warmup=2, min_calls=5, max_calls=5)
    seconds = time_calls(call, lambda: None, CPU, settings)
    assert len(slept) == 7
    assert len(seconds) == 5
    assert min(seconds) >= 0.01
    assert max(seconds) < 0.2


def test_speed_record(photos):
    batch = next(iter(iterate_batches(photos, 32, PROTOCOL.crop, 4)))
    examples = Examples(batch.ids, batch.images, batch.images)
    settings = TimingSettings(seconds=0.01, warmup=1, min_calls=3, max_calls=3)
    record = measure_speed(Noisy(), examples, 2, PROTOCOL, 0, CPU, settings)
    for timing in (record.encode, record.decode):
        assert timing.batch == 2
        assert timing.repeats == 3
        assert timing.images_per_s == pytest.approx(2 / timing.median_s)
        assert timing.q1_s <= timing.median_s <= timing.q3_s
    assert record.decode.gmac_per_image is None
