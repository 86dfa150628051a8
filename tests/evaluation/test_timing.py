"""The clock: what it counts and leaves out, on a clock that stands still between calls."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ssdd_bench.api import Latent, LatentSpec, Tokenizer
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import UserError
from ssdd_bench.evaluation import timing as module
from ssdd_bench.evaluation.examples import Examples
from ssdd_bench.evaluation.execution import DEFAULT_EXECUTION, ExecutionSettings, prepare
from ssdd_bench.evaluation.timing import (
    CPU_TIMING,
    CUDA_TIMING,
    TimedImages,
    TimingSettings,
    compare_outputs,
    count_gmac,
    default_timing,
    measure_speed,
    speed_ratio,
    summarise,
    time_by_turns,
    time_calls,
)
from ssdd_bench.metrics.intervals import bootstrap
from ssdd_bench.protocols.registry import get_protocol
from ssdd_bench.results.schema import Fidelity, Timing

CPU = torch.device("cpu")
MODE, SAMPLE, AUTOCAST = map(get_protocol, ("default-v1", "ldm-v1", "ssdd-paper-v1"))
FEW = TimingSettings(seconds=0.5, warmup=1, min_calls=3, max_calls=3)


class Clock:
    """A clock that moves only when told to."""

    def __init__(self):
        self.now = 0.0

    def move(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: found.now))
    monkeypatch.setattr(module, "load_warning", lambda: "")
    monkeypatch.setattr(module, "peak_memory", lambda call, device: (call() and 0) or (7, "test"))
    return found


def test_settings_by_device():
    assert default_timing(CPU) is CPU_TIMING
    assert default_timing(torch.device("cuda")) is CUDA_TIMING


@pytest.mark.parametrize(
    ("seconds", "warmup", "expected"),
    [
        (1.0, 2, (0.25,) * 4),  # as many as fit into a second, by the last call of the warm-up
        (1.1, 2, (0.25,) * 5),
        (0.5, 2, (0.25,) * 3),  # at least three
        (9.0, 2, (0.25,) * 6),  # at most six
        (9.0, 1, (0.25,) * 3),  # the first call seems to take all the time there is
        (1e-9, 0, (8.0, 0.25, 0.25)),
        (4e-9, 0, (8.0, 0.25, 0.25, 0.25)),  # no call is known: each takes a nanosecond
    ],
)
def test_repeats_of_a_call(clock, seconds, warmup, expected):
    calls = []

    def call():
        calls.append(1)
        clock.move(0.25 if len(calls) > 1 else 8)

    settings = TimingSettings(seconds, warmup, min_calls=3, max_calls=6)
    assert time_calls(call, CPU, settings) == expected
    assert len(calls) == warmup + len(expected)


def test_a_gpu_is_timed_by_events_of_its_stream(clock, monkeypatch):
    """The host waits once for all calls; events give milliseconds."""
    gpu, waited = torch.device("cuda", 1), []

    class Event:
        def __init__(self, enable_timing=False):
            assert enable_timing is True

        def record(self):
            assert devices == [gpu]
            self.at = clock.now

        def elapsed_time(self, end):
            assert waited[-1] == (gpu, clock.now)
            return 1000 * (end.at - self.at)

    class Device:
        def __init__(self, device):
            self.device = device

        def __enter__(self):
            devices.append(self.device)

        def __exit__(self, *error):
            devices.clear()

    devices = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "device", Device)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda one: waited.append((one, clock.now)))
    found = time_calls(lambda: clock.move(0.25), gpu, FEW)
    assert found == (0.25, 0.25, 0.25)
    assert waited == [(gpu, 0.25), (gpu, 1.0)]  # the warm-up, and all that is timed


def test_turns_are_reversed_every_time(clock):
    made = []

    def call(name):
        made.append(name)
        clock.move(len(made))

    calls = [lambda name=name: call(name) for name in "abc"]
    seconds = time_by_turns(calls, CPU, turns=3, warmup=1)
    assert "".join(made) == "abc" + "abc" + "cba" + "abc"
    assert seconds.tolist() == [[4, 5, 6], [9, 8, 7], [10, 11, 12]]
    made.clear()
    assert time_by_turns(calls[:2], CPU, 1).tolist() == [[5, 6]]  # two turns of warm-up


def test_turns_cancel_drift(clock):
    """A machine that slows down all the time favours neither side."""
    made = []

    def slower():
        made.append(1)
        clock.move(len(made))

    seconds = time_by_turns([slower, slower], CPU, turns=8)
    assert seconds[:, 0].sum() == seconds[:, 1].sum()


@pytest.mark.medium
def test_a_ratio_is_of_speeds_and_a_median():
    ratios = np.array([2.0, 4.0, 3.0, 30.0, 0.5])
    head = np.array([1.0, 2.0, 0.5, 4.0, 8.0])
    assert speed_ratio(ratios * head, head) == (3.0, bootstrap(ratios, np.median))


def test_differences_of_outputs():
    one = torch.zeros(1, 3, 2, 2)
    assert compare_outputs([one], [one]) == Fidelity(None, 0.0)
    found = compare_outputs([one, one + 0.5], [one + 0.1, one + 0.5])
    assert found.psnr == pytest.approx(-10 * math.log10(0.1**2 / 2), abs=1e-5)
    assert found.max_difference == pytest.approx(0.1)
    assert compare_outputs([one + 2], [one]).psnr == pytest.approx(-20 * math.log10(2))


def test_summary_of_times():
    found = summarise([4.0, 1.0, 3.0, 2.0, 9.0], 3, 6, 0.5, 1024, "kind")
    assert found == Timing(3.0, 2.0, 4.0, 5, 3, 6, 2.0, 0.5, 1024, "kind")
    assert summarise([2.0], 0, 1) == Timing(2.0, 2.0, 2.0, 1, 0, 1, 0.5, None, None, "")


def test_work_is_counted_by_hand():
    convolution = nn.Conv2d(3, 8, 3, padding=1)
    with torch.inference_mode():
        assert count_gmac(lambda: convolution(torch.zeros(2, 3, 4, 4))) == 2 * 16 * 8 * 27 / 1e9
        rows = torch.zeros(1, 2, 16, 8)
        attention = nn.functional.scaled_dot_product_attention
        assert count_gmac(lambda: attention(rows, rows, rows)) == 2 * 2 * 16 * 16 * 8 / 1e9


@pytest.mark.parametrize(("load", "warned"), [(3.4, False), (3.5, False), (3.6, True)])
def test_other_programs_are_noticed(monkeypatch, load, warned):
    monkeypatch.setattr(module.os, "getloadavg", lambda: (load, 9.0, 9.0))
    monkeypatch.setattr(module, "cores", lambda: 3)
    found = module.load_warning()
    assert (f"{load:.1f} on 3 cores" in found) is bool(found) is warned


class Echo(Tokenizer):
    """Shifts images by their noise, and notes its calls; takes time by the clock."""

    latent = LatentSpec("continuous", 1, 3)

    def __init__(self, clock=None, networks=True, seconds=lambda images: 1.0, limit=100):
        self.clock, self.seconds, self.limit = clock or Clock(), seconds, limit
        self.layer = nn.Conv2d(3, 3, 1) if networks else None
        self.batches, self.seen = [], []

    def networks(self):
        return {"decoder": self.layer} if self.layer else {}

    def encode(self, images, noise=None):
        self.clock.move(self.seconds(len(images)) / 2)
        self.seen.append(images)
        if noise is not None:
            images = images + noise.normal(images.shape[1:])
        return Latent(images, tuple(images.shape[-2:]))

    def decode(self, latent, noise):
        if len(latent) > self.limit:
            raise MemoryError
        self.clock.move(self.seconds(len(latent)))
        self.batches.append(len(latent))
        return latent.data + noise.normal((3, *latent.size))


def examples(count):
    levels = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    return Examples(tuple("abcdefgh"[:count]), levels, levels)


@pytest.mark.parametrize(
    ("networks", "batch", "count", "rows"),
    [
        (True, 2, None, [[0, 1]]),
        (True, 4, None, [[0, 1, 2, 0]]),  # images are repeated
        (False, 2, None, [[0, 1], [2, 0]]),  # a codec takes all of them
        (False, 4, None, [[0, 1, 2, 0]]),
        (True, 1, 2, [[0], [1]]),
    ],
)
@pytest.mark.parametrize("protocol", [MODE, SAMPLE])
def test_images_that_are_timed(networks, batch, count, rows, protocol):
    tokenizer = Echo(networks=networks)
    images = TimedImages(tokenizer, examples(3), batch, protocol, 5, CPU, count)
    assert images.batch == batch
    assert images.calls == len(rows)
    assert len(tokenizer.seen) == len(rows)
    for given, row in zip(tokenizer.seen, rows, strict=True):
        assert torch.equal(given[:, 0, 0, 0], torch.tensor(row) / 255)
    for _ in range(2):  # the same noise each time
        latents, decoded = images.encode(), images.decode()
        for latent, image, given, row in zip(latents, decoded, tokenizer.seen, rows, strict=False):
            ids = ["abc"[one] for one in row]
            noise = KeyedNoise(5, ids, "encode").normal((3, 2, 2))
            expected = given + noise if protocol is SAMPLE else given
            assert torch.equal(latent.data, expected)
            noise = KeyedNoise(5, ids, "decode").normal((3, 2, 2))
            assert torch.equal(image, expected + noise)


def test_networks_run_in_the_format_of_the_protocol():
    class Format(Echo):
        def encode(self, images, noise=None):
            formats.append(torch.is_autocast_enabled("cpu"))
            return Latent(images, (2, 2))

        def decode(self, latent, noise):
            formats.append(torch.is_autocast_enabled("cpu"))
            return latent.data

    formats = []
    images = TimedImages(Format(), examples(1), 1, AUTOCAST, 0, CPU)
    images.decode()
    assert formats == [True, True]


def speed(tokenizer, batches, count=3, protocol=MODE, execution=DEFAULT_EXECUTION):
    used = execution.applied_to(protocol)
    with prepare(tokenizer, used, CPU, execution, 2, 1) as prepared:
        return measure_speed(prepared, examples(count), batches, 0, FEW)


@pytest.mark.parametrize(
    ("formats", "lacks", "expected"),
    [
        (("float32", "none"), {torch.bfloat16, torch.float16}, ""),
        (("bfloat16", "none"), {torch.float16}, ""),
        (("bfloat16", "none"), {torch.bfloat16}, "bfloat16"),
        (("float16", "none"), {torch.float16}, "float16"),
        (("float32", "bfloat16"), {torch.bfloat16}, "bfloat16"),
    ],
)
@pytest.mark.parametrize("networks", [True, False])
def test_a_format_that_the_cpu_imitates_is_named(
    clock, monkeypatch, formats, lacks, expected, networks
):
    monkeypatch.setattr(module, "has_kernels", lambda dtype, device: dtype not in lacks)
    protocol = replace(MODE, dtype=formats[0], autocast=formats[1])
    found = speed(Echo(clock, networks), [1], 1, protocol)
    words = f"this CPU imitates {expected}, which it has no instructions for"
    assert found.warning == (words if expected and networks else "")


def test_every_field_of_a_record(clock):
    found = speed(Echo(clock, seconds=lambda images: 2.0), [4, 2, 4])
    assert found.batches == (1, 2, 4)
    decode = Timing(2.0, 2.0, 2.0, 3, 1, 4, 2.0, 0.0, 7, "test")
    assert found.decode == decode
    assert found.encode == Timing(1.0, 1.0, 1.0, 3, 1, 4, 4.0, 0.0, 7, "test")
    assert found.decode_single == replace(decode, batch=1, images_per_s=0.5)
    assert found.encode_single.images_per_s == 1.0
    assert found.fidelity == Fidelity(None, 0.0)
    assert (found.warning, found.threads) == ("", torch.get_num_threads())
    one = speed(Echo(clock), [1])
    assert (one.batches, one.encode_single, one.decode_single) == ((1,), None, None)
    assert one.decode.images_per_s == 1.0


def test_codecs_are_timed_on_all_images_and_their_work_is_not_counted(clock):
    tokenizer = Echo(clock, networks=False, seconds=lambda images: 3.0)
    found = speed(tokenizer, [1])
    assert (found.decode.median_s, found.decode.images_per_s) == (3.0, 1 / 3)
    assert found.decode.gmac_per_image is found.encode.gmac_per_image is None
    assert len(tokenizer.batches) == 3 * (1 + 3 + 1)  # warm-up, clock, memory


def test_work_is_counted_for_one_image(clock):
    class Convolves(Echo):
        def decode(self, latent, noise):
            return super().decode(replace(latent, data=self.layer(latent.data)), noise)

    found = speed(Convolves(clock), [4])
    assert (found.encode.gmac_per_image, found.decode.gmac_per_image) == (0, 4 * 9 / 1e9)


@pytest.mark.parametrize(
    ("seconds", "most", "batches", "best"),
    [
        ({1: 1, 2: 1, 4: 1.9, 8: 9}, 1024, (1, 2, 4, 8), 4),
        ({1: 1, 2: 1, 4: 2}, 1024, (1, 2, 4), 2),  # no faster
        ({1: 1, 2: 3, 4: 1}, 1024, (1, 2), 1),
        ({1: 1, 2: 1, 4: 1}, 4, (1, 2, 4), 4),
    ],
)
def test_auto_doubles_the_batch_while_throughput_grows(
    clock, monkeypatch, seconds, most, batches, best
):
    monkeypatch.setattr(module, "MAX_BATCH", most)
    found = speed(Echo(clock, seconds=seconds.__getitem__), "auto")
    assert (found.batches, found.decode.batch) == (batches, best)


def test_a_batch_that_does_not_fit_ends_the_search(clock, monkeypatch):
    monkeypatch.setattr(module, "load_warning", lambda: "busy")
    monkeypatch.setattr("ssdd_bench.api.memory.release_memory", lambda device: None)
    found = speed(Echo(clock, limit=2), [2, 4, 8])
    assert found.batches == (1, 2)
    assert found.warning == "busy; out of memory with 4 images per call"
    for networks in (True, False):  # in counting the work, and under the clock
        with pytest.raises(UserError, match="one image"):
            speed(Echo(clock, networks, limit=0), [2])


@pytest.mark.parametrize(("count", "compared"), [(2, 2), (6, 4)])
def test_outputs_of_other_formats_are_compared_with_float32(clock, monkeypatch, count, compared):
    class Layer(Echo):
        def decode(self, latent, noise):
            kind = self.layer.weight.dtype
            kinds.append(kind)
            return super().decode(latent, noise) + (0.5 if kind == torch.bfloat16 else 0)

        def to(self, device, dtype=torch.float32):
            self.layer.to(device, dtype)
            return self

    sizes, kinds = [], []

    def compare(decoded, exact):
        sizes.append((len(decoded), len(exact)))
        return compare_outputs(decoded, exact)

    monkeypatch.setattr(module, "compare_outputs", compare)
    tokenizer = Layer(clock)
    for kind, fidelity in (("float32", Fidelity(None, 0.0)), ("bfloat16", 0.5)):
        kinds.clear()
        found = speed(tokenizer, [1], count, execution=ExecutionSettings(kind)).fidelity
        assert kinds[0] == torch.float32  # in which work is counted
        assert kinds[1] == getattr(torch, kind)
        if kind == "float32":
            assert found == fidelity
        else:
            assert found.max_difference == pytest.approx(fidelity)
            assert found.psnr == pytest.approx(-20 * math.log10(0.5), abs=1e-4)
    assert sizes == [(compared, compared)]
