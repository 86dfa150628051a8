"""Samples: the same for any number of processes, resumable, and decoded by who may decode them."""

import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from mortal import Life, MortalBlockMean, run_elsewhere
from safetensors.torch import load_file, save_file

from ssdd_bench.data.images import open_images
from ssdd_bench.data.npz import read_labels
from ssdd_bench.errors import JobsFailedError, OptionError, PluginError, UserError
from ssdd_bench.evaluation.launch_groups import IN_PROCESS
from ssdd_bench.evaluation.launch_settings import Launch
from ssdd_bench.evaluation.loading import LoadedTokenizer
from ssdd_bench.generation import samples
from ssdd_bench.generation.batches import SamplesConfig
from ssdd_bench.generation.model import load_latent_model
from ssdd_bench.generation.sampler import SamplerSettings
from ssdd_bench.generation.samples import SamplingPlan, generate_samples
from ssdd_bench.launch.shares import Share
from ssdd_bench.results.store import read_generated
from ssdd_bench.train.files import card_path

CPU = torch.device("cpu")
SETTINGS = SamplerSettings("euler", steps=2, cfg=1.5)


@pytest.fixture
def generate(trained, block_mean, record):
    def generate(out, samples=40, tokenizer=None, named=None, share=None, **more):
        config = SamplesConfig(**{"out": out, "samples": samples, "settings": SETTINGS} | more)
        loaded = LoadedTokenizer(tokenizer or block_mean(), named or record())
        launch = Launch(in_process=True, share=share)
        return draw(loaded, config, load_latent_model(trained, 4), launch)

    return generate


def draw(loaded, config, model, launch=IN_PROCESS):
    plan = SamplingPlan(loaded, (config,), model)
    return generate_samples([plan], CPU, launch).get(config.out)


def pixels(folder):
    with np.load(folder / "samples.npz") as arrays:
        return arrays["arr_0"]


@pytest.fixture
def generated(generate, tmp_path):
    generate(tmp_path / "generated")
    return tmp_path / "generated"


def test_a_missing_network_is_told_before_a_tokenizer_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "load_once", lambda *_: pytest.fail("a tokenizer was loaded"))
    for path in (tmp_path / "none", tmp_path):  # a folder without one
        config = SamplesConfig(out=tmp_path / "out", samples=1, settings=SETTINGS)
        with pytest.raises(UserError, match="no such file"):
            generate_samples([SamplingPlan("klvae", (config,), path)], CPU)
    assert not (tmp_path / "out").exists()


@pytest.mark.medium
def test_another_number_format_makes_other_samples_and_says_so(generate, generated, tmp_path):
    out = tmp_path / "bfloat16"
    record = generate(out, dtype="bfloat16")
    exact = read_generated(generated)
    assert record.fingerprint != exact.fingerprint
    assert set(record.warnings) - set(exact.warnings) == {"model of latents in bfloat16"}
    difference = np.abs(pixels(out).astype(int) - pixels(generated))
    assert difference.max() > 0
    assert difference.mean() < 2
    assert generate(tmp_path / "float32", dtype="float32").fingerprint == exact.fingerprint


@pytest.mark.medium
def test_two_processes_and_a_resumed_run_give_the_same_images(generate, generated, tmp_path):
    out = tmp_path / "parts"
    for index in (1, 0):
        assert generate(out, share=Share(index, 2)) is None
    assert not (out / "samples.npz").exists()
    (batch, *_) = sorted((out / "batches").glob("*/*.npz"))
    batch.write_bytes(b"damaged")
    generate(out)
    assert np.array_equal(pixels(out), pixels(generated))
    assert sorted(path.name for path in out.glob("[!.]*")) == [
        "generated.json",
        "samples.npz",
        "samples.png",
    ]
    before = (out / "samples.npz").stat().st_mtime_ns
    assert generate(out) == read_generated(out)
    assert (out / "samples.npz").stat().st_mtime_ns == before


@pytest.mark.medium
def test_what_a_killed_launch_left_of_finished_samples_is_deleted(generate, tmp_path, monkeypatch):
    out, shared = tmp_path / "out", tmp_path / "shared"
    with monkeypatch.context() as killed:
        killed.setattr(samples.SampleBatches, "discard", lambda batches: None)
        generate(out)
        generate(tmp_path / "sharing", shared=shared)
    assert {"batches", "latents"} <= {path.name for path in out.iterdir()}
    assert generate(out) == read_generated(out)
    assert not {"batches", "latents"} & {path.name for path in out.iterdir()}
    generate(tmp_path / "sharing", shared=shared)
    assert not (tmp_path / "sharing" / "batches").exists()
    assert any(shared.iterdir()), "latents that others share stay"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_any_number_of_workers_draws_the_same_images(generated, trained, record, jobs, tmp_path):
    out, life = tmp_path / "out", Life(tmp_path / "grave", 1)
    config = SamplesConfig(out, 40, settings=SETTINGS)
    plan = SamplingPlan(LoadedTokenizer(MortalBlockMean(life), record()), (config,), trained)
    launch = Launch(jobs=jobs, threads=torch.get_num_threads())
    made = generate_samples([plan], CPU, launch)[out]
    assert (tmp_path / "grave").exists()  # of the worker that was killed over its second batch
    assert np.array_equal(pixels(out), pixels(generated))
    assert made.fingerprint == read_generated(generated).fingerprint
    clock = made.generation.model_time
    alone = jobs > 1  # three batches once more; otherwise that of a worker that was killed counts
    assert (clock.warmup, clock.repeats) == ((1, 2) if alone else (2, 1))


