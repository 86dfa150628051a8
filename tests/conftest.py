"""Fixtures that several folders of tests share."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: threads of several workers would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# xdist's own process reads this file too: what takes seconds to import is imported when used.
SIDE = 16


GPU_TESTS_ON_CPU = "SSDD_BENCH_GPU_TESTS_ON_CPU"


def pytest_configure(config: pytest.Config) -> None:
    """Hide every GPU, before CUDA starts, from a run of anything but the tests of GPUs.

    Scores that are compared bit for bit, commands with ``--device auto`` and trainings would take
    it otherwise. Workers of xdist and programs that tests start inherit the setting.
    """
    if not config.option.markexpr.startswith("gpu") or os.environ.get(GPU_TESTS_ON_CPU):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Keep the garbage collector from looking, again and again, at what imports leave for good."""
    gc.disable()
    try:
        found = yield
        plugged = session.config.pluginmanager.hasplugin("hypothesispytest")
        if plugged and "PYTEST_XDIST_WORKER" not in os.environ:
            import hypothesis  # noqa: F401  # its plugin does at the end, and asks the collector
        return found
    finally:
        gc.freeze()  # and at no time while the tests run, nor at the end
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def effnet_is_read_once() -> Iterator[None]:
    """Copy EfficientNet-Lite in place of reading its file, which most trainings and scores do."""
    if "torch" not in sys.modules:
        yield
        return
    from ssdd_bench.metrics.features import effnet

    read = cache(effnet.load_effnet)
    users = [effnet, sys.modules.get("ssdd_bench.train.losses.perceptual")]
    with pytest.MonkeyPatch.context() as patch:
        for module in filter(None, users):
            patch.setattr(module, "load_effnet", lambda *file: deepcopy(read(*file)))
        yield


@pytest.fixture
def quick_effnet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give EfficientNet-Lite0 a twelfth of the pixels, where any distance of features will do."""
    from ssdd_bench.metrics.features import effnet

    monkeypatch.setattr(effnet, "EFFNET_SIDE", 64)


@pytest.fixture(scope="session", autouse=True)
def interrupts_arrive() -> Iterator[None]:
    """Undo that a shell has what it runs in the background, and its children, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """Undo what a command in this process sets, such as --offline, at the end of its test."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session")
def make_photos(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, tuple[int, int]], Path]:
    """Write ``n`` smooth random pictures of (width, height) into a new folder, from 0.png on."""
    import numpy as np
    from PIL import Image

    def make(n: int, size: tuple[int, int]) -> Path:
        folder = tmp_path_factory.mktemp("photos")
        rng = np.random.default_rng(0)
        for index in range(n):
            small = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
            small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{index}.png")
        return folder

    return make


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let ``torch.compile`` return what it gets, at once; a list notes each reset of compilers."""
    import torch

    resets: list[str] = []
    config = SimpleNamespace(recompile_limit=8, patch=lambda changes: nullcontext())
    monkeypatch.setitem(vars(torch), "_dynamo", SimpleNamespace(config=config))
    monkeypatch.setattr(torch, "compile", lambda forward, **options: forward)
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append("reset"))
    return resets


@pytest.fixture(scope="session")
def block_mean():
    from small_models import BlockMean

    return BlockMean


SLOW = """
import os, time
from ssdd_bench.api import Latent, LatentSpec, Tokenizer
class Slow(Tokenizer):
    latent = LatentSpec("continuous", 2, 3)
    def encode(self, images, noise=None):
        return Latent(images[..., ::2, ::2], tuple(images.shape[-2:]))
    def decode(self, latent, noise):
        time.sleep(float(os.environ.get("SLOW_SECONDS", 0)))
        image = latent.data.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return image + 0.1 * noise.normal((3, *latent.size))
def load():
    return Slow()
"""
SLOW_MANIFEST = """
id = "slow"
title = "Slow"
family = "test"
description = "Adds noise, and takes as long as SLOW_SECONDS says for a batch."
licence = "Apache-2.0"
version = "1"
stochastic = true
"""


