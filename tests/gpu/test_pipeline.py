"""Loading ahead of a GPU and scoring behind it change no number."""

import threading

import pytest
import torch
from passes import pass_over

import ssdd_bench as sb
from ssdd_bench.api.formats import tf32
from ssdd_bench.api.noise import BatchNoise, KeyedNoise
from ssdd_bench.data.images import open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.evaluation import reconstruct as module
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.protocols.registry import get_protocol

PROTOCOL = get_protocol("default-v1")
KEYS = ("psnr", "ssim", "fd_effnet")


def test_pinned_batches_hold_the_same_pixels(device):
    source = open_images(None, limit=10)
    pin = device.type == "cuda"
    plain = list(ImageLoader(source, 64, "adm", 4))
    pinned = list(ImageLoader(source, 64, "adm", 4, threads=4, pin=pin))
    assert [batch.ids for batch in plain] == [batch.ids for batch in pinned]
    for one, other in zip(plain, pinned, strict=True):
        assert other.images.is_pinned() == pin
        copy = other.images.to(device, non_blocking=True)
        assert torch.equal(copy.cpu(), one.images)


def test_pinned_noise_is_that_of_the_cpu(device):
    pin, ids, shapes = device.type == "cuda", ("a", "b", "c"), ((3, 8, 8), (5,))
    noise = BatchNoise(lambda: KeyedNoise(1, ids, "decode", pin), shapes)
    parts = noise.part(slice(0, 2)), noise.part(slice(2, 3))
    plain = KeyedNoise(1, ids, "decode")
    for shape in (*shapes, (2, 2)):  # the last was not foreseen
        found = torch.cat([part.normal(shape, device=device).cpu() for part in parts])
        assert torch.equal(found, plain.normal(shape))


@pytest.mark.parametrize("protocol", ["default-v1", "ssdd-paper-v1", "ldm-v1"])
def test_scores_beside_the_network_are_those_after_it(tokenizer, device, monkeypatch, protocol):
    """Equal to the bit, since the same kernels see the same batches."""
    found = []
    for overlap, threads in ((False, 0), (True, 4)):
        monkeypatch.setattr(module, "overlaps", lambda device, protocol, value=overlap: value)
        loader = ImageLoader(
            open_images(None, limit=10), 64, "adm", 4, threads=threads, pin=device.type == "cuda"
        )
        # Metrics switch TF32 off and on again while the networks run, so these do without it.
        with tf32(False), MetricSuite(KEYS, device, batch=4) as suite:
            (seen,) = pass_over(tokenizer, loader, suite, get_protocol(protocol), device=device)
            suite.merge(seen.metrics)
            found.append((suite.compute(), seen.ids, seen.hashes.tobytes()))
            assert seen.examples.reconstructions.is_cpu
    assert found[0] == found[1]
    assert not [one for one in threading.enumerate() if one.name.startswith(("scores", "load"))]


def test_images_stay_on_the_gpu_between_decoding_and_scoring(tokenizer, device):
    devices = set()

    class Watching(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            devices.update((references.device, reconstructions.device))
            super().add_pairs(ids, references, reconstructions, hashes)

    loader = ImageLoader(open_images(None, limit=4), 64, "adm", 2, pin=device.type == "cuda")
    with Watching(["psnr"], device) as suite:
        pass_over(tokenizer, loader, suite, PROTOCOL, device=device)
    assert devices == {device}


def test_a_codec_is_scored_on_the_gpu_as_on_a_cpu(device):
    found = [
        sb.evaluate(
            "jpeg:quality=30", data="sample", resolution=64, limit=6, metrics=["psnr", "ssim"],
            device=where, progress=False,
        )
        for where in (device, "cpu")
    ]  # fmt: skip
    assert found[0].metrics["psnr"].value == found[1].metrics["psnr"].value
    assert found[0].metrics["ssim"].value == pytest.approx(found[1].metrics["ssim"].value, 1e-12)
