"""Samples: the same for any number of processes, resumable, and decoded by who may decode them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_labels, read_moments, write_npz
from ssdd_bench.data.statistics import ChannelStats, ChannelSums
from ssdd_bench.errors import OptionError, PluginError, UserError
from ssdd_bench.generation.check import check_colours, check_latents
from ssdd_bench.generation.draw import decode_latents, draw_samples
from ssdd_bench.generation.labels import draw_labels
from ssdd_bench.generation.model import load_latent_model
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.generation.samples import DrawPlan
from ssdd_bench.results.samples import read_generated

CPU = torch.device("cpu")
SETTINGS = SamplerSettings("euler", steps=2, cfg=1.5)


@pytest.fixture
def draw(trained, block_mean, record):
    def draw(out, samples=40, tokenizer=None, named=None, weights=trained, **more):
        plan = DrawPlan(**{"out": out, "samples": samples, "settings": SETTINGS} | more)
        return draw_samples(
            load_latent_model(weights), tokenizer or block_mean(), named or record(), plan, CPU
        )

    return draw


def pixels(folder):
    with np.load(folder / "samples.npz") as arrays:
        return arrays["arr_0"]


@pytest.fixture
def drawn(draw, tmp_path):
    draw(tmp_path / "drawn")
    return tmp_path / "drawn"


def test_two_processes_and_a_resumed_run_give_the_same_images(draw, drawn, tmp_path):
    out = tmp_path / "parts"
    for part in ((1, 2), (0, 2)):
        assert draw(out, part=part) is None
    assert not (out / "samples.npz").exists()
    (batch, *_) = sorted((out / "batches").glob("*.npz"))
    batch.write_bytes(b"damaged")
    draw(out)
    assert np.array_equal(pixels(out), pixels(drawn))
    assert sorted(path.name for path in out.iterdir()) == [
        "generated.json",
        "samples.npz",
        "samples.png",
    ]
    before = (out / "samples.npz").stat().st_mtime_ns
    assert draw(out) == read_generated(out)
    assert (out / "samples.npz").stat().st_mtime_ns == before


def test_a_batch_size_changes_nothing(draw, drawn, tmp_path):
    draw(tmp_path / "one", batch_size=1)
    assert np.array_equal(pixels(tmp_path / "one"), pixels(drawn))


def test_the_first_samples_do_not_depend_on_how_many_there_are(draw, tmp_path):
    for name, samples in (("few", 5), ("many", 20)):
        draw(tmp_path / name, samples, labels="random")
    assert np.array_equal(pixels(tmp_path / "few"), pixels(tmp_path / "many")[:5])


def test_seeds_differ(draw, drawn, tmp_path):
    draw(tmp_path / "other", seed=1)
    assert not np.array_equal(pixels(tmp_path / "other"), pixels(drawn))


def test_the_file_is_read_by_numpy_and_by_us(drawn):
    images = pixels(drawn)
    assert images.dtype == np.uint8
    assert images.shape == (40, 16, 16, 3)
    source = open_images(drawn / "samples.npz")
    assert np.array_equal(np.array(source.read(source.ids[7])), images[7])
    assert np.bincount(read_labels(drawn / "samples.npz")).tolist() == [20, 20]


def test_the_record_says_how_they_were_made(drawn):
    made = read_generated(drawn)
    generation = made.generation
    assert (generation.model, generation.evaluations) == ("DiT-tiny/1", 4)
    assert generation.model_time.batch == 16
    assert generation.model_time.gmac_per_image > 0
    assert (generation.model_time.warmup, generation.model_time.repeats) == (1, 2)
    assert generation.decoder_time.gmac_per_image is None  # it has no network
    assert made.latent.shape == (3, 4, 4)


def test_drawn_latents_are_shared_by_decoders_of_one_encoder(draw, trained, tmp_path, monkeypatch):
    draw(tmp_path / "a", shared=tmp_path / "shared")

    def never(*args):
        raise AssertionError("drawn again")

    monkeypatch.setattr("ssdd_bench.generation.draw.draw_latents", never)
    draw(tmp_path / "b", shared=tmp_path / "shared")
    assert np.array_equal(pixels(tmp_path / "a"), pixels(tmp_path / "b"))
    with pytest.raises(AssertionError):
        draw(tmp_path / "c", shared=tmp_path / "shared", seed=1)


def test_what_does_not_fit_is_one_line(draw, drawn, record, block_mean, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"last\.safetensors: latents are those of 'block-mean'"):
        draw(out, named=record(label="other", x=1))
    with pytest.raises(PluginError, match="has bytes latents"):
        draw(out, tokenizer=block_mean(kind="bytes"))
    with pytest.raises(OptionError, match="take euler or heun"):
        draw(out, settings=SamplerSettings("ddpm", 5))
    with pytest.raises(OptionError, match="0 samples"):
        draw(out, samples=0)
    assert not out.exists()
    with pytest.raises(UserError, match="holds samples of other settings"):
        draw(drawn, seed=3)
    draw(out, part=(0, 2))
    with pytest.raises(UserError, match="holds samples of other settings"):
        draw(out, seed=3)


def test_a_published_network_fits_by_shape_alone(draw, trained, block_mean, record, tmp_path):
    torch.save(load_latent_model(trained).network.state_dict(), tmp_path / "published.pt")
    model = load_latent_model(tmp_path / "published.pt", "flow", f=8)
    plan = DrawPlan(tmp_path / "out", 4, settings=SETTINGS)
    with pytest.raises(UserError, match="draws f8c3 latents and 'block-mean' decodes f4c3"):
        draw_samples(model, block_mean(), record(), plan, CPU)
    model = load_latent_model(tmp_path / "published.pt", "flow", f=4)
    made = draw_samples(model, block_mean(), record(), plan, CPU)
    assert made.generation.statistics == "by the tokenizer"


def test_labels_are_balanced_or_random_and_fixed():
    equal = draw_labels(25, 10, "equal", seed=0)
    assert sorted(np.bincount(equal)) == [2] * 5 + [3] * 5
    assert np.array_equal(equal, draw_labels(25, 10, "equal", seed=1))
    assert not np.array_equal(equal, np.sort(equal))
    random = draw_labels(4000, 10, "random", seed=0)
    assert np.bincount(random).std() == pytest.approx(20, abs=15)
    assert np.array_equal(random[:7], draw_labels(7, 10, "random", seed=0))
    assert not np.array_equal(random, draw_labels(4000, 10, "random", seed=1))


@pytest.mark.parametrize(
    ("scale", "shift", "warned"), [(1.0, 0.0, False), (0.4, 0.0, True), (1.0, 2.0, True)]
)
def test_mis_scaled_latents_are_noticed(latents, trained, block_mean, scale, shift, warned):
    """Real latents stand for a perfect network; the statistics that map them back are wrong."""
    rows = np.arange(24)
    statistics = latents.record.statistics
    perfect = statistics.normalise(latents.batch(rows, rows % 2 == 0))
    wrong = ChannelStats(
        tuple(mean + shift for mean in statistics.mean),
        tuple(std * scale for std in statistics.std),
    )
    model = load_latent_model(trained)
    model = replace(model, facts=replace(model.facts, statistics=wrong))
    noise = KeyedNoise(0, [str(i) for i in rows], "decode")
    decoded = decode_latents(model, block_mean(), perfect, noise)
    colours = ChannelSums.of((decoded.clamp(0, 1) * 255).round().to(torch.uint8).numpy())
    found = [
        *check_latents(ChannelSums.of(perfect.numpy())),
        *check_colours(colours, latents.record.pixels),
    ]
    assert bool(found) == warned
    if warned:
        assert "scaled by the wrong statistics" in found[0]


def test_latents_that_were_not_mapped_back_are_noticed(latents):
    raw = latents.batch(np.arange(24), np.zeros(24, bool))  # mean 5, where N(0, 1) is expected
    (line,) = check_latents(ChannelSums.of(raw.numpy()))
    assert "mean of a channel by 6.5" in line


def test_too_few_or_too_many_images_in_a_file_are_refused(tmp_path):
    batch = np.zeros((2, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="2 images instead of 3"):
        write_npz(tmp_path / "x.npz", [batch], (3, 4, 4, 3), np.zeros(3, np.int64))
    assert not (tmp_path / "x.npz").exists()
    np.savez(tmp_path / "mu.npz", mu=np.zeros(3))
    with pytest.raises(UserError, match="of mu and sigma one is missing"):
        read_moments(tmp_path / "mu.npz")