@pytest.mark.slow
def test_a_killed_launch_costs_one_batch(generated, trained, record, tmp_path):
    out, life = tmp_path / "out", Life(tmp_path / "grave", 2)
    config = SamplesConfig(out, 40, settings=SETTINGS)
    plan = SamplingPlan(LoadedTokenizer(MortalBlockMean(life), record()), (config,), trained)
    assert run_elsewhere(generate_samples, [plan], tmp_path) == -signal.SIGKILL
    assert len(list((out / "batches").glob("*/*.npz"))) == 2
    tokenizer = MortalBlockMean()
    loaded = LoadedTokenizer(tokenizer, record())
    draw(loaded, config, load_latent_model(trained, 4))
    assert tokenizer.life.count == 1
    assert np.array_equal(pixels(out), pixels(generated))


@pytest.mark.medium
def test_decoders_and_scales_are_jobs_of_their_own(
    generated, trained, block_mean, record, tmp_path
):
    """One that fails costs no other, and the first failure is the error."""

    class Broken(block_mean):
        def decode(self, latent, noise):
            raise RuntimeError("broken")

    def plan(name, tokenizer, *scales):
        configs = [
            SamplesConfig(tmp_path / name / f"{scale}", 40, settings=replace(SETTINGS, cfg=scale))
            for scale in scales
        ]
        loaded = LoadedTokenizer(tokenizer, record())
        return SamplingPlan(loaded, tuple(configs), load_latent_model(trained, 4))

    plans = [plan("a", Broken(), 1.5), plan("b", block_mean(), 1.5, 1.0)]
    with pytest.raises(JobsFailedError, match="RuntimeError: broken"):
        generate_samples(plans, CPU)
    assert np.array_equal(pixels(tmp_path / "b" / "1.5"), pixels(generated))
    assert not np.array_equal(pixels(tmp_path / "b" / "1.0"), pixels(generated))


@pytest.mark.medium
def test_a_batch_size_changes_nothing(generate, generated, tmp_path):
    generate(tmp_path / "one", batch_size=1)
    assert np.array_equal(pixels(tmp_path / "one"), pixels(generated))


@pytest.mark.medium
def test_the_first_samples_do_not_depend_on_how_many_there_are(generate, tmp_path):
    for name, count in (("few", 5), ("many", 20)):
        generate(tmp_path / name, count, labels="random")
    assert np.array_equal(pixels(tmp_path / "few"), pixels(tmp_path / "many")[:5])


@pytest.mark.medium
def test_seeds_differ(generate, generated, tmp_path):
    generate(tmp_path / "other", seed=1)
    assert not np.array_equal(pixels(tmp_path / "other"), pixels(generated))


@pytest.mark.medium
def test_the_file_is_read_by_numpy_and_by_us(generated):
    images = pixels(generated)
    assert images.dtype == np.uint8
    assert images.shape == (40, 16, 16, 3)
    source = open_images(generated / "samples.npz")
    assert np.array_equal(np.array(source.read(source.ids[7])), images[7])
    assert np.bincount(read_labels(generated / "samples.npz")).tolist() == [20, 20]


@pytest.mark.medium
def test_the_record_says_how_they_were_made(generated):
    made = read_generated(generated)
    generation = made.generation
    assert (generation.model, generation.evaluations) == ("DiT-tiny/1", 4)
    assert generation.model_time.batch == 16
    assert generation.model_time.gmac_per_image > 0
    assert (generation.model_time.warmup, generation.model_time.repeats) == (1, 2)
    assert generation.decoder_time.gmac_per_image is None  # it has no network
    assert made.latent.shape == (3, 4, 4)


