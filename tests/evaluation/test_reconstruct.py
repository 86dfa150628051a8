"""Scores belong to images: no batch size, order or memory limit may change them."""

import signal
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from passes import Done, pass_over
from PIL import Image

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise, OrderedNoise
from ssdd_bench.api.pixels import to_uint8
from ssdd_bench.data.images import FolderImages, open_images
from ssdd_bench.data.loader import ImageLoader
from ssdd_bench.data.source import ImageSource
from ssdd_bench.errors import DataError, PluginError, UserError
from ssdd_bench.evaluation import reconstruct as module
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, PreparedTokenizer
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.metrics.features.cache import pixel_hashes
from ssdd_bench.metrics.suite import MetricSuite
from ssdd_bench.plugins.guard import Guard
from ssdd_bench.plugins.registry import parse_requests
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
    loader = ImageLoader(photos, 32, PROTOCOL.crop, batch)
    with MetricSuite(["psnr", "psnr_pooled", "ssim"], CPU) as suite:
        (seen,) = pass_over(tokenizer, loader, suite, PROTOCOL, seed=seed)
        suite.merge(seen.metrics)
        return suite.compute().values, seen


@pytest.mark.medium
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batch_size_changes_no_bit(photos, batch):
    expected, first = scores(Noisy(), photos)
    got, second = scores(Noisy(), photos, batch)
    assert got == expected
    assert np.array_equal(first.hashes, second.hashes)
    assert torch.equal(first.examples.reconstructions, second.examples.reconstructions)


def test_noise_per_batch_is_caught(photos):
    assert scores(NoisePerBatch(), photos, 1)[0] != scores(NoisePerBatch(), photos, 3)[0]


def test_seed_changes_the_score(photos):
    assert scores(Noisy(), photos, seed=0)[0] != scores(Noisy(), photos, seed=1)[0]


@pytest.mark.slow
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


def test_a_batch_is_halved_for_the_images_that_are_left(photos, monkeypatch):
    """The third image takes all memory beside others; no size is tried again that did not fit."""
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    tried = []

    class Small(Noisy):
        def decode(self, latent, noise):
            tried.append(noise.ids)
            if len(latent) > 4 or ("2.png" in noise.ids and len(latent) > 1):
                raise torch.OutOfMemoryError("no memory left")
            return super().decode(latent, noise)

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            assert hashes == pixel_hashes(references)
            super().add_pairs(ids, references, reconstructions, hashes)

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 5)
    with Suite(["mse"], CPU) as suite:
        (seen,) = pass_over(Small(), loader, suite, PROTOCOL, repeat=False)
    names = [("0.png", "1.png", "2.png", "3.png", "4.png"), ("0.png", "1.png"), ("2.png", "3.png")]
    assert tried == [*names, *((f"{number}.png",) for number in range(2, 7))]
    assert seen.ids == photos.ids
    assert seen.warnings == tuple(
        f"out of memory with {one} images at a time: reduced to {other}; scores do not depend on it"
        for one, other in ((5, 2), (2, 1))
    )


def test_a_tokenizer_that_does_not_fit(photos, monkeypatch):
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)

    class Large(Noisy):
        def decode(self, latent, noise):
            raise torch.OutOfMemoryError("no memory left")

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1)
    with (
        MetricSuite(["mse"], CPU) as suite,
        pytest.raises(UserError, match="one image at a time on cpu"),
    ):
        pass_over(Large(), loader, suite, PROTOCOL)


def test_what_a_tokenizer_changes_is_said_of_its_chunk(photos):
    threads = torch.get_num_threads()

    class Changes(Noisy):
        def decode(self, latent, noise):
            torch.set_num_threads(threads + 1)
            return super().decode(latent, noise)

    assert scores(Changes(), photos)[1].warnings == (
        "Changes: running it changed torch's number of threads, which others use; it was put back",
    )
    assert torch.get_num_threads() == threads