@pytest.fixture(scope="session")
def slow_plugin(tmp_path_factory):
    """A folder with a stochastic plugin for SSDD_BENCH_TOKENIZERS."""
    from plugin_folders import write_plugin

    return write_plugin(tmp_path_factory.mktemp("plugins"), "slow", SLOW_MANIFEST, SLOW)


@pytest.fixture(scope="session")
def record():
    from small_models import describe

    return describe


@pytest.fixture(scope="session")
def recipe(tiny_size):
    from small_models import RECIPE

    return RECIPE


@pytest.fixture(scope="session")
def tiny_size():
    """The size "tiny" of the DiT, for the rest of the session."""
    from ssdd_bench.nn.dit import SIZES

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", (2, 32, 2))
        yield


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of 12 images of each of two classes, dark cats and bright dogs."""
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, low, high in (("cat", 0, 140), ("dog", 110, 256)):
        (folder / name).mkdir()
        for i in range(12):
            small = Image.fromarray(rng.integers(low, high, (5, 5, 3), dtype=np.uint8))
            small.resize((20, SIDE), Image.Resampling.BICUBIC).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def encode():
    from small_models import CPU, BlockMean, describe

    from ssdd_bench.evaluation.launch_groups import IN_PROCESS
    from ssdd_bench.evaluation.loading import LoadedTokenizer
    from ssdd_bench.generation.latents import LatentsPlan, encode_latents

    def encode(photos, out, tokenizer=None, named=None, launch=IN_PROCESS, **more):
        """Encode with small shards."""
        loaded = LoadedTokenizer(tokenizer or BlockMean(), named or describe())
        plan = LatentsPlan(loaded, photos, SIDE, out, shard_images=10, **more)
        return encode_latents(plan, CPU, launch)

    return encode


@pytest.fixture(scope="session")
def latents(photos, encode, tmp_path_factory):
    from ssdd_bench.data.latents import LatentSet

    folder = tmp_path_factory.mktemp("latents")
    encode(photos, folder)
    return LatentSet(folder)


@pytest.fixture(scope="session")
def trained(latents, tiny_size, tmp_path_factory):
    """Weights after a few iterations, enough for tests of everything but quality."""
    from small_models import CPU, RECIPE

    from ssdd_bench.train.pipeline import make_dit_trainer

    trainer = make_dit_trainer(latents, RECIPE, tmp_path_factory.mktemp("dit"), CPU)
    list(trainer.run(RECIPE.dit.iterations))
    return trainer.weights_path


@pytest.fixture(scope="session")
def photo_like():
    import numpy as np
    import torch

    def make(n=4, side=64, seed=0):
        """Smooth random images, uint8 (n, 3, side, side)."""
        rng = np.random.default_rng(seed)
        small = torch.from_numpy(rng.uniform(0, 255, (n, 3, 9, 9)))
        smooth = torch.nn.functional.interpolate(small, (side, side), mode="bicubic")
        return smooth.round().clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def noisy():
    import numpy as np
    import torch

    def make(images, sigma, seed=0):
        noise = np.random.default_rng(seed).normal(0, sigma, images.shape)
        return (images.double() + torch.from_numpy(noise)).round().clamp(0, 255).to(torch.uint8)

    return make


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """A file with the layout of the published one, every tensor random."""
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "load", lambda *a, **k: None)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *a, **k: None)
        network = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            state[name] = 0.5 + torch.rand(value.shape, generator=generator)
        elif value.ndim > 1:
            fan_in = value[0].numel()
            state[name] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
        elif value.is_floating_point():
            state[name] = 0.1 * torch.randn(value.shape, generator=generator) + (
                1.0 if name.endswith("bn.weight") else 0.0
            )
        else:
            state[name] = value
    torch.save(state, path)
    return path