@pytest.mark.medium
def test_latents_are_shared_by_decoders_of_one_encoder(generate, tmp_path, monkeypatch):
    generate(tmp_path / "a", shared=tmp_path / "shared")

    def never(*args):
        raise AssertionError("generated again")

    monkeypatch.setattr("ssdd_bench.generation.batches.sample_latents", never)
    generate(tmp_path / "b", shared=tmp_path / "shared")
    assert np.array_equal(pixels(tmp_path / "a"), pixels(tmp_path / "b"))
    with pytest.raises(JobsFailedError, match="AssertionError: generated again"):
        generate(tmp_path / "c", shared=tmp_path / "shared", seed=1)


@pytest.mark.medium
def test_what_does_not_fit_is_one_line(generate, generated, record, block_mean, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"last\.safetensors: latents are those of 'block-mean'"):
        generate(out, named=record(label="other", x=1))
    with pytest.raises(PluginError, match="has bytes latents"):
        generate(out, tokenizer=block_mean(kind="bytes"))
    with pytest.raises(OptionError, match="euler or heun"):
        generate(out, settings=SamplerSettings("ddpm", 5))
    with pytest.raises(OptionError, match="samples is 0"):
        generate(out, samples=0)
    assert not list(out.glob("[!.]*"))
    with pytest.raises(UserError, match="holds samples of other settings"):
        generate(generated, seed=3)
    generate(out, share=Share(0, 2))
    with pytest.raises(UserError, match="holds samples of other settings"):
        generate(out, seed=3)


@pytest.mark.medium
@pytest.mark.parametrize("deleted", ["batches", "batches/config.json"])
def test_what_is_left_of_other_samples_is_not_used(generate, deleted, tmp_path):
    """The error for other samples says to delete the folder, and only a part of it was."""
    out = tmp_path / "out"
    generate(out, 20, share=Share(0, 2))
    path = out / deleted
    path.unlink() if path.is_file() else shutil.rmtree(path)
    generate(out, 20, seed=3)
    generate(tmp_path / "fresh", 20, seed=3)
    assert np.array_equal(pixels(out), pixels(tmp_path / "fresh"))
    assert not list(out.glob("*/"))


@pytest.mark.medium
@pytest.mark.parametrize("which", ["network", "decoder"])
def test_samples_of_other_weights_under_one_name_are_refused(
    generate, trained, block_mean, record, which, tmp_path
):
    out, path = tmp_path / "out", tmp_path / trained.name
    generate(out, share=Share(0, 2))
    tensors = load_file(trained)
    save_file({name: tensor + (which == "network") for name, tensor in tensors.items()}, path)
    shutil.copy(card_path(trained), card_path(path))
    weights = {"w.bin": ("cd" if which == "decoder" else "ab") * 32}
    loaded = LoadedTokenizer(block_mean(), replace(record(), weights=weights))
    config = SamplesConfig(out, 40, settings=SETTINGS)
    with pytest.raises(UserError, match="holds samples of other settings or weights"):
        draw(loaded, config, load_latent_model(path, 4))


def test_a_published_network_fits_by_shape_alone(generate, trained, block_mean, record, tmp_path):
    torch.save(load_latent_model(trained, 4).network.state_dict(), tmp_path / "published.pt")
    model = load_latent_model(tmp_path / "published.pt", 8, "flow")
    config = SamplesConfig(tmp_path / "out", 4, settings=SETTINGS)
    with pytest.raises(UserError, match="samples f8c3 latents and 'block-mean' decodes f4c3"):
        draw(LoadedTokenizer(block_mean(), record()), config, model)
    model = load_latent_model(tmp_path / "published.pt", 4, "flow")
    made = draw(LoadedTokenizer(block_mean(), record()), config, model)
    assert made.generation.statistics == "by the tokenizer"


@pytest.mark.medium
def test_the_decoder_is_guarded(generate, generated, block_mean, tmp_path):
    class Changes(block_mean):
        def decode(self, latent, noise):
            torch.set_default_dtype(torch.float64)
            return super().decode(latent, noise)

    class Leaves(block_mean):
        def decode(self, latent, noise):
            raise SystemExit(0)

    record = generate(tmp_path / "changes", tokenizer=Changes())
    (warning,) = set(record.warnings) - set(read_generated(generated).warnings)
    assert "block-mean: decoding it changed torch's default dtype" in warning
    assert torch.get_default_dtype() == torch.float32
    assert (pixels(tmp_path / "changes") == pixels(generated)).all()
    with pytest.raises(UserError, match=r"block-mean called sys\.exit"):
        generate(tmp_path / "leaves", tokenizer=Leaves())


@pytest.mark.parametrize("change", [lambda x: x[..., 1:], lambda x: (255 * x).byte()])
def test_decoded_samples_of_another_shape_or_type_are_refused(
    generate, block_mean, tmp_path, change
):
    class Wrong(block_mean):
        def decode(self, latent, noise):
            return change(super().decode(latent, noise))

    with pytest.raises(UserError, match="decode"):
        generate(tmp_path, tokenizer=Wrong())