def test_enlarged_images_are_counted_over_the_batches(photos):
    for side, count in ((40, 0), (48, 7)):
        loader = ImageLoader(photos, side, PROTOCOL.crop, 3)
        with MetricSuite(["mse"], CPU) as suite:
            (seen,) = pass_over(Noisy(), loader, suite, PROTOCOL)
        assert seen.enlarged == count


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_first_images_are_kept(photos, monkeypatch, batch):
    sizes = []
    monkeypatch.setattr(module, "count_kept", lambda *size: sizes.append(size) or 4)
    seen = scores(Noisy(), photos, batch)[1].examples
    assert set(sizes) == {(32, 32)}
    assert seen.ids == photos.ids[:4]
    (whole,) = ImageLoader(photos, 32, PROTOCOL.crop, 7)
    assert torch.equal(seen.references, whole.images[:4])
    assert seen.reconstructions.shape == seen.references.shape
    noise = KeyedNoise(0, photos.ids[:4], "decode")
    tokenizer = Noisy()
    decoded = tokenizer.decode(tokenizer.encode(whole.images[:4].float() / 255), noise)
    assert torch.equal(seen.reconstructions, to_uint8(decoded, photos.ids[:4]))


def test_a_chunk_without_images_has_no_examples(photos):
    class Broken(FolderImages):
        def read(self, image_id):
            if image_id in ("0.png", "1.png"):
                raise DataError("truncated")
            return super().read(image_id)

    some = Broken(photos.name, {name: name for name in photos.ids}, photos.base)
    loader = ImageLoader(some, 32, PROTOCOL.crop, 2, groups=[some.ids[:2], some.ids[2:]])
    with MetricSuite(["mse"], CPU) as suite:
        first, second = pass_over(Noisy(), loader, suite, PROTOCOL)
    assert (first.ids, first.examples, first.decoded) == ((), None, (0.0, 1.0))
    assert (second.ids, second.examples) == (some.ids[2:], None)


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


def changing_images(change):
    class Changes(Noisy):
        def decode(self, latent, noise):
            return change(super().decode(latent, noise))

    return Changes()


@pytest.mark.parametrize(
    "change",
    [
        lambda images: (255 * images.clamp(0, 1)).byte(),
        lambda images: images.to(torch.complex64),
        lambda images: images.numpy(),
    ],
)
def test_wrong_types_are_the_plugins_fault(photos, change):
    with pytest.raises(PluginError, match="floats"):
        scores(changing_images(change), photos)


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_latents_of_another_type_are_the_plugins_fault(photos, kind):
    class Other(Noisy):
        latent = LatentSpec(kind, 2, 3, 8 if kind == "discrete" else None)

        def encode(self, images, noise=None):
            data = super().encode(images).data
            return Latent(data.long() if kind == "continuous" else data, (32, 32))

    with pytest.raises(PluginError, match=kind):
        scores(Other(), photos)


@pytest.mark.parametrize(
    ("change", "low", "high"),
    [
        (lambda images: images * 0 + 0.5, 0, 1),
        (lambda images: images * 0 - 3, -3, 1),
        (lambda images: images * 0 + torch.tensor([0.5, 2, 9])[:, None, None], 0, 9),
    ],
)
def test_a_chunk_holds_the_largest_values_before_rounding(photos, change, low, high):
    _, seen = scores(changing_images(change), photos)
    assert seen.decoded == (low, high)


def test_each_chunk_has_values_of_its_own(photos):
    """The last image of the second of three chunks is out of range."""

    class Once(Noisy):
        def decode(self, latent, noise):
            out = torch.zeros(len(latent), 3, *latent.size)
            out[noise.ids.index("3.png") if "3.png" in noise.ids else 0] = 0.5
            return out + 20.5 * ("3.png" in noise.ids)

    groups = [photos.ids[:2], photos.ids[2:4], photos.ids[4:]]
    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1, groups=groups)
    with MetricSuite(["psnr"], CPU) as suite:
        found = pass_over(Once(), loader, suite, PROTOCOL)
    assert [one.decoded for one in found] == [(0, 1), (0, 21), (0, 1)]


