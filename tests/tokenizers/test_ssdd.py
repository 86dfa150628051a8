"""The two plugins of SSDD's network: steps, official checkpoints, noise and bad files."""

import json
import shlex

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssdd_bench.api import Latent
from ssdd_bench.api.noise import KeyedNoise
from ssdd_bench.errors import OptionError, WeightsError
from ssdd_bench.evaluation.config import RunConfig
from ssdd_bench.evaluation.conformance import check_tokenizer
from ssdd_bench.evaluation.evaluate import evaluate
from ssdd_bench.evaluation.loading import load
from ssdd_bench.evaluation.run import run_jobs
from ssdd_bench.flow.schedule import power_schedule
from ssdd_bench.flow.solver import euler
from ssdd_bench.nn.decoder import SSDDDecoder
from ssdd_bench.nn.encoder import SSDDEncoder
from ssdd_bench.plugins.registry import load_tokenizer, parse_requests

IDS = ("a", "b", "c")
ROLES = ("encoder", "decoder")


def noise(ids=IDS, seed=0):
    return KeyedNoise(seed, ids, "decode")


def official_like(path, size, f, z_dim):
    """A float32 file with the layout of a released checkpoint."""
    torch.manual_seed(0)
    networks = {
        "encoder": SSDDEncoder(f, z_dim),
        "decoder": SSDDDecoder(size, z_dim),
    }
    state = {
        f"{prefix}.{key}": value
        for prefix, network in networks.items()
        for key, value in network.state_dict().items()
    }
    save_file(state, path, metadata={"format": "pt"})
    return networks


@pytest.mark.medium
@pytest.mark.parametrize(
    "name",
    [
        "ssdd",
        *(pytest.param(f"diffusion{more}", marks=pytest.mark.slow) for more in ("", ":steps=2")),
    ],
)
def test_contract(name):
    assert check_tokenizer(name, 32) == []