def test_each_group_is_a_chunk_and_noise_and_loading_go_on(photos, monkeypatch):
    """Also where scores have a thread, and a group is empty."""

    class Some(FolderImages):
        def read(self, image_id):
            if image_id in ("2.png", "3.png"):
                raise DataError("truncated")
            return super().read(image_id)

    some = Some(photos.name, {name: name for name in photos.ids}, photos.base)

    class Counts(Noisy):
        def decode(self, latent, noise):
            decoded.update(noise.ids)
            return super().decode(latent, noise)

    groups = [some.ids[:2], some.ids[2:4], some.ids[4:]]
    found = []
    for overlap, threads, batch in ((False, 0, 1), (True, 2, 4)):
        monkeypatch.setattr(module, "overlaps", lambda *_, value=overlap: value)
        loader = ImageLoader(some, 32, PROTOCOL.crop, batch, threads=threads, groups=groups)
        done, decoded = Done(), Counter()
        with MetricSuite(["psnr"], CPU) as suite:
            found.append(pass_over(Counts(), loader, suite, PROTOCOL, chunks=(4, 7, 0), done=done))
        assert decoded == Counter(["4.png", *groups[0], *groups[2]])  # chunk 0 begins with it
        assert done.chunks == [4, 7, 0]
        assert sum(done.images) == 5
        first, second, third = found[-1]
        assert first.ids == ("0.png", "1.png")
        assert (second.ids, second.skipped.keys()) == ((), {"2.png", "3.png"})
        assert second.latent.pixels == 0
        assert third.ids == ("4.png", "5.png", "6.png")
        assert third.latent.pixels == 3 * 32 * 32
        assert first.examples is second.examples is None
        assert third.examples.ids == third.ids
    for one, other in zip(*found, strict=True):
        assert one.facts() == other.facts()
        assert one.arrays().keys() == other.arrays().keys()
        for name, array in one.arrays().items():
            assert np.array_equal(array, other.arrays()[name]), name


def test_a_result_holds_the_use_of_the_codebook(photos, tmp_path):
    config = RunConfig(
        requests=tuple(parse_requests("identity")),
        resolutions=(32,),
        metrics=("mse",),
        out=tmp_path,
        data=photos,
        device="cpu",
        speed=False,
        pictures=False,
    )
    (finished,) = run_jobs(config).finished
    extra = finished.result.tokenizer.extra
    assert 0 < extra["code_usage"] <= 1
    assert 0 < extra["code_entropy_bits"] <= 8


@pytest.fixture
def overlapped(monkeypatch):
    """Scores are computed by a thread, as beside a GPU."""
    monkeypatch.setattr(module, "overlaps", lambda device, protocol: True)


def score_threads():
    return [one for one in threading.enumerate() if one.name.startswith("scores")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default-v1", "ssdd-paper-v1", "ldm-v1"])
def test_scores_in_a_thread_and_noise_ahead_change_no_bit(photos, monkeypatch, name):
    """Whatever the loading threads; the encoder's noise, and the decoder's in order of the set."""
    protocol, keys = get_protocol(name), ["psnr", "ssim", "fd_effnet"]

    class Sampled(Noisy):
        def encode(self, images, noise=None):
            latent = super().encode(images)
            if noise is None:
                return latent
            return Latent(latent.data + 0.1 * noise.normal(latent.data.shape[1:]), latent.size)

    def score(threads, batch):
        loader = ImageLoader(photos, 32, protocol.crop, batch, threads=threads)
        with MetricSuite(keys, CPU, batch=4) as suite:
            (seen,) = pass_over(Sampled(), loader, suite, protocol, 3)
            suite.merge(seen.metrics)
            return suite.compute(), seen.ids, seen.hashes.tobytes(), seen.latent.values

    expected = score(0, 1)
    monkeypatch.setattr(module, "overlaps", lambda device, protocol: True)
    assert score(0, 1) == expected
    assert score(3, 2) == expected
    assert score(2, 7) == expected
    assert not score_threads()


@pytest.mark.parametrize(("noise", "name"), [("philox", "load-batch"), ("ordered", "noise")])
def test_noise_is_sampled_by_the_loading_threads(photos, monkeypatch, noise, name):
    """Noise comes from the loader once shapes are known before a batch is loaded."""
    protocol = replace(PROTOCOL, decoder_noise=noise)
    threads = []
    kind = KeyedNoise if noise == "philox" else OrderedNoise
    sample = kind.normal

    def watched(*args, **known):
        threads.append(threading.current_thread().name.partition("_")[0])
        return sample(*args, **known)

    monkeypatch.setattr(kind, "normal", watched)
    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1, threads=1)
    with MetricSuite(["psnr"], CPU) as suite:
        pass_over(Noisy(), loader, suite, protocol, repeat=False)
    assert len(threads) <= 8  # nothing is sampled twice, at most one batch too many
    assert threads[0] == "MainThread"
    assert threads[-1] == name


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_noise_in_order_does_not_depend_on_what_was_foreseen(photos, threads, batch):
    """Some images ask for more noise than others, or for noise of another shape."""
    protocol = replace(PROTOCOL, decoder_noise="ordered")
    shapes = [[(5,)], [(5,), (2,)], [(7,), (2,)], [(5,)], [], [(5,)], [(5,)]]
    asked = []

    class Moody(Noisy):
        def decode(self, latent, noise):
            first = int(noise.ids[0].removesuffix(".png"))
            rows = [noise.normal(shape) for shape in shapes[first]]
            asked.extend(row.clone() for row in rows)
            return torch.zeros(len(latent), 3, *latent.size)

    loader = ImageLoader(photos, 32, protocol.crop, batch, threads=threads)
    with MetricSuite(["psnr"], CPU) as suite:
        pass_over(Moody(), loader, suite, protocol, 5, repeat=False)
    last, expected = None, []
    for start in range(0, 7, batch):
        last = OrderedNoise(5, min(batch, 7 - start), after=last)
        expected += [last.normal(shape) for shape in shapes[start]]
    assert len(asked) == len(expected)
    assert all(map(torch.equal, asked, expected))


@pytest.mark.parametrize("threads", [0, 2])
def test_foreseen_noise_in_order_goes_on_where_the_batch_before_it_ended(photos, threads):
    protocol = replace(PROTOCOL, decoder_noise="ordered")
    asked = []

    class Same(Noisy):
        def decode(self, latent, noise):
            asked.append((noise.ids, noise.normal((5,)), noise.normal((2, 3))))
            return torch.zeros(len(latent), 3, *latent.size)

    loader = ImageLoader(photos, 32, protocol.crop, 2, threads=threads)
    with MetricSuite(["mse"], CPU) as suite:
        pass_over(Same(), loader, suite, protocol, 5, repeat=False)
    last = None
    for start, (ids, *rows) in zip(range(0, 7, 2), asked, strict=True):
        last = OrderedNoise(5, min(2, 7 - start), after=last)
        assert ids == photos.ids[start : start + 2]
        assert torch.equal(rows[0], last.normal((5,)))
        assert torch.equal(rows[1], last.normal((2, 3)))


@pytest.mark.parametrize(
    ("noise", "posterior", "streams"),
    [
        ("philox", "mode", ["decode"]),
        ("philox", "sample", ["encode", "decode"]),
        ("ordered", "mode", []),
        ("ordered", "sample", ["encode"]),
    ],
)
def test_streams_whose_noise_is_keyed(noise, posterior, streams):
    protocol = replace(PROTOCOL, decoder_noise=noise, posterior=posterior)
    prepared = PreparedTokenizer(Noisy(), protocol, CPU, DEFAULT_EXECUTION, 2)
    trips = module._RoundTrips(prepared, 3, None, Guard("noisy"))
    found = trips.keyed_noise(("a", "b"))
    assert list(found) == streams
    for stream, one in found.items():
        numbers = one.part(slice(1, 2)).normal((4,))
        assert torch.equal(numbers, KeyedNoise(3, ("b",), stream).normal((4,)))


def test_scores_wait_for_at_most_eight_calls():
    """The ninth call waits for the first; what is done already is taken at once."""
    futures, done = [], []

    class Pool:
        def submit(self, function):
            future = SimpleNamespace(done=lambda: is_done, result=lambda: None)
            futures.append(future)
            return future

    behind = module._Behind(False)
    behind._pool = Pool()
    is_done = False
    for number in range(10):
        behind.call(lambda: None, lambda number=number: done.append(number))
        assert done == list(range(max(0, number - 7)))
    is_done = True
    behind.call(lambda: None)
    assert done == list(range(10))
    assert not behind._waiting
    assert len(futures) == 11


@pytest.mark.parametrize("overlap", [True, False])
def test_the_thread_of_the_scores(photos, monkeypatch, overlap):
    monkeypatch.setattr(module, "overlaps", lambda device, protocol: overlap)
    names = set()

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            names.add(threading.current_thread().name)

    with Suite(["mse"], CPU) as suite:
        pass_over(Noisy(), ImageLoader(photos, 32, PROTOCOL.crop, 3), suite, PROTOCOL)
    assert names == {"scores_0" if overlap else threading.current_thread().name}


@pytest.mark.medium
def test_errors_come_in_the_order_of_the_batches(photos, overlapped):
    """A score that fails goes before a later batch's failure, and both before anything else."""

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            time.sleep(0.2)
            if "1.png" in ids:
                raise DataError("score of 1")

    class Fails(Noisy):
        def decode(self, latent, noise):
            if noise.ids == ("2.png",):
                raise PluginError("decode of 2")
            return super().decode(latent, noise)

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1)
    done = Done()
    with Suite(["psnr"], CPU) as suite, pytest.raises(DataError, match="score of 1"):
        pass_over(Fails(), loader, suite, PROTOCOL, done=done)
    assert done.images == [1]
    assert not score_threads()