@pytest.mark.medium
def test_default_steps():
    assert load_tokenizer("ssdd").steps == 1
    assert load_tokenizer("diffusion").steps == 8


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "f", "z_dim"), [("S", 8, 4), ("S", 16, 16), ("XS", 32, 64), ("XXS", 8, 4)]
)
def test_official_layout_loads_and_its_size_is_found(tmp_path, size, f, z_dim):
    path = tmp_path / "F.safetensors"
    networks = official_like(path, size, f, z_dim)
    made = load_tokenizer("ssdd", checkpoint=str(path), steps=2)
    assert (made.latent.f, made.latent.channels) == (f, z_dim)
    assert made.weights == (path,)
    image = torch.rand(1, 3, 64, 64)
    latent = made.encode(image)
    assert latent.data.shape == (1, z_dim, 64 // f, 64 // f)
    wanted = networks["encoder"](image * 2 - 1).mode()
    torch.testing.assert_close(latent.data, wanted, atol=1e-4, rtol=1e-4)
    start = noise(IDS[:1]).normal((3, 64, 64))
    decoder = networks["decoder"]
    expected = euler(lambda x, t: decoder(x, t, wanted), start, power_schedule(2))
    got = made.decode(latent, noise(IDS[:1]))
    torch.testing.assert_close(got, (expected + 1) / 2, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_size_of_an_official_file(tmp_path):
    """The published size of F8C4_S_256: 192,938,196 bytes."""
    path = tmp_path / "F8C4_S_256.safetensors"
    official_like(path, "S", 8, 4)
    assert path.stat().st_size == pytest.approx(192_938_196, abs=8)


@pytest.mark.medium
def test_noise_of_an_image_is_its_own():
    # In float32 the kernels for one image and for three round differently, by up to 3e-5.
    made = load_tokenizer("ssdd").to("cpu", torch.float64)
    images = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    latent = made.encode(images)
    together = made.decode(latent, noise())
    last = made.decode(Latent(latent.data[2:], latent.size), noise(IDS[2:]))
    torch.testing.assert_close(together[2:], last, atol=1e-5, rtol=0)
    first_noise = made.decode(Latent(latent.data[2:], latent.size), noise(IDS[:1]))
    assert (first_noise - last).abs().max() > 1e-3
    other_seed = made.decode(latent, noise(seed=1))
    assert (other_seed - together).abs().max() > 1e-3


@pytest.mark.medium
def test_posterior_sample_differs_from_the_mode():
    made = load_tokenizer("ssdd")
    images = torch.rand(1, 3, 64, 64)
    mode = made.encode(images).data
    draws = [made.encode(images, KeyedNoise(seed, ["a"], "encode")).data for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], mode)


@pytest.mark.slow
def test_more_steps_is_another_image():
    one, eight = (load_tokenizer(f"diffusion:steps={steps}") for steps in (1, 8))
    latent = one.encode(torch.rand(1, 3, 32, 32))
    outputs = [made.decode(latent, noise(["a"])) for made in (one, eight)]
    assert (outputs[0] - outputs[1]).abs().max() > 1e-2


def split(folder):
    """The mini weights as two files: a decoder alone and the whole."""
    path = load_tokenizer("ssdd").weights[0]
    decoder = {k: v for k, v in load_file(path).items() if k.startswith("decoder.")}
    save_file(decoder, folder / "decoder.safetensors")
    return folder / "decoder.safetensors", path


@pytest.mark.slow
def test_encoder_comes_from_another_checkpoint(tmp_path):
    decoder, whole = split(tmp_path)
    made = load_tokenizer("ssdd", checkpoint=str(decoder), encoder=str(whole), steps=1)
    assert made.weights == (decoder, whole)
    images = torch.rand(1, 3, 32, 32)
    expected = load_tokenizer("ssdd")
    assert torch.equal(made.encode(images).data, expected.encode(images).data)
    assert torch.equal(made.reconstruct(images), expected.reconstruct(images))


@pytest.mark.medium
def test_one_encoder_only(tmp_path):
    decoder, whole = split(tmp_path)
    with pytest.raises(WeightsError, match="has an encoder of its own"):
        load_tokenizer("ssdd", checkpoint=str(whole), encoder=str(whole))
    with pytest.raises(OptionError, match="one of the two"):
        load_tokenizer("ssdd", checkpoint=str(decoder), encoder=str(whole), vae=str(tmp_path))


STEPS = {"distil": 1, "finetune": 8, None: 8}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssdd", "ssdd-official"])
@pytest.mark.parametrize("stage", STEPS)
def test_steps_follow_the_card_alone(tmp_path, name, stage):
    """The same file takes the same steps under both names, and a guess is told."""
    path = tmp_path / "X.safetensors"
    path.write_bytes(load_tokenizer("ssdd").weights[0].read_bytes())
    if stage:
        path.with_suffix(".json").write_text(json.dumps({"stage": stage}))
    loaded = load(f"{name}:checkpoint={path}")
    made = loaded.tokenizer
    assert made.steps == loaded.record.options["steps"] == STEPS[stage]
    assert len(made.warnings) == (stage is None)
    if stage is None:
        assert "X.safetensors is not known to be distilled" in made.warnings[0]
        assert "decoded in 8 steps" in made.warnings[0]


@pytest.mark.slow
def test_one_step_of_a_file_without_a_card_is_warned_of_in_the_result(tmp_path):
    path = tmp_path / "X.safetensors"
    path.write_bytes(load_tokenizer("ssdd").weights[0].read_bytes())
    spec = f"ssdd:checkpoint={path},steps=1"
    only = {"data": "sample", "limit": 1, "metrics": ["psnr"], "device": "cpu"}
    result = evaluate(spec, resolution=64, progress=False, **only)
    assert [text for text in result.warnings if "decoded in 1 step, compare" in text]
    assert not load_tokenizer(f"ssdd:checkpoint={path},steps=4").warnings
    assert not load_tokenizer("ssdd").warnings


@pytest.mark.medium
def test_options_that_came_later_leave_old_records_as_they_are():
    """The fingerprint of results hashes the recorded options."""
    expected = {"steps": 1, "f": 8, "checkpoint": "", "t_pow_shift": 2.0}
    assert load("ssdd").record.options == expected
    assert load("diffusion").record.options == expected | {"steps": 8}


@pytest.mark.parametrize("name", ["ssdd", "diffusion", "ssdd-official"])
def test_pickle_is_not_called_damaged(tmp_path, monkeypatch, name):
    path = tmp_path / "X.pt"
    torch.save({"decoder.x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"is a pickle.*save_file") as caught:
        load_tokenizer(name, checkpoint=str(path))
    python, option, code = shlex.split(str(caught.value).partition("tensors: ")[2])
    assert (python, option) == ("python", "-c")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert load_file(tmp_path / "X.safetensors").keys() == {"decoder.x"}


def broken(tmp_path, edit):
    state = load_file(load_tokenizer("ssdd").weights[0])
    edit(state)
    path = tmp_path / "broken.safetensors"
    save_file(state, path)
    return path


@pytest.mark.medium
@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("decoder.conv_out.bias"), "conv_out.bias"),
        (lambda state: state.update({"decoder.extra": torch.zeros(1)}), "extra"),
        (lambda state: state.update({"decoder.conv_out.bias": torch.zeros(4)}), "conv_out.bias"),
        (
            lambda state: [state.pop(k) for k in list(state) if k.startswith("encoder")],
            "no encoder.*encoder=FILE.*vae=DIR",
        ),
        (
            lambda state: [state.pop(k) for k in list(state) if k.startswith("decoder")],
            "no decoder",
        ),
        (
            lambda state: [state.pop(k) for k in list(state) if "downsample" in k],
            "encoder has no tensor 'downsample",
        ),
        (lambda state: state.pop("decoder.conv_in.weight"), "decoder has no tensor 'conv_in"),
        (lambda state: state.update(other=torch.zeros(1)), "other"),
    ],
    ids=[
        "missing",
        "unexpected",
        "other shape",
        "no encoder",
        "no decoder",
        "no levels",
        "no input",
        "foreign",
    ],
)
def test_checkpoint_that_does_not_fit(tmp_path, edit, message):
    path = broken(tmp_path, edit)
    with pytest.raises(WeightsError, match=message) as caught:
        load_tokenizer("ssdd", checkpoint=str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_checkpoint_that_is_missing_or_no_safetensors(tmp_path):
    with pytest.raises(WeightsError, match="no-such"):
        load_tokenizer("ssdd", checkpoint=str(tmp_path / "no-such.safetensors"))
    path = tmp_path / "text.safetensors"
    path.write_text("hello")
    with pytest.raises(WeightsError, match="text"):
        load_tokenizer("ssdd", checkpoint=str(path))


@pytest.mark.slow
def test_score_does_not_depend_on_the_batch_size_asked_for(quick_effnet, tmp_path):
    """The equality is to the bit, with a real network whose kernels round by the batch size."""
    found = []
    for batch in (1, 3):
        plan = RunConfig(
            requests=tuple(parse_requests("ssdd")),
            resolutions=(64,),
            metrics=("psnr", "ssim", "fd_effnet"),
            out=tmp_path / str(batch),
            limit=3,
            batch_size=batch,
            device="cpu",
            speed=False,
            pictures=False,
        )
        (finished,) = run_jobs(plan).finished
        found.append((finished.result.metrics, finished.result.fingerprint))
    assert found[0] == found[1]