def test_an_interruption_leaves_no_thread_and_waits_for_one_batch_at_most(photos, overlapped):
    scored, before = [], []

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            time.sleep(0.1)
            scored.extend(ids)

    class Interrupted(Noisy):
        def decode(self, latent, noise):
            if "4.png" in noise.ids:
                before.append(len(scored))
                signal.raise_signal(signal.SIGINT)
            return super().decode(latent, noise)

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1)
    with Suite(["psnr"], CPU) as suite, pytest.raises(KeyboardInterrupt):
        pass_over(Interrupted(), loader, suite, PROTOCOL)
    assert len(scored) <= before[0] + 1
    assert not score_threads()
    assert not [one for one in threading.enumerate() if one.name.startswith("load")]


def test_scores_of_a_batch_are_computed_while_the_next_is_reconstructed(photos, overlapped):
    """Each waits for the other: one after the other they would wait forever."""
    decoding = threading.Event()

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            if "0.png" in ids:
                assert decoding.wait(10)

    class Tells(Noisy):
        def decode(self, latent, noise):
            if "1.png" in noise.ids:
                decoding.set()
            return super().decode(latent, noise)

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 1)
    with Suite(["psnr"], CPU) as suite:
        (seen,) = pass_over(Tells(), loader, suite, PROTOCOL)
    assert len(seen.ids) == 7


def test_when_scores_have_a_thread():
    cuda = torch.device("cuda")
    assert not module.overlaps(CPU, PROTOCOL)
    assert module.overlaps(cuda, PROTOCOL)
    assert not module.overlaps(cuda, replace(PROTOCOL, tf32=True))


def test_hashes_of_pixels_are_those_of_the_crops(photos, monkeypatch):
    found = {}

    class Suite(MetricSuite):
        def add_pairs(self, ids, references, reconstructions, hashes=None):
            found.update(zip(ids, hashes, strict=True))

    loader = ImageLoader(photos, 32, PROTOCOL.crop, 3, threads=2)
    with Suite(["psnr"], CPU) as suite:
        (seen,) = pass_over(Noisy(), loader, suite, PROTOCOL)
    assert seen.hashes.tobytes() == b"".join(found.values())
    for batch in ImageLoader(photos, 32, PROTOCOL.crop, 7):
        assert found == dict(zip(batch.ids, pixel_hashes(batch.images), strict=True))


class Slow(ImageSource):
    """Photographs that take a while to decode, as those of a camera do."""

    def __init__(self, n, seconds):
        self.name = "slow"
        self.ids = tuple(f"{i:05d}" for i in range(n))
        self._seconds = seconds
        self._image = Image.new("RGB", (32, 32), (90, 120, 40))

    def read(self, image_id):
        time.sleep(self._seconds)
        return self._image


class Fast(Noisy):
    """A tokenizer of 1,000 images a second, which knows how long it was at work."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0

    def encode(self, images, noise=None):
        started = time.perf_counter()
        latent = super().encode(images, noise)
        self.seconds += time.perf_counter() - started
        return latent

    def decode(self, latent, noise):
        started = time.perf_counter()
        image = super().decode(latent, noise)
        rest = len(latent) / 1000 - (time.perf_counter() - started)
        time.sleep(max(0.0, rest))
        self.seconds += time.perf_counter() - started
        return image


def share_in_the_tokenizer(threads, n=8192, batch=64):
    """Return the fraction of the time that the tokenizer works."""
    tokenizer = Fast()
    loader = ImageLoader(Slow(n, 0.008), 16, PROTOCOL.crop, batch, threads=threads)
    with MetricSuite(["psnr"], CPU) as suite:
        started = time.perf_counter()
        (seen,) = pass_over(tokenizer, loader, suite, PROTOCOL)
        suite.merge(seen.metrics)
        suite.compute()
    return tokenizer.seconds / (time.perf_counter() - started)


@pytest.mark.timing
def test_sixteen_loading_threads_keep_a_tokenizer_busy(overlapped):
    """Feed a tokenizer of 1,000 images/s, where one thread decodes 125 photographs in a second.

    The aim is 0.95. Two cores, which do the work of all threads that does not sleep, reach 0.89 to
    0.95.
    """
    assert share_in_the_tokenizer(16) >= 0.85
    assert share_in_the_tokenizer(4, n=256) < 0.6  # what too few threads look like
